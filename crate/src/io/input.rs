//! Files that are read: only regular ones, and never more of one than there may be memory for.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use safetensors::tensor::{Metadata, TensorInfo};

use super::foreign::lfs_pointer;
use super::memory::check_memory;
use crate::error::Error;

/// The most bytes of the header of a safetensors file; the safetensors crate's bound.
const MAX_HEADER: u64 = 100_000_000;

/// Opens a regular file to read, and says how long it is. A pipe would be waited for without end, and a device may have
/// none.
///
/// # Errors
/// When it is something else, or the disk refuses.
pub fn open_regular(path: &Path) -> Result<(File, u64), Error> {
    let unreadable = |e: std::io::Error| Error::Request(format!("cannot read {}: {e}", path.display()));
    let meta = path.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Error::Request(format!("cannot read {}: it is no regular file", path.display())));
    }
    Ok((File::open(path).map_err(unreadable)?, meta.len()))
}

/// The content of a regular file.
///
/// # Errors
/// When it is something else, such as a pointer of Git LFS, is larger than the memory that there may be, or the disk
/// refuses.
pub fn read_whole(path: &Path) -> Result<Vec<u8>, Error> {
    let (file, length) = open_regular(path)?;
    check_memory(path.display(), &[length])?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // Not more than was there when it was measured.
    let read = file.take(length).read_to_end(&mut bytes);
    read.map_err(|e| Error::Request(format!("cannot read {}: {e}", path.display())))?;
    match lfs_pointer(&bytes) {
        Some(reason) => Err(Error::Request(format!("{} {reason}", path.display()))),
        None => Ok(bytes),
    }
}

/// A safetensors file of which the header has been read and checked; tensors are read when they are wanted.
#[derive(Debug)]
pub struct SafetensorsFile {
    file: Mutex<File>,
    metadata: Metadata,
    /// Where the tensors begin.
    start: u64,
    name: String,
}

impl SafetensorsFile {
    /// Opens a file; `None` for what does not begin like a safetensors file.
    ///
    /// # Errors
    /// When its header contradicts itself or the length of the file, or the disk refuses.
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        let name = path.display().to_string();
        let wrong = |reason: String| Error::Request(format!("{name}: {reason}"));
        let (mut file, length) = open_regular(path)?;
        let mut head = [0; 9];
        if file.read_exact(&mut head).is_err() || head[8] != b'{' {
            return Ok(None);
        }
        let size = head.first_chunk().map_or(0, |size| u64::from_le_bytes(*size));
        if size > MAX_HEADER {
            return Ok(None);
        }
        let start = 8 + size;
        if start > length {
            return Err(wrong("truncated, or no safetensors file (its header is longer than the file)".into()));
        }
        let mut text = vec![0; size as usize];
        file.seek(SeekFrom::Start(8)).and_then(|_| file.read_exact(&mut text)).map_err(|e| wrong(e.to_string()))?;
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|e: serde_json::Error| match e.is_data() {
            true => wrong(format!("its header describes tensors of no known shape or place ({e})")),
            false => wrong(format!("truncated, or no safetensors file (its header does not read: {e})")),
        })?;
        match start.checked_add(metadata.data_len() as u64) == Some(length) {
            true => Ok(Some(Self { file: Mutex::new(file), metadata, start, name })),
            false => Err(wrong("it does not end where its header says: truncated?".into())),
        }
    }

    /// What its header says beside the tensors.
    pub fn metadata(&self) -> Option<&HashMap<String, String>> {
        self.metadata.metadata().as_ref()
    }

    /// Its tensors, by name.
    pub fn tensors(&self) -> HashMap<String, &TensorInfo> {
        self.metadata.tensors()
    }

    /// Where the bytes of a tensor lie in the file, and how many there are: all of them within the file.
    pub fn place(&self, tensor: &TensorInfo) -> (u64, u64) {
        let (from, to) = tensor.data_offsets;
        (self.start + from as u64, (to - from) as u64)
    }

    /// The bytes of a tensor.
    ///
    /// # Errors
    /// When they are more than the memory that there may be, or the disk refuses.
    pub fn read(&self, tensor: &TensorInfo) -> Result<Vec<u8>, Error> {
        let (start, length) = self.place(tensor);
        check_memory(format_args!("a tensor of {}", self.name), &[length])?;
        let mut bytes = vec![0; length as usize];
        self.read_at(start, &mut bytes).map_err(|e| Error::Request(format!("{}: {e}", self.name)))?;
        Ok(bytes)
    }

    /// Bytes from a place on.
    ///
    /// # Errors
    /// When the disk refuses, or the file has become shorter.
    pub fn read_at(&self, start: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        // A reader that panicked left no half-written state behind.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(bytes))
    }
}
