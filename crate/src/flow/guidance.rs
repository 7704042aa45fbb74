//! Classifier-free guidance inside the target (section 4.2 of MeanFlow, arXiv 2505.13447): the network learns the
//! guided flow, and samples it in one call. In improved MeanFlow (arXiv 2512.02012) its scale is an input of the
//! network, drawn for every image while training and chosen while sampling.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{AverageVelocity, PathSample, per_image};
use crate::error::{Error, check};
use crate::model::GuidanceInputs;
use crate::net::{GuidanceScale, Labels};
use crate::rng::Stream;

/// Guidance of the velocity that is regressed on: `v_g = ω v + κ u(z, t, t | y) + (1 − ω − κ) u(z, t, t | null)` for
/// times in `[start, end]`, and `v_g = v` for others and for rows without a class.
///
/// Where the network has learnt it, `v_g = v_null + ω/(1 − κ) (v_y − v_null)`. It needs labels that are dropped at
/// times; dropped rows have `r = t`, since the null label is only ever asked for an instantaneous velocity. In training
/// that learns the guided flow, guidance while sampling would guide twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guidance {
    /// ω, 0 to 100; with κ = 0 the scale itself. The paper's best without κ: 3 on B/4.
    pub omega: f64,
    /// κ, 0 to below 1: how much of the scale comes from the network's own class velocity. It costs a third pass.
    pub kappa: f64,
    /// First guided time, towards data, 0 to `end`.
    pub start: f64,
    /// Last guided time, towards noise, at most 1.
    pub end: f64,
    /// For a network that guidance is an input of: how its scales are drawn, in place of all of the above.
    pub input: Option<GuidanceDraws>,
}

impl Default for Guidance {
    fn default() -> Self {
        Self { omega: 1.0, kappa: 0.0, start: 0.0, end: 1.0, input: None }
    }
}

/// Scales of guidance in training: `ω` in `[1, most]` with density `∝ ω^(−power)`, and where the network is told an
/// interval too, its start in `[0, ½]` and its end in `[½, 1]` (improved MeanFlow, section 4.3 and its code).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuidanceDraws {
    /// The largest scale, 1 to 100; the authors' is 8.
    pub most: f64,
    /// How much small scales are preferred, 0 to 10; the authors' is 1, or 2 for one of their larger models.
    pub power: f64,
}

impl Default for GuidanceDraws {
    fn default() -> Self {
        Self { most: 8.0, power: 1.0 }
    }
}

impl GuidanceDraws {
    /// One scale, by the inverse of its distribution.
    fn scale(&self, stream: &mut Stream) -> f64 {
        let (u, rest) = (stream.uniform(), 1.0 - self.power);
        match rest.abs() < 1e-9 {
            true => self.most.powf(u),
            false => (1.0 + u * (self.most.powf(rest) - 1.0)).powf(1.0 / rest),
        }
    }

    /// Tells the labels of a batch their guidance. Rows with `r = t`, those from `intervals` on, hold it at all times.
    ///
    /// # Shapes
    /// `labels`, `t`: `[batch]`.
    pub fn tell(
        &self,
        labels: Labels,
        t: &Tensor<1>,
        intervals: usize,
        inputs: GuidanceInputs,
        stream: &mut Stream,
    ) -> Labels {
        let [_, limited] = inputs.flags();
        let rows = (0..t.dims()[0]).map(|row| {
            let (scale, start, end) = (self.scale(stream), 0.5 * stream.uniform(), 0.5 + 0.5 * stream.uniform());
            if limited && row < intervals { [scale, start, end] } else { [scale, 0.0, 1.0] }
        });
        let rows: Vec<[f64; 3]> = rows.collect();
        let column = |which: usize| {
            let values: Vec<f32> = rows.iter().map(|row| row[which] as f32).collect();
            Tensor::from_data(TensorData::new(values, [rows.len()]), &t.device())
        };
        labels.guided(GuidanceScale { scale: column(0), start: column(1), end: column(2) })
    }
}

impl Guidance {
    /// Whether it changes anything.
    pub fn is_on(&self) -> bool {
        self.omega != 1.0 || self.kappa != 0.0 || self.input.is_some()
    }

    /// The scale that a network which has learnt it is guided by, `ω' = ω/(1 − κ)`.
    pub fn scale(&self) -> f64 {
        self.omega / (1.0 - self.kappa)
    }

    /// # Errors
    /// Names the field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let Self { omega, kappa, start, end, ref input } = *self;
        let draws = input.clone().unwrap_or_default();
        let rules = [
            ((1.0..=100.0).contains(&draws.most), "input.most must be 1 to 100"),
            ((0.0..=10.0).contains(&draws.power), "input.power must be 0 to 10"),
            (
                input.is_none() || Self { input: input.clone(), ..Self::default() } == *self,
                "has either an input or a fixed omega, kappa and interval",
            ),
            ((0.0..=100.0).contains(&omega), "omega must be 0 to 100"),
            ((0.0..1.0).contains(&kappa), "kappa must be 0 to below 1"),
            (0.0 <= start && start <= end && end <= 1.0, "start and end must be times, start not after end"),
        ];
        check(rules, |rule| format!("[guidance] {rule}"))
    }

    /// The same path with its velocity guided by `net`, the live weights; no gradient flows into it.
    ///
    /// # Shapes
    /// `t`, `labels`: `[batch]`.
    pub fn apply(
        &self,
        net: &impl AverageVelocity,
        path: PathSample,
        t: &Tensor<1>,
        labels: &Labels,
        null_label: usize,
    ) -> PathSample {
        let PathSample { z, v } = path;
        let ask = |labels: Labels| net.v(z.clone(), t.clone(), Some(labels));
        let free = ask(labels.null(null_label));
        let at = labels.at(t);
        let guided = match at.guidance() {
            // v + (1 − 1/ω)(v_y − v_null): the same with ω = 1 and κ = 1 − 1/ω, of each image's own scale.
            Some(scale) if self.input.is_some() => {
                let share = per_image(scale.scale.clone().recip().neg() + 1.0);
                v.clone() + (ask(at.clone()) - free) * share
            }
            _ => {
                let towards = v.clone() * self.omega + free * (1.0 - self.omega - self.kappa);
                if self.kappa == 0.0 { towards } else { towards + ask(labels.clone()) * self.kappa }
            }
        };
        let within = t.clone().greater_equal_elem(self.start).bool_and(t.clone().lower_equal_elem(self.end));
        let applies = per_image(within.bool_and(labels.are_named(null_label)).float());
        // Chosen rather than blended, so that a row it does not apply to keeps its velocity to the bit.
        let applies = applies.expand(v.dims()).greater_elem(0.5);
        PathSample { v: v.mask_where(applies, guided), z }
    }
}
