//! Shortcut models (arXiv 2410.12557): one step is two half steps of the averaged network.
//!
//! Use it with `[weight] p = 0`, as its paper does: two halves that agree because nothing has been learnt yet have a
//! tiny residual, which an adaptive weight would make the loudest of all.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Models, Objective, check_learns_velocity, published_with_plain_squares};
use crate::error::Error;
use crate::flow::loss::{Residuals, StepInputs, squared_norm};
use crate::flow::per_image;
use crate::flow::times::{TimePairs, TimesConfig};
use crate::rng::Stream;

/// The steps `1, 1/2, 1/4, …` that are learnt from their halves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shortcut {
    /// How many sizes; 7 is the paper's 1 to 1/64. The halves of the smallest are learnt as instantaneous velocities,
    /// from which the network hardly tells them.
    pub levels: u32,
    /// Bound on each value of the image where the first half step lands, and of the target, `[−clamp, clamp]`; none if
    /// not given. The authors' code has 4 (`targets_shortcut.py` of kvfrans/shortcut-models), for latents of deviation
    /// 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clamp: Option<f64>,
}

impl Default for Shortcut {
    fn default() -> Self {
        Self { levels: 7, clamp: None }
    }
}

impl Objective for Shortcut {
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, _step: u64) -> Residuals {
        Residuals::with_flow_matching(models, &inputs, |rows| squared_norm(residual(models, rows, self.clamp)))
    }

    /// Steps of random size at random multiples of it, for the rows with `r < t`.
    fn adjust_times(&self, pairs: &mut TimePairs, _config: &TimesConfig, stream: &mut Stream) {
        for pair in pairs.intervals() {
            let count = 1usize << stream.below(self.levels as usize);
            let step = stream.below(count);
            *pair = [step as f64 / count as f64, (step + 1) as f64 / count as f64];
        }
    }

    fn validate(&self) -> Result<(), Error> {
        match self.levels {
            1..=16 if super::is_bound(self.clamp) => Ok(()),
            1..=16 => Err(Error::Config("[objective] clamp must be above 0".into())),
            levels => Err(Error::Config(format!("[objective] levels is {levels}; it must be 1 to 16"))),
        }
    }

    fn check_scratch(&self, interval_share: f64) -> Result<(), Error> {
        check_learns_velocity(interval_share, "shortcuts", 0.25)
    }

    fn notices(&self, _steps: [u64; 2], p: f64) -> Vec<String> {
        published_with_plain_squares(p)
    }
}

/// `u(z, r, t) − sg((u(z, m, t) + u(z', r, m))/2)` with `m` halfway and `z'` where the first half step lands.
///
/// The halves are asked of the averaged network, as in the paper; with `clamp` `z'` and the target are bounded, as in
/// its code.
fn residual(models: Models<'_>, rows: StepInputs, clamp: Option<f64>) -> Tensor<4> {
    let bounded = |x: Tensor<4>| match clamp {
        Some(bound) => x.clamp(-bound, bound),
        None => x,
    };
    let half = (rows.t.clone() - rows.r.clone()) * 0.5;
    let middle = rows.r.clone() + half.clone();
    let first = models.ema.eval(rows.z.clone(), middle.clone(), rows.t.clone(), rows.labels.clone());
    let z_middle = bounded(rows.z.clone() - per_image(half) * first.clone());
    let second = models.ema.eval(z_middle, rows.r.clone(), middle, rows.labels.clone());
    let StepInputs { z, t, r, labels, .. } = rows;
    models.online.u(z.into(), r.into(), t.into(), labels).primal - bounded((first + second) * 0.5)
}
