//! The inverse of sampling with the average velocity: from an image to its noise.

use burn::tensor::Tensor;

use super::average::average;
use crate::flow::AverageVelocity;
use crate::net::Labels;

/// The noise that [`generate`](super::generate) with `steps` calls turns into the images `x`.
///
/// Each step of the sampler is undone by solving `z_t = z_r + (t − r) u(z_t, r, t)` for `z_t` by fixed-point
/// iteration, `steps · iterations` calls in all. It converges where one step moves less than it starts from, that is
/// where `(t − r) ‖∂u/∂z‖ < 1`; more steps make that so. The round trip tells whether it did.
///
/// # Panics
/// When `steps` or `iterations` is 0.
pub fn invert(
    net: &impl AverageVelocity,
    x: Tensor<4>,
    labels: Option<Labels>,
    steps: usize,
    iterations: usize,
) -> Tensor<4> {
    assert!(steps > 0 && iterations > 0, "inversion takes at least one step and one iteration");
    let time = |i: usize| i as f64 / steps as f64;
    (0..steps).fold(x, |z_r, i| {
        let (r, t) = (time(i), time(i + 1));
        (0..iterations).fold(z_r.clone(), |z_t, _| z_r.clone() + average(net, z_t, r, t, labels.clone()) * (t - r))
    })
}
