//! Terminal velocity matching (TVM, arXiv 2511.19797): the derivative is taken in the time at which a jump ends.
//!
//! A jump from `z` at `t` lands at `z_r = z − (t − r) u(z, r, t)`. As `r` moves, the place where it lands must move at
//! the velocity there: `dz_r/dr = u − (t − r) ∂u/∂r = v(z_r, r)` (their terminal velocity condition, with `s` for our
//! `r`). MeanFlow asks the same of the time at which a jump begins, where the velocity of the data is known; at the end
//! it is known only to a network, of which an average over the steps of training is asked, `v = u(z_r, r, r)`.
//!
//! As published: `[weight] p = 0`; half of the rows with `r < t` (there every image has a term of each kind); `[times]`
//! `mean = -0.4`, `std = 1.0`, `uniform = 0.0`, `order = "mask-sort"` for `r` and for the rows with `r = t`; the
//! defaults here; and for the target an average of decay 0.99 (`[train.averages] target = { decay = 0.99 }`,
//! `average = "target"`). The authors' network differs from ours where that makes it Lipschitz in its input
//! (root-mean-square normalisation of tokens, queries, keys and modulations), is told the scale of guidance and
//! multiplied by it, with a weight of `1/ω²`: that is left out. Guidance by `[guidance]` is of the rows with `r = t`
//! alone, as theirs, and asks the same average as the target.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Models, Objective, check_learns_velocity, published_with_plain_squares};
use crate::dual::Dual;
use crate::error::{Error, check};
use crate::flow::loss::{Residuals, StepInputs, squared_norm};
use crate::flow::per_image;
use crate::flow::times::{TimePairs, TimesConfig, logistic};
use crate::rng::Stream;

/// Settings of terminal velocity matching.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TerminalVelocity {
    /// Mean of the normal whose sigmoid is the length `t − r` of a jump; `r` is then drawn as `[times] mean` and `std`
    /// say, among the times before `1 − (t − r)`.
    pub gap_mean: f64,
    /// Standard deviation of that normal.
    pub gap_std: f64,
    /// Whether the gradient also flows through `∂u/∂r` (reverse over forward mode), as published; without it the
    /// derivative is a part of the target, which costs less memory and time.
    pub through_derivative: bool,
    /// The average of `[train.averages]` that the velocity at the end is asked of; that of `ema_decay` if not given.
    pub average: Option<String>,
}

impl Default for TerminalVelocity {
    fn default() -> Self {
        Self { gap_mean: -0.8, gap_std: 1.0, through_derivative: true, average: None }
    }
}

impl Objective for TerminalVelocity {
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, _step: u64) -> Residuals {
        Residuals::with_flow_matching(models, &inputs, |rows| {
            squared_norm(residual(models, rows, self.through_derivative))
        })
    }

    /// The length of each jump, and then where it ends; the uniform share of `[times]` keeps two sorted uniform draws.
    fn adjust_times(&self, pairs: &mut TimePairs, config: &TimesConfig, stream: &mut Stream) {
        for pair in pairs.intervals() {
            if stream.uniform() < config.uniform {
                let [a, b] = [stream.uniform(), stream.uniform()];
                *pair = [a.min(b), a.max(b)];
                continue;
            }
            let [length, _] = stream.normal_pair();
            let length = logistic(self.gap_mean + self.gap_std * length);
            let r = config.before(1.0 - length, stream.uniform());
            *pair = [r, (r + length).min(1.0)];
        }
    }

    fn average(&self) -> Option<&str> {
        self.average.as_deref()
    }

    fn guides_by_average(&self) -> bool {
        true
    }

    fn validate(&self) -> Result<(), Error> {
        let rules = [
            (self.gap_mean.abs() <= 20.0, "gap_mean must be −20 to 20"),
            ((1e-3..=20.0).contains(&self.gap_std), "gap_std must be 0.001 to 20"),
        ];
        check(rules, |rule| format!("[objective] {rule}"))
    }

    fn check_scratch(&self, interval_share: f64) -> Result<(), Error> {
        check_learns_velocity(interval_share, "jumps", 0.5)
    }

    fn notices(&self, _steps: [u64; 2], p: f64) -> Vec<String> {
        published_with_plain_squares(p)
    }
}

/// `u − (t − r) ∂u/∂r − sg(v(z_r, r))`, with `v` of the averaged network where the jump lands.
fn residual(models: Models<'_>, rows: StepInputs, through_derivative: bool) -> Tensor<4> {
    let StepInputs { z, t, r, labels, .. } = rows;
    let moves = match models.online.autodiff_device() {
        Some(tape) if through_derivative => Tensor::ones(r.dims(), &tape),
        _ => r.ones_like(),
    };
    let u = models.online.u(z.clone().into(), Dual::differentiable(r.clone(), moves), t.clone().into(), labels.clone());
    let span = per_image(t - r.clone());
    let landing = z - span.clone() * u.primal.clone().inner();
    let labels = labels.map(|labels| labels.at(&r));
    let v = models.ema.v(landing, r, labels);
    match u.tangent {
        Some(du_dr) => u.primal - span * du_dr - v,
        // A network that is not told r.
        None => u.primal - v,
    }
}
