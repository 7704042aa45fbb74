//! Sets of images, as files, to training images.
//!
//! A set is a folder (searched through all its folders), the same inside a `.tar`, `.tar.gz` or `.zip`, MNIST-style
//! IDX files, CIFAR-10 binary files, or Parquet files with a column of pictures, as the Hugging Face hub ships sets. What it
//! is shows in its content, not in its name. Picture files come in the order of their names, so a set loads the same
//! everywhere, packed or not; the images of the other formats come in the order of their records.
//!
//! # Names and classes
//! - A name is a path inside the set. An archive's one common leading folder is not part of it.
//! - The class is the first `class_depth` folders of the name. If no image lies in a folder, the set has no classes; if
//!   only some do, that is an error.
//! - In IDX, CIFAR-10 and Parquet sets the class is the label, and names read `class/number`.
//! - Hidden files and files that are no images are not looked at. An image that cannot be read is skipped and listed in
//!   [`Images::skipped`]; more than 1 % of them is an error.
//!
//! # Layers
//! A set may also be of parts, whose pictures are drawn: each is one part of every folder of [`Layers`], laid over one another.
//! Its name is those of its parts, its class that of one of them.
//!
//! # Conversion
//! 1. Every image becomes 8-bit RGBA, whatever its depth, palette or grey; photographs are turned upright by their EXIF
//!    orientation; of an animation the first frame counts.
//! 2. It becomes square by [`Fit`]: by default it is cropped to the centred square, so a 32×48 image of a 32-pixel set
//!    loses 8 rows above and below.
//! 3. If the edge differs from `size`, it is scaled: by repeating pixels where `size` is a multiple of the edge, as pixel
//!    art needs, else with the antialiased cubic filter (Catmull-Rom), colours weighted by alpha.
//! 4. With 4 channels alpha stays straight, and fully transparent pixels take the colour `background`, because files
//!    carry arbitrary colours there that nobody sees and the network would otherwise learn. With 3 channels, or 1
//!    (Rec. 709 luma), the image is laid over `background`.

mod archive;
mod build;
mod cifar;
mod convert;
mod decode;
mod error;
mod files;
mod format;
mod idx;
mod isolate;
mod layers;
mod parquet;
mod paths;
mod pictures;
mod stored;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) use build::label;
pub use convert::Fit;
pub use error::DataError;
use files::Files;
pub(crate) use isolate::isolate;
pub use layers::Layers;
pub use stored::{Stored, load_stored};

use crate::latent::Latents;

/// How files become training images: the `[data]` table of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Edge of the square training images, in pixels.
    pub size: usize,
    /// 4 = RGBA, 3 = RGB, 1 = grey.
    pub channels: usize,
    /// How many leading folders name the class; 0 = no classes.
    pub class_depth: usize,
    /// Files or folders inside the set to take, `*` standing for any characters; all when empty.
    pub include: Vec<String>,
    /// Files or folders inside the set to leave out, written alike.
    pub exclude: Vec<String>,
    /// The colour (red, green, blue) behind what is transparent.
    pub background: [u8; 3],
    /// How images that are not square become so.
    pub fit: Fit,
    /// Whether training mirrors half of the images, drawn anew each time.
    pub flip: bool,
    /// Pictures made of parts, instead of the files themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Layers>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            size: 32,
            channels: 4,
            class_depth: 1,
            include: Vec::new(),
            exclude: Vec::new(),
            background: [255; 3],
            fit: Fit::Crop,
            flip: false,
            layers: None,
        }
    }
}

impl DataConfig {
    /// Bytes of one image.
    fn values(&self) -> usize {
        self.channels * self.size * self.size
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the field that is out of range.
    pub fn validate(&self) -> Result<(), DataError> {
        match (self.size, self.channels, &self.layers) {
            (1..=1024, 1 | 3 | 4, layers) => layers.as_ref().map_or(Ok(()), Layers::validate),
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
    /// Images of the set that could not be read.
    pub skipped: Vec<Skipped>,
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
    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
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
            channels: config.channels,
            pixels: (0..count * config.values()).map(scramble).collect(),
            labels: vec![0; count],
            names: (0..count).map(|i| i.to_string()).collect(),
            ..Self::default()
        }
    }
}

/// Most images that are in memory at once where a set is read in parts.
const PART: usize = 512;

/// Takes one part of a set after the other, each with the classes that occur in it.
type Visit<'a> = dyn FnMut(Images) -> Result<(), DataError> + 'a;

/// Loads the set at `path` by the rules of this module, part by part where it holds a file or a row per image; returns the
/// order of the classes of the whole set, in which some may have no images.
///
/// # Errors
/// As [`load`], and what `visit` returns.
pub fn load_parts(path: &Path, config: &DataConfig, visit: &mut Visit) -> Result<Vec<String>, DataError> {
    config.validate()?;
    read_parts(&Files::open(path)?, config, PART, visit)
}

/// The same of at most `most` images at a time.
fn read_parts(files: &Files, config: &DataConfig, most: usize, visit: &mut Visit) -> Result<Vec<String>, DataError> {
    if let Some(layers) = &config.layers {
        return layers::load_parts(files, config, layers, most, visit);
    }
    (files.format.load)(files, config, most, visit)
}

/// Loads the set at `path` by the rules of this module. A file of latents is one too: its images stay on the disk.
///
/// # Errors
/// When the path, the format, the classes or too many of the images are not as they must be; see [`DataError`].
pub fn load(path: &Path, config: &DataConfig) -> Result<Images, DataError> {
    config.validate()?;
    if let Some(latents) = Latents::open(path)? {
        return latents.into_images(config);
    }
    let mut whole = None;
    read_parts(&Files::open(path)?, config, usize::MAX, &mut |images| {
        whole = Some(images);
        Ok(())
    })?;
    whole.ok_or_else(|| DataError::NoImages { path: path.into(), reason: "holds no images".into() })
}
