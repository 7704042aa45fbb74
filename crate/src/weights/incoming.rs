//! A weights file on its way: what has arrived of it can be read while the rest is still coming.

use safetensors::tensor::{Dtype, Metadata, TensorView};

use super::{ModelInfo, describe, info_of, params, whole};
use crate::error::Error;

/// The bytes that have arrived, in order.
pub(crate) struct Incoming {
    bytes: Vec<u8>,
    header: Header,
}

enum Header {
    /// More bytes are needed.
    Awaited,
    /// There is none that can be read; the whole file will say why.
    Unreadable,
    Read(Box<Known>),
}

/// What the header tells.
struct Known {
    info: ModelInfo,
    metadata: Metadata,
    /// The tensors in the file's order, and how many of them have been visited.
    names: Vec<String>,
    visited: usize,
    /// Where the first one begins.
    start: usize,
}

impl Known {
    /// A tensor, if all of it is among the bytes that have arrived.
    fn view<'bytes>(&self, bytes: &'bytes [u8], name: &str) -> Option<TensorView<'bytes>> {
        let info = self.metadata.info(name)?;
        let (from, to) = info.data_offsets;
        let data = bytes.get(self.start.saturating_add(from)..self.start.saturating_add(to))?;
        TensorView::new(info.dtype, info.shape.clone(), data).ok()
    }
}

impl Incoming {
    /// Of a file of `total` bytes; 0 where that is not known.
    pub fn new(total: usize) -> Self {
        Self { bytes: Vec::with_capacity(total), header: Header::Awaited }
    }

    /// Adds the next piece, and calls `visit` with the name and the content of every tensor that it completes, and with the scales
    /// of its rows where those have arrived: in the files that we write they are in front of their whole numbers.
    pub fn push(&mut self, piece: &[u8], mut visit: impl FnMut(&str, &TensorView, Option<&TensorView>)) {
        self.bytes.extend_from_slice(piece);
        if matches!(self.header, Header::Awaited) {
            self.header = read_header(&self.bytes);
        }
        let Header::Read(known) = &mut self.header else { return };
        while let Some(name) = known.names.get(known.visited) {
            let Some(view) = known.view(&self.bytes, name) else { return };
            visit(name, &view, known.view(&self.bytes, &whole::scales_of(name)).as_ref());
            known.visited += 1;
        }
    }

    /// All that has arrived, and what it says about itself, unless there is something wrong.
    pub fn finish(self) -> (Vec<u8>, Option<ModelInfo>) {
        let info = match self.header {
            Header::Read(known) => Some(known.info),
            _ => None,
        };
        (self.bytes, info)
    }
}

fn read_header(bytes: &[u8]) -> Header {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Header::Awaited };
    let length = u64::from_le_bytes(*length);
    let Some(header) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
        return Header::Awaited;
    };
    let metadata = std::str::from_utf8(header).ok().and_then(|text| serde_json::from_str::<Metadata>(text).ok());
    let known = metadata.and_then(|metadata| Some((info_of(&metadata).ok()?, metadata)));
    let Some((info, metadata)) = known else { return Header::Unreadable };
    Header::Read(Box::new(Known { info, names: metadata.offset_keys(), metadata, visited: 0, start: 8 + header.len() }))
}

/// Zeros, read as the tensors of a file in half precision are.
///
/// # Errors
/// None.
pub(crate) fn zeros(shape: &[usize]) -> Result<Vec<f32>, Error> {
    let bytes = vec![0; 2 * shape.iter().product::<usize>()];
    let view = TensorView::new(Dtype::F16, shape.to_vec(), &bytes).map_err(|e| describe(&bytes, &e))?;
    values("zeros", &view, None)
}

/// The values of a tensor in the file's order; whole numbers need the scales of their rows.
///
/// # Errors
/// Another type, scales that do not fit or are not there, and what is no number.
pub(crate) fn values(name: &str, view: &TensorView, scales: Option<&TensorView>) -> Result<Vec<f32>, Error> {
    params::values(name, view, scales).map_err(Error::Weights)
}
