//! Improved MeanFlow (arXiv 2512.02012): MeanFlow whose derivative is taken along the network's own velocity.

use serde::{Deserialize, Serialize};

use super::{Direction, Models, Objective};
use crate::flow::loss::{Residuals, StepInputs, Tangent, mean_flow_residuals};

/// Improved MeanFlow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImprovedMeanFlow {
    /// `"(v, 0, 1)"`; the wrong ones are for the ablation.
    pub direction: Direction,
}

impl Objective for ImprovedMeanFlow {
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, _step: u64) -> Residuals {
        mean_flow_residuals(models, inputs, Tangent::Predicted, self.direction)
    }

    fn trains_velocity_head(&self) -> bool {
        true
    }
}
