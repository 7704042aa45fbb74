//! Checkpoints of other programs: PyTorch's `.pth` and `.pt` (read, never executed) and safetensors. Native only.

mod dit;
mod import;
mod in_context;
mod parts;
mod pytorch;
mod unet;

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use pytorch_reader::DType;
use safetensors::{Dtype, SafeTensors};

use crate::error::Error;

pub use import::{ImportChoice, import, known_buffers};

/// The float tensors of a checkpoint, by name; nested dictionaries are joined by dots.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    tensors: BTreeMap<String, Array>,
    /// Tensors of types that are not read, with the names of their types: counters, and what is named in an error.
    others: BTreeMap<String, String>,
}

/// A tensor in memory, as f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, row by row.
    pub values: Vec<f32>,
}

impl Checkpoint {
    /// Reads a file. What it is shows in its content, not in its name.
    ///
    /// # Errors
    /// When it cannot be read, or is neither a checkpoint of PyTorch nor safetensors.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|e| Error::Checkpoint(format!("cannot be read: {e}")))?;
        if let Some(reason) = crate::io::lfs_pointer(&bytes) {
            return Err(Error::Checkpoint(reason.into()));
        }
        // A safetensors file begins with the length of its header, and a brace.
        if bytes.get(8) == Some(&b'{') { Self::from_safetensors(&bytes) } else { Self::from_pytorch(path) }
    }

    fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|e| Error::Checkpoint(format!("truncated, or no safetensors file ({e})")))?;
        let mut checkpoint = Self::default();
        for (name, view) in file.iter() {
            match float_type(view.dtype()) {
                Some(dtype) => {
                    let array = Array { shape: view.shape().to_vec(), values: to_f32(dtype, view.data()) };
                    checkpoint.tensors.insert(name.to_owned(), array);
                }
                None => drop(checkpoint.others.insert(name.to_owned(), view.dtype().to_string())),
            }
        }
        Ok(checkpoint)
    }

    fn from_pytorch(path: &Path) -> Result<Self, Error> {
        let opened = pytorch::open(path)?;
        let mut checkpoint = Self::default();
        for (name, tensor) in opened.reader.tensors() {
            if matches!(tensor.dtype(), DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
                let bytes = tensor.read().map_err(|e| Error::Checkpoint(format!("tensor `{name}`: {e}")))?;
                let array = Array { shape: tensor.shape().to_vec(), values: to_f32(tensor.dtype(), &bytes) };
                checkpoint.tensors.insert(name.clone(), array);
            } else {
                checkpoint.others.insert(name.clone(), format!("{:?}", tensor.dtype()));
            }
        }
        Ok(checkpoint)
    }

    /// A tensor by name.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.tensors.get(name)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The names of the tensors that are not read too.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = &str> {
        self.names().chain(self.others.keys().map(String::as_str))
    }

    /// What stands before `end` in the names that end so: the places where a network lies in the checkpoint.
    pub fn places_of(&self, end: &str) -> Vec<String> {
        self.all_names().filter_map(|name| name.strip_suffix(end)).map(str::to_owned).collect()
    }

    /// The tensors at a place, under the names that they have there.
    pub fn at(&self, place: &str) -> Self {
        self.mapped(|name| name.strip_prefix(place).map(str::to_owned))
    }

    /// The same tensors under other names.
    pub(crate) fn renamed(&self, rename: impl Fn(&str) -> String) -> Self {
        self.mapped(|name| Some(rename(name)))
    }

    /// The tensors that have a new name, under it.
    fn mapped(&self, rename: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            tensors: self.tensors.iter().filter_map(|(name, array)| Some((rename(name)?, array.clone()))).collect(),
            others: self.others.iter().filter_map(|(name, dtype)| Some((rename(name)?, dtype.clone()))).collect(),
        }
    }

    /// Refuses tensors of types that are not read, but for counters (whole numbers of 32 or 64 bits) and those that
    /// `may_be_left` excuses.
    ///
    /// # Errors
    /// Names up to three of them, their types, and what to do.
    pub(crate) fn all_are_floats(&self, may_be_left: fn(&str) -> bool) -> Result<(), Error> {
        let counts = |dtype: &str| matches!(dtype, "I64" | "I32" | "U64" | "U32" | "Bool" | "BOOL");
        let others = self.others.iter().filter(|(name, dtype)| !counts(dtype) && !may_be_left(name));
        let all: Vec<String> = others.map(|(name, dtype)| format!("`{name}` ({dtype})")).collect();
        let more = if all.len() > 3 { format!(" and {} more", all.len() - 3) } else { String::new() };
        match &all[..all.len().min(3)] {
            [] => Ok(()),
            some => Err(Error::Checkpoint(format!(
                "{}{more}: tensors of these types are not read; convert them to F32, BF16 or F16, with their scales \
                 multiplied in",
                some.join(", ")
            ))),
        }
    }

    /// How many rows a table has, with or without an axis of length one in front.
    pub(crate) fn rows(&self, name: &str) -> Option<usize> {
        match self.get(name)?.shape[..] {
            [rows, _] | [1, rows, _] => Some(rows),
            _ => None,
        }
    }

    /// How many classes a table of labels has, whose last row is the null label; 0 without a table.
    pub(crate) fn classes(&self, table: &str) -> Result<usize, Error> {
        let Some(array) = self.get(table) else { return Ok(0) };
        match self.rows(table) {
            Some(rows @ 1..) => Ok(rows - 1),
            _ => Err(Error::Checkpoint(format!("`{table}` has shape {:?}, which is no table of classes", array.shape))),
        }
    }

    /// The tensors that are asked for, in that order.
    ///
    /// # Errors
    /// Lists every one that is missing or of another shape, and every one that was not asked for and that `may_be_left`
    /// does not excuse.
    pub fn take(&self, wanted: &[(String, Vec<usize>)], may_be_left: fn(&str) -> bool) -> Result<Vec<&Array>, Error> {
        let mut wrong = Vec::new();
        let mut found = Vec::new();
        for (name, shape) in wanted {
            match self.get(name) {
                None => wrong.push(match self.others.get(name) {
                    Some(dtype) => format!("`{name}` is stored as {dtype}, which is not read"),
                    None => format!("`{name}` is missing"),
                }),
                Some(array) if array.shape != *shape => {
                    wrong.push(format!("`{name}` has shape {:?}, not {shape:?}", array.shape));
                }
                Some(array) if array.values.iter().any(|x| !x.is_finite()) => {
                    wrong.push(format!("`{name}` holds numbers that are not finite"));
                }
                Some(array) => found.push(array),
            }
        }
        let known: std::collections::BTreeSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let extra = self.names().filter(|name| !known.contains(name) && !may_be_left(name));
        wrong.extend(extra.map(|name| format!("`{name}` belongs to no part of the network")));
        match wrong.is_empty() {
            true => Ok(found),
            false => Err(Error::Checkpoint(format!("tensors do not fit: {}", wrong.join("; ")))),
        }
    }
}

impl FromIterator<(String, Array)> for Checkpoint {
    fn from_iter<I: IntoIterator<Item = (String, Array)>>(tensors: I) -> Self {
        Self { tensors: tensors.into_iter().collect(), others: BTreeMap::new() }
    }
}

/// The float types that are read; others are counters and the like.
fn float_type(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F64 => Some(DType::F64),
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}

fn to_f32(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], to_f32: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|bytes| to_f32(*bytes)).collect()
    }
    match dtype {
        DType::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        DType::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
        DType::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        _ => each(bytes, f32::from_le_bytes),
    }
}
