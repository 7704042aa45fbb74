//! The instantaneous velocity that every average velocity contains, `v(z, t) = u(z, t, t)`, and its flow.

use burn::tensor::Tensor;

use super::average::average;
use super::runge_kutta::{Integral, Integrator, integrate};
use crate::error::Error;
use crate::flow::AverageVelocity;
use crate::net::Labels;

/// Classifier-free guidance while sampling (arXiv 2207.12598): `v_null + scale (v_y − v_null)`, two calls for one.
///
/// It is for networks that were trained without guidance in their target; 1 is the class as learnt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingGuidance {
    /// How far beyond the unconditional velocity, in units of the conditional one.
    pub scale: f64,
    /// The label that means "no class".
    pub null_label: usize,
}

/// The velocity field `dz/dt = v(z, t, y)` of a network.
#[derive(Clone, Debug)]
pub struct Velocity<'a, U> {
    net: &'a U,
    labels: Option<Labels>,
    guidance: Option<SamplingGuidance>,
}

impl<'a, U: AverageVelocity> Velocity<'a, U> {
    /// The field of a class per image, or of a network without classes.
    ///
    /// # Panics
    /// When there is guidance without labels.
    pub fn new(net: &'a U, labels: Option<Labels>, guidance: Option<SamplingGuidance>) -> Self {
        assert!(labels.is_some() || guidance.is_none(), "guidance leads towards a class");
        Self { net, labels, guidance }
    }

    /// Network calls per evaluation.
    pub fn calls(&self) -> usize {
        if self.guidance.is_some() { 2 } else { 1 }
    }

    /// `v(z, t)`, of the shape of `z`.
    pub fn at(&self, z: Tensor<4>, t: f64) -> Tensor<4> {
        let v = average(self.net, z.clone(), t, t, self.labels.clone());
        let Some(SamplingGuidance { scale, null_label }) = self.guidance else { return v };
        let null = self.labels.as_ref().map(|labels| labels.null(null_label));
        let free = average(self.net, z, t, t, null);
        free.clone() + (v - free) * scale
    }

    /// Carries `z` along the field from one time to another: 1 to 0 makes images, 0 to 1 their noise.
    ///
    /// # Errors
    /// As [`integrate`].
    pub fn integrate(&self, z: Tensor<4>, from: f64, to: f64, integrator: Integrator) -> Result<Integral<4>, Error> {
        integrate(|z, t| self.at(z, t), z, from, to, integrator)
    }
}
