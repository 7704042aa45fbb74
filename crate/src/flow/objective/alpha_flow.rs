//! α-Flow: from the conditional velocity itself (α = 1) to MeanFlow (α → 0), without a derivative in between.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Direction, Models, Objective};
use crate::error::{Error, check};
use crate::flow::loss::{Residuals, StepInputs, Tangent, mean_flow_residuals, squared_norm};
use crate::flow::per_image;

/// α over the steps of training: 1 at first, 0 at last, a sigmoid between (snap-research/alphaflow).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlphaFlow {
    /// Step at which α starts to fall.
    pub start: u64,
    /// Step from which it is 0.
    pub end: u64,
    /// Steepness of the fall between.
    pub gamma: f64,
    /// An α this close to 0 or 1 is taken for it; 0 is MeanFlow, with its derivative.
    pub snap: f64,
    /// Bound on each value of a target, `[−clamp, clamp]`, while α is above 0; none if not given. The published runs
    /// with guidance of the largest model have 4 (`clamp_utgt` of snap-research/alphaflow).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clamp: Option<f64>,
}

impl Default for AlphaFlow {
    fn default() -> Self {
        Self { start: 4_000, end: 14_000, gamma: 25.0, snap: 0.005, clamp: None }
    }
}

impl AlphaFlow {
    /// `1 − σ(γ (step − middle)/(end − start))`, snapped to its ends.
    pub fn alpha_at(&self, step: u64) -> f64 {
        let (start, end) = (self.start as f64, self.end as f64);
        let place = (step as f64 - 0.5 * (start + end)) / (end - start);
        let alpha = 1.0 / (1.0 + libm::exp(self.gamma * place));
        match alpha {
            _ if step >= self.end || alpha < self.snap => 0.0,
            _ if step < self.start || alpha > 1.0 - self.snap => 1.0,
            _ => alpha,
        }
    }
}

impl Objective for AlphaFlow {
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, step: u64) -> Residuals {
        let alpha = self.alpha_at(step);
        Residuals::with_flow_matching(models, &inputs, |rows| match alpha == 0.0 {
            true => {
                let residuals = mean_flow_residuals(models, rows, Tangent::Conditional, Direction::V01);
                residuals.interval.expect("all of these rows have r < t")
            }
            false => squared_norm(residual(models, rows, alpha, self.clamp)),
        })
    }

    fn validate(&self) -> Result<(), Error> {
        let rules = [
            (self.start < self.end, "start must be before end"),
            (self.gamma > 0.0 && self.gamma.is_finite(), "gamma must be above 0"),
            ((1e-4..0.5).contains(&self.snap), "snap must be 0.0001 to below 0.5"),
            (super::is_bound(self.clamp), "clamp must be above 0"),
        ];
        check(rules, |rule| format!("[objective] {rule}"))
    }

    fn scale_by(&mut self, ratio: f64) {
        let scaled = |step: u64| (step as f64 * ratio).round() as u64;
        self.start = scaled(self.start);
        self.end = scaled(self.end).max(self.start + 1);
    }

    fn notices(&self, [first, last]: [u64; 2], _p: f64) -> Vec<String> {
        let (mut notices, alpha) = (Vec::new(), self.alpha_at(last));
        if self.alpha_at(first) == 0.0 {
            notices.push(format!(
                "α-Flow is MeanFlow throughout: α is 0 from [objective] end = {} on, and rows with r < t begin at step \
                 {first}",
                self.end
            ));
        }
        if alpha > 0.0 {
            notices.push(format!(
                "α-Flow ends at α = {alpha:.3} and does not reach MeanFlow: [objective] end is {}, the last step \
                 {last}",
                self.end
            ));
        }
        notices
    }
}

/// Residual to the target `α v + (1 − α) u(z', r, t')`, where `(z', t')` is `α (t − r)` back along `v`.
///
/// That residual is of order α; it is divided by α in value, but not in gradient. So it is
/// `u − sg(v − (1 − α) (u(z, r, t) − u(z', r, t'))/α)`: MeanFlow with a difference quotient for `(t − r) du/dt`. At
/// `p = 1` this is the weight `α / (‖Δ‖² + c)` of the authors' code, with `c` on the scale of MeanFlow's residual for
/// every α. With `clamp` the target is bounded before, as theirs.
fn residual(models: Models<'_>, rows: StepInputs, alpha: f64, clamp: Option<f64>) -> Tensor<4> {
    let back = (rows.t.clone() - rows.r.clone()) * alpha;
    let z_back = rows.z.clone() - per_image(back.clone()) * rows.v.clone();
    let u_back = models.detached.eval(z_back, rows.r.clone(), rows.t.clone() - back, rows.labels.clone());
    let StepInputs { z, v, t, r, labels, .. } = rows;
    let u = models.online.u(z.into(), r.into(), t.into(), labels).primal;
    if let Some(bound) = clamp {
        let target = (v * alpha + u_back * (1.0 - alpha)).clamp(-bound, bound);
        let value = u.clone().inner();
        // Worth (u − target)/α, with the gradient of u.
        return u - (value.clone() - (value - target) / alpha);
    }
    let quotient = (u.clone().inner() - u_back) / alpha;
    u - (v - quotient * (1.0 - alpha))
}
