//! The loss of MeanFlow: Algorithm 1 of arXiv 2505.13447, from images and noise to one number, as training runs it.
//!
//! | | | in code |
//! |---|---|---|
//! | times | `r ≤ t` of each image; for some of them `r = t` | [`TimesConfig`](super::TimesConfig) |
//! | path | `z = (1 − t) x + t e`, `v = e − x` | [`interpolate`] |
//! | derivative | `u, du/dt = jvp(u, (z, r, t), (v, 0, 1))` | [`mean_flow_residuals`] |
//! | target | `u_tgt = v − (t − r) du/dt`, the MeanFlow identity | there |
//! | residual | `‖u − sg(u_tgt)‖²`, summed over the pixels of an image | there |
//! | loss | the mean of `w ‖u − sg(u_tgt)‖²`, `w` the adaptive weight | [`AdaptiveWeight::apply`] |
//!
//! `sg` is the stop-gradient. Where `r = t`, the same loss is Flow Matching. A step of training takes these lines in
//! this order; guidance changes `v` after the second ([`Guidance`](super::Guidance)), and other objectives have other
//! residuals ([`Objective`](super::Objective)).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Direction, Models, Times, per_image};
use crate::dual::Dual;
use crate::net::{Labels, Velocities};

/// A point of the path from data (time 0) to noise (time 1), and the conditional velocity there.
#[derive(Clone, Debug)]
pub struct PathSample {
    /// `z_t = (1 − t) x + t e`.
    pub z: Tensor<4>,
    /// `v = dz_t/dt = e − x`, the conditional velocity.
    pub v: Tensor<4>,
}

/// The linear path from the images `x` to the noise `e` at the times `t` (section 3 of arXiv 2505.13447).
///
/// # Shapes
/// `x`, `e`: `[batch, channels, height, width]`; `t`: `[batch]`, in `[0, 1]`.
pub fn interpolate(x: Tensor<4>, e: Tensor<4>, t: Tensor<1>) -> PathSample {
    let v = e - x.clone();
    PathSample { z: x + per_image(t) * v.clone(), v }
}

/// What the networks of a training step are evaluated at: a batch on its paths. The rows with `r < t` come first.
#[derive(Clone, Debug)]
pub struct StepInputs {
    /// Points of the paths, `[batch, channels, height, width]`.
    pub z: Tensor<4>,
    /// The velocities of the paths there, as `z`; those of guidance where there is any.
    pub v: Tensor<4>,
    /// Where a jump ends, `[batch]`, in `[0, t]`.
    pub r: Tensor<1>,
    /// Where it begins: the time of `z`, `[batch]`, in `[0, 1]`.
    pub t: Tensor<1>,
    /// What else the network is told of each image; `None` for a network without classes.
    pub labels: Option<Labels>,
    /// How many leading rows have `r < t`; the others have `r = t`.
    pub intervals: usize,
}

impl StepInputs {
    /// A batch of points at their times.
    pub fn new(path: PathSample, times: Times, labels: Option<Labels>) -> Self {
        let (PathSample { z, v }, Times { t, r, intervals }) = (path, times);
        Self { z, v, r, t, labels, intervals }
    }

    /// The rows with `r < t`; `None` where there are none.
    pub fn interval_rows(&self) -> Option<Self> {
        self.narrow(0, self.intervals)
    }

    /// The rows with `r = t`; `None` where there are none.
    pub fn instant_rows(&self) -> Option<Self> {
        let [rows] = self.t.dims();
        self.narrow(self.intervals, rows - self.intervals)
    }

    fn narrow(&self, start: usize, length: usize) -> Option<Self> {
        let times = |x: &Tensor<1>| x.clone().narrow(0, start, length);
        let images = |x: &Tensor<4>| x.clone().narrow(0, start, length);
        (length > 0).then(|| Self {
            z: images(&self.z),
            v: images(&self.v),
            r: times(&self.r),
            t: times(&self.t),
            labels: self.labels.clone().map(|labels| labels.narrow(start, length)),
            intervals: self.intervals.saturating_sub(start).min(length),
        })
    }
}

/// Squared residuals of a batch, each summed over the pixels of an image, `[rows]`, on the tape.
#[derive(Clone, Debug)]
pub struct Residuals {
    /// `‖u − u_tgt‖²` of the rows with `r < t`; `None` when there are none.
    pub interval: Option<Tensor<1>>,
    /// `‖u − v‖²` of the rows with `r = t`: the Flow Matching error; `None` when there are none.
    pub instant: Option<Tensor<1>>,
    /// `‖v̂ − v‖²` of all rows for the velocity `v̂` of the auxiliary head; `None` without one.
    pub auxiliary: Option<Tensor<1>>,
}

/// The velocity `dz/dt` along which the network is differentiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tangent {
    /// That of the path, `e − x` (or the guided one): MeanFlow. It is right on average only.
    Conditional,
    /// What the network itself says, by its auxiliary head or else as `u(z, t, t)`: improved MeanFlow (arXiv
    /// 2512.02012). The target is then free of the noise that the conditional velocity brings into the derivative.
    Predicted,
}

impl Tangent {
    fn velocity(self, models: Models<'_>, rows: &StepInputs) -> Tensor<4> {
        match self {
            Self::Conditional => rows.v.clone(),
            Self::Predicted => {
                let labels = rows.labels.as_ref().map(|labels| labels.at(&rows.t));
                models.detached.v(rows.z.clone(), rows.t.clone(), labels)
            }
        }
    }
}

/// Squared residuals of MeanFlow, `‖u − sg(v − (t − r) du/dt)‖²` (section 4.1 and algorithm 1 of arXiv 2505.13447).
///
/// The whole batch is one pass. Rows with `r = t` have no tangent in it: their `du/dt` has weight zero, so this is
/// exact, and costs less. `direction` is `(dz, dr, dt) = (v, 0, 1)`; the wrong ones are for the ablation of table 1
/// (b).
pub fn mean_flow_residuals(
    models: Models<'_>,
    inputs: StepInputs,
    tangent: Tangent,
    direction: Direction,
) -> Residuals {
    let moving = inputs.interval_rows();
    let dz = moving.as_ref().map(|rows| tangent.velocity(models, rows));
    let [dr, dt] = direction.moves().map(|moves| moving.as_ref().filter(|_| moves).map(|rows| rows.t.ones_like()));
    let StepInputs { z, v, r, t, labels, intervals } = inputs;

    // u, du/dt = jvp(u, (z, r, t), (v, 0, 1)): a dual number carries the direction in and the derivative out.
    let [r, t] = [dual(r, dr), dual(t, dt)];
    let Velocities { average: u, instant: head } = models.online.velocities(dual(z, dz), r, t, labels);
    let head_error = head.map(|predicted| predicted - v.clone());

    // u_tgt = v − (t − r) du/dt. Tangents are off the tape, which is the stop-gradient.
    let target = match (moving, u.tangent) {
        (Some(rows), Some(du_dt)) => v.clone() - pad_rows(per_image(rows.t - rows.r) * du_dt, &v),
        _ => v,
    };
    let [interval, instant] = split_rows(squared_norm(u.primal - target), intervals);
    Residuals { interval, instant, auxiliary: head_error.map(squared_norm) }
}

/// A value that moves along `tangent`, where there is one.
fn dual<const D: usize>(primal: Tensor<D>, tangent: Option<Tensor<D>>) -> Dual<D> {
    match tangent {
        Some(tangent) => Dual::new(primal, tangent),
        None => primal.into(),
    }
}

/// The rows of `x`, and zeros for the further rows of `like`.
fn pad_rows(x: Tensor<4>, like: &Tensor<4>) -> Tensor<4> {
    let ([some, ..], [all, ..]) = (x.dims(), like.dims());
    match all - some {
        0 => x,
        rest => Tensor::cat(vec![x, like.clone().inner().narrow(0, some, rest).zeros_like()], 0),
    }
}

/// Sum of squares over the pixels of each image: `[batch, c, h, w]` → `[batch]`. A sum, not a mean, as in the paper's
/// code.
pub fn squared_norm(x: Tensor<4>) -> Tensor<1> {
    (x.clone() * x).flatten::<2>(1, 3).sum_dim(1).squeeze_dim(1)
}

/// The errors of the first rows and of the others; nothing of none.
fn split_rows(errors: Tensor<1>, first: usize) -> [Option<Tensor<1>>; 2] {
    let [all] = errors.dims();
    [[0, first], [first, all - first]]
        .map(|[start, length]| (length > 0).then(|| errors.clone().narrow(0, start, length)))
}

/// Adaptive weight `w = 1 / sg(‖Δ‖² + c)ᵖ` (section 4.3; `p = 1` was best on ImageNet, 0.75 on CIFAR-10).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveWeight {
    /// Power, 0 or above: 0 is plain least squares.
    pub p: f64,
    /// Above 0, it keeps the weight finite; on the scale of a squared error summed over pixels.
    pub c: f64,
}

impl Default for AdaptiveWeight {
    fn default() -> Self {
        Self { p: 1.0, c: 0.01 }
    }
}

impl AdaptiveWeight {
    /// The loss of a batch: the mean of `w ‖Δ‖²` over all rows, and that of the auxiliary head. Scalar, on the tape.
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
