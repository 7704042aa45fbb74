//! The U-Net of the CIFAR-10 experiments (MeanFlow, arXiv 2505.13447, appendix B): the DDPM++ network of score-based
//! models (arXiv 2011.13456) in the form that EDM (arXiv 2206.00364) gave it, with a second time. Written from its
//! description.

mod block;
mod conv;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData};

use super::embed::Table;
use super::init::{Init, Initializer};
use super::param::{ParamRole, Roles};
use super::{AUGMENT_DIM, Conditioning, Dropout, Labels, NetConfig, UnetConfig};
use crate::dual::{Dual, linear, silu};
pub(crate) use block::BlockPlan;
use block::UnetBlock;
use conv::{Conv, GroupNorm, Resample};

/// Whether this build has it.
pub(super) const IS_HERE: bool = true;

/// Longest period of the sinusoids, in units of time / 2π.
const MAX_PERIOD: f64 = 10_000.0;
/// The last layer starts near zero.
const NEAR_ZERO: f64 = 1e-5;

/// An encoder and a decoder with connections across.
#[derive(Module, Debug)]
pub struct Unet {
    times0: Linear,
    times1: Linear,
    augmentation: Option<Linear>,
    pub(super) label: Option<Table>,
    input: Conv,
    encoder: Vec<UnetBlock>,
    decoder: Vec<UnetBlock>,
    norm: GroupNorm,
    output: Conv,
    #[module(skip)]
    frequencies: Tensor<2>,
    #[module(skip)]
    pub(super) config: NetConfig,
    #[module(skip)]
    pub(super) roles: Roles,
}

/// The blocks of a U-Net, in the order in which they run.
pub(crate) struct UnetPlan {
    pub(crate) encoder: Vec<BlockPlan>,
    pub(crate) decoder: Vec<BlockPlan>,
}

impl UnetPlan {
    /// Blocks by levels, from the full image down and up again.
    pub(crate) fn new(config: &NetConfig, parts: &UnetConfig) -> Self {
        let mut encoder = Vec::new();
        // The channels that each step of the encoder leaves for the decoder.
        let mut left = vec![config.width];
        let mut channels = config.width;
        for (level, multiplier) in parts.multipliers.iter().enumerate() {
            let attention = parts.attention.contains(&(config.image_size >> level));
            let mut add = |channels: [usize; 2], resample, attention| {
                encoder.push(BlockPlan { channels, resample, attention });
                left.push(channels[1]);
            };
            if level > 0 {
                add([channels, channels], Resample::Down, false);
            }
            for _ in 0..config.depth {
                add([channels, multiplier * config.width], Resample::Keep, attention);
                channels = multiplier * config.width;
            }
        }
        let mut decoder = Vec::new();
        for (level, multiplier) in parts.multipliers.iter().enumerate().rev() {
            let attention = parts.attention.contains(&(config.image_size >> level));
            let mut add = |channels: [usize; 2], resample, attention| {
                decoder.push(BlockPlan { channels, resample, attention });
            };
            if level + 1 == parts.multipliers.len() {
                add([channels, channels], Resample::Keep, true);
                add([channels, channels], Resample::Keep, false);
            } else {
                add([channels, channels], Resample::Up, false);
            }
            for index in 0..=config.depth {
                let across = left.pop().unwrap_or(0);
                add([channels + across, multiplier * config.width], Resample::Keep, attention && index == config.depth);
                channels = multiplier * config.width;
            }
        }
        Self { encoder, decoder }
    }
}

/// Features that the times are embedded in.
fn embedding(config: &NetConfig) -> usize {
    4 * config.width
}

/// Channels after the last block.
fn last(config: &NetConfig, parts: &UnetConfig) -> usize {
    parts.multipliers.first().map_or(0, |multiplier| multiplier * config.width)
}

impl Unet {
    pub(super) fn new(config: &NetConfig, parts: &UnetConfig, init: &Init) -> Self {
        let features = embedding(config);
        let plan = UnetPlan::new(config, parts);
        let block = |plan: BlockPlan| UnetBlock::new(plan, features, init);
        let half = config.width;
        let frequency = |i: usize| libm::pow(MAX_PERIOD, -(i as f64) / (half - 1) as f64) as f32;
        let frequencies = TensorData::new((0..half).map(frequency).collect::<Vec<f32>>(), [1, half]);
        let num_times = config.times.flags().into_iter().filter(|is_input| *is_input).count();
        let conditioning = |input, output| init.linear(ParamRole::Conditioning, input, output, Initializer::Xavier);
        let net = Self {
            times0: conditioning(2 * half * num_times, features),
            times1: conditioning(features, features),
            augmentation: None,
            label: (config.classes > 0)
                .then(|| Table::new(config.classes + 1, features, Initializer::Deviation(0.02), init)),
            input: Conv::new(ParamRole::Input, [config.channels, config.width], 3, 1.0, init),
            encoder: plan.encoder.into_iter().map(block).collect(),
            decoder: plan.decoder.into_iter().map(block).collect(),
            norm: GroupNorm::new(last(config, parts), init),
            output: Conv::new(ParamRole::Output, [last(config, parts), config.channels], 3, NEAR_ZERO, init),
            frequencies: Tensor::from_data(frequencies, &init.device.clone().inner()),
            config: config.clone(),
            roles: Roles::default(),
        };
        // Drawn last, so that networks without it have the same numbers.
        let augmentation = parts.augmentation.then(|| {
            init.linear_without_bias(ParamRole::Conditioning, AUGMENT_DIM, 2 * half * num_times, Initializer::Xavier)
        });
        Self { augmentation, ..net }
    }

    pub(super) fn forward(&self, z: Dual<4>, conditioning: Conditioning, dropout: Option<&Dropout>) -> Dual<4> {
        if let Some(dropout) = dropout {
            dropout.restart();
        }
        let embedding = self.embed(&conditioning);
        let mut x = self.input.forward(z.clone());
        let mut across = vec![x.clone()];
        for block in &self.encoder {
            x = block.forward(x, embedding.clone(), dropout);
            across.push(x.clone());
        }
        for block in &self.decoder {
            if block.input() != x.dims()[1] {
                x = x.concat(across.pop().expect("the encoder leaves as much as the decoder takes"), 1);
            }
            x = block.forward(x, embedding.clone(), dropout);
        }
        let output = self.output.forward(silu(self.norm.forward(x)));
        self.config.to_velocity(z, output, conditioning.t)
    }

    /// The times, each as `[sin | cos]`, through two layers; with how the image was changed added before the first, and
    /// the class before the second, where the network is told them. Of no change it need not be told.
    fn embed(&self, conditioning: &Conditioning) -> Dual<2> {
        let Conditioning { r, t, labels } = conditioning;
        let times = self.config.times.flags().into_iter().zip([t.clone(), r.clone(), t.clone() - r.clone()]);
        let waves = times.filter_map(|(is_input, time)| is_input.then_some(time)).map(|time| {
            let [batch] = time.dims();
            let angles = time.reshape([batch, 1]) * Dual::constant(self.frequencies.clone());
            angles.clone().sin().concat(angles.cos(), 1)
        });
        let waves = waves.reduce(|all, wave| all.concat(wave, 1)).expect("every network is told some time");
        let changes = labels.as_ref().and_then(Labels::augment_labels);
        let waves = match (&self.augmentation, changes) {
            (Some(layer), Some(changes)) => waves + linear(layer, changes.clone().into()),
            _ => waves,
        };
        let mut inner = silu(linear(&self.times0, waves));
        if let Some(table) = &self.label {
            inner = inner + labels.as_ref().expect("a class-conditional network needs labels").embed(table);
        }
        silu(linear(&self.times1, inner))
    }

    /// Trainable parameters of a configuration.
    pub(super) fn parameters(config: &NetConfig, parts: &UnetConfig) -> usize {
        let features = embedding(config);
        let num_times = config.times.flags().into_iter().filter(|is_input| *is_input).count();
        let times = (2 * config.width * num_times + 1) * features + (features + 1) * features;
        let label = if config.classes > 0 { (config.classes + 1) * features } else { 0 };
        let plan = UnetPlan::new(config, parts);
        let blocks: usize = plan.encoder.iter().chain(&plan.decoder).map(|block| block.parameters(features)).sum();
        let ends = Conv::parameters([config.channels, config.width], 3)
            + Conv::parameters([last(config, parts), config.channels], 3)
            + 2 * last(config, parts);
        let augmentation = if parts.augmentation { AUGMENT_DIM * 2 * config.width * num_times } else { 0 };
        times + augmentation + label + blocks + ends
    }
}
