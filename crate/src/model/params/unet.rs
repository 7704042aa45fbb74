//! The parameters of the U-Net, and the plan of its blocks.

use super::{Initializer, ParamList, ParamRole};
use crate::model::{AUGMENT_DIM, NetConfig, UnetConfig};

/// Branches and the last layer start near zero.
const NEAR_ZERO: f64 = 1e-5;

/// Features that the times are embedded in.
fn embedding(config: &NetConfig) -> usize {
    4 * config.width
}

/// Channels after the last block.
fn last(config: &NetConfig, parts: &UnetConfig) -> usize {
    parts.multipliers.first().map_or(0, |multiplier| multiplier * config.width)
}

/// Linear layers and convolutions start Xavier-uniform.
pub(super) fn list(config: &NetConfig, parts: &UnetConfig, params: &mut ParamList) {
    let features = embedding(config);
    let waves = 2 * config.width * config.times.flags().into_iter().filter(|is_input| *is_input).count();
    let conditioning = |params: &mut ParamList, name: &str, inputs| {
        params.linear(name, ParamRole::Conditioning, [inputs, features], Initializer::xavier(inputs, features));
    };
    conditioning(params, "times0", waves);
    conditioning(params, "times1", features);
    if config.classes > 0 {
        params.table("label", config.classes + 1, features, Initializer::Normal(0.02));
    }
    params.conv("input", ParamRole::Input, [config.channels, config.width], 3, 1.0);
    let plan = UnetPlan::new(config, parts);
    params.repeat("encoder", plan.encoder.len(), |params, i| block(params, plan.encoder[i], features));
    params.repeat("decoder", plan.decoder.len(), |params, i| block(params, plan.decoder[i], features));
    norm(params, "norm", last(config, parts));
    params.conv("output", ParamRole::Output, [last(config, parts), config.channels], 3, NEAR_ZERO);
    // Last, so that networks without it start with the same numbers.
    if parts.augmentation {
        let initializer = Initializer::xavier(AUGMENT_DIM, waves);
        params.linear_without_bias("augmentation", ParamRole::Conditioning, [AUGMENT_DIM, waves], initializer);
    }
}

impl ParamList {
    /// A convolution of an odd kernel: `[in, out]` channels, Xavier-uniform times `scale`, with bias zero.
    fn conv(&mut self, name: &str, role: ParamRole, [input, output]: [usize; 2], kernel: usize, scale: f64) {
        let bound = scale * (6.0 / ((input + output) * kernel * kernel) as f64).sqrt();
        self.scope(name, |params| {
            params.add("weight", role, &[output, input, kernel, kernel], Initializer::Uniform(bound), false);
            params.vector("bias", output, 0.0);
        });
    }
}

fn block(params: &mut ParamList, plan: BlockPlan, embedding: usize) {
    let [input, output] = plan.channels;
    norm(params, "norm0", input);
    params.conv("conv0", ParamRole::Hidden, plan.channels, 3, 1.0);
    let affine = Initializer::xavier(embedding, output);
    params.linear("affine", ParamRole::Modulation, [embedding, output], affine);
    norm(params, "norm1", output);
    params.conv("conv1", ParamRole::Hidden, [output, output], 3, NEAR_ZERO);
    if plan.has_skip() {
        params.conv("skip", ParamRole::Hidden, plan.channels, 1, 1.0);
    }
    if plan.attention {
        norm(params, "norm2", output);
        params.conv("qkv", ParamRole::Hidden, [output, 3 * output], 1, 0.2f64.sqrt());
        params.conv("proj", ParamRole::Hidden, [output, output], 1, NEAR_ZERO);
    }
}

/// Scale and shift of a group normalisation.
fn norm(params: &mut ParamList, name: &str, channels: usize) {
    params.scope(name, |params| {
        params.vector("weight", channels, 1.0);
        params.vector("bias", channels, 0.0);
    });
}

/// What a block does to the size of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resample {
    Keep,
    Down,
    Up,
}

/// The size of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockPlan {
    pub channels: [usize; 2],
    pub resample: Resample,
    pub attention: bool,
}

impl BlockPlan {
    /// Whether the way around is a convolution.
    pub fn has_skip(self) -> bool {
        self.channels[0] != self.channels[1] || self.resample != Resample::Keep
    }
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
