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

/// `u − sg(v − (t − r) du/dt)`, and `v̂ − v` of the auxiliary head.
pub(super) fn residual<U: AverageVelocity>(
    nets: Nets<'_, U>,
    rows: Rows,
    tangent: Tangent,
    direction: Direction,
) -> (Tensor<4>, Option<Tensor<4>>) {
    let dz = match tangent {
        Tangent::Conditional => rows.v.clone(),
        Tangent::Own => {
            let labels = rows.labels.as_ref().map(|labels| labels.at(&rows.t));
            nets.frozen.v(rows.z.clone(), rows.t.clone(), labels)
        }
    };
    let Rows { z, v, t, r, labels } = rows;
    let (dr, dt) = match direction {
        Direction::V01 => (false, true),
        Direction::V00 => (false, false),
        Direction::V10 => (true, false),
        Direction::V11 => (true, true),
    };
    let moving = |x: &Tensor<1>, moves: bool| match moves {
        true => Dual::new(x.clone(), x.ones_like()),
        false => x.clone().into(),
    };
    let Velocities { average: u, instant } =
        nets.live.velocities(Dual::new(z, dz), moving(&r, dr), moving(&t, dt), labels);
    // The tangent is off the tape: this is the stop-gradient of the target.
    let du_dt = u.tangent.expect("u depends on z, which moves");
    (u.primal - (v.clone() - per_image(t - r) * du_dt), instant.map(|own| own - v))
}
