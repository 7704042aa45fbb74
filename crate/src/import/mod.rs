//! Checkpoints of other programs: PyTorch's `.pth` and `.pt` (read, never executed) and safetensors. Native only.

mod container;
mod detect;
mod dit;
mod in_context;
mod pytorch;
mod tensor_map;
mod unet;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};
use pytorch_reader::DType;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use crate::error::Error;
use crate::io::{SafetensorsFile, catch_decoder_panic, check_memory};

pub use detect::{ImportChoice, import, left_out};

/// The float tensors of a checkpoint, by name; nested dictionaries are joined by dots. Their values are read when they
/// are wanted, so that names and shapes are looked at before.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    tensors: BTreeMap<String, TensorEntry>,
    /// Tensors of types that are not read, with the names of their types: counters, and what is named in an error.
    others: BTreeMap<String, String>,
}

/// A tensor of a checkpoint, whose values need not have been read.
#[derive(Clone, Debug)]
pub struct TensorEntry {
    /// Its shape.
    pub shape: Vec<usize>,
    source: Source,
}

/// Where the values of a tensor are.
#[derive(Clone, Debug)]
enum Source {
    Memory(Arc<Vec<f32>>),
    Safetensors(Arc<SafetensorsFile>, TensorInfo, DType),
    /// The file stays open, and a copy of it there, for as long as this is.
    Pytorch {
        tensor: Box<pytorch_reader::Tensor>,
        _opened: Arc<pytorch::Opened>,
    },
}

impl TensorEntry {
    /// Its values as f32, row by row.
    fn values(&self) -> Result<Vec<f32>, String> {
        let values = match &self.source {
            Source::Memory(values) => values.to_vec(),
            Source::Safetensors(file, info, dtype) => to_f32(*dtype, &file.read(info).map_err(|e| e.to_string())?),
            Source::Pytorch { tensor, .. } => {
                let bytes = catch_decoder_panic(|| tensor.read().map_err(|e| format!("cannot be read: {e}")))?;
                to_f32(tensor.dtype(), &bytes)
            }
        };
        match values.iter().all(|x| x.is_finite()) {
            true => Ok(values),
            false => Err("holds numbers that are not finite".into()),
        }
    }
}

/// A tensor in memory, as f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, row by row.
    pub values: Vec<f32>,
}

/// How many times the bytes of its file the tensors of a checkpoint may take: some are the same under two names.
const MAX_SHARED: u64 = 4;

impl Checkpoint {
    /// Reads the names and shapes of a file. What it is shows in its content, not in its name.
    ///
    /// # Errors
    /// When it cannot be read, or is neither a checkpoint of PyTorch nor safetensors.
    pub fn open(path: &Path) -> Result<Self, Error> {
        match SafetensorsFile::open(path)? {
            Some(file) => Ok(Self::from_safetensors(file)),
            None => Self::from_pytorch(path),
        }
    }

    fn from_safetensors(file: SafetensorsFile) -> Self {
        let file = Arc::new(file);
        let mut checkpoint = Self::default();
        for (name, info) in file.tensors() {
            match float_type(info.dtype) {
                Some(dtype) => {
                    let source = Source::Safetensors(file.clone(), info.clone(), dtype);
                    checkpoint.tensors.insert(name, TensorEntry { shape: info.shape.clone(), source });
                }
                None => drop(checkpoint.others.insert(name, info.dtype.to_string())),
            }
        }
        checkpoint
    }

    fn from_pytorch(path: &Path) -> Result<Self, Error> {
        let opened = Arc::new(pytorch::open(path)?);
        let mut checkpoint = Self::default();
        let mut total = 0_u64;
        for (name, tensor) in opened.reader.tensors() {
            if matches!(tensor.dtype(), DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
                let bytes = tensor.byte_len() as u64;
                if bytes > opened.length {
                    return Err(Error::Checkpoint(format!(
                        "tensor `{name}` of shape {:?} takes {bytes} bytes, but the file has {}: its strides repeat values",
                        tensor.shape(),
                        opened.length
                    )));
                }
                total = total.saturating_add(bytes);
                let source = Source::Pytorch { tensor: Box::new(tensor.clone()), _opened: opened.clone() };
                checkpoint.tensors.insert(name.clone(), TensorEntry { shape: tensor.shape().to_vec(), source });
            } else {
                checkpoint.others.insert(name.clone(), format!("{:?}", tensor.dtype()));
            }
        }
        if total > opened.length.saturating_mul(MAX_SHARED) {
            return Err(Error::Checkpoint(format!(
                "its tensors take {total} bytes, but the file has {}: they share more values than those of a network do",
                opened.length
            )));
        }
        Ok(checkpoint)
    }

    /// A tensor by name.
    pub fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.get(name)
    }

    /// A tensor with its values.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or holds numbers that are not finite.
    pub fn read(&self, name: &str) -> Result<Array, Error> {
        let tensor = self.get(name).ok_or_else(|| Error::Checkpoint(format!("`{name}` is missing")))?;
        let values = tensor.values().map_err(|reason| Error::Checkpoint(format!("`{name}` {reason}")))?;
        Ok(Array { shape: tensor.shape.clone(), values })
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
    /// does not excuse; and, read one after another, every one that is damaged. All of them must fit into memory.
    pub fn take(&self, wanted: &[(String, Vec<usize>)], may_be_left: fn(&str) -> bool) -> Result<Vec<Array>, Error> {
        let mut wrong = self.misfits(wanted, may_be_left);
        let values = |shape: &[usize]| shape.iter().fold(1_u64, |all, &size| all.saturating_mul(size as u64));
        let fits = |(name, shape): &&(String, Vec<usize>)| self.get(name).is_some_and(|tensor| tensor.shape == *shape);
        let total = wanted.iter().filter(fits).fold(0_u64, |total, (_, shape)| total.saturating_add(values(shape)));
        // Twice: as they are read, and in the network.
        check_memory("the network of the checkpoint", &[total, 2, size_of::<f32>() as u64])?;
        let mut found = Vec::new();
        for (name, _) in wanted.iter().filter(fits) {
            match self.read(name) {
                Ok(array) if wrong.is_empty() => found.push(array),
                // What is not used does not stay in memory.
                Ok(_) => {}
                Err(Error::Checkpoint(reason)) => wrong.push(reason),
                Err(other) => return Err(other),
            }
        }
        match wrong.is_empty() {
            true => Ok(found),
            false => Err(Error::Checkpoint(format!("tensors do not fit: {}", wrong.join("; ")))),
        }
    }

    /// What is wrong with the names and the shapes.
    fn misfits(&self, wanted: &[(String, Vec<usize>)], may_be_left: fn(&str) -> bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, shape) in wanted {
            match self.get(name) {
                None => wrong.push(match self.others.get(name) {
                    Some(dtype) => format!("`{name}` is stored as {dtype}, which is not read"),
                    None => format!("`{name}` is missing"),
                }),
                Some(tensor) if tensor.shape != *shape => {
                    wrong.push(format!("`{name}` has shape {:?}, not {shape:?}", tensor.shape));
                }
                Some(_) => {}
            }
        }
        let known: std::collections::BTreeSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let extra = self.names().filter(|name| !known.contains(name) && !may_be_left(name));
        wrong.extend(extra.map(|name| format!("`{name}` belongs to no part of the network")));
        wrong
    }
}

impl FromIterator<(String, Array)> for Checkpoint {
    fn from_iter<I: IntoIterator<Item = (String, Array)>>(tensors: I) -> Self {
        let entry =
            |(name, Array { shape, values })| (name, TensorEntry { shape, source: Source::Memory(values.into()) });
        Self { tensors: tensors.into_iter().map(entry).collect(), others: BTreeMap::new() }
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
