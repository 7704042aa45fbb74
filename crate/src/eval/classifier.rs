//! A small classifier of a data set's own, whose features measure models of that set.

use std::collections::HashMap;

use anyhow::{Result, bail};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::data::Images;
use crate::error::Error;
use crate::model::from_byte;
use crate::model::params::ParamList;
use crate::model::weights::{Precision, describe};
use crate::model::{Initializer, ParamRole};
use crate::net::init::Init;
use crate::net::weights_file::{apply, collect};
use crate::train::{Optimization, Sampler};

/// The metadata entry that tells a features file from a model.
const METADATA_KEY: &str = "meanflow-features";
/// Channels of the three convolutions; the last is the number of features.
const CHANNELS: [usize; 3] = [32, 64, 64];
const LEARNING_RATE: f64 = 2e-3;
const BATCH: usize = 128;

/// What a features file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassifierInfo {
    /// Edge of the images, in pixels.
    pub size: usize,
    /// Their channels.
    pub channels: usize,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// What the images are.
    pub data: String,
    /// Images it was trained on.
    pub images: usize,
    /// Passes over them.
    pub epochs: u64,
    /// Share of held-out images that it names rightly, where some were given.
    pub accuracy: Option<f64>,
}

impl ClassifierInfo {
    /// One line for people.
    pub fn describe(&self) -> String {
        let accuracy = self.accuracy.map(|a| format!(", {:.1} % right on held-out images", 100.0 * a));
        format!("{} features of a classifier of {}{}", CHANNELS[2], self.data, accuracy.unwrap_or_default())
    }
}

/// Three convolutions, two of them halving, the mean over the image (the features), and a linear layer.
#[derive(Module, Debug)]
struct Layers {
    conv1: Param<Tensor<4>>,
    conv2: Param<Tensor<4>>,
    conv3: Param<Tensor<4>>,
    head: Linear,
}

impl Layers {
    fn new(channels: usize, classes: usize, seed: u64, device: &Device) -> Self {
        let [a, b, c] = CHANNELS;
        let mut params = ParamList::default();
        for (name, input, output) in [("conv1", channels, a), ("conv2", a, b), ("conv3", b, c)] {
            // 3 × 3 convolutions, `U(−a, a)` with `a = √(6 / fan-in)` (Kaiming, for ReLU).
            let bound = Initializer::Uniform((6.0 / (9 * input) as f64).sqrt());
            params.add(name, ParamRole::Hidden, &[output, input, 3, 3], bound, false);
        }
        params.linear("head", ParamRole::Output, [c, classes], Initializer::xavier(c, classes));
        let init = Init::new(seed, params.into_specs(), device);
        Self {
            conv1: init.param("conv1"),
            conv2: init.param("conv2"),
            conv3: init.param("conv3"),
            head: init.linear("head"),
        }
    }

    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let layer = |x: Tensor<4>, kernel: &Param<Tensor<4>>, stride: usize| {
            let options = ConvOptions::new([stride; 2], [1; 2], [1; 2], 1);
            relu(conv2d(x, kernel.val(), None, options))
        };
        let x = layer(layer(layer(images, &self.conv1, 2), &self.conv2, 2), &self.conv3, 1);
        x.mean_dim(3).mean_dim(2).squeeze_dims(&[2, 3])
    }
}

/// A trained classifier.
#[derive(Debug)]
pub struct Classifier {
    layers: Layers,
    info: ClassifierInfo,
}

impl Classifier {
    /// Whether a file holds a classifier.
    pub fn is_in(bytes: &[u8]) -> bool {
        let header = SafeTensors::read_metadata(bytes);
        header.is_ok_and(|(_, header)| header.metadata().as_ref().is_some_and(|m| m.contains_key(METADATA_KEY)))
    }

    /// Reads a features file.
    ///
    /// # Errors
    /// When it is none, is damaged, or its tensors are not those of the classifier it describes.
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, Error> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| describe(bytes, &e))?;
        let json = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY));
        let json = json.ok_or_else(|| Error::Weights(format!("no `{METADATA_KEY}` metadata")))?;
        let info: ClassifierInfo = serde_json::from_str(json).map_err(|e| Error::Weights(format!("metadata: {e}")))?;
        if !matches!((info.channels, info.classes.len()), (1..=4, 2..=100_000)) {
            return Err(Error::Weights(format!("{} channels, {} classes", info.channels, info.classes.len())));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| describe(bytes, &e))?;
        let layers = Layers::new(info.channels, info.classes.len(), 0, device);
        Ok(Self { layers: apply(layers, &file, device)?.no_grad(), info })
    }

    /// The bytes of a features file.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let json = serde_json::to_string(&self.info).map_err(|e| Error::Weights(e.to_string()))?;
        let tensors = collect(&self.layers, Precision::F16)?;
        safetensors::serialize(tensors, Some(HashMap::from([(METADATA_KEY.to_owned(), json)])))
            .map_err(|e| Error::Weights(e.to_string()))
    }

    /// What it says about itself.
    pub fn info(&self) -> &ClassifierInfo {
        &self.info
    }

    /// `[batch, channels, size, size]` in `[−1, 1]` → `[batch, 64]`.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.layers.features(images)
    }

    /// The classes that it sees in pictures.
    ///
    /// # Shapes
    /// `pictures`: `count · channels · size · size` values in `[−1, 1]`.
    ///
    /// # Errors
    /// A device that cannot be read.
    pub fn named(&self, pictures: Vec<f32>, device: &Device) -> Result<Vec<usize>, Error> {
        let ClassifierInfo { size, channels, .. } = self.info;
        let shape = [pictures.len() / (channels * size * size), channels, size, size];
        let features = self.layers.features(Tensor::from_data(TensorData::new(pictures, shape), device));
        let named: Tensor<1, Int> = self.layers.head.forward(features).argmax(1).squeeze_dim(1);
        let named = named.try_into_vec_as::<i64>().map_err(|e| Error::Device(e.to_string()))?;
        Ok(named.into_iter().map(|class| class as usize).collect())
    }

    /// Tries it on images that it was not trained on, each once, and notes the share that it names rightly.
    ///
    /// # Errors
    /// Other classes than its own, images that are not in memory, or a device that cannot be read.
    pub fn validate(&mut self, images: &Images, device: &Device) -> Result<f64> {
        if images.classes != self.info.classes {
            bail!("the held-out images have classes {:?}, not {:?}", images.classes, self.info.classes);
        }
        if images.pixels.is_empty() {
            bail!("the held-out images are latents, or on the disk; a classifier is tried on pictures in memory");
        }
        let values = images.channels * images.size * images.size;
        let mut right = 0;
        for (pixels, labels) in images.pixels.chunks(BATCH * values).zip(images.labels.chunks(BATCH)) {
            let named = self.named(pixels.iter().map(|&b| from_byte(b)).collect(), device)?;
            right += named.iter().zip(labels).filter(|(named, label)| **named == **label as usize).count();
        }
        let accuracy = right as f64 / images.len() as f64;
        self.info.accuracy = Some(accuracy);
        Ok(accuracy)
    }
}

/// Trains a classifier; `report` hears the mean loss of each hundred steps.
///
/// # Errors
/// Images without at least two classes, or a device that cannot be read.
pub fn train_classifier(
    images: &Images,
    data: &str,
    epochs: u64,
    seed: u64,
    device: &Device,
    report: &mut dyn FnMut(u64, u64, f64),
) -> Result<Classifier> {
    if images.classes.len() < 2 {
        bail!("a classifier needs images of two or more classes; these have {}", images.classes.len());
    }
    let settings = Optimization { batch_size: BATCH, class_dropout: 0.0, seed, ..Optimization::default() };
    let mut sampler = Sampler::new(images, &settings, false);
    let tape = device.clone().autodiff();
    let mut layers = Layers::new(images.channels, images.classes.len(), seed, &tape);
    let mut optimizer = AdamWConfig::new().with_weight_decay(1e-2).init();
    let steps = (epochs * images.len() as u64).div_ceil(BATCH as u64);
    let mut losses = 0.0;
    for step in 0..steps {
        let batch = sampler.batch(step, device)?;
        let Some(labels) = batch.labels else { bail!("the images have no classes") };
        let scores = log_softmax(layers.head.forward(layers.features(batch.images.autodiff())), 1);
        let loss = scores.gather(1, labels.unsqueeze_dim(1).autodiff()).mean().neg();
        losses += f64::from(loss.clone().inner().try_into_scalar::<f32>().map_err(|e| Error::Device(e.to_string()))?);
        let gradients = GradientsParams::from_grads(loss.backward(), &layers);
        let rate = LEARNING_RATE * (steps - step) as f64 / steps as f64;
        layers = optimizer.step(rate, layers, gradients);
        if (step + 1).is_multiple_of(100) {
            report(step + 1, steps, losses / 100.0);
            losses = 0.0;
        }
    }
    let info = ClassifierInfo {
        size: images.size,
        channels: images.channels,
        classes: images.classes.clone(),
        data: data.to_owned(),
        images: images.len(),
        epochs,
        accuracy: None,
    };
    Ok(Classifier { layers: layers.valid(), info })
}
