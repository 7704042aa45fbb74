//! A weights file on its way: what has arrived of it can be read while the rest is still coming.

use safetensors::tensor::{Dtype, TensorView};

use super::header::Header;
use super::{ModelInfo, params, whole};
use crate::error::Error;

/// The bytes that have arrived, in order.
pub(crate) struct Incoming {
    bytes: Vec<u8>,
    header: State,
}

enum State {
    /// More bytes are needed.
    Awaited,
    /// There is none that can be read; the whole file will say why.
    Unreadable,
    Read(Box<Known>),
}

/// What the header tells.
struct Known {
    info: ModelInfo,
    header: Header,
    /// How many tensors have been visited, in the file's order.
    visited: usize,
}

impl Incoming {
    /// Of a file of `total` bytes; 0 where that is not known.
    pub fn new(total: usize) -> Self {
        Self { bytes: Vec::with_capacity(total), header: State::Awaited }
    }

    /// Adds the next piece, and calls `visit` with the name and the content of every tensor that it completes, and with the scales
    /// of its rows where those have arrived: in the files that we write they are in front of their whole numbers.
    pub fn push(&mut self, piece: &[u8], mut visit: impl FnMut(&str, &TensorView, Option<&TensorView>)) {
        self.bytes.extend_from_slice(piece);
        if matches!(self.header, State::Awaited) {
            self.header = read_header(&self.bytes);
        }
        let State::Read(known) = &mut self.header else { return };
        while let Some(name) = known.header.names.get(known.visited) {
            let view = |name: &str| known.header.view(&self.bytes, name);
            let Some(tensor) = view(name) else { return };
            visit(name, &tensor, view(&whole::scales_of(name)).as_ref());
            known.visited += 1;
        }
    }

    /// All that has arrived, and what its header tells, unless there is something wrong.
    pub fn finish(self) -> (Vec<u8>, Option<(Header, ModelInfo)>) {
        let told = match self.header {
            State::Read(known) => Some((known.header, known.info)),
            _ => None,
        };
        (self.bytes, told)
    }
}

fn read_header(bytes: &[u8]) -> State {
    let known = |header: Header| Ok::<_, Error>(Known { info: header.info()?, header, visited: 0 });
    match Header::arriving(bytes).and_then(|header| header.map(known).transpose()) {
        Ok(None) => State::Awaited,
        Ok(Some(known)) => State::Read(Box::new(known)),
        Err(_) => State::Unreadable,
    }
}

/// Zeros, read as the tensors of a file in half precision are.
///
/// # Errors
/// None.
pub(crate) fn zeros(shape: &[usize]) -> Result<Vec<f32>, Error> {
    let bytes = vec![0; 2 * shape.iter().product::<usize>()];
    let view = TensorView::new(Dtype::F16, shape.to_vec(), &bytes);
    values("zeros", &view.map_err(|_| Error::Weights("zeros do not fit".into()))?, None)
}

/// The values of a tensor in the file's order; whole numbers need the scales of their rows.
///
/// # Errors
/// Another type, scales that do not fit or are not there, and what is no number.
pub(crate) fn values(name: &str, view: &TensorView, scales: Option<&TensorView>) -> Result<Vec<f32>, Error> {
    params::values(name, view, scales).map_err(Error::Weights)
}
