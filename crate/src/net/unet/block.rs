//! The residual block of the U-Net.

use burn::module::Module;
use burn::nn::Linear;

use super::conv::{Conv, GroupNorm, resample};
use crate::dual::attend;
use crate::dual::{Dual, linear, silu};
use crate::model::params::unet::BlockPlan;
use crate::net::Dropout;
use crate::net::init::Init;

/// Sums of two branches are divided by √2, so that their size stays.
const HALVED: f64 = std::f64::consts::FRAC_1_SQRT_2;

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
    pub fn new(plan: BlockPlan, init: &Init) -> Self {
        let (norm, conv) = (|name: &str| GroupNorm::new(&init.scope(name)), |name: &str| Conv::new(&init.scope(name)));
        Self {
            norm0: norm("norm0"),
            conv0: conv("conv0"),
            affine: init.linear("affine"),
            norm1: norm("norm1"),
            conv1: conv("conv1"),
            skip: init.optional("skip", Conv::new),
            norm2: init.optional("norm2", GroupNorm::new),
            qkv: init.optional("qkv", Conv::new),
            proj: init.optional("proj", Conv::new),
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
        let resample = |x: Dual<4>| resample(x, self.plan.resample);
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
