//! Classifier-free guidance inside the target (section 4.2 of MeanFlow, arXiv 2505.13447): the network learns the guided
//! flow, and samples it in one call.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{AverageVelocity, PathSample, per_image};
use crate::error::{Error, check};
use crate::net::Labels;

/// Guidance of the velocity that is regressed on: `v_g = ω v + κ u(z, t, t | y) + (1 − ω − κ) u(z, t, t | null)` for times
/// in `[start, end]`, and `v_g = v` for others and for rows without a class.
///
/// Where the network has learnt it, `v_g = v_null + ω/(1 − κ) (v_y − v_null)`. It needs labels that are dropped at
/// times; dropped rows have `r = t`, since the null label is only ever asked for an instantaneous velocity. In training
/// that learns the guided flow, guidance while sampling would guide twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guidance {
    /// ω; with κ = 0 the scale itself. The paper's best without κ: 3 on B/4.
    pub omega: f64,
    /// κ, below 1: how much of the scale comes from the network's own class velocity. It costs a third pass.
    pub kappa: f64,
    /// First guided time, towards data.
    pub start: f64,
    /// Last guided time, towards noise.
    pub end: f64,
}

impl Default for Guidance {
    fn default() -> Self {
        Self { omega: 1.0, kappa: 0.0, start: 0.0, end: 1.0 }
    }
}

impl Guidance {
    /// Whether it changes anything.
    pub fn is_on(&self) -> bool {
        self.omega != 1.0 || self.kappa != 0.0
    }

    /// The scale that a network which has learnt it is guided by, `ω' = ω/(1 − κ)`.
    pub fn scale(&self) -> f64 {
        self.omega / (1.0 - self.kappa)
    }

    /// # Errors
    /// Names the field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let Self { omega, kappa, start, end } = *self;
        let rules = [
            ((0.0..=100.0).contains(&omega), "omega must be 0 to 100"),
            ((0.0..1.0).contains(&kappa), "kappa must be 0 to below 1"),
            (0.0 <= start && start <= end && end <= 1.0, "start and end must be times, start not after end"),
        ];
        check(rules, |rule| format!("[guidance] {rule}"))
    }

    /// The same path with its velocity guided by `net`, the live weights; no gradient flows into it.
    ///
    /// # Shapes
    /// `t`, `labels`: `[batch]`.
    pub fn apply(
        &self,
        net: &impl AverageVelocity,
        path: PathSample,
        t: &Tensor<1>,
        labels: &Labels,
        null_label: usize,
    ) -> PathSample {
        let PathSample { z, v } = path;
        let null = null_label as i32;
        let ask =
            |labels: Labels| net.u(z.clone().into(), t.clone().into(), t.clone().into(), Some(labels)).primal.inner();
        let mut guided = v.clone() * self.omega + ask(labels.full_like(null)) * (1.0 - self.omega - self.kappa);
        if self.kappa != 0.0 {
            guided = guided + ask(labels.clone()) * self.kappa;
        }
        let within = t.clone().greater_equal_elem(self.start).bool_and(t.clone().lower_equal_elem(self.end));
        let applies = per_image(within.bool_and(labels.clone().not_equal_elem(null)).float());
        // Chosen rather than blended, so that a row it does not apply to keeps its velocity to the bit.
        let applies = applies.expand(v.dims()).greater_elem(0.5);
        PathSample { v: v.mask_where(applies, guided), z }
    }
}
