//! Settings of MeanFlow and improved MeanFlow, which have one residual
//! ([`mean_flow_residuals`](crate::flow::mean_flow_residuals)) and differ in the tangent of its derivative.

use serde::{Deserialize, Serialize};

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

/// Settings of the objectives that differentiate: MeanFlow, improved and pixel MeanFlow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Differential {
    /// `"(v, 0, 1)"`; the wrong ones are for the ablation.
    pub direction: Direction,
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
