//! Pixels in a file, for sets that are larger than memory: converted once, then read row by row.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::{DataConfig, Images, Skipped, label, load_parts};
use crate::io::{self, AtomicFile};

/// The pixels of a set of images, on the disk.
#[derive(Debug)]
pub struct Stored {
    path: PathBuf,
    file: Mutex<File>,
    /// Bytes of one image.
    values: usize,
}

/// All else about them; written last, so that it is there only when all of the pixels are.
#[derive(Serialize, Deserialize)]
struct Index {
    /// The set that was converted, and how.
    source: PathBuf,
    config: DataConfig,
    labels: Vec<u32>,
    classes: Vec<String>,
    names: Vec<String>,
    skipped: Vec<Skipped>,
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Stored {
    /// The bytes of an image, `[channels, size, size]`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn read(&self, index: usize) -> Result<Vec<u8>, DataError> {
        let mut bytes = vec![0; self.values];
        // A reader that panicked left no half-written state behind.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let place = SeekFrom::Start((index * self.values) as u64);
        file.seek(place).and_then(|_| file.read_exact(&mut bytes)).map_err(|e| DataError::io(&self.path, e))?;
        Ok(bytes)
    }
}

/// As [`load`](super::load), but with the pixels in `folder`; those of an earlier call are used again where the set's path
/// and the settings are the same.
///
/// # Errors
/// As [`load`](super::load), and when the disk refuses.
pub fn load_stored(path: &Path, config: &DataConfig, folder: &Path) -> Result<Images, DataError> {
    let (pixels, listed) = (folder.join("pixels.bin"), folder.join("pixels.json"));
    let index = match read_index(&listed).filter(|index| index.source == path && index.config == *config) {
        Some(index) if fs::metadata(&pixels).is_ok_and(|meta| meta.len() == bytes(&index)) => index,
        _ => convert(path, config, folder, &pixels, &listed)?,
    };
    let file = File::open(&pixels).map_err(|e| DataError::io(&pixels, e))?;
    let stored = Stored { path: pixels, file: Mutex::new(file), values: config.values() };
    let Index { labels, classes, names, skipped, .. } = index;
    Ok(Images {
        size: config.size,
        channels: config.channels,
        stored: Some(Arc::new(stored)),
        labels,
        classes,
        names,
        skipped,
        ..Images::default()
    })
}

fn bytes(index: &Index) -> u64 {
    (index.labels.len() * index.config.values()) as u64
}

fn read_index(path: &Path) -> Option<Index> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn convert(path: &Path, config: &DataConfig, folder: &Path, pixels: &Path, listed: &Path) -> Result<Index, DataError> {
    io::create_folder(folder).map_err(DataError::Write)?;
    let mut file = AtomicFile::create(pixels).map_err(DataError::Write)?;
    let mut of_class = Vec::new();
    let (source, config) = (path.to_path_buf(), config.clone());
    let mut index =
        Index { source, config, labels: Vec::new(), classes: Vec::new(), names: Vec::new(), skipped: Vec::new() };
    let order = load_parts(path, &index.config.clone(), &mut |part| {
        file.write_all(&part.pixels).map_err(DataError::Write)?;
        of_class.extend(part.class_names());
        index.names.extend(part.names);
        index.skipped.extend(part.skipped);
        Ok(())
    })?;
    file.commit().map_err(DataError::Write)?;
    (index.labels, index.classes) = label(&of_class, &order);
    let text = serde_json::to_vec(&index).map_err(|e| DataError::Config(e.to_string()))?;
    io::write_atomic(listed, &text).map_err(DataError::Write)?;
    Ok(index)
}
