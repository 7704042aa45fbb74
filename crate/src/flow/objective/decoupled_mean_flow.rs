//! Decoupled MeanFlow (DMF, arXiv 2510.24474): MeanFlow for a network whose last blocks alone know `r`
//! ([`NetConfig::decoder_depth`](crate::NetConfig::decoder_depth)), which is made from one of Flow Matching
//! ([`Net::into_decoupled`](crate::net::Net::into_decoupled); `meanflow train --init` does so).
//!
//! The residual is MeanFlow's, along the velocity of the path. What is its own is that rows with `r < t` and with
//! `r = t` have times of their own, and its loss: `½ (log(m + ε e^λ) + log(m' + ε e^λ'))` of the mean squares `m`, `m'`
//! of both kinds, with a log-variance `λ(t, r)` that is learnt beside the network (their "adaptive Cauchy loss",
//! `loss.py`). Its gradient is that of `[weight] p = 1` with `c = ε e^λ` times the number of values of an image.
//! `∂loss/∂λ` is above 0 whatever `m` is, so `λ` starts at 0 and only falls: `c = 0.01 × values` is where the authors
//! begin, and a small `c` where they soon are. The log-variance itself is left out.
//!
//! As published: `[times]` `mean = 0.4`, `r_mean = -1.2`, `std = 1.0`, `uniform = 0.0`, half of the rows with `r < t`
//! (there every image has a term of each kind), the defaults here, `[weight] p = 1`; two thirds of the blocks without
//! `r`; guidance `omega = 1`, `kappa = 0.6`, `end = 0.7`; 400,000 steps from a network of Flow Matching.

use serde::{Deserialize, Serialize};

use super::{Direction, Models, Objective};
use crate::error::{Error, check};
use crate::flow::loss::{Residuals, StepInputs, Tangent, mean_flow_residuals};
use crate::flow::times::{TimePairs, TimesConfig, logistic};
use crate::model::NetConfig;
use crate::rng::Stream;

/// Settings of decoupled MeanFlow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecoupledMeanFlow {
    /// Mean of the normal whose sigmoid is the time of the rows with `r = t`; `[times] mean` and `std` are of the
    /// others.
    pub instant_mean: f64,
    /// Standard deviation of that normal.
    pub instant_std: f64,
}

impl Default for DecoupledMeanFlow {
    fn default() -> Self {
        Self { instant_mean: 0.0, instant_std: 1.0 }
    }
}

impl Objective for DecoupledMeanFlow {
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, _step: u64) -> Residuals {
        mean_flow_residuals(models, inputs, Tangent::Conditional, Direction::V01)
    }

    /// Times of their own for the rows with `r = t`; the uniform share of `[times]` holds for them too.
    fn adjust_times(&self, pairs: &mut TimePairs, config: &TimesConfig, stream: &mut Stream) {
        for pair in pairs.instants() {
            let t = match stream.uniform() < config.uniform {
                true => stream.uniform(),
                false => logistic(self.instant_mean + self.instant_std * stream.normal_pair()[0]),
            };
            *pair = [t, t];
        }
    }

    fn validate(&self) -> Result<(), Error> {
        let rules = [
            (self.instant_mean.abs() <= 20.0, "instant_mean must be −20 to 20"),
            ((1e-3..=20.0).contains(&self.instant_std), "instant_std must be 0.001 to 20"),
        ];
        check(rules, |rule| format!("[objective] {rule}"))
    }

    fn check_net(&self, net: &NetConfig) -> Result<(), Error> {
        let rule = "[objective] kind = \"decoupled-mean-flow\" needs [net] decoder_depth";
        check([(net.decoder_depth.is_some(), rule)], str::to_owned)
    }
}
