//! The autoencoder of latent diffusion (arXiv 2112.10752) with the names and layout of diffusers' `AutoencoderKL`.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::activation::{silu, softmax};
use burn::tensor::module::conv2d;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Device, Tensor, TensorData};

use crate::dual::group_norm;
use crate::error::Error;
use crate::import::Checkpoint;
use crate::model::weights::Normalization;

/// Groups of every normalisation.
const GROUPS: usize = 32;
/// ε of every normalisation.
const EPSILON: f64 = 1e-6;
/// Bounds of what is taken for an autoencoder, far above those that there are.
const MAX_LEVELS: usize = 8;
const MAX_WIDTH: usize = 4096;
const MAX_CHANNELS: usize = 64;

/// A normal distribution of latents, per value.
#[derive(Clone, Debug)]
pub struct Moments {
    /// `[batch, channels, height, width]`.
    pub mean: Tensor<4>,
    /// Standard deviation, of the same shape.
    pub deviation: Tensor<4>,
}

/// Encoder and decoder between RGB images and latents.
#[derive(Debug)]
pub struct Vae {
    /// Convolutions; a linear layer is one of a single pixel.
    weights: BTreeMap<String, Tensor<4>>,
    /// Biases, and the scales of normalisations.
    rows: BTreeMap<String, Tensor<1>>,
    /// Levels, and residual blocks of each in the encoder; the decoder has one more.
    levels: usize,
    blocks: usize,
    channels: usize,
}

impl Vae {
    /// Reads a file of weights.
    ///
    /// # Errors
    /// When it cannot be read, or lists every tensor that is missing, of another shape, or extra.
    pub fn open(path: &Path, device: &Device) -> Result<Self, Error> {
        Self::read(&Checkpoint::open(path)?, device)
    }

    /// Reads the network from a checkpoint with the names of diffusers, of its older versions too.
    ///
    /// # Errors
    /// Lists every tensor that is missing, of another shape, or extra.
    pub fn read(checkpoint: &Checkpoint, device: &Device) -> Result<Self, Error> {
        let checkpoint = checkpoint.renamed(newer_name);
        checkpoint.all_are_floats(|_| false)?;
        let rows = |name: &str| checkpoint.get(name).map(|tensor| tensor.shape.first().copied().unwrap_or(0));
        let resnet = |level: usize, i: usize| {
            // Without axes it is there too, and of a wrong shape.
            rows(&format!("encoder.down_blocks.{level}.resnets.{i}.conv1.weight"))
        };
        let widths: Vec<usize> = (0..).map_while(|level| resnet(level, 0)).collect();
        let blocks = (0..).take_while(|&i| resnet(0, i).is_some()).count();
        let channels = rows("post_quant_conv.weight").unwrap_or(4);
        if widths.is_empty() {
            let sign = "encoder.down_blocks.0.resnets.0.conv1.weight";
            return Err(Error::Checkpoint(format!("no autoencoder of diffusers: no tensor is called `{sign}`")));
        }
        let rules = [
            ((1..=MAX_LEVELS).contains(&widths.len()), "it has 1 to 8 levels"),
            (
                widths.iter().all(|width| width.is_multiple_of(GROUPS) && (1..=MAX_WIDTH).contains(width)),
                "its widths are multiples of 32 up to 4096",
            ),
            ((1..=MAX_CHANNELS).contains(&channels), "its latents have 1 to 64 channels"),
        ];
        if let Some((_, rule)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(Error::Checkpoint(format!(
                "no autoencoder of diffusers: {rule}, but here are widths {widths:?} and {channels} channels"
            )));
        }
        let layers = layers(&widths, blocks, channels);
        let wanted: Vec<_> =
            layers.iter().map(|(name, shape)| (name.clone(), stored(&checkpoint, name, shape))).collect();
        let found = checkpoint.take(&wanted, |_| false)?;
        let (mut weights, mut rows) = (BTreeMap::new(), BTreeMap::new());
        for ((name, shape), array) in layers.iter().zip(found) {
            let values = TensorData::new(array.values, shape.clone());
            match shape[..] {
                [_] => drop(rows.insert(name.clone(), Tensor::from_data(values, device))),
                _ => drop(weights.insert(name.clone(), Tensor::from_data(values, device))),
            }
        }
        Ok(Self { weights, rows, levels: widths.len(), blocks, channels })
    }

    /// Pixels of an image along one edge of a latent.
    pub fn factor(&self) -> usize {
        1 << (self.levels - 1)
    }

    /// Channels of a latent.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// # Shapes
    /// `[batch, 3, size, size]` in `[−1, 1]` → `[batch, channels, size / factor, size / factor]`.
    pub fn encode(&self, images: Tensor<4>) -> Moments {
        let mut x = self.conv("encoder.conv_in", images);
        for level in 0..self.levels {
            let at = format!("encoder.down_blocks.{level}");
            x = (0..self.blocks).fold(x, |x, i| self.resnet(&format!("{at}.resnets.{i}"), x));
            if level + 1 < self.levels {
                // One pixel more at the right and the bottom.
                let padded = x.pad((0, 1, 0, 1), PadMode::Constant(0.0));
                x = self.convolve(&format!("{at}.downsamplers.0.conv"), padded, 2, 0);
            }
        }
        let x = self.middle("encoder", x);
        let x = self.conv("encoder.conv_out", silu(self.norm("encoder.conv_norm_out", x)));
        let x = self.conv("quant_conv", x);
        let logarithm = x.clone().narrow(1, self.channels, self.channels).clamp(-30.0, 20.0);
        Moments { mean: x.narrow(1, 0, self.channels), deviation: (logarithm * 0.5).exp() }
    }

    /// The pictures of latents that are normalized as training sees them: the inverse of drawing from [`Self::encode`].
    ///
    /// # Shapes
    /// `[batch, channels, size, size]` → `[batch, 3, size · factor, size · factor]` in about `[−1, 1]`.
    ///
    /// # Panics
    /// When the normalization is of another number of channels.
    pub fn decode(&self, latents: Tensor<4>, normalization: &Normalization) -> Tensor<4> {
        let per_channel = |of: fn([f64; 2]) -> f64| {
            let values = (0..self.channels).map(|channel| of(normalization.shift_and_factor(channel)) as f32).collect();
            Tensor::<4>::from_data(TensorData::new::<f32, _>(values, [1, self.channels, 1, 1]), &latents.device())
        };
        let (shift, spread) = (per_channel(|[shift, _]| shift), per_channel(|[_, factor]| 1.0 / factor));
        let x = self.conv("post_quant_conv", latents * spread + shift);
        let mut x = self.middle("decoder", self.conv("decoder.conv_in", x));
        for level in 0..self.levels {
            let at = format!("decoder.up_blocks.{level}");
            x = (0..=self.blocks).fold(x, |x, i| self.resnet(&format!("{at}.resnets.{i}"), x));
            if level + 1 < self.levels {
                x = self.conv(&format!("{at}.upsamplers.0.conv"), double(x));
            }
        }
        self.conv("decoder.conv_out", silu(self.norm("decoder.conv_norm_out", x)))
    }

    fn middle(&self, half: &str, x: Tensor<4>) -> Tensor<4> {
        let x = self.resnet(&format!("{half}.mid_block.resnets.0"), x);
        let x = self.attention(&format!("{half}.mid_block.attentions.0"), x);
        self.resnet(&format!("{half}.mid_block.resnets.1"), x)
    }

    fn resnet(&self, at: &str, x: Tensor<4>) -> Tensor<4> {
        let inner = self.conv(&format!("{at}.conv1"), silu(self.norm(&format!("{at}.norm1"), x.clone())));
        let inner = self.conv(&format!("{at}.conv2"), silu(self.norm(&format!("{at}.norm2"), inner)));
        let shortcut = format!("{at}.conv_shortcut");
        let around = if self.weights.contains_key(&format!("{shortcut}.weight")) { self.conv(&shortcut, x) } else { x };
        around + inner
    }

    /// One head over all pixels.
    fn attention(&self, at: &str, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let inner = self.norm(&format!("{at}.group_norm"), x.clone());
        let over =
            |part: &str| self.conv(&format!("{at}.{part}"), inner.clone()).reshape([batch, channels, height * width]);
        let scores = over("to_q").swap_dims(1, 2).matmul(over("to_k")) * (channels as f64).powf(-0.5);
        let seen = over("to_v").matmul(softmax(scores, 2).swap_dims(1, 2));
        x + self.conv(&format!("{at}.to_out.0"), seen.reshape([batch, channels, height, width]))
    }

    fn norm(&self, at: &str, x: Tensor<4>) -> Tensor<4> {
        let per_channel = |part: &str| self.rows[&format!("{at}.{part}")].clone().reshape([1, -1, 1, 1]);
        group_norm(x.into(), GROUPS, EPSILON).primal * per_channel("weight") + per_channel("bias")
    }

    /// A convolution that keeps the size.
    fn conv(&self, at: &str, x: Tensor<4>) -> Tensor<4> {
        let [.., kernel] = self.weights[&format!("{at}.weight")].dims();
        self.convolve(at, x, 1, kernel / 2)
    }

    fn convolve(&self, at: &str, x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
        let weight = self.weights[&format!("{at}.weight")].clone();
        let bias = self.rows[&format!("{at}.bias")].clone();
        conv2d(x, weight, Some(bias), ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1))
    }
}

/// Every pixel four times.
fn double(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height, 1, width, 1]).expand([batch, channels, height, 2, width, 2]).reshape([
        batch,
        channels,
        2 * height,
        2 * width,
    ])
}

/// The name that newer versions of diffusers have for a tensor.
fn newer_name(name: &str) -> String {
    let pairs = [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")];
    pairs.iter().fold(name.to_owned(), |name, (old, new)| name.replace(old, new))
}

/// The shape under which a layer is stored: one of a single pixel may be a linear layer there.
fn stored(checkpoint: &Checkpoint, name: &str, shape: &[usize]) -> Vec<usize> {
    let found = checkpoint.get(name).map(|tensor| tensor.shape.len());
    match shape {
        &[output, input, 1, 1] if found == Some(2) => vec![output, input],
        _ => shape.to_vec(),
    }
}

/// Every tensor with its shape.
fn layers(widths: &[usize], blocks: usize, channels: usize) -> Vec<(String, Vec<usize>)> {
    let mut all = Vec::new();
    let last = widths.len() - 1;
    let mut conv = |name: &str, [input, output]: [usize; 2], kernel: usize| {
        all.push((format!("{name}.weight"), vec![output, input, kernel, kernel]));
        all.push((format!("{name}.bias"), vec![output]));
    };
    conv("encoder.conv_in", [3, widths[0]], 3);
    conv("encoder.conv_out", [widths[last], 2 * channels], 3);
    conv("quant_conv", [2 * channels; 2], 1);
    conv("post_quant_conv", [channels; 2], 1);
    conv("decoder.conv_in", [channels, widths[last]], 3);
    conv("decoder.conv_out", [widths[0], 3], 3);
    for (level, &width) in widths.iter().enumerate().take(last) {
        conv(&format!("encoder.down_blocks.{level}.downsamplers.0.conv"), [width; 2], 3);
        let upper = widths[last - level];
        conv(&format!("decoder.up_blocks.{level}.upsamplers.0.conv"), [upper; 2], 3);
    }
    let mut resnets: Vec<(String, [usize; 2])> = Vec::new();
    for level in 0..widths.len() {
        let steps =
            |from: usize, to: usize, count: usize| (0..count).map(move |i| [if i == 0 { from } else { to }, to]);
        let down = steps(widths[level.saturating_sub(1)], widths[level], blocks).enumerate();
        resnets.extend(down.map(|(i, sizes)| (format!("encoder.down_blocks.{level}.resnets.{i}"), sizes)));
        let (from, to) = (widths[(last - level + 1).min(last)], widths[last - level]);
        let up = steps(from, to, blocks + 1).enumerate();
        resnets.extend(up.map(|(i, sizes)| (format!("decoder.up_blocks.{level}.resnets.{i}"), sizes)));
    }
    for half in ["encoder", "decoder"] {
        resnets.extend((0..2).map(|i| (format!("{half}.mid_block.resnets.{i}"), [widths[last]; 2])));
        for part in ["to_q", "to_k", "to_v", "to_out.0"] {
            conv(&format!("{half}.mid_block.attentions.0.{part}"), [widths[last]; 2], 1);
        }
    }
    for (at, sizes) in &resnets {
        conv(&format!("{at}.conv1"), *sizes, 3);
        conv(&format!("{at}.conv2"), [sizes[1]; 2], 3);
        if sizes[0] != sizes[1] {
            conv(&format!("{at}.conv_shortcut"), *sizes, 1);
        }
    }
    let mut norms: Vec<(String, usize)> =
        resnets.iter().flat_map(|(at, [a, b])| [(format!("{at}.norm1"), *a), (format!("{at}.norm2"), *b)]).collect();
    for (half, end) in [("encoder", widths[last]), ("decoder", widths[0])] {
        norms.push((format!("{half}.conv_norm_out"), end));
        norms.push((format!("{half}.mid_block.attentions.0.group_norm"), widths[last]));
    }
    for (name, width) in norms {
        all.push((format!("{name}.weight"), vec![width]));
        all.push((format!("{name}.bias"), vec![width]));
    }
    all
}
