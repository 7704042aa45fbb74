//! MeanFlow (arXiv 2505.13447), whose residual is [`mean_flow_residuals`].

use serde::{Deserialize, Serialize};

use super::{Models, Objective};
use crate::flow::loss::{Residuals, StepInputs, Tangent, mean_flow_residuals};

/// The direction `(dz, dr, dt)` of the total derivative `du/dt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// The right one: along the flow, `r` at rest.
    #[default]
    #[serde(rename = "(v, 0, 1)")]
    V01,
    /// Wrong: as if the network did not know the time. These three are table 1 (b) of the paper.
    #[serde(rename = "(v, 0, 0)")]
    V00,
    /// Wrong: `r` moves in place of `t`.
    #[serde(rename = "(v, 1, 0)")]
    V10,
    /// Wrong: both move.
    #[serde(rename = "(v, 1, 1)")]
    V11,
}

impl Direction {
    /// Whether `r` and `t` move.
    pub(in crate::flow) fn moves(self) -> [bool; 2] {
        match self {
            Self::V01 => [false, true],
            Self::V00 => [false, false],
            Self::V10 => [true, false],
            Self::V11 => [true, true],
        }
    }
}

/// MeanFlow: the derivative is taken along the velocity of the path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeanFlow {
    /// `"(v, 0, 1)"`; the wrong ones are for the ablation.
    pub direction: Direction,
}

impl Objective for MeanFlow {
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, _step: u64) -> Residuals {
        mean_flow_residuals(models, inputs, Tangent::Conditional, self.direction)
    }

    fn trains_velocity_head(&self) -> bool {
        true
    }
}
