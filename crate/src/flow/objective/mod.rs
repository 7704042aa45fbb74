//! What a network is trained towards: MeanFlow, its descendants, and the methods that it is compared with.
//!
//! All of them train the one network `u(z, r, t)`. Rows of a batch with `r = t` learn the velocity of the path,
//! whatever the objective (Flow Matching); rows with `r < t` learn what the objective says:
//!
//! | kind | `u(z, r, t)` goes towards | further passes | source |
//! |---|---|---|---|
//! | `flow-matching` | nothing: there are no such rows | none | arXiv 2210.02747 |
//! | `mean-flow` | `v − (t − r) du/dt`, the derivative along the path's velocity | a tangent | arXiv 2505.13447 |
//! | `improved-mean-flow` | the same, along the network's own `u(z, t, t)` | a tangent, one | arXiv 2512.02012 |
//! | `pixel-mean-flow` | the same, for a network whose output is an image | a tangent, one | arXiv 2601.22158 |
//! | `decoupled-mean-flow` | MeanFlow's, where the last blocks alone know `r` | a tangent | arXiv 2510.24474 |
//! | `terminal-velocity` | `v(z_r, r) + (t − r) ∂u/∂r`, from where the jump lands | a tangent, one | arXiv 2511.19797 |
//! | `alpha-flow` | `α v + (1 − α) u(z', r, t')`, from a point before `t` | one | arXiv 2510.20771 |
//! | `shortcut` | the mean of two half steps | two | arXiv 2410.12557 |
//! | `consistency` | where the jump to data from an earlier time of the path lands | one | arXiv 2406.14548 |
//! | `moment-matching` | the distribution of the jump from an earlier time | one | arXiv 2503.07565 |
//!
//! The further passes of a row are a tangent beside its forward pass, and forward passes of networks off the tape. No
//! target is on the tape, but for `∂u/∂r` of `terminal-velocity`, whose gradient is a part of it as published. Which
//! rows are drawn is the business of [`TimesConfig`], but some objectives move times: those of the rows with `r < t`
//! shortcuts to a dyadic grid, consistency to `r = 0`, moment matching into groups, and terminal velocity matching by
//! its draws of `t − r`; decoupled MeanFlow those of the rows with `r = t`. What differs from the authors' code is said
//! where each is.

mod alpha_flow;
mod consistency;
mod decoupled_mean_flow;
mod mean_flow;
mod moment_matching;
mod shortcut;
mod terminal_velocity;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use alpha_flow::AlphaFlow;
pub use consistency::Consistency;
pub use decoupled_mean_flow::DecoupledMeanFlow;
pub use mean_flow::{Differential, Direction};
pub use moment_matching::MomentMatching;
pub use shortcut::Shortcut;
pub use terminal_velocity::TerminalVelocity;

use super::loss::{PathSample, Residuals, StepInputs, Tangent, interpolate, mean_flow_residuals, squared_norm};
use super::times::{Times, TimesConfig};
use super::{AverageVelocity, per_image};
use crate::error::{Error, check};
use crate::net::MIN_DIVISOR;
use crate::rng::Stream;

/// What is trained: the `[objective]` table of the configuration, chosen by its `kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Objective {
    /// The instantaneous velocity alone.
    FlowMatching {},
    /// The average velocity by the derivative along the path's velocity.
    MeanFlow(Differential),
    /// The average velocity by the derivative along the network's own velocity: that of its auxiliary head if it has
    /// one (`[net] velocity_head`), else `u(z, t, t)`.
    ImprovedMeanFlow(Differential),
    /// Improved MeanFlow for `[net] output = "image"`: the path's velocity is divided like the network's near data. Its
    /// perceptual losses, which need networks trained on ImageNet, are left out.
    PixelMeanFlow(Differential),
    /// MeanFlow for a network whose last blocks alone know `r` (`[net] decoder_depth`), with times of their own for the
    /// rows with `r = t`.
    DecoupledMeanFlow(DecoupledMeanFlow),
    /// Where a jump lands moves at the velocity there as its end does.
    TerminalVelocity(TerminalVelocity),
    /// From the path's velocity to MeanFlow.
    AlphaFlow(AlphaFlow),
    /// A step is two half steps.
    Shortcut(Shortcut),
    /// All jumps along a path land on one image.
    Consistency(Consistency),
    /// Jumps from neighbouring times have one distribution.
    MomentMatching(MomentMatching),
}

impl Default for Objective {
    fn default() -> Self {
        Self::MeanFlow(Differential::default())
    }
}

/// The networks that a target may ask. Only the live one is on the tape.
#[derive(Clone, Copy)]
pub struct Models<'a> {
    /// The network in training.
    pub online: &'a dyn AverageVelocity,
    /// The same weights off the tape.
    pub detached: &'a dyn AverageVelocity,
    /// The moving average of the weights.
    pub ema: &'a dyn AverageVelocity,
}

impl<'a> Models<'a> {
    /// One network in all roles.
    pub fn all(net: &'a dyn AverageVelocity) -> Self {
        Self { online: net, detached: net, ema: net }
    }
}

/// Whether a bound on values, if there is one, is one.
fn is_bound(clamp: Option<f64>) -> bool {
    clamp.is_none_or(|bound| bound > 0.0 && bound.is_finite())
}

/// `u(z, r, t)` for the labels of some rows, off the tape.
fn eval_detached(net: &dyn AverageVelocity, rows: &StepInputs, z: Tensor<4>, r: Tensor<1>, t: Tensor<1>) -> Tensor<4> {
    net.u(z.into(), r.into(), t.into(), rows.labels.clone()).primal.inner()
}

impl Objective {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            Self::DecoupledMeanFlow(config) => config.validate(),
            Self::TerminalVelocity(config) => config.validate(),
            Self::AlphaFlow(config) => config.validate(),
            Self::Shortcut(config) => config.validate(),
            Self::Consistency(config) => config.validate(),
            Self::MomentMatching(config) => config.validate(),
            Self::FlowMatching {} | Self::MeanFlow(_) | Self::ImprovedMeanFlow(_) | Self::PixelMeanFlow(_) => Ok(()),
        }
    }

    /// Checks that a batch of so many rows, of which at most the share `labelled` may have `r < t`, trains what the
    /// objective says.
    ///
    /// # Errors
    /// Says what the batch would train instead, and which setting to change.
    pub fn check_batch(&self, times: &TimesConfig, batch: usize, labelled: f64) -> Result<(), Error> {
        if matches!(self, Self::FlowMatching {}) {
            return Ok(());
        }
        let rules = [
            (
                times.interval_probability > 0.0,
                "[times] interval_probability = 0 leaves no row with r < t, and the objective would be Flow Matching: \
                 raise it, or choose [objective] kind = \"flow-matching\"",
            ),
            (
                labelled > 0.0,
                "[train] class_dropout = 1 with [guidance] leaves no row with r < t, and the objective would be Flow \
                 Matching: lower it, or choose [objective] kind = \"flow-matching\"",
            ),
        ];
        check(rules, str::to_owned)?;
        let rows = (times.interval_probability.min(labelled) * batch as f64).floor() as usize;
        match self {
            Self::MomentMatching(config) => config.check_batch(times.order, rows),
            _ => Ok(()),
        }
    }

    /// Checks that a network can learn it from random weights, where `interval_share` of the rows of the first step
    /// have `r < t`.
    ///
    /// # Errors
    /// Says why not, and which setting to change.
    pub fn check_scratch(&self, interval_share: f64) -> Result<(), Error> {
        let (what, published) = match self {
            Self::Shortcut(_) if interval_share >= 1.0 => ("shortcuts", 0.25),
            Self::TerminalVelocity(_) if interval_share >= 1.0 => ("jumps", 0.5),
            _ => return Ok(()),
        };
        Err(Error::Config(format!(
            "[times] interval_probability = 1 teaches {what} to a network that has learnt no velocity: both sides of its \
             equation are 0, and so is the loss; lower it (as published it is {published}), begin with [train] \
             flow_matching_steps, or with trained weights by --init"
        )))
    }

    /// The same schedule over another number of steps.
    pub fn scale_by(&mut self, ratio: f64) {
        match self {
            Self::AlphaFlow(config) => config.scale_by(ratio),
            Self::Consistency(config) => config.scale_by(ratio),
            _ => {}
        }
    }

    /// What a person should know of a run that trains it from step `first` to step `last`, with the power `p` of the
    /// loss's weight: settings that make the objective another than its name says.
    pub fn notices(&self, [first, last]: [u64; 2], p: f64) -> Vec<String> {
        let mut notices = Vec::new();
        if let Self::AlphaFlow(config) = self {
            let alpha = config.alpha_at(last);
            if config.alpha_at(first) == 0.0 {
                notices.push(format!(
                    "α-Flow is MeanFlow throughout: α is 0 from [objective] end = {} on, and rows with r < t begin at step \
                     {first}",
                    config.end
                ));
            }
            if alpha > 0.0 {
                notices.push(format!(
                    "α-Flow ends at α = {alpha:.3} and does not reach MeanFlow: [objective] end is {}, the last step \
                     {last}",
                    config.end
                ));
            }
        }
        if p > 0.0 && matches!(self, Self::Shortcut(_) | Self::MomentMatching(_) | Self::TerminalVelocity(_)) {
            notices.push(format!(
                "[weight] p is {p}: shortcuts, moment matching and terminal velocity matching are published with plain \
                 squares, p = 0"
            ));
        }
        notices
    }

    /// Draws the times of a batch with the given share of `r < t` rows, of which the last `instants` rows have none.
    pub fn times(
        &self,
        config: &TimesConfig,
        [batch, instants]: [usize; 2],
        interval_share: f64,
        stream: &mut Stream,
        device: &Device,
    ) -> Times {
        let share = if matches!(self, Self::FlowMatching {}) { 0.0 } else { interval_share };
        let mut pairs = config.draw(batch, share, stream);
        pairs.keep_intervals(batch - instants);
        match self {
            Self::DecoupledMeanFlow(own) => own.adjust_times(&mut pairs, config, stream),
            Self::TerminalVelocity(own) => own.adjust_times(&mut pairs, config, stream),
            Self::Shortcut(config) => config.adjust_times(&mut pairs, stream),
            Self::Consistency(_) => Consistency::adjust_times(&mut pairs),
            Self::MomentMatching(config) => config.adjust_times(&mut pairs),
            _ => {}
        }
        pairs.to_tensors(device)
    }

    /// The path from the images `x` to the noise `e` at the times `t`, with the velocity that is regressed on.
    ///
    /// # Shapes
    /// As [`interpolate`].
    pub fn path(&self, x: Tensor<4>, e: Tensor<4>, t: Tensor<1>) -> PathSample {
        let PathSample { z, v } = interpolate(x, e, t.clone());
        let v = match self {
            // (z − x)/max(t, 0.05), which is e − x from 0.05 on: what the network's conversion can reach.
            Self::PixelMeanFlow(_) => v * per_image(t.clone() / t.clamp_min(MIN_DIVISOR)),
            _ => v,
        };
        PathSample { z, v }
    }

    /// Squared residuals of a batch at a step of training.
    pub fn residuals(&self, models: Models<'_>, inputs: StepInputs, step: u64) -> Residuals {
        let separate = |errors: &dyn Fn(StepInputs) -> Tensor<1>| Self::separate(models, &inputs, errors);
        match self {
            Self::FlowMatching {} | Self::MeanFlow(_) | Self::DecoupledMeanFlow(_) => {
                mean_flow_residuals(models, inputs, Tangent::Conditional, self.direction())
            }
            Self::ImprovedMeanFlow(_) | Self::PixelMeanFlow(_) => {
                mean_flow_residuals(models, inputs, Tangent::Predicted, self.direction())
            }
            Self::TerminalVelocity(config) => {
                separate(&|rows| squared_norm(terminal_velocity::residual(models, rows, config.through_derivative)))
            }
            Self::AlphaFlow(config) => separate(&|rows| config.errors(models, rows, step)),
            Self::Shortcut(config) => separate(&|rows| squared_norm(shortcut::residual(models, rows, config.clamp))),
            Self::Consistency(config) => {
                separate(&|rows| squared_norm(consistency::residual(models, rows, config.gap_at(step))))
            }
            Self::MomentMatching(config) => separate(&|rows| config.errors(models, rows)),
        }
    }

    /// Rows with `r < t` by their errors, and those with `r = t` by Flow Matching.
    fn separate(models: Models<'_>, inputs: &StepInputs, errors: &dyn Fn(StepInputs) -> Tensor<1>) -> Residuals {
        let interval = inputs.interval_rows().map(errors);
        let instant = inputs.instant_rows().map(|rows| {
            let StepInputs { z, v, t, r, labels, .. } = rows;
            squared_norm(models.online.u(z.into(), r.into(), t.into(), labels).primal - v)
        });
        Residuals { interval, instant, auxiliary: None }
    }

    /// Whether it can train the auxiliary head of a network.
    pub fn trains_velocity_head(&self) -> bool {
        matches!(self, Self::FlowMatching {} | Self::MeanFlow(_) | Self::ImprovedMeanFlow(_) | Self::PixelMeanFlow(_))
    }

    /// The average of `[train.averages]` that stands for the averaged network; that of `ema_decay` where it is none.
    pub fn average(&self) -> Option<&str> {
        match self {
            Self::TerminalVelocity(config) => config.average.as_deref(),
            _ => None,
        }
    }

    /// Whether guidance asks the averaged network for its velocities, rather than the live one.
    pub fn guides_by_average(&self) -> bool {
        matches!(self, Self::TerminalVelocity(_))
    }

    /// How many neighbouring rows of a batch belong together.
    pub fn group(&self) -> usize {
        match self {
            Self::MomentMatching(config) => config.group,
            _ => 1,
        }
    }

    fn direction(&self) -> Direction {
        match self {
            Self::MeanFlow(config) | Self::ImprovedMeanFlow(config) | Self::PixelMeanFlow(config) => config.direction,
            _ => Direction::default(),
        }
    }
}
