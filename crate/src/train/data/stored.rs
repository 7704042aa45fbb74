//! Pixels in a file, for sets that are larger than memory: converted once, then read row by row.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::{DataConfig, Images, Skipped, Tally, Used, label, load_parts};
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
    /// Channels of the pixels; 0 in files that leave it to the settings.
    #[serde(default)]
    channels: usize,
    #[serde(default)]
    captions: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    tally: Tally,
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

/// As [`load`](super::load), but with the pixels in `folder`; those of an earlier call are used again where the set's
/// path and the settings are the same.
///
/// # Errors
/// As [`load`](super::load), and when the disk refuses.
pub fn load_stored(path: &Path, config: &DataConfig, folder: &Path) -> Result<Images, DataError> {
    let (pixels, listed) = (folder.join("pixels.bin"), folder.join("pixels.json"));
    let index = match read_index(&listed).filter(|index| index.source == path && index.is_of(config)) {
        Some(index) if fs::metadata(&pixels).is_ok_and(|meta| meta.len() == index.bytes()) => index,
        _ => convert(path, config, folder, &pixels, &listed)?,
    };
    let file = File::open(&pixels).map_err(|e| DataError::io(&pixels, e))?;
    let stored = Stored { path: pixels, file: Mutex::new(file), values: index.values() };
    let channels = index.channels();
    let Index { labels, classes, names, skipped, captions, notes, tally, .. } = index;
    Ok(Images {
        size: config.size,
        channels,
        stored: Some(Arc::new(stored)),
        labels,
        classes,
        names,
        captions,
        skipped,
        notes,
        tally,
        ..Images::default()
    })
}

impl Index {
    /// Whether the pixels are as these settings want them; the settings of a run name the channels that were found.
    fn is_of(&self, config: &DataConfig) -> bool {
        let found = DataConfig { channels: self.channels(), ..self.config.clone() };
        self.config == *config || self.config.channels == 0 && found == *config
    }

    fn channels(&self) -> usize {
        if self.channels == 0 { self.config.planes() } else { self.channels }
    }

    /// Bytes of one image.
    fn values(&self) -> usize {
        self.channels() * self.config.size * self.config.size
    }

    /// Bytes of all.
    fn bytes(&self) -> u64 {
        (self.labels.len() * self.values()) as u64
    }
}

fn read_index(path: &Path) -> Option<Index> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn convert(path: &Path, config: &DataConfig, folder: &Path, pixels: &Path, listed: &Path) -> Result<Index, DataError> {
    io::create_folder(folder).map_err(DataError::Write)?;
    let mut file = AtomicFile::create(pixels).map_err(DataError::Write)?;
    let mut of_class = Vec::new();
    let mut index = Index {
        source: path.to_path_buf(),
        config: config.clone(),
        labels: Vec::new(),
        classes: Vec::new(),
        names: Vec::new(),
        skipped: Vec::new(),
        channels: config.planes(),
        captions: Vec::new(),
        notes: Vec::new(),
        tally: Tally::default(),
    };
    let mut used = Used::default();
    let whole = load_parts(path, &index.config.clone(), &mut |part| {
        if config.channels == 0 {
            used = used.or(Used::by(&part.pixels, config));
        }
        file.write_all(&part.pixels).map_err(DataError::Write)?;
        of_class.extend(part.class_names());
        if !part.captions.is_empty() {
            index.captions.resize(index.names.len(), String::new());
            index.captions.extend(part.captions);
        }
        index.names.extend(part.names);
        index.tally.merge(part.tally);
        index.skipped.extend(part.skipped);
        Ok(())
    })?;
    file.commit().map_err(DataError::Write)?;
    if config.channels == 0 {
        index.channels = used.channels();
        narrow(pixels, config, index.channels).map_err(|e| DataError::io(pixels, e))?;
    }
    if !index.captions.is_empty() {
        index.captions.resize(index.names.len(), String::new());
    }
    (index.labels, index.classes) = label(&of_class, &whole.classes);
    index.notes = whole.notes;
    let text = serde_json::to_vec(&index).map_err(|e| DataError::Config(e.to_string()))?;
    io::write_atomic(listed, &text).map_err(DataError::Write)?;
    Ok(index)
}

/// Drops all but the first planes of the images in a file.
fn narrow(pixels: &Path, config: &DataConfig, channels: usize) -> std::io::Result<()> {
    let plane = config.size * config.size;
    if channels == config.planes() {
        return Ok(());
    }
    let mut from = BufReader::new(File::open(pixels)?);
    let mut to = AtomicFile::create(pixels)?;
    let mut image = vec![0; config.values()];
    while from.fill_buf().map(|rest| !rest.is_empty())? {
        from.read_exact(&mut image)?;
        to.write_all(&image[..channels * plane])?;
    }
    to.commit()
}
