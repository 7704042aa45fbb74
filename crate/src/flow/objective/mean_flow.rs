//! MeanFlow and improved MeanFlow: one residual, which differ in the tangent that the derivative is taken along.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{BatchSlice, Models};
use crate::dual::Dual;
use crate::flow::{AverageVelocity, per_image};
use crate::net::Velocities;

/// The direction `(dz, dr, dt)` of the total derivative `du/dt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// The right one: along the flow, `r` at rest.
    #[default]
    #[serde(rename = "(v, 0, 1)")]
    V01,
    /// Wrong: as if the network did not know the time. These three are table 1 (b) of the paper.
    #[serde(rename = "(v, 0, 0)")]
    V00,
    /// Wrong: `r` moves in place of `t`.
    #[serde(rename = "(v, 1, 0)")]
    V10,
    /// Wrong: both move.
    #[serde(rename = "(v, 1, 1)")]
    V11,
}

/// Settings of the objectives that differentiate: MeanFlow, improved and pixel MeanFlow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Differential {
    /// `"(v, 0, 1)"`; the wrong ones are for the ablation.
    pub direction: Direction,
}

/// Which velocity the image moves at in the derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tangent {
    /// That of the path, `e − x` (or the guided one): MeanFlow. It is right on average only.
    Conditional,
    /// What the network itself says, by its auxiliary head or else as `u(z, t, t)`: improved MeanFlow (arXiv
    /// 2512.02012). The target is then free of the noise that the conditional velocity brings into the derivative.
    Predicted,
}

/// `u − sg(v − (t − r) du/dt)` of rows of which the first `intervals` have `r < t`, and `v̂ − v` of the auxiliary head.
///
/// The rows are one pass of the network, and those with `r = t` carry no tangent: their `du/dt` has weight zero.
pub(super) fn residual<U: AverageVelocity>(
    models: Models<'_, U>,
    rows: BatchSlice,
    intervals: usize,
    tangent: Tangent,
    direction: Direction,
) -> (Tensor<4>, Option<Tensor<4>>) {
    let moving_rows = (intervals > 0).then(|| rows.narrow(0, intervals));
    let dz = moving_rows.as_ref().map(|moving_rows| match tangent {
        Tangent::Conditional => moving_rows.v.clone(),
        Tangent::Predicted => {
            let labels = moving_rows.labels.as_ref().map(|labels| labels.at(&moving_rows.t));
            models.detached.v(moving_rows.z.clone(), moving_rows.t.clone(), labels)
        }
    });
    let (dr, dt) = match direction {
        Direction::V01 => (false, true),
        Direction::V00 => (false, false),
        Direction::V10 => (true, false),
        Direction::V11 => (true, true),
    };
    let moving = |time: &Tensor<1>, moves: bool| match moves && intervals > 0 {
        true => Dual::new(time.clone(), time.clone().narrow(0, 0, intervals).ones_like()),
        false => time.clone().into(),
    };
    let BatchSlice { z, v, t, r, labels } = rows;
    let z = match dz {
        Some(dz) => Dual::new(z, dz),
        None => z.into(),
    };
    let Velocities { average: u, instant } = models.online.velocities(z, moving(&r, dr), moving(&t, dt), labels);
    let predicted = instant.map(|predicted| predicted - v.clone());
    // The tangent is off the tape: this is the stop-gradient of the target.
    let Some(BatchSlice { v: _, t, r, .. }) = moving_rows else { return (u.primal - v, predicted) };
    let du_dt = u.tangent.expect("u depends on z, which moves");
    let correction = per_image(t - r) * du_dt;
    let num_instant = v.dims()[0] - intervals;
    let correction = match num_instant {
        0 => correction,
        num_instant => {
            Tensor::cat(vec![correction, v.clone().inner().narrow(0, intervals, num_instant).zeros_like()], 0)
        }
    };
    (u.primal - (v - correction), predicted)
}
