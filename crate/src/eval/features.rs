//! Features of images, and the networks that give them.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor, TensorData};

use super::classifier::Classifier;
use super::inception::Inception;
use super::resize::InceptionResize;
use crate::data::Images;
use crate::error::Error;
use crate::import::Checkpoint;

/// Images at a time: a bound on memory that keeps a device busy.
const BATCH: usize = 200;

/// Features of a set of images, `[rows, dims]` row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Features per image.
    pub dims: usize,
    /// The values.
    pub values: Vec<f32>,
}

impl Features {
    /// Wraps values.
    ///
    /// # Panics
    /// When they are no whole number of rows.
    pub fn new(dims: usize, values: Vec<f32>) -> Self {
        assert!(dims > 0 && values.len().is_multiple_of(dims), "features come in whole rows");
        Self { dims, values }
    }

    /// How many images.
    pub fn rows(&self) -> usize {
        self.values.len() / self.dims
    }

    /// The features of one image.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dims..(row + 1) * self.dims]
    }

    /// The first rows, at most `count`.
    pub fn head(&self, count: usize) -> Self {
        Self::new(self.dims, self.values[..count.min(self.rows()) * self.dims].to_vec())
    }

    /// Some of the rows, as `[rows, dims]` on a device.
    pub(super) fn tensor(&self, rows: &[usize], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), self.dims]), device)
    }
}

/// A network that gives features.
#[derive(Debug)]
pub enum Extractor {
    /// One of the data set's own.
    Classifier(Box<Classifier>),
    /// The network of FID.
    Inception(Inception),
}

impl Extractor {
    /// Reads a features file: a classifier that this program trained, or Inception-v3 as pytorch-fid has it, in its
    /// `.pth` file or as safetensors; `resize` says how images become as large as Inception takes them.
    ///
    /// # Errors
    /// Names the file and says why it is neither.
    pub fn open(path: &Path, resize: InceptionResize, device: &Device) -> Result<Self> {
        let read = || -> Result<Self> {
            let bytes = std::fs::read(path)?;
            if Classifier::is_in(&bytes) {
                return Ok(Self::Classifier(Box::new(Classifier::from_bytes(&bytes, device)?)));
            }
            drop(bytes);
            let checkpoint = Checkpoint::open(path)?;
            if !Inception::is_in(&checkpoint) {
                bail!("no features: neither a classifier of `meanflow classifier` nor Inception-v3");
            }
            Ok(Self::Inception(Inception::read(&checkpoint, device)?.with_resize(resize)))
        };
        read().with_context(|| path.display().to_string())
    }

    /// What the distance on these features is called.
    pub fn metric(&self) -> &'static str {
        match self {
            Self::Classifier(_) => "FD",
            Self::Inception(_) => "FID",
        }
    }

    /// What the features are, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Classifier(classifier) => classifier.info().describe(),
            Self::Inception(_) => "pool features of Inception-v3 (pytorch-fid weights)".into(),
        }
    }

    /// How images are resized for Inception; other features are of the images as they are.
    pub fn resize(&self) -> Option<InceptionResize> {
        match self {
            Self::Classifier(_) => None,
            Self::Inception(inception) => Some(inception.resize()),
        }
    }

    /// Refuses images that the network was not made for.
    ///
    /// # Errors
    /// Says what the features are of, and what the images are.
    pub fn suits(&self, size: usize, channels: usize) -> Result<()> {
        let Self::Classifier(classifier) = self else {
            return Ok(());
        };
        let info = classifier.info();
        if (info.size, info.channels) != (size, channels) {
            bail!(
                "the features are of {0}×{0}×{1} images ({2}), but the images are {size}×{size}×{channels}",
                info.size,
                info.channels,
                info.data
            );
        }
        Ok(())
    }

    /// Features of images in `[−1, 1]`, `[batch, channels, size, size]` → `[batch, dims]`.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Classifier(classifier) => classifier.features(images),
            Self::Inception(inception) => inception.features(images),
        }
    }

    /// Features of images of a set, in the order of `rows`.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn of_images(&self, images: &Images, rows: &[usize], device: &Device) -> Result<Features> {
        let batches = rows.chunks(BATCH).map(|rows| {
            let shape = [rows.len(), images.channels, images.size, images.size];
            self.features(Tensor::from_data(TensorData::new(images.values(rows), shape), device))
        });
        gather(batches)
    }
}

/// Batches of features, read back.
pub(super) fn gather(batches: impl Iterator<Item = Tensor<2>>) -> Result<Features> {
    let (mut dims, mut values) = (1, Vec::new());
    for batch in batches {
        dims = batch.dims()[1];
        values.extend(batch.try_into_vec_as::<f32>().map_err(|e| Error::Device(e.to_string()))?);
    }
    Ok(Features::new(dims, values))
}
