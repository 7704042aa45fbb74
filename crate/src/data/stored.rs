//! Pixels in a file, for sets that are larger than memory: converted once, then read row by row.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use super::digest::Digest;
use super::error::DataError;
use super::files::Files;
use super::{DataConfig, Images, Skipped, Tally, Used, label, load_parts};
use crate::data::latents::Latents;
use crate::io::{self, AtomicFile};

/// The pixels of a set of images, on the disk.
#[derive(Debug)]
pub struct Stored {
    path: PathBuf,
    file: Mutex<File>,
    /// Bytes of one image.
    values: usize,
    /// The digest of all pixels.
    digest: String,
    /// The checksum of each image.
    checksums: Vec<u64>,
    /// Whether they may stay when this is dropped.
    kept: AtomicBool,
}

/// All else about them; written last, so that it is there only when all of the pixels are.
#[derive(Serialize, Deserialize)]
struct Index {
    /// The set that was converted, and how.
    source: PathBuf,
    /// The set's files as they were then; an index of an older version does not say, and its pixels are made again.
    #[serde(default)]
    fingerprint: String,
    /// The digest of the pixels.
    #[serde(default)]
    digest: String,
    /// The checksum of each image's pixels; an index of an older version has none, and its pixels are made again.
    #[serde(default)]
    checksums: Vec<u64>,
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
    /// The digest of the pixels, as [`Digest`] makes it.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// The bytes of an image, `[channels, size, size]`.
    ///
    /// # Errors
    /// When the disk refuses, or gives other pixels than were written.
    pub fn read(&self, index: usize) -> Result<Vec<u8>, DataError> {
        let mut bytes = vec![0; self.values];
        // A reader that panicked left no half-written state behind.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let place = SeekFrom::Start((index * self.values) as u64);
        file.seek(place).and_then(|_| file.read_exact(&mut bytes)).map_err(|e| DataError::io(&self.path, e))?;
        match checksum(&bytes) == self.checksums[index] {
            true => Ok(bytes),
            false => Err(DataError::damaged(
                &self.path,
                format!("the pixels of image {index} are not what was written; remove it, and it is made again"),
            )),
        }
    }

    /// Lets the pixels stay on the disk, in place of all others in their folder: they are those of a run that goes on.
    /// Otherwise what was converted anew goes when this is dropped, and a run that was refused is as it was.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(&self) -> Result<(), DataError> {
        self.kept.store(true, Ordering::Relaxed);
        let folder = self.path.parent().unwrap_or(Path::new("."));
        for listed in indices(folder).into_iter().filter(|listed| listed.with_extension("bin") != self.path) {
            // The index first, so that it is never found beside other pixels.
            for old in [listed.clone(), listed.with_extension("bin")] {
                remove(&old)?;
            }
        }
        Ok(())
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) {
            let _ = fs::remove_file(self.path.with_extension("json"));
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn checksum(pixels: &[u8]) -> u64 {
    XxHash64::oneshot(0, pixels)
}

/// The indices of all sets in a folder.
fn indices(folder: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_index = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("pixels") && name.ends_with(".json")
    };
    let mut found: Vec<PathBuf> = names.filter(is_index).collect();
    found.sort();
    found
}

fn remove(path: &Path) -> Result<(), DataError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DataError::io(path, error)),
        _ => Ok(()),
    }
}

/// As [`load`](super::load), but with the pixels in `folder`; those of an earlier call are used again where the set's
/// path, the names, sizes and times of its files, and the settings are the same. Pixels that are made anew lie beside
/// those of an earlier call until [`Stored::keep`].
///
/// # Errors
/// As [`load`](super::load), and when the disk refuses.
pub fn load_stored(path: &Path, config: &DataConfig, folder: &Path) -> Result<Images, DataError> {
    if let Some(latents) = Latents::open(path)? {
        // They stay on the disk in any case.
        return latents.into_images(config);
    }
    let fingerprint = Files::open(path, &config.for_files())?.fingerprint()?;
    let is_of_set = |index: &Index| index.source == path && index.fingerprint == fingerprint && index.is_of(config);
    let earlier = indices(folder).into_iter().find_map(|listed| {
        let (index, pixels) = (read_index(&listed).filter(is_of_set)?, listed.with_extension("bin"));
        let is_whole = fs::metadata(&pixels).is_ok_and(|meta| meta.len() == index.bytes());
        (is_whole && index.checksums.len() == index.labels.len()).then_some((pixels, index))
    });
    let is_new = earlier.is_none();
    let (pixels, index) = match earlier {
        Some(earlier) => earlier,
        None => convert(path, fingerprint, config, folder)?,
    };
    let file = File::open(&pixels).map_err(|e| DataError::io(&pixels, e))?;
    let (channels, values) = (index.channels(), index.values());
    let (digest, checksums) = (index.digest, index.checksums);
    let kept = AtomicBool::new(!is_new);
    let stored = Stored { path: pixels, file: Mutex::new(file), values, digest, checksums, kept };
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

/// A set with the pixels of its first `most` images alone, for a rehearsal that keeps no more in memory and writes
/// nothing; all else is of the whole set. [`Images::truncate`] makes it a set of these.
///
/// # Errors
/// As [`load`](super::load).
pub fn load_sample(path: &Path, config: &DataConfig, most: usize) -> Result<Images, DataError> {
    if let Some(latents) = Latents::open(path)? {
        return latents.into_images(config);
    }
    let (mut images, mut of_class, mut used) = (Images::default(), Vec::new(), Used::default());
    (images.size, images.channels) = (config.size, config.planes());
    let whole = load_parts(path, config, &mut |mut part| {
        if config.channels == 0 {
            used = used.or(Used::by(&part.pixels, config));
        }
        of_class.extend(part.class_names());
        let wanted = most.saturating_sub(images.names.len()).min(part.len());
        images.pixels.extend_from_slice(&part.pixels[..wanted * config.values()]);
        images.names.append(&mut part.names);
        images.skipped.append(&mut part.skipped);
        images.tally.merge(part.tally);
        Ok(())
    })?;
    if config.channels == 0 {
        images.keep_channels(used.channels());
    }
    (images.labels, images.classes) = label(&of_class, &whole.classes);
    images.notes = whole.notes;
    Ok(images)
}

/// Writes the pixels of a set into a folder, under a name that is free; returns where they lie, and what they are.
fn convert(
    path: &Path,
    fingerprint: String,
    config: &DataConfig,
    folder: &Path,
) -> Result<(PathBuf, Index), DataError> {
    io::create_folder(folder).map_err(DataError::Write)?;
    let names = std::iter::once("pixels.bin".to_owned()).chain((2..).map(|i| format!("pixels-{i}.bin")));
    let free = |path: &PathBuf| !path.exists() && !path.with_extension("json").exists();
    let pixels = names.map(|name| folder.join(name)).find(free).unwrap_or_default();
    let mut file = AtomicFile::create(&pixels).map_err(DataError::Write)?;
    let mut of_class = Vec::new();
    let mut index = Index {
        source: path.to_path_buf(),
        fingerprint,
        digest: String::new(),
        checksums: Vec::new(),
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
    let mut digest = Digest::default();
    let whole = load_parts(path, &index.config.clone(), &mut |part| {
        if config.channels == 0 {
            used = used.or(Used::by(&part.pixels, config));
        }
        file.write_all(&part.pixels).map_err(DataError::Write)?;
        digest.add(&part.pixels);
        index.checksums.extend(part.pixels.chunks_exact(config.values()).map(checksum));
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
    }
    if index.channels < config.planes() {
        (digest, index.checksums) = narrow(&pixels, config, index.channels).map_err(|e| DataError::io(&pixels, e))?;
    }
    index.digest = digest.finish();
    if !index.captions.is_empty() {
        index.captions.resize(index.names.len(), String::new());
    }
    (index.labels, index.classes) = label(&of_class, &whole.classes);
    index.notes = whole.notes;
    let text = serde_json::to_vec(&index).map_err(|e| DataError::Config(e.to_string()))?;
    io::write_atomic(&pixels.with_extension("json"), &text).map_err(DataError::Write)?;
    Ok((pixels, index))
}

/// Drops all but the first planes of the images in a file; returns the digest and the checksums of what stays.
fn narrow(pixels: &Path, config: &DataConfig, channels: usize) -> std::io::Result<(Digest, Vec<u64>)> {
    let values = channels * config.size * config.size;
    let mut from = BufReader::new(File::open(pixels)?);
    let mut to = AtomicFile::create(pixels)?;
    let (mut digest, mut checksums) = (Digest::default(), Vec::new());
    let mut image = vec![0; config.values()];
    while from.fill_buf().map(|rest| !rest.is_empty())? {
        from.read_exact(&mut image)?;
        let kept = &image[..values];
        to.write_all(kept)?;
        digest.add(kept);
        checksums.push(checksum(kept));
    }
    to.commit().map(|()| (digest, checksums))
}
