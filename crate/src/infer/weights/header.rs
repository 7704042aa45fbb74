//! The header of a weights file, read for the page: by the rules of the safetensors crate, but without serde's way of
//! reading them.

use std::collections::BinaryHeap;

use safetensors::tensor::{Dtype, TensorInfo};

use super::json::{Entries, FromJson, Json, parse};
use super::metadata::{self, one_of};
use crate::error::Error;
use crate::model::weights::values::{self, TensorSpec};
use crate::model::weights::{METADATA_KEY, ModelInfo, foreign, incomplete};

/// The most bytes of a header; the safetensors crate's bound.
const MAX_HEADER: usize = 100_000_000;

/// What a header tells of the tensors behind it.
pub(crate) struct Header {
    /// Our entry of the file's metadata.
    metadata: Option<String>,
    /// By name, to be found there.
    tensors: Vec<(String, TensorInfo)>,
    /// Their places there, in the file's order.
    order: Vec<usize>,
    /// Bytes of all tensors.
    length: usize,
    /// Where the first one begins.
    pub start: usize,
}

impl Header {
    /// Of a file of which these bytes have arrived; `None` until its header has.
    ///
    /// # Errors
    /// When there is none, or it contradicts itself.
    pub fn arriving(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(None) };
        let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|&length| length <= MAX_HEADER);
        let length = length.ok_or_else(|| unreadable("header too large"))?;
        let Some(text) = rest.get(..length) else { return Ok(None) };
        read(text, 8 + length).map(Some)
    }

    /// Of a whole file.
    ///
    /// # Errors
    /// As [`Self::arriving`], and of a file that does not end where its header says.
    pub fn of(bytes: &[u8]) -> Result<Self, Error> {
        let size = bytes.len();
        if size < 8 {
            return Err(Error::Weights(format!("{size} bytes are too few for a safetensors file")));
        }
        let header = Self::arriving(bytes)?.ok_or_else(|| unreadable("invalid header length"))?;
        header.ends_at(size).map(|()| header)
    }

    /// # Errors
    /// Unless a file of this header has so many bytes.
    pub fn ends_at(&self, size: usize) -> Result<(), Error> {
        match self.start.checked_add(self.length) == Some(size) {
            true => Ok(()),
            false => Err(incomplete(size)),
        }
    }

    /// What the file says about itself.
    ///
    /// # Errors
    /// When another program wrote it, or another version of this one.
    pub fn info(&self) -> Result<ModelInfo, Error> {
        metadata::read(self.metadata.as_deref().ok_or_else(foreign)?)
    }

    /// Refuses a file whose tensors are not as many numbers as its network has.
    ///
    /// # Errors
    /// As [`values::check`].
    pub fn fits(&self, info: &ModelInfo) -> Result<(), Error> {
        values::check(&info.net, self.tensors.iter().map(|(name, _)| name.as_str()), |name| self.form(name))
    }

    /// The name and the description of a tensor, by its place in the file's order.
    pub fn nth(&self, place: usize) -> Option<(&str, &TensorInfo)> {
        let (name, info) = &self.tensors[*self.order.get(place)?];
        Some((name, info))
    }

    fn form(&self, name: &str) -> Option<TensorSpec> {
        self.find(name).map(|info| (info.dtype, info.shape.clone()))
    }

    /// The description of a tensor.
    #[inline(never)]
    pub fn find(&self, name: &str) -> Option<&TensorInfo> {
        let place = self.tensors.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        Some(&self.tensors[place].1)
    }
}

/// The header of this text, in a file whose tensors begin at `start`. Sorts by heaps, which are a tenth of the code of
/// the faster way, and needs no tables of hashes.
fn read(text: &[u8], start: usize) -> Result<Header, Error> {
    let mut entries = parse(text).and_then(Entries::of).map_err(|reason| unreadable(&reason))?;
    let described = entries.optional("__metadata__").map_err(|reason| unreadable(&reason))?;
    let (mut names, mut infos) = (BinaryHeap::new(), Vec::new());
    for (name, json) in entries.rest() {
        infos.push(TensorInfo::from_json(json).map_err(|reason| unreadable(&format!("{name}: {reason}")))?);
        names.push((name.into_owned(), infos.len() - 1));
    }
    let mut tensors: Vec<(String, TensorInfo)> = Vec::new();
    for (name, place) in names.into_sorted_vec() {
        // Of a name that is there twice the last one counts.
        tensors.pop_if(|(before, _)| *before == name);
        tensors.push((name, infos[place].clone()));
    }
    let places = tensors.iter().enumerate().map(|(place, (_, info))| (info.data_offsets, place));
    let order: Vec<_> =
        places.collect::<BinaryHeap<_>>().into_sorted_vec().into_iter().map(|(_, place)| place).collect();
    let mut length = 0;
    for (name, info) in order.iter().map(|&place| &tensors[place]) {
        let (from, to) = info.data_offsets;
        if from != length || to < from {
            return Err(Error::Weights(format!("invalid offset for tensor `{name}`")));
        }
        if bytes_of(info) != Some(to - from) {
            return Err(Error::Weights("invalid shape, data type, or offset for tensor".into()));
        }
        length = to;
    }
    let metadata = described.and_then(|Described(ours)| ours);
    Ok(Header { metadata, tensors, order, length, start })
}

/// The bytes that a tensor takes; `None` where no whole number says so.
fn bytes_of(info: &TensorInfo) -> Option<usize> {
    let values = info.shape.iter().try_fold(1_usize, |values, &length| values.checked_mul(length))?;
    let bits = values.checked_mul(info.dtype.bitsize())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

fn unreadable(reason: &str) -> Error {
    Error::Weights(format!("truncated, or no safetensors file ({reason})"))
}

/// Our entry of a file's metadata, all of which is text.
struct Described(Option<String>);

impl FromJson for Described {
    fn from_json(json: Json) -> Result<Self, String> {
        let mut ours = None;
        for (name, json) in Entries::of(json)?.rest() {
            let text = String::from_json(json)?;
            if name == METADATA_KEY {
                ours = Some(text);
            }
        }
        Ok(Self(ours))
    }
}

impl FromJson for TensorInfo {
    fn from_json(json: Json) -> Result<Self, String> {
        let mut of = Entries::of(json)?;
        let offsets: Vec<usize> = of.required("data_offsets")?;
        let &[from, to] = &offsets[..] else { return Err("data_offsets: expected two numbers".into()) };
        Ok(Self { dtype: of.required("dtype")?, shape: of.required("shape")?, data_offsets: (from, to) })
    }
}

impl FromJson for Dtype {
    fn from_json(json: Json) -> Result<Self, String> {
        const NAMES: [(&str, Dtype); 12] = [
            ("I8", Dtype::I8),
            ("I16", Dtype::I16),
            ("I32", Dtype::I32),
            ("I64", Dtype::I64),
            ("U8", Dtype::U8),
            ("U16", Dtype::U16),
            ("U32", Dtype::U32),
            ("U64", Dtype::U64),
            ("F16", Dtype::F16),
            ("F32", Dtype::F32),
            ("F64", Dtype::F64),
            ("BF16", Dtype::BF16),
        ];
        one_of(json, &NAMES)
    }
}
