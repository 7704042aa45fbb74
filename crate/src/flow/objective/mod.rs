//! What a network is trained towards: MeanFlow, its descendants, and the methods that it is compared with.
//!
//! A new objective is a file beside these, with a type that implements [`Objective`], and its rows in this one: `mod`
//! and the table [`ObjectiveConfig`]. One of a program's own needs no row: `Trainer::with_objective` takes it.

mod alpha_flow;
mod consistency;
mod decoupled_mean_flow;
mod flow_matching;
mod improved_mean_flow;
mod mean_flow;
mod moment_matching;
mod pixel_mean_flow;
mod shortcut;
mod terminal_velocity;

use std::fmt;
use std::ops::{Deref, DerefMut};

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use mean_flow::Direction;

use super::AverageVelocity;
use super::loss::{PathSample, Residuals, StepInputs, interpolate, squared_norm};
use super::times::{TimePairs, Times, TimesConfig, TimesOrder};
use crate::error::{Error, check};
use crate::model::{NetConfig, Output, Solver};
use crate::rng::Stream;

/// Makes the type of the `[objective]` table from a list of the objectives.
macro_rules! objectives {
    ($($(#[$doc:meta])+ $module:ident::$name:ident,)+) => {
        $(pub use $module::$name;)+

        /// The objectives that settings can name: the `[objective]` table, whose `kind` is a name of this list in
        /// kebab case. It is used as the [`Objective`] that it holds.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
        pub enum ObjectiveConfig {
            $($(#[$doc])+ $name($name),)+
        }

        impl Deref for ObjectiveConfig {
            type Target = dyn Objective;

            fn deref(&self) -> &(dyn Objective + 'static) {
                match self {
                    $(Self::$name(objective) => objective,)+
                }
            }
        }

        impl DerefMut for ObjectiveConfig {
            fn deref_mut(&mut self) -> &mut (dyn Objective + 'static) {
                match self {
                    $(Self::$name(objective) => objective,)+
                }
            }
        }

        $(impl From<$name> for ObjectiveConfig {
            fn from(objective: $name) -> Self {
                Self::$name(objective)
            }
        })+
    };
}

objectives! {
    /// The instantaneous velocity alone.
    flow_matching::FlowMatching,
    /// The average velocity by the derivative along the path's velocity.
    mean_flow::MeanFlow,
    /// The average velocity by the derivative along the network's own velocity: that of its auxiliary head if it has
    /// one (`[net] velocity_head`), else `u(z, t, t)`.
    improved_mean_flow::ImprovedMeanFlow,
    /// Improved MeanFlow for `[net] output = "image"`: the path's velocity is divided like the network's near data. Its
    /// perceptual losses, which need networks trained on ImageNet, are left out.
    pixel_mean_flow::PixelMeanFlow,
    /// MeanFlow for a network whose last blocks alone know `r` (`[net] decoder_depth`), with times of their own for the
    /// rows with `r = t`.
    decoupled_mean_flow::DecoupledMeanFlow,
    /// Where a jump lands moves at the velocity there as its end does.
    terminal_velocity::TerminalVelocity,
    /// From the path's velocity to MeanFlow.
    alpha_flow::AlphaFlow,
    /// A step is two half steps.
    shortcut::Shortcut,
    /// All jumps along a path land on one image.
    consistency::Consistency,
    /// Jumps from neighbouring times have one distribution.
    moment_matching::MomentMatching,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        MeanFlow::default().into()
    }
}

/// What a network `u(z, r, t)` is trained towards. The residuals are the objective; all else has a default.
///
/// All of them train the one network `u(z, r, t)`. Rows of a batch with `r = t` learn the velocity of the path,
/// whatever the objective (Flow Matching); rows with `r < t` learn what the objective says:
///
/// | kind | `u(z, r, t)` goes towards | further passes | source |
/// |---|---|---|---|
/// | `flow-matching` | nothing: there are no such rows | none | arXiv 2210.02747 |
/// | `mean-flow` | `v − (t − r) du/dt`, the derivative along the path's velocity | a tangent | arXiv 2505.13447 |
/// | `improved-mean-flow` | the same, along the network's own `u(z, t, t)` | a tangent, one | arXiv 2512.02012 |
/// | `pixel-mean-flow` | the same, for a network whose output is an image | a tangent, one | arXiv 2601.22158 |
/// | `decoupled-mean-flow` | MeanFlow's, where the last blocks alone know `r` | a tangent | arXiv 2510.24474 |
/// | `terminal-velocity` | `v(z_r, r) + (t − r) ∂u/∂r`, from where the jump lands | a tangent, one | arXiv 2511.19797 |
/// | `alpha-flow` | `α v + (1 − α) u(z', r, t')`, from a point before `t` | one | arXiv 2510.20771 |
/// | `shortcut` | the mean of two half steps | two | arXiv 2410.12557 |
/// | `consistency` | where the jump to data from an earlier time of the path lands | one | arXiv 2406.14548 |
/// | `moment-matching` | the distribution of the jump from an earlier time | one | arXiv 2503.07565 |
///
/// The further passes of a row are a tangent beside its forward pass, and forward passes of networks off the tape. No
/// target is on the tape, but for `∂u/∂r` of `terminal-velocity`, whose gradient is a part of it as published. Which
/// rows are drawn is the business of [`TimesConfig`], but some objectives move times: those of the rows with `r < t`
/// shortcuts to a dyadic grid, consistency to `r = 0`, moment matching into groups, and terminal velocity matching by
/// its draws of `t − r`; decoupled MeanFlow those of the rows with `r = t`. What differs from the authors' code is said
/// where each is.
pub trait Objective: fmt::Debug + Send + Sync {
    /// Squared residuals of a batch at a step of training, the first being 0, on the tape of `models.online`.
    ///
    /// [`Residuals::with_flow_matching`] adds the rows with `r = t` to an objective of jumps.
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, step: u64) -> Residuals;

    /// Whether it trains rows with `r < t`; without them it is Flow Matching.
    fn trains_intervals(&self) -> bool {
        true
    }

    /// Whether it can train the auxiliary head of a network.
    fn trains_velocity_head(&self) -> bool {
        false
    }

    /// Moves the times that were drawn for a batch, `[r, t]` of each row.
    fn adjust_times(&self, _pairs: &mut TimePairs, _config: &TimesConfig, _stream: &mut Stream) {}

    /// The path from the images `x` to the noise `e` at the times `t`, with the velocity that is regressed on.
    ///
    /// # Shapes
    /// As [`interpolate`].
    fn path(&self, x: Tensor<4>, e: Tensor<4>, t: Tensor<1>) -> PathSample {
        interpolate(x, e, t)
    }

    /// How many neighbouring rows of a batch belong together.
    fn group(&self) -> usize {
        1
    }

    /// The average of `[train.averages]` that stands for [`Models::ema`]; that of `[train] ema_decay` where it is none.
    fn average(&self) -> Option<&str> {
        None
    }

    /// Whether guidance asks [`Models::ema`] for its velocities, rather than [`Models::detached`].
    fn guides_by_average(&self) -> bool {
        false
    }

    /// How its networks make the pictures of a run's sample grids: a solver and its network calls.
    fn sampling(&self) -> (Solver, usize) {
        (Solver::MeanFlow, 1)
    }

    /// What the networks that it trains must give.
    fn output(&self) -> Output {
        Output::Velocity
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the field that is out of range.
    fn validate(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Checks that a network can learn it, beyond [`Self::output`] and, with [`Self::trains_intervals`], knowing `r`.
    ///
    /// # Errors
    /// Says which setting is missing.
    fn check_net(&self, _net: &NetConfig) -> Result<(), Error> {
        Ok(())
    }

    /// Checks that it can train on batches with so many rows with `r < t`, drawn in this order.
    ///
    /// # Errors
    /// Says why not, and which setting to change.
    fn check_rows(&self, _order: TimesOrder, _intervals: usize) -> Result<(), Error> {
        Ok(())
    }

    /// Checks that a network can learn it from random weights, where `interval_share` of the rows of the first step
    /// have `r < t`.
    ///
    /// # Errors
    /// Says why not, and which setting to change.
    fn check_scratch(&self, _interval_share: f64) -> Result<(), Error> {
        Ok(())
    }

    /// The same schedule over another number of steps, `ratio` times as many.
    fn scale_by(&mut self, _ratio: f64) {}

    /// What a person should know of a run that trains it from step `first` to step `last`, with the power `p` of the
    /// loss's weight: settings that make the objective another than its name says.
    fn notices(&self, [_first, _last]: [u64; 2], _p: f64) -> Vec<String> {
        Vec::new()
    }
}

impl dyn Objective + '_ {
    /// Draws the times of a batch with the given share of `r < t` rows, of which the last `instants` rows have none.
    pub fn times(
        &self,
        config: &TimesConfig,
        [batch, instants]: [usize; 2],
        interval_share: f64,
        stream: &mut Stream,
        device: &Device,
    ) -> Times {
        let share = if self.trains_intervals() { interval_share } else { 0.0 };
        let mut pairs = config.draw(batch, share, stream);
        pairs.keep_intervals(batch - instants);
        self.adjust_times(&mut pairs, config, stream);
        pairs.to_tensors(device)
    }

    /// Checks that a network can learn it.
    ///
    /// # Errors
    /// Says which settings do not go together.
    pub fn check_network(&self, net: &NetConfig) -> Result<(), Error> {
        let together = "[objective] kind = \"pixel-mean-flow\" and [net] output = \"image\" go together";
        check([(self.output() == net.output, together)], str::to_owned)?;
        self.check_net(net)?;
        let lands = "[net] times = \"t\" without decoder_depth is for [objective] kind = \"flow-matching\": no other \
                     can be learnt by a network that is not told where it lands";
        check([(!self.trains_intervals() || net.knows_r(), lands)], str::to_owned)
    }

    /// Checks that a batch of so many rows, of which at most the share `labelled` may have `r < t`, trains what the
    /// objective says.
    ///
    /// # Errors
    /// Says what the batch would train instead, and which setting to change.
    pub fn check_batch(&self, times: &TimesConfig, batch: usize, labelled: f64) -> Result<(), Error> {
        if !self.trains_intervals() {
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
        self.check_rows(times.order, rows)
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

impl Residuals {
    /// Rows with `r = t` by Flow Matching, and those with `r < t` by errors of their own, each kind in its own pass.
    ///
    /// # Shapes
    /// `interval_errors` makes `[rows]` of inputs that all have `r < t`.
    pub fn with_flow_matching(
        models: Models<'_>,
        inputs: &StepInputs,
        interval_errors: impl FnOnce(StepInputs) -> Tensor<1>,
    ) -> Self {
        let interval = inputs.interval_rows().map(interval_errors);
        let instant = inputs.instant_rows().map(|rows| {
            let StepInputs { z, v, r, t, labels, .. } = rows;
            squared_norm(models.online.u(z.into(), r.into(), t.into(), labels).primal - v)
        });
        Self { interval, instant, auxiliary: None }
    }
}

/// Whether a bound on values, if there is one, is one.
fn is_bound(clamp: Option<f64>) -> bool {
    clamp.is_none_or(|bound| bound > 0.0 && bound.is_finite())
}

/// Refuses to begin with random weights where all rows have `r < t`, for objectives whose target is the network's own
/// velocity.
fn check_learns_velocity(interval_share: f64, what: &str, published: f64) -> Result<(), Error> {
    match interval_share < 1.0 {
        true => Ok(()),
        false => Err(Error::Config(format!(
            "[times] interval_probability = 1 teaches {what} to a network that has learnt no velocity: both sides of \
             its equation are 0, and so is the loss; lower it (as published it is {published}), begin with [train] \
             flow_matching_steps, or with trained weights by --init"
        ))),
    }
}

/// What to know of an adaptive weight of power `p` for objectives that are published without one.
fn published_with_plain_squares(p: f64) -> Vec<String> {
    let notice = format!(
        "[weight] p is {p}: shortcuts, moment matching and terminal velocity matching are published with plain \
         squares, p = 0"
    );
    if p > 0.0 { vec![notice] } else { Vec::new() }
}
