//! Flow Matching (arXiv 2210.02747): every row has `r = t`, and learns the velocity of the path.

use serde::{Deserialize, Serialize};

use super::{Direction, Models, Objective};
use crate::flow::loss::{Residuals, StepInputs, Tangent, mean_flow_residuals};
use crate::model::Solver;

/// Flow Matching, which has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowMatching {}

impl Objective for FlowMatching {
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, _step: u64) -> Residuals {
        mean_flow_residuals(models, inputs, Tangent::Conditional, Direction::default())
    }

    fn trains_intervals(&self) -> bool {
        false
    }

    fn trains_velocity_head(&self) -> bool {
        true
    }

    /// As many calls as its curved paths need: one makes a blur.
    fn sampling(&self) -> (Solver, usize) {
        (Solver::Heun, 32)
    }
}
