//! Inductive moment matching (arXiv 2503.07565) over the average velocity: the jumps from `t` and from a little before
//! it have the same distribution.
//!
//! Its authors published no training code. The jump is `y = z − (t − s) u(z, s, t)` in place of their
//! parametrisations; groups, kernel, schedule and weight are from memory of the paper and are not verified.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Models, Objective, published_with_plain_squares};
use crate::error::Error;
use crate::flow::loss::{Residuals, StepInputs};
use crate::flow::per_image;
use crate::flow::times::{TimePairs, TimesConfig, TimesOrder};
use crate::rng::Stream;

/// Settings of inductive moment matching; use it with `[weight] p = 0`, since it brings its own weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MomentMatching {
    /// Images that share their times and are compared as one set.
    pub group: usize,
    /// The teacher's time is a `2^−k`-th of the noise-to-signal range before `t`.
    pub k: u32,
    /// Log signal-to-noise ratio around which the weight falls off.
    pub b: f64,
}

impl Default for MomentMatching {
    fn default() -> Self {
        Self { group: 4, k: 12, b: 5.0 }
    }
}

/// Times are kept this far from both ends where noise over signal would be infinite.
const END: f64 = 0.006;
/// Keeps distances differentiable where two images are equal.
const TINY: f64 = 1e-12;
/// Smallest `t − s` that scales a kernel.
const MIN_SPAN: f64 = 1e-4;

impl Objective for MomentMatching {
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, _step: u64) -> Residuals {
        Residuals::with_flow_matching(models, &inputs, |rows| self.errors(models, rows))
    }

    /// Whole groups with `r < t`, each of one pair of times; the rows left over become instantaneous.
    fn adjust_times(&self, pairs: &mut TimePairs, _config: &TimesConfig, _stream: &mut Stream) {
        let whole = pairs.intervals().len() / self.group * self.group;
        pairs.keep_intervals(whole);
        for group in pairs.intervals().chunks_mut(self.group) {
            group.fill(group[0]);
        }
    }

    fn group(&self) -> usize {
        self.group
    }

    fn validate(&self) -> Result<(), Error> {
        if !(2..=64).contains(&self.group) || !(1..=20).contains(&self.k) || !self.b.is_finite() {
            return Err(Error::Config("[objective] group must be 2 to 64, k 1 to 20, and b finite".into()));
        }
        Ok(())
    }

    /// Every batch must hold a whole group of such rows, drawn in an order that keeps their number.
    fn check_rows(&self, order: TimesOrder, intervals: usize) -> Result<(), Error> {
        let group = self.group;
        if intervals < group {
            return Err(Error::Config(format!(
                "[objective] kind = \"moment-matching\" compares groups of {group} rows with r < t, but [train] \
                 batch_size and [times] interval_probability give {intervals} such rows a step: without one whole \
                 group it would be Flow Matching; raise either, or lower [objective] group"
            )));
        }
        if order == TimesOrder::MaskMin {
            return Err(Error::Config(
                "[times] order = \"mask-min\" leaves a random number of rows with r < t, but [objective] kind = \
                 \"moment-matching\" needs whole groups of them; use \"mask-sort\" or \"sort-mask\""
                    .into(),
            ));
        }
        Ok(())
    }

    fn notices(&self, _steps: [u64; 2], p: f64) -> Vec<String> {
        published_with_plain_squares(p)
    }
}

impl MomentMatching {
    /// The weighted squared discrepancy of each group, repeated for its rows: `[rows]`.
    fn errors(&self, models: Models<'_>, rows: StepInputs) -> Tensor<1> {
        let [count, ..] = rows.z.dims();
        let groups = count / self.group;
        assert_eq!(groups * self.group, count, "rows come in whole groups");
        let q = self.earlier(rows.r.clone(), rows.t.clone());
        let z_q = rows.z.clone() - per_image(rows.t.clone() - q.clone()) * rows.v.clone();
        let u_q = models.detached.eval(z_q.clone(), rows.r.clone(), q.clone(), rows.labels.clone());
        let y_q = z_q - per_image(q - rows.r.clone()) * u_q;

        let StepInputs { z, t, r, labels, .. } = rows;
        let span = t.clone() - r.clone();
        let u = models.online.u(z.clone().into(), r.into(), t.clone().into(), labels).primal;
        let y = z - per_image(span.clone()) * u;
        let discrepancy = self.discrepancy(y, y_q, span);
        discrepancy.reshape([groups, 1]).expand([groups, self.group]).reshape([count]) * self.weight(t)
    }

    /// The teacher's time: `η = t/(1 − t)` less its range over `2ᵏ`, but not before `s`.
    fn earlier(&self, s: Tensor<1>, t: Tensor<1>) -> Tensor<1> {
        let range = (1.0 - END) / END - END / (1.0 - END);
        let inside = t.clone().clamp_max(1.0 - END);
        let eta = inside.clone() / (inside.neg() + 1.0) - range * 0.5_f64.powi(self.k as i32);
        let eta = eta.clamp_min(0.0);
        (eta.clone() / (eta + 1.0)).max_pair(s).min_pair(t)
    }

    /// Squared maximum mean discrepancy between the two sets of each group (V-statistic) under the Laplace kernel
    /// `exp(−‖a − b‖/(values · (t − s)))`: `[groups]`, never negative but for rounding.
    fn discrepancy(&self, y: Tensor<4>, y_q: Tensor<4>, span: Tensor<1>) -> Tensor<1> {
        let [count, channels, height, width] = y.dims();
        let (m, values) = (self.group, channels * height * width);
        let groups = count / m;
        let scale = span.clamp_min(MIN_SPAN).reshape([groups, m, 1]).narrow(1, 0, 1) * values as f64;
        let kernel = |a: &Tensor<4>, b: &Tensor<4>| -> Tensor<1> {
            let a = a.clone().reshape([groups, m, 1, values]);
            let b = b.clone().reshape([groups, 1, m, values]);
            let squares: Tensor<3> = (a - b).square().sum_dim(3).squeeze_dim(3);
            let similar = ((squares + TINY).sqrt() / scale.clone()).neg().exp();
            similar.flatten::<2>(1, 2).mean_dim(1).squeeze_dim(1)
        };
        kernel(&y, &y) + kernel(&y_q, &y_q) - kernel(&y, &y_q) * 2.0
    }

    /// `½ σ(b − λ) (−dλ/dt) (1 − t)/((1 − t)² + t²)` with the log signal-to-noise ratio `λ = 2 log((1 − t)/t)`,
    /// `[rows]`.
    fn weight(&self, t: Tensor<1>) -> Tensor<1> {
        let t = t.clamp(END, 1.0 - END);
        let s = t.clone().neg() + 1.0;
        let lambda = (s.clone() / t.clone()).log() * 2.0;
        let gate = burn::tensor::activation::sigmoid(lambda.neg() + self.b);
        gate / (t.clone() * (s.clone() * s + t.clone() * t))
    }
}
