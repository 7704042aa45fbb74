//! Consistency training (arXiv 2303.01469, 2406.14548) in rectified-flow form: the jump `f(z, t) = z − t u(z, 0, t)`
//! lands on one image from everywhere along a path.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Models, Objective};
use crate::error::Error;
use crate::flow::loss::{Residuals, StepInputs, squared_norm};
use crate::flow::per_image;
use crate::flow::times::{TimePairs, TimesConfig};
use crate::rng::Stream;

/// How close to `t` the earlier time `s` is that teaches it: `(t − s)/t = 2^−(stage + 1)`, as in easy consistency
/// tuning (q = 2) without its correction at small noise, which belongs to its other time scale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Consistency {
    /// Training steps per stage.
    pub steps_per_stage: u64,
    /// The last stage.
    pub stages: u32,
}

impl Default for Consistency {
    fn default() -> Self {
        Self { steps_per_stage: 2_000, stages: 8 }
    }
}

impl Consistency {
    /// `(t − s)/t` at a step.
    pub fn gap_at(&self, step: u64) -> f64 {
        let stage = (step / self.steps_per_stage).min(u64::from(self.stages));
        0.5_f64.powi(stage as i32 + 1)
    }
}

impl Objective for Consistency {
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, step: u64) -> Residuals {
        let gap = self.gap_at(step);
        Residuals::with_flow_matching(models, &inputs, |rows| squared_norm(residual(models, rows, gap)))
    }

    /// Every jump lands on data.
    fn adjust_times(&self, pairs: &mut TimePairs, _config: &TimesConfig, _stream: &mut Stream) {
        pairs.intervals().iter_mut().for_each(|[r, _]| *r = 0.0);
    }

    fn validate(&self) -> Result<(), Error> {
        if self.steps_per_stage == 0 || self.stages > 12 {
            return Err(Error::Config("[objective] steps_per_stage must be at least 1, and stages at most 12".into()));
        }
        Ok(())
    }

    fn scale_by(&mut self, ratio: f64) {
        self.steps_per_stage = ((self.steps_per_stage as f64 * ratio).round() as u64).max(1);
    }
}

/// `(f(z_t, t) − sg f(z_s, s))/(t − s)`, up to its sign: with `p = 0.5` its weighted square is the `‖f − f‖/(t − s)` of
/// easy consistency tuning.
///
/// `z_s` is `z_t − (t − s) v`, on the same path. Divided out, no small time is left in a denominator:
/// `(u(z, 0, t) − sg(gap v + (1 − gap) u(z_s, 0, s)))/gap`. As the gap closes this becomes MeanFlow's residual at
/// `r = 0`.
fn residual(models: Models<'_>, rows: StepInputs, gap: f64) -> Tensor<4> {
    let back = rows.t.clone() * gap;
    let z_s = rows.z.clone() - per_image(back.clone()) * rows.v.clone();
    let u_s = models.detached.eval(z_s, rows.r.clone(), rows.t.clone() - back, rows.labels.clone());
    let StepInputs { z, v, t, r, labels, .. } = rows;
    let u = models.online.u(z.into(), r.into(), t.into(), labels).primal;
    (u - (v * gap + u_s * (1.0 - gap))) / gap
}
