//! Opening checkpoints of PyTorch, of which some hold types that the reader does not know.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use pytorch_reader::{PickleError, PytorchError, PytorchReader};
use tempfile::NamedTempFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::container;
use crate::error::Error;
use crate::io::{catch_decoder_panic, foreign, open_regular};

/// A checkpoint that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub reader: PytorchReader,
    /// Bytes of the file.
    pub length: u64,
    /// The copy that it is read from, where there is one; removed with this.
    _copy: Option<NamedTempFile>,
}

/// Opens a checkpoint. Complex tensors, which the reader has no type for, are there as whole numbers of the same names.
///
/// # Errors
/// When it is none, or holds tensors of other types that are not read: the message names the type.
pub(super) fn open(path: &Path) -> Result<Opened, Error> {
    let (file, length) = open_regular(path)?;
    let mut head = Vec::new();
    // What cannot be read says so below.
    let _ = file.take(64).read_to_end(&mut head);
    if let Some(reason) = foreign(&head) {
        return Err(Error::Checkpoint(reason.into()));
    }
    let neither = |reason: &dyn std::fmt::Display| {
        Error::Checkpoint(format!(
            "neither a safetensors file nor a checkpoint of PyTorch that holds tensors ({reason})"
        ))
    };
    container::check(path, length, MAX_PICKLE).map_err(|reason| neither(&reason))?;
    match catch_decoder_panic(|| Ok(PytorchReader::new(path))).map_err(|reason| neither(&reason))? {
        Ok(reader) => Ok(Opened { reader, length, _copy: None }),
        Err(PytorchError::Pickle(PickleError::UnsupportedType(dtype))) if dtype.starts_with("torch.Complex") => {
            let failed = |e: &dyn std::fmt::Display| {
                Error::Checkpoint(format!(
                    "it holds complex tensors, and a copy without them cannot be made in {} ({e}); save it again \
                     without them, or let TMPDIR name a folder with more room",
                    std::env::temp_dir().display()
                ))
            };
            let copy = without_complex(path).map_err(|e| failed(&e))?;
            let reader = PytorchReader::new(copy.path()).map_err(|e| failed(&e))?;
            Ok(Opened { reader, length, _copy: Some(copy) })
        }
        Err(PytorchError::Pickle(PickleError::UnsupportedType(dtype))) => Err(Error::Checkpoint(format!(
            "it holds tensors of {dtype}, which are not read; convert them to float32, bfloat16 or float16"
        ))),
        Err(e) => Err(neither(&e)),
    }
}

/// The names of complex types in the pickle, and of one of at most their size that the reader knows.
const COMPLEX: [&[u8]; 2] = [b"ctorch\nComplexFloatStorage\n", b"ctorch\nComplexDoubleStorage\n"];
const WHOLE: &[u8] = b"ctorch\nLongStorage\n";

/// The largest pickle that is looked at: of thousands of names and shapes it has a few megabytes, and reading it takes
/// a hundred times its bytes.
const MAX_PICKLE: u64 = 16 << 20;

/// A copy of a checkpoint (a zip archive, `torch.save` of PyTorch 1.6 and later) in which complex tensors are called
/// whole numbers.
fn without_complex(path: &Path) -> Result<NamedTempFile, Box<dyn std::error::Error>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut archive = ZipArchive::new(file)?;
    let mut stored = 0_u64;
    for i in 0..archive.len() {
        stored = stored.saturating_add(archive.by_index_raw(i)?.compressed_size());
    }
    if stored > size {
        return Err("its entries overlap".into());
    }
    let mut copy = ZipWriter::new(NamedTempFile::with_suffix(".pth")?);
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i)?;
        let name = entry.name()?.into_owned();
        if name != "data.pkl" && !name.ends_with("/data.pkl") {
            drop(entry);
            copy.raw_copy_file(archive.by_index_raw(i)?)?;
            continue;
        }
        let mut pickle = Vec::new();
        if entry.by_ref().take(MAX_PICKLE).read_to_end(&mut pickle)? as u64 == MAX_PICKLE {
            return Err("its pickle is too large".into());
        }
        copy.start_file(name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored))?;
        copy.write_all(&COMPLEX.iter().fold(pickle, |pickle, complex| replaced(&pickle, complex, WHOLE)))?;
    }
    Ok(copy.finish()?)
}

/// Bytes with every `from` in them replaced.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut result, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    result.extend_from_slice(rest);
    result
}
