//! A small classifier of a data set's own, whose features measure models of that set, and which names what it sees.

use std::collections::HashMap;
use std::ops::Range;

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

use crate::data::{Images, LabelColumn};
use crate::error::Error;
use crate::model::params::ParamList;
use crate::model::weights::{Precision, describe};
use crate::model::{Initializer, ParamRole};
use crate::net::init::Init;
use crate::net::weights_file::{apply, collect};
use crate::train::{Optimization, Sampler};

/// The metadata entry that tells a features file from a model.
const METADATA_KEY: &str = "meanflow-features";
/// Channels of the first two of the three convolutions; those of the third are the features.
const CHANNELS: [usize; 2] = [32, 64];
/// Features of a classifier that names one thing, and of one that names several.
const FEATURES: [usize; 2] = [64, 128];
/// Edge of images which all three convolutions halve, as those of two would cost four times as much.
const LARGE: usize = 64;
const LEARNING_RATE: f64 = 2e-3;
const BATCH: usize = 128;

/// What a features file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "InfoInFile")]
pub struct ClassifierInfo {
    /// Edge of the images, in pixels.
    pub size: usize,
    /// Their channels.
    pub channels: usize,
    /// Features of an image.
    pub features: usize,
    /// How many of the three convolutions halve the image.
    pub halvings: usize,
    /// What it names in an image.
    pub columns: Vec<ClassColumn>,
    /// What the images are.
    pub data: String,
    /// Images it was trained on.
    pub images: usize,
    /// Passes over them.
    pub epochs: u64,
}

/// One of the things that a classifier names, such as the hair of people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassColumn {
    /// The column of the set, or what its layer is called in captions; none where a set has classes of one kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Share of held-out images of which it is named rightly, where some were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// [`ClassifierInfo`] as files have it: up to version 0.1 they name one thing, without a list of columns.
#[derive(Deserialize)]
struct InfoInFile {
    size: usize,
    channels: usize,
    features: Option<usize>,
    halvings: Option<usize>,
    columns: Option<Vec<ClassColumn>>,
    classes: Option<Vec<String>>,
    accuracy: Option<f64>,
    data: String,
    images: usize,
    epochs: u64,
}

impl TryFrom<InfoInFile> for ClassifierInfo {
    type Error = String;

    fn try_from(file: InfoInFile) -> Result<Self, String> {
        let InfoInFile { size, channels, data, images, epochs, accuracy, .. } = file;
        let of_one = || file.classes.map(|classes| vec![ClassColumn { name: None, classes, accuracy }]);
        let columns = file.columns.or_else(of_one).ok_or("no classes")?;
        let features = file.features.unwrap_or(FEATURES[0]);
        let halvings = file.halvings.unwrap_or(2);
        let are_classes = |column: &ClassColumn| (2..=100_000).contains(&column.classes.len());
        if !matches!((channels, features, halvings, columns.len()), (1..=4, 1..=4096, 2..=3, 1..=100))
            || !columns.iter().all(are_classes)
        {
            let counts: Vec<usize> = columns.iter().map(|column| column.classes.len()).collect();
            return Err(format!("{channels} channels, {features} features, {halvings} halvings, {counts:?} classes"));
        }
        Ok(Self { size, channels, features, halvings, columns, data, images, epochs })
    }
}

impl ClassifierInfo {
    /// One line for people.
    pub fn describe(&self) -> String {
        let percent = |column: &ClassColumn| column.accuracy.map(|accuracy| format!("{:.1} %", 100.0 * accuracy));
        let (several, right) = match &self.columns[..] {
            [one] => (String::new(), percent(one).map(|accuracy| format!("{accuracy} right"))),
            columns => {
                let names = columns.iter().flat_map(|column| &column.name).cloned().collect::<Vec<_>>().join(", ");
                let right = |column: &ClassColumn| {
                    Some(format!("{} {} right", percent(column)?, column.name.as_deref().unwrap_or_default()))
                };
                let right: Vec<String> = columns.iter().filter_map(right).collect();
                (format!(" by {names}"), (!right.is_empty()).then(|| right.join(", ")))
            }
        };
        let right = right.map(|right| format!(", {right} on held-out images")).unwrap_or_default();
        format!("{} features of a classifier of {}{several}{right}", self.features, self.data)
    }

    /// The places of each column's classes among the outputs of the last layer.
    fn outputs(&self) -> impl Iterator<Item = Range<usize>> {
        self.columns.iter().scan(0, |end, column| {
            let start = std::mem::replace(end, *end + column.classes.len());
            Some(start..*end)
        })
    }
}

/// Three convolutions, the first two or all of them halving, the mean over the image (the features), and a linear layer
/// whose outputs are the classes of all columns, one column after the other.
#[derive(Module, Debug)]
struct Layers {
    conv1: Param<Tensor<4>>,
    conv2: Param<Tensor<4>>,
    conv3: Param<Tensor<4>>,
    head: Linear,
}

impl Layers {
    fn new(info: &ClassifierInfo, seed: u64, device: &Device) -> Self {
        let ([a, b], c) = (CHANNELS, info.features);
        let classes = info.columns.iter().map(|column| column.classes.len()).sum();
        let mut params = ParamList::default();
        for (name, input, output) in [("conv1", info.channels, a), ("conv2", a, b), ("conv3", b, c)] {
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

    fn features(&self, images: Tensor<4>, info: &ClassifierInfo) -> Tensor<2> {
        let layer = |x: Tensor<4>, kernel: &Param<Tensor<4>>, stride: usize| {
            let options = ConvOptions::new([stride; 2], [1; 2], [1; 2], 1);
            relu(conv2d(x, kernel.val(), None, options))
        };
        let x = layer(layer(layer(images, &self.conv1, 2), &self.conv2, 2), &self.conv3, info.halvings - 1);
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
        let file = SafeTensors::deserialize(bytes).map_err(|e| describe(bytes, &e))?;
        let layers = Layers::new(&info, 0, device);
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

    /// `[batch, channels, size, size]` in `[−1, 1]` → `[batch, features]`.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.layers.features(images, &self.info)
    }

    /// The classes that it sees in pictures: for each column, those of all pictures.
    ///
    /// # Shapes
    /// `pictures`: `count · channels · size · size` values in `[−1, 1]`.
    ///
    /// # Errors
    /// A device that cannot be read.
    pub fn named(&self, pictures: Vec<f32>, device: &Device) -> Result<Vec<Vec<usize>>, Error> {
        let ClassifierInfo { size, channels, .. } = self.info;
        let shape = [pictures.len() / (channels * size * size), channels, size, size];
        let features = self.features(Tensor::from_data(TensorData::new(pictures, shape), device));
        let outputs = self.layers.head.forward(features);
        let named = self.info.outputs().map(|column| {
            let named: Tensor<1, Int> = outputs.clone().slice_dim(1, column).argmax(1).squeeze_dim(1);
            let named = named.try_into_vec_as::<i64>().map_err(|e| Error::Device(e.to_string()))?;
            Ok(named.into_iter().map(|class| class as usize).collect())
        });
        named.collect()
    }

    /// Tries it on images that it was not trained on, each once, and notes the share of which each column is named
    /// rightly.
    ///
    /// # Errors
    /// Other columns or classes than its own, images that are not in memory, or a device that cannot be read.
    pub fn validate(&mut self, images: &Images, labels: &[LabelColumn], device: &Device) -> Result<()> {
        let expected = self.info.columns.iter().map(|column| &column.classes);
        if !labels.iter().map(|column| &column.classes).eq(expected.clone()) {
            let (found, expected): (Vec<_>, Vec<_>) = (labels.iter().map(|c| &c.classes).collect(), expected.collect());
            bail!("the held-out images have classes {found:?}, not {expected:?}");
        }
        if images.pixels.is_empty() {
            bail!("the held-out images are latents, or on the disk; a classifier is tried on pictures in memory");
        }
        let rows: Vec<usize> = (0..images.len()).collect();
        let mut right = vec![0; labels.len()];
        for rows in rows.chunks(BATCH) {
            let named = self.named(images.values(rows), device)?;
            for ((right, named), column) in right.iter_mut().zip(named).zip(labels) {
                *right += rows.iter().zip(named).filter(|(row, named)| column.labels[**row] as usize == *named).count();
            }
        }
        for (column, right) in self.info.columns.iter_mut().zip(right) {
            column.accuracy = Some(right as f64 / images.len() as f64);
        }
        Ok(())
    }
}

/// Trains a classifier of the columns that `labels` tell of the images; `report` hears the mean loss of each hundred
/// steps, which is the sum of the cross-entropies of all columns.
///
/// # Errors
/// A column without at least two classes, or a device that cannot be read.
pub fn train_classifier(
    images: &Images,
    labels: &[LabelColumn],
    data: &str,
    epochs: u64,
    seed: u64,
    device: &Device,
    report: &mut dyn FnMut(u64, u64, f64),
) -> Result<Classifier> {
    for LabelColumn { name, classes, .. } in labels {
        if classes.len() < 2 {
            let of = name.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
            bail!("a classifier needs images of two or more classes{of}; these have {}", classes.len());
        }
    }
    let column = |column: &LabelColumn| ClassColumn {
        name: column.name.clone(),
        classes: column.classes.clone(),
        accuracy: None,
    };
    let info = ClassifierInfo {
        size: images.size,
        channels: images.channels,
        features: FEATURES[usize::from(labels.len() > 1)],
        halvings: if images.size < LARGE { 2 } else { 3 },
        columns: labels.iter().map(column).collect(),
        data: data.to_owned(),
        images: images.len(),
        epochs,
    };
    let settings = Optimization { batch_size: BATCH, class_dropout: 0.0, seed, ..Optimization::default() };
    let mut sampler = Sampler::new(images, &settings, false);
    let tape = device.clone().autodiff();
    let mut layers = Layers::new(&info, seed, &tape);
    let mut optimizer = AdamWConfig::new().with_weight_decay(1e-2).init();
    let steps = (epochs * images.len() as u64).div_ceil(BATCH as u64);
    let mut losses = 0.0;
    for step in 0..steps {
        let rows = sampler.rows(step);
        let batch = sampler.batch(step, device)?;
        let outputs = layers.head.forward(layers.features(batch.images.autodiff(), &info));
        let cross_entropy = |(column, places): (&LabelColumn, Range<usize>)| {
            let wanted: Vec<i32> = rows.iter().map(|&row| column.labels[row] as i32).collect();
            let wanted = Tensor::<2, Int>::from_data(TensorData::new(wanted, [rows.len(), 1]), device);
            log_softmax(outputs.clone().slice_dim(1, places), 1).gather(1, wanted.autodiff()).mean().neg()
        };
        let loss = labels.iter().zip(info.outputs()).map(cross_entropy).reduce(Tensor::add);
        let Some(loss) = loss else { bail!("a classifier needs something to name") };
        losses += f64::from(loss.clone().inner().try_into_scalar::<f32>().map_err(|e| Error::Device(e.to_string()))?);
        let gradients = GradientsParams::from_grads(loss.backward(), &layers);
        let rate = LEARNING_RATE * (steps - step) as f64 / steps as f64;
        layers = optimizer.step(rate, layers, gradients);
        if (step + 1).is_multiple_of(100) {
            report(step + 1, steps, losses / 100.0);
            losses = 0.0;
        }
    }
    Ok(Classifier { layers: layers.valid(), info })
}
