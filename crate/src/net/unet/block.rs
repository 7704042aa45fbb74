//! The residual block of the U-Net.

use burn::module::Module;
use burn::nn::Linear;

use super::conv::{Conv, GroupNorm, Resample};
use crate::dual::attend;
use crate::dual::{Dual, linear, silu};
use crate::net::Dropout;
use crate::net::init::{Init, Initializer};
use crate::net::param::ParamRole;

/// Sums of two branches are divided by √2, so that their size stays.
const HALVED: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// Branches start near zero.
const NEAR_ZERO: f64 = 1e-5;

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

    /// Trainable parameters, with times embedded in so many features.
    pub fn parameters(self, embedding: usize) -> usize {
        let [input, output] = self.channels;
        let skip = if self.has_skip() { Conv::parameters(self.channels, 1) } else { 0 };
        let attention = match self.attention {
            true => 2 * output + Conv::parameters([output, 3 * output], 1) + Conv::parameters([output, output], 1),
            false => 0,
        };
        let convolutions = Conv::parameters(self.channels, 3) + Conv::parameters([output, output], 3);
        2 * input + 2 * output + convolutions + (embedding + 1) * output + skip + attention
    }
}

/// Two convolutions with the times' embedding added between, and attention over the image where the plan says so.
#[derive(Module, Debug)]
pub(super) struct UnetBlock {
    norm0: GroupNorm,
    conv0: Conv,
    affine: Linear,
    norm1: GroupNorm,
    conv1: Conv,
    skip: Option<Conv>,
    norm2: Option<GroupNorm>,
    qkv: Option<Conv>,
    proj: Option<Conv>,
    #[module(skip)]
    plan: BlockPlan,
}

impl UnetBlock {
    pub fn new(plan: BlockPlan, embedding: usize, init: &Init) -> Self {
        let [input, output] = plan.channels;
        let conv = |channels, kernel, scale| Conv::new(ParamRole::Hidden, channels, kernel, scale, init);
        let attention = |channels, scale| plan.attention.then(|| conv(channels, 1, scale));
        Self {
            norm0: GroupNorm::new(input, init),
            conv0: conv(plan.channels, 3, 1.0),
            affine: init.linear(ParamRole::Modulation, embedding, output, Initializer::Xavier),
            norm1: GroupNorm::new(output, init),
            conv1: conv([output, output], 3, NEAR_ZERO),
            skip: plan.has_skip().then(|| conv(plan.channels, 1, 1.0)),
            norm2: plan.attention.then(|| GroupNorm::new(output, init)),
            qkv: attention([output, 3 * output], 0.2f64.sqrt()),
            proj: attention([output, output], NEAR_ZERO),
            plan,
        }
    }

    /// The channels that it takes.
    pub fn input(&self) -> usize {
        self.plan.channels[0]
    }

    /// # Shapes
    /// `x`: `[batch, input, height, width]`; `embedding`: `[batch, features]`.
    pub fn forward(&self, x: Dual<4>, embedding: Dual<2>, dropout: Option<&Dropout>) -> Dual<4> {
        let resample = |x: Dual<4>| self.plan.resample.forward(x);
        let inner = self.conv0.forward(resample(silu(self.norm0.forward(x.clone()))));
        let [batch, channels, ..] = inner.dims();
        let conditioning = linear(&self.affine, embedding).reshape([batch, channels, 1, 1]);
        let inner = silu(self.norm1.forward(inner + conditioning));
        let inner = self.conv1.forward(match dropout {
            Some(dropout) => dropout.apply(inner),
            None => inner,
        });
        let around = match &self.skip {
            Some(skip) => skip.forward(resample(x)),
            None => x,
        };
        let x = (inner + around).scale(HALVED);
        match (&self.norm2, &self.qkv, &self.proj) {
            (Some(norm), Some(qkv), Some(proj)) => {
                let [batch, channels, height, width] = x.dims();
                // One head over the pixels: `[batch, 1, pixels, channels]`.
                let over = |part: Dual<4>| part.reshape([batch, 1, channels, height * width]).swap_dims(2, 3);
                let [q, k, v] = qkv.forward(norm.forward(x.clone())).chunk(1).map(over);
                let seen = attend(q, k, v).swap_dims(2, 3).reshape([batch, channels, height, width]);
                (proj.forward(seen) + x).scale(HALVED)
            }
            _ => x,
        }
    }
}
