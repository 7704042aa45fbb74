//! The header of a weights file, read for the page: by the rules of the safetensors crate, but without serde's way of
//! reading them.

use std::collections::{BinaryHeap, HashMap};

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};

use super::json::{Entries, FromJson, Json, parse};
use super::metadata::{self, one_of};
use crate::error::Error;
use crate::model::weights::values::{self, TensorSpec};
use crate::model::weights::{METADATA_KEY, ModelInfo, foreign, incomplete};

/// The most bytes of a header; the safetensors crate's bound.
const MAX_HEADER: usize = 100_000_000;

/// What a header tells of the tensors behind it.
pub(crate) struct Header {
    metadata: Metadata,
    /// The tensors' names in the file's order.
    pub names: Vec<String>,
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
        let (metadata, names) = read(text)?;
        Ok(Some(Self { metadata, names, start: 8 + length }))
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
        match self.start.checked_add(self.metadata.data_len()) == Some(size) {
            true => Ok(()),
            false => Err(incomplete(size)),
        }
    }

    /// What the file says about itself.
    ///
    /// # Errors
    /// When another program wrote it, or another version of this one.
    pub fn info(&self) -> Result<ModelInfo, Error> {
        metadata::read(self.metadata.metadata().as_ref().and_then(|map| map.get(METADATA_KEY)).ok_or_else(foreign)?)
    }

    /// Refuses a file whose tensors are not as many numbers as its network has.
    ///
    /// # Errors
    /// As [`values::check`].
    pub fn fits(&self, info: &ModelInfo) -> Result<(), Error> {
        values::check(&info.net, self.names.iter().map(String::as_str), |name| self.form(name))
    }

    /// The type and the shape of a tensor.
    pub fn form(&self, name: &str) -> Option<TensorSpec> {
        self.metadata.info(name).map(|info| (info.dtype, info.shape.clone()))
    }

    /// Bytes of a tensor.
    #[allow(dead_code, reason = "the CPU's engine reads while it loads")]
    pub fn size_of(&self, name: &str) -> usize {
        self.metadata.info(name).map_or(0, |info| info.data_offsets.1 - info.data_offsets.0)
    }

    /// A tensor whose bytes are these.
    pub fn tensor<'bytes>(&self, name: &str, bytes: &'bytes [u8]) -> Option<TensorView<'bytes>> {
        let (dtype, shape) = self.form(name)?;
        TensorView::new(dtype, shape, bytes).ok()
    }

    /// A tensor of a whole file.
    pub fn view<'bytes>(&self, file: &'bytes [u8], name: &str) -> Option<TensorView<'bytes>> {
        let (from, to) = self.metadata.info(name)?.data_offsets;
        self.tensor(name, file.get(self.start.checked_add(from)?..self.start.checked_add(to)?)?)
    }
}

/// The header of this text, and the tensors' names in the file's order.
fn read(text: &[u8]) -> Result<(Metadata, Vec<String>), Error> {
    let mut entries = parse(text).and_then(Entries::of).map_err(|reason| unreadable(&reason))?;
    let described = entries.optional("__metadata__").map_err(|reason| unreadable(&reason))?;
    // Of a name that is there twice the last one counts.
    let tensors = entries.rest().map(|(name, json)| {
        let info = TensorInfo::from_json(json).map_err(|reason| unreadable(&format!("{name}: {reason}")))?;
        Ok((name.into_owned(), info))
    });
    let mut tensors = tensors.collect::<Result<HashMap<_, _>, Error>>()?;
    // Sorted by a heap, which is a tenth of the code of the faster way.
    let places: BinaryHeap<_> = tensors.iter().map(|(name, info)| (info.data_offsets, name.clone())).collect();
    let names: Vec<_> = places.into_sorted_vec().into_iter().map(|(_, name)| name).collect();
    let in_order = names.iter().filter_map(|name| tensors.remove_entry(name)).collect();
    let metadata = Metadata::new(described, in_order).map_err(|error| {
        Error::Weights(match error {
            SafeTensorError::InvalidOffset(name) => format!("invalid offset for tensor `{name}`"),
            _ => "invalid shape, data type, or offset for tensor".into(),
        })
    })?;
    Ok((metadata, names))
}

fn unreadable(reason: &str) -> Error {
    Error::Weights(format!("truncated, or no safetensors file ({reason})"))
}

impl FromJson for HashMap<String, String> {
    fn from_json(json: Json) -> Result<Self, String> {
        let text = |(name, json): (std::borrow::Cow<str>, Json)| Ok((name.into_owned(), String::from_json(json)?));
        Entries::of(json)?.rest().map(text).collect()
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
        let whole = [("I8", Self::I8), ("I16", Self::I16), ("I32", Self::I32), ("I64", Self::I64)];
        let unsigned = [("U8", Self::U8), ("U16", Self::U16), ("U32", Self::U32), ("U64", Self::U64)];
        let others = [("F16", Self::F16), ("F32", Self::F32), ("F64", Self::F64), ("BF16", Self::BF16)];
        one_of(json, &[&whole[..], &unsigned, &others].concat())
    }
}
