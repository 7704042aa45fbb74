//! The loss: squared residuals `u − u_tgt` of a batch, adaptively weighted (Algorithm 1 of MeanFlow, arXiv 2505.13447).
//!
//! The identity `u = v − (t − r) du/dt` gives the target `u_tgt = sg(v − (t − r) du/dt)`, where `du/dt` is the
//! Jacobian-vector product of `u` at `(z, r, t)` along `(v, 0, 1)`; at `r = t` the same loss is Flow Matching.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{AverageVelocity, Models, Objective, PathSample, Times};
use crate::net::Labels;

/// Squared residuals of a batch, summed over the pixels of each image, on the tape.
#[derive(Clone, Debug)]
pub struct Residuals {
    /// `‖u − u_tgt‖²` of the rows with `r < t`; `None` when there are none.
    pub interval: Option<Tensor<1>>,
    /// `‖u − v‖²` of the rows with `r = t`: the Flow Matching error; `None` when there are none.
    pub instant: Option<Tensor<1>>,
    /// `‖v̂ − v‖²` of all rows for the velocity `v̂` of the auxiliary head; `None` without one.
    pub auxiliary: Option<Tensor<1>>,
}

/// Squared MeanFlow residuals of a batch: the default [`Objective`] of one network.
///
/// Rows with `r < t` carry the tangent `(v, 0, 1)` through the network; rows with `r = t`, whose `du/dt` has weight
/// zero, carry none in the same pass, which is exact and cheaper.
pub fn mean_flow_residuals(
    net: &impl AverageVelocity,
    path: PathSample,
    times: Times,
    labels: Option<Labels>,
) -> Residuals {
    Objective::default().residuals(Models::all(net), path, times, labels, 0)
}

/// Sum of squares over the pixels of each image: `[batch, c, h, w]` → `[batch]`. A sum, not a mean, as in the paper's
/// code.
pub(super) fn squared(x: Tensor<4>) -> Tensor<1> {
    (x.clone() * x).flatten::<2>(1, 3).sum_dim(1).squeeze_dim(1)
}

/// Adaptive weight `w = 1 / sg(‖Δ‖² + c)ᵖ` (section 4.3; `p = 1` was best on ImageNet, 0.75 on CIFAR-10).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveWeight {
    /// Power: 0 is plain least squares.
    pub p: f64,
    /// Keeps the weight finite; on the scale of a squared error summed over pixels.
    pub c: f64,
}

impl Default for AdaptiveWeight {
    fn default() -> Self {
        Self { p: 1.0, c: 0.01 }
    }
}

impl AdaptiveWeight {
    /// Weighted loss of a batch: the mean of `w ‖Δ‖²` over all rows, and that of the auxiliary head. Scalar, on the
    /// tape.
    ///
    /// With `p = 1` it reads about 1 whatever happens; watch the raw residuals.
    ///
    /// # Panics
    /// When the batch is empty.
    pub fn apply(&self, residuals: &Residuals) -> Tensor<1> {
        let parts = [&residuals.interval, &residuals.instant].into_iter().flatten().cloned().collect();
        let average = self.weigh(Tensor::cat(parts, 0));
        match &residuals.auxiliary {
            Some(errors) => average + self.weigh(errors.clone()),
            None => average,
        }
    }

    fn weigh(&self, errors: Tensor<1>) -> Tensor<1> {
        let weight = (errors.clone().inner() + self.c).powf_scalar(-self.p);
        (errors * weight).mean()
    }
}
