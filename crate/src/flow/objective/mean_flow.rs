//! MeanFlow and improved MeanFlow: one residual, which differ in the tangent that the derivative is taken along.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Nets, Rows};
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
    Own,
}

/// `u − sg(v − (t − r) du/dt)` of rows of which the first `intervals` have `r < t`, and `v̂ − v` of the auxiliary head.
///
/// The rows are one pass of the network, and those with `r = t` carry no tangent: their `du/dt` has weight zero.
pub(super) fn residual<U: AverageVelocity>(
    nets: Nets<'_, U>,
    rows: Rows,
    intervals: usize,
    tangent: Tangent,
    direction: Direction,
) -> (Tensor<4>, Option<Tensor<4>>) {
    let along = (intervals > 0).then(|| rows.narrow(0, intervals));
    let dz = along.as_ref().map(|along| match tangent {
        Tangent::Conditional => along.v.clone(),
        Tangent::Own => {
            let labels = along.labels.as_ref().map(|labels| labels.at(&along.t));
            nets.frozen.v(along.z.clone(), along.t.clone(), labels)
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
    let Rows { z, v, t, r, labels } = rows;
    let z = match dz {
        Some(dz) => Dual::new(z, dz),
        None => z.into(),
    };
    let Velocities { average: u, instant } = nets.live.velocities(z, moving(&r, dr), moving(&t, dt), labels);
    let own = instant.map(|own| own - v.clone());
    // The tangent is off the tape: this is the stop-gradient of the target.
    let Some(Rows { v: _, t, r, .. }) = along else { return (u.primal - v, own) };
    let du_dt = u.tangent.expect("u depends on z, which moves");
    let rise = per_image(t - r) * du_dt;
    let still = v.dims()[0] - intervals;
    let rise = match still {
        0 => rise,
        still => Tensor::cat(vec![rise, v.clone().inner().narrow(0, intervals, still).zeros_like()], 0),
    };
    (u.primal - (v - rise), own)
}
