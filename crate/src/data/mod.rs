//! Sets of images, as files, to training images.
//!
//! A set is a folder (searched through all its folders), the same inside a `.tar` (also compressed) or `.zip`, several
//! of these archives, MNIST-style IDX files, CIFAR-10 and CIFAR-100 files, Parquet or Arrow files with a column of
//! pictures, as the Hugging Face hub ships sets, or NumPy arrays. What it is shows in its content, not in its name.
//! Picture files come in the order of their names, so a set loads the same everywhere, packed or not; the images of the
//! other formats come in the order of their records.
//!
//! # Names and classes
//! - A name is a path inside the set. Leading folders that hold all of it are not part of it, and neither are those
//!   that name splits (`train`, `val`, `test`): one split is taken, the training one unless the settings choose
//!   another.
//! - The class is the first `class_depth` folders of the name. If no image lies in a folder, the set has no classes; if
//!   only some do, that is an error.
//! - Labels and captions may lie beside the images, and then folders are no classes; see `labels.rs`.
//! - In the other formats the class is the label, and names read `class/number`.
//! - Hidden files, what systems and unfinished downloads leave behind, folders of training runs, and files that are no
//!   images are not looked at; [`Images::notes`] counts them. An image that cannot be read is skipped and listed in
//!   [`Images::skipped`]; more than `max_unreadable` of them, 1 % by default, is an error.
//!
//! # Layers
//! A set may also be of parts, whose pictures are drawn: each is one part of every folder of [`Layers`], laid over one
//! another. Its name is those of its parts, its class that of one of them.
//!
//! # Conversion
//! 1. Every image becomes 8-bit RGBA, whatever its depth, palette or grey; photographs are turned upright by their EXIF
//!    orientation; of an animation the first frame counts.
//! 2. It becomes square by [`Fit`]: by default it is cropped to the centred square, so a 32×48 image of a 32-pixel set
//!    loses 8 rows above and below.
//! 3. If the edge differs from `size`, it is scaled: by repeating pixels where `size` is a multiple of the edge, as
//!    pixel art needs, else with the antialiased cubic filter (Catmull-Rom), colours weighted by alpha.
//!    With `fit = "adm"` 2 and 3 are ADM's instead ([`Fit::Adm`]); photographs are turned upright there too, which
//!    ADM's code leaves out.
//! 4. With 4 channels alpha stays straight, and fully transparent pixels take the colour `background`, because files
//!    carry arbitrary colours there that nobody sees and the network would otherwise learn. With 3 channels, or 1
//!    (Rec. 709 luma), the image is laid over `background`.

mod archive;
mod build;
mod captions;
mod columns;
mod convert;
mod decode;
mod digest;
mod error;
mod files;
mod formats;
mod jpeg;
mod labels;
pub mod latents;
mod layers;
mod layout;
mod notes;
mod paths;
mod resample;
mod shards;
mod stored;
mod summary;
mod tar;
mod zip;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use build::label;
pub use captions::{lines as caption_lines, normalize as normalize_text};
pub use convert::Fit;
pub(crate) use digest::{Digest, sha256};
pub use error::DataError;
use files::Files;
pub use layers::{Exchange, HeldOut, LayerSet, Layers};
pub use stored::{Stored, load_sample, load_stored};
pub use summary::Tally;

use crate::data::latents::Latents;
use crate::model::from_byte;
use crate::model::weights::Normalization;

/// How files become training images: the `[data]` table of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Edge of the square training images, in pixels.
    pub size: usize,
    /// 4 = RGBA, 3 = RGB, 1 = grey; 0 = what the images have: grey where all are, RGB where nothing is transparent.
    pub channels: usize,
    /// How many leading folders name the class; 0 = no classes.
    pub class_depth: usize,
    /// Which of the splits that folders or files are named after to take: `train`, `validation`, `test`, the name of a
    /// folder beside those, or `all`; the training split if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Files or folders inside the set to take, `*` standing for any characters; all when empty.
    pub include: Vec<String>,
    /// Files or folders inside the set to leave out, written alike.
    pub exclude: Vec<String>,
    /// The colour (red, green, blue) behind what is transparent.
    pub background: [u8; 3],
    /// How images become square: `"crop"`, `"pad"`, `"squeeze"`, or `"adm"` (ADM's crop of ImageNet, as Pillow makes
    /// it).
    pub fit: Fit,
    /// The column that holds the images, in tables where none is called `image` or alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_column: Option<String>,
    /// The column, or the key of JSON files, that holds the classes, where none is called `label` or alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_column: Option<String>,
    /// The column, or the key of JSON files, that holds the captions, where none is called `caption` or `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption_column: Option<String>,
    /// The share of images that may be unreadable, 0 to 1: so many are skipped, more are an error.
    pub max_unreadable: f64,
    /// Whether training mirrors half of the images, drawn anew each time.
    pub flip: bool,
    /// How latents are normalized, channel by channel: `"sd"` (times 0.18215), `"imf"` (the statistics of improved
    /// MeanFlow's authors), `{ scale = 0.13 }`, or `{ mean = […], std = […] }` of each channel. A file of latents holds
    /// what the autoencoder gave, so this applies to any such file; without it the file's own is taken, and `meanflow
    /// encode` writes `"sd"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalization: Option<Normalization>,
    /// Pictures made of parts, instead of the files themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Layers>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            size: 32,
            channels: 0,
            class_depth: 1,
            split: None,
            include: Vec::new(),
            exclude: Vec::new(),
            background: [255; 3],
            fit: Fit::Crop,
            image_column: None,
            label_column: None,
            caption_column: None,
            max_unreadable: 0.01,
            flip: false,
            normalization: None,
            layers: None,
        }
    }
}

impl DataConfig {
    /// Bytes of one image.
    fn values(&self) -> usize {
        self.planes() * self.size * self.size
    }

    /// The channels to read images with: all, as long as it is not known which are needed.
    pub(crate) fn planes(&self) -> usize {
        if self.channels == 0 { 4 } else { self.channels }
    }

    /// Makes the parts of this folder, which may be called as in captions, the classes of pictures of layers.
    ///
    /// # Errors
    /// Settings without layers, or a folder that is none of them.
    pub fn set_class_layer(&mut self, folder: &str) -> Result<(), DataError> {
        match &mut self.layers {
            Some(layers) => layers.class = Some(layers.folders[layers.position(folder)?].clone()),
            None => return Err(DataError::Config("--layer is for settings with [data.layers]".into())),
        }
        Ok(())
    }

    /// Takes the classes from this column, or key of JSON files, also where the settings take none.
    ///
    /// # Errors
    /// For images made of layers, whose classes are the parts of a layer.
    pub fn set_label_column(&mut self, name: &str) -> Result<(), DataError> {
        if self.layers.is_some() {
            return Err(DataError::Config("--label is for settings without [data.layers]; see --layer".into()));
        }
        self.label_column = Some(name.to_owned());
        self.class_depth = self.class_depth.max(1);
        Ok(())
    }

    /// What the classes are called: the column that they are taken from, or what their layer is called in captions.
    pub fn class_column(&self) -> Option<String> {
        match &self.layers {
            Some(layers) => layers.class.as_deref().map(layers::name),
            None => self.label_column.clone(),
        }
    }

    /// Whether combinations of layers are held out of training; the split then chooses among combinations.
    pub fn holds_out(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.held_out.is_some())
    }

    /// What files are chosen by.
    fn for_files(&self) -> Self {
        Self { split: self.split.clone().filter(|_| !self.holds_out()), ..self.clone() }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the field that is out of range.
    pub fn validate(&self) -> Result<(), DataError> {
        if !(0.0..=1.0).contains(&self.max_unreadable) {
            return Err(DataError::Config(format!("max_unreadable must be 0 to 1, not {}", self.max_unreadable)));
        }
        match (self.size, self.channels, &self.layers) {
            (1..=1024, 0 | 1 | 3 | 4, layers) => layers.as_ref().map_or(Ok(()), Layers::validate),
            (1..=1024, channels, _) => Err(DataError::Config(format!("channels must be 1, 3 or 4, not {channels}"))),
            (size, ..) => Err(DataError::Config(format!("size must be 1 to 1024, not {size}"))),
        }
    }
}

/// Training images, in memory or in a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Images {
    /// Edge, in pixels.
    pub size: usize,
    /// 4 = RGBA, 3 = RGB, 1 = grey.
    pub channels: usize,
    /// `[count, channels, size, size]`; alpha is straight. Empty for latents, and where they are on the disk.
    pub pixels: Vec<u8>,
    /// The pixels, where they are on the disk.
    pub stored: Option<Arc<Stored>>,
    /// Where the images are latents, the file that they are drawn from.
    pub latents: Option<Arc<Latents>>,
    /// For each image the index of its class; 0 where there are no classes.
    pub labels: Vec<u32>,
    /// Names of the classes, none of them without images; empty for a set without classes.
    pub classes: Vec<String>,
    /// Names of the images inside their set.
    pub names: Vec<String>,
    /// What describes each image, empty where nothing does; empty as a whole where that is so of all. Several captions
    /// of an image are a line each.
    pub captions: Vec<String>,
    /// The words that have rows of their own in a network that is conditioned on text, in alphabetical order; see
    /// [`Self::captioned`].
    pub vocabulary: Vec<String>,
    /// Images of the set that could not be read.
    pub skipped: Vec<Skipped>,
    /// What else a user should know about the set, a line each.
    pub notes: Vec<String>,
    /// What was done to the images so that they fit.
    pub tally: Tally,
}

/// The classes of a set's images by one of its columns, or by one of its layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelColumn {
    /// The column, or what the layer is called in captions; none where the settings choose.
    pub name: Option<String>,
    /// For each image the index of its class.
    pub labels: Vec<u32>,
    /// Names of the classes.
    pub classes: Vec<String>,
}

/// An image that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name inside the set.
    pub name: String,
    /// Why not.
    pub reason: String,
}

impl Images {
    /// Images from a source of one's own, in memory.
    ///
    /// # Shapes
    /// `pixels`: `[count, channels, size, size]`, with 1 channel (grey), 3 (RGB) or 4 (RGBA, straight alpha); `labels`:
    /// `[count]`, the index of each image's class. Without classes all labels are 0.
    ///
    /// # Errors
    /// Another number of channels, no images, pixels that are not as many as the shapes say, or labels without a class.
    pub fn new(
        size: usize,
        channels: usize,
        pixels: Vec<u8>,
        labels: Vec<u32>,
        classes: Vec<String>,
    ) -> Result<Self, DataError> {
        DataConfig { size, channels, ..DataConfig::default() }.validate()?;
        let (count, values) = (labels.len(), channels * size * size);
        if count == 0 || values == 0 || pixels.len() != count * values {
            return Err(DataError::Read(format!(
                "{} bytes are not the pixels of {count} images of {channels} × {size} × {size}",
                pixels.len()
            )));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes.len().max(1)) {
            return Err(DataError::Read(format!(
                "an image has the label {label}, but there are {} classes",
                classes.len()
            )));
        }
        let names = (0..count).map(|i| i.to_string()).collect();
        Ok(Self { size, channels, pixels, labels, classes, names, ..Self::default() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The pixels of some images in `[−1, 1]`, `[rows, channels, size, size]`, where they are in memory.
    pub fn values(&self, rows: &[usize]) -> Vec<f32> {
        let count = self.channels * self.size * self.size;
        let pixels = rows.iter().flat_map(|row| &self.pixels[row * count..(row + 1) * count]);
        pixels.map(|&byte| from_byte(byte)).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Drops all but the first planes of each image.
    fn keep_channels(&mut self, channels: usize) {
        let plane = self.size * self.size;
        let (from, to) = (self.channels * plane, channels * plane);
        // Of a sample there are fewer pixels than labels.
        let count = self.pixels.len() / from.max(1);
        for i in 0..count {
            self.pixels.copy_within(i * from..i * from + to, i * to);
        }
        self.pixels.truncate(count * to);
        self.pixels.shrink_to_fit();
        self.channels = channels;
    }

    /// Keeps the first images alone.
    pub fn truncate(&mut self, count: usize) {
        self.labels.truncate(count);
        self.names.truncate(count);
        self.captions.truncate(count);
        self.pixels.truncate(count * self.channels * self.size * self.size);
    }

    /// The class of each image by its name, empty where there is none.
    pub(crate) fn class_names(&self) -> impl Iterator<Item = String> {
        self.labels.iter().map(|&label| self.classes.get(label as usize).cloned().unwrap_or_default())
    }

    /// `count` images of arbitrary but fixed pixels without classes, for timing.
    pub fn random(config: &DataConfig, count: usize) -> Self {
        let scramble = |i: usize| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        Self {
            size: config.size,
            channels: config.planes(),
            pixels: (0..count * config.values()).map(scramble).collect(),
            labels: vec![0; count],
            names: (0..count).map(|i| i.to_string()).collect(),
            ..Self::default()
        }
    }
}

/// What images of four channels make use of.
#[derive(Clone, Copy, Default)]
struct Used {
    colour: bool,
    alpha: bool,
}

impl Used {
    fn by(pixels: &[u8], config: &DataConfig) -> Self {
        let plane = config.size * config.size;
        let mut used = Self::default();
        for image in pixels.chunks_exact(4 * plane) {
            let (red, rest) = image.split_at(plane);
            let (green, rest) = rest.split_at(plane);
            let (blue, alpha) = rest.split_at(plane);
            used.colour |= red != green || green != blue;
            used.alpha |= alpha.iter().any(|&alpha| alpha < 255);
        }
        used
    }

    fn or(self, other: Self) -> Self {
        Self { colour: self.colour || other.colour, alpha: self.alpha || other.alpha }
    }

    fn channels(self) -> usize {
        match self {
            Self { alpha: true, .. } => 4,
            Self { colour: true, .. } => 3,
            Self { .. } => 1,
        }
    }
}

/// Most images that are in memory at once where a set is read in parts.
const PART: usize = 512;

/// Takes one part of a set after the other, each with the classes that occur in it.
type Visit<'a> = dyn FnMut(Images) -> Result<(), DataError> + 'a;

/// What is known of a set once all of its parts are read.
pub struct Whole {
    /// The order of its classes, of which some may have no images.
    pub classes: Vec<String>,
    /// See [`Images::notes`].
    pub notes: Vec<String>,
}

/// Loads the set at `path` by the rules of this module, part by part where it holds a file or a row per image.
///
/// # Errors
/// As [`load`], and what `visit` returns.
pub fn load_parts(path: &Path, config: &DataConfig, visit: &mut Visit) -> Result<Whole, DataError> {
    read_parts(path, config, PART, visit)
}

/// The same of at most `most` images at a time.
fn read_parts(path: &Path, config: &DataConfig, most: usize, visit: &mut Visit) -> Result<Whole, DataError> {
    config.validate()?;
    let files = Files::open(path, &config.for_files())?;
    let (mut total, mut skipped) = (0, Vec::new());
    let mut counted = |part: Images| {
        total += part.len() + part.skipped.len();
        skipped.extend_from_slice(&part.skipped);
        visit(part)
    };
    let classes = match &config.layers {
        Some(layers) => layers::load_parts(&files, config, layers, most, &mut counted)?,
        None => (files.format.load)(&files, config, most, &mut counted)?,
    };
    if skipped.len() as f64 > config.max_unreadable * total as f64 || skipped.len() == total {
        let (path, limit) = (path.into(), config.max_unreadable);
        return Err(DataError::TooManyUnreadable { path, total, limit, skipped });
    }
    Ok(Whole { classes, notes: files.notes.lines() })
}

/// Loads the set at `path` by the rules of this module. A file of latents is one too: its images stay on the disk.
///
/// # Errors
/// When the path, the format, the classes or too many of the images are not as they must be; see [`DataError`].
pub fn load(path: &Path, config: &DataConfig) -> Result<Images, DataError> {
    if let Some(latents) = Latents::open(path)? {
        return latents.into_images(config);
    }
    let mut images: Option<Images> = None;
    let whole = read_parts(path, config, usize::MAX, &mut |part| {
        images = Some(part);
        Ok(())
    })?;
    let images = images.ok_or_else(|| DataError::NoImages { path: path.into(), reason: "holds no images".into() })?;
    let mut images = Images { notes: whole.notes, ..images };
    if config.channels == 0 {
        images.keep_channels(Used::by(&images.pixels, config).channels());
    }
    Ok(images)
}
