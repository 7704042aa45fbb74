//! Algorithm 2 of MeanFlow (arXiv 2505.13447): sampling with the average velocity, in one call or several.

use burn::tensor::Tensor;

use crate::flow::AverageVelocity;
use crate::net::Labels;

/// Moves `z` from time `t` to `r ≤ t` in one network call: `z_r = z_t − (t − r) u(z_t, r, t)`.
///
/// # Shapes
/// `z`: `[batch, channels, height, width]`; the result as `z`.
pub fn step(net: &impl AverageVelocity, z: Tensor<4>, r: f64, t: f64, labels: Option<Labels>) -> Tensor<4> {
    let u = average(net, z.clone(), r, t, labels);
    z - u * (t - r)
}

/// `u(z, r, t)` at one pair of times for the whole batch.
pub(super) fn average(net: &impl AverageVelocity, z: Tensor<4>, r: f64, t: f64, labels: Option<Labels>) -> Tensor<4> {
    let [batch, ..] = z.dims();
    let at = |time: f64| Tensor::full([batch], time, &z.device()).into();
    net.u(z.clone().into(), at(r), at(t), labels).primal
}

/// One network call from noise to image: `x = e − u(e, 0, 1)`.
///
/// # Shapes
/// `e`: `[batch, channels, height, width]`, noise of the network's scale; the result as `e`, in about `[−1, 1]`.
///
/// # Example
/// ```
/// use burn::tensor::Device;
/// use meanflow::NetConfig;
/// use meanflow::flow::one_step;
/// use meanflow::generator::noise_images;
///
/// let device = Device::flex();
/// let net = NetConfig::preset("browser-s", 8, 3, 0)?.init(0, &device);
/// let e = noise_images(7, 4, [3, 8, 8], &device);
/// // A fresh network is u = 0, which leaves the noise as it is.
/// assert_eq!(one_step(&net, e.clone(), None).into_data(), e.into_data());
/// # Ok::<(), meanflow::Error>(())
/// ```
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

/// `nfe` jumps to data with fresh noise between them, as consistency models sample (arXiv 2303.01469, algorithm 1):
/// from `t_i` to 0, back to `z = (1 − t) x + t e'` at the next time of a uniform grid, and again to 0.
///
/// `noise(i)` is the noise before jump `i`, of the shape of the images.
///
/// # Panics
/// When `nfe` is 0.
pub fn restart(
    net: &impl AverageVelocity,
    noise: impl Fn(usize) -> Tensor<4>,
    labels: Option<Labels>,
    nfe: usize,
) -> Tensor<4> {
    assert!(nfe > 0, "sampling takes at least one network call");
    let x = one_step(net, noise(0), labels.clone());
    (1..nfe).fold(x, |x, jump| {
        let t = 1.0 - jump as f64 / nfe as f64;
        step(net, x * (1.0 - t) + noise(jump) * t, 0.0, t, labels.clone())
    })
}
