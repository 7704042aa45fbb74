//! Pixel MeanFlow (arXiv 2601.22158): improved MeanFlow for a network that gives an image, without its perceptual
//! losses.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Direction, Models, Objective};
use crate::flow::loss::{PathSample, Residuals, StepInputs, Tangent, interpolate, mean_flow_residuals};
use crate::flow::per_image;
use crate::model::Output;
use crate::model::tables::MIN_DIVISOR;

/// Pixel MeanFlow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PixelMeanFlow {
    /// `"(v, 0, 1)"`; the wrong ones are for the ablation.
    pub direction: Direction,
}

impl Objective for PixelMeanFlow {
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, _step: u64) -> Residuals {
        mean_flow_residuals(models, inputs, Tangent::Predicted, self.direction)
    }

    /// With `(z − x)/max(t, 0.05)` for the velocity, which is `e − x` from 0.05 on: what the network's conversion can
    /// reach.
    fn path(&self, x: Tensor<4>, e: Tensor<4>, t: Tensor<1>) -> PathSample {
        let PathSample { z, v } = interpolate(x, e, t.clone());
        PathSample { z, v: v * per_image(t.clone() / t.clamp_min(MIN_DIVISOR)) }
    }

    fn output(&self) -> Output {
        Output::Image
    }

    fn trains_velocity_head(&self) -> bool {
        true
    }
}
