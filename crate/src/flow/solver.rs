//! Algorithm 2 of MeanFlow: sampling with the average velocity.

use burn::tensor::Tensor;

use super::AverageVelocity;
use crate::net::Labels;

/// Moves `z` from time `t` to `r ≤ t` in one network call: `z_r = z_t − (t − r) u(z_t, r, t)`.
pub fn step(net: &impl AverageVelocity, z: Tensor<4>, r: f64, t: f64, labels: Option<Labels>) -> Tensor<4> {
    let [batch, ..] = z.dims();
    let at = |time: f64| Tensor::full([batch], time, &z.device()).into();
    let u = net.u(z.clone().into(), at(r), at(t), labels).primal;
    z - u * (t - r)
}

/// One network call from noise to image: `x = e − u(e, 0, 1)`.
pub fn one_step(net: &impl AverageVelocity, e: Tensor<4>, labels: Option<Labels>) -> Tensor<4> {
    step(net, e, 0.0, 1.0, labels)
}

/// `nfe` network calls over a uniform grid of times from 1 to 0.
///
/// # Panics
/// When `nfe` is 0.
pub fn generate(net: &impl AverageVelocity, e: Tensor<4>, labels: Option<Labels>, nfe: usize) -> Tensor<4> {
    assert!(nfe > 0, "sampling takes at least one network call");
    let time = |i: usize| i as f64 / nfe as f64;
    (1..=nfe).rev().fold(e, |z, i| step(net, z, time(i - 1), time(i), labels.clone()))
}
