//! MeanFlow in one file: Algorithm 1, a training step, a sample (arXiv 2505.13447). It learns to draw a square at one
//! of nine places in 8 × 8 pixels, and then draws some in one network call each.
//!
//! ```sh
//! cargo run --release --example minimal
//! ```
//!
//! The trainer does the same with classes, guidance, other objectives, averages of the weights and checkpoints. A test
//! holds [`loss`] to the one that it minimises.

use std::error::Error;
use std::io::{Write, stdout};

use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use meanflow::rng::{Purpose, Stream};
use meanflow::{Dual, Net, NetConfig};

const SIZE: usize = 8;
const BATCH: usize = 64;

/// Algorithm 1: the average velocity `u(z, r, t)` is trained towards `v − (t − r) du/dt`.
///
/// # Shapes
/// Images `x` and noise `e`: `[batch, channels, size, size]`; times `r ≤ t`: `[batch]`. The result is a scalar.
pub fn loss(net: &Net, x: Tensor<4>, e: Tensor<4>, r: Tensor<1>, t: Tensor<1>) -> Tensor<1> {
    let per_image = |time: Tensor<1>| time.reshape([-1, 1, 1, 1]);
    // The path from data to noise, and its velocity.
    let z = x.clone() * per_image(1.0 - t.clone()) + e.clone() * per_image(t.clone());
    let v = e - x;
    // One pass gives u and du/dt, its derivative along (dz, dr, dt) = (v, 0, 1).
    let moving_t = Dual::new(t.clone(), t.ones_like());
    let u = net.forward(Dual::new(z, v.clone()), r.clone().into(), moving_t, None);
    // Tangents are off the tape, which is the stop-gradient of the target.
    let du_dt = u.tangent.expect("u depends on z and t, which move");
    let target = v - per_image(t - r) * du_dt;
    // Squared error of each image, weighted by 1 / (error + c) without a gradient.
    let error = (u.primal - target).powi_scalar(2).flatten::<2>(1, 3).sum_dim(1);
    let weight = (error.clone().inner() + 0.01).recip();
    (error * weight).mean()
}

/// One step: a batch, its noise and times, the loss, its gradients, the optimizer.
fn step(net: Net, optimizer: &mut ModuleOptimizer, stream: &mut Stream, device: &Device) -> Net {
    let [r, t] = times(stream, device);
    let gradients = loss(&net, squares(stream, device), noise(stream, device), r, t).backward();
    let gradients = GradientsParams::from_grads(gradients, &net);
    optimizer.step(2e-3, net, gradients)
}

/// One network call: `x = e − u(e, 0, 1)`.
pub fn sample(net: &Net, e: Tensor<4>) -> Tensor<4> {
    let [batch, ..] = e.dims();
    let (r, t) = (Tensor::zeros([batch], &e.device()), Tensor::ones([batch], &e.device()));
    e.clone() - net.forward(e.into(), r.into(), t.into(), None).primal.inner()
}

/// Two logit-normal times of each image, sorted; half of the images have `r = t`, where the loss is Flow Matching's.
fn times(stream: &mut Stream, device: &Device) -> [Tensor<1>; 2] {
    let draw = |z: f64| 1.0 / (1.0 + (0.4 - z).exp());
    let pairs = (0..BATCH).map(|i| match stream.normal_pair().map(draw) {
        [a, _] if i % 2 == 0 => [a, a],
        [a, b] => [a.min(b), a.max(b)],
    });
    let pairs: Vec<[f64; 2]> = pairs.collect();
    [0, 1].map(|which| {
        let values = pairs.iter().map(|pair| pair[which] as f32).collect();
        Tensor::from_data(TensorData::new::<f32, _>(values, [BATCH]), device)
    })
}

/// White squares of 4 × 4 pixels on black, from −1 to 1.
fn squares(stream: &mut Stream, device: &Device) -> Tensor<4> {
    let mut values = Vec::with_capacity(BATCH * SIZE * SIZE);
    for _ in 0..BATCH {
        let [top, left] = [stream.below(3), stream.below(3)].map(|place| 2 * place);
        let is_white = |i: usize| (top..top + 4).contains(&(i / SIZE)) && (left..left + 4).contains(&(i % SIZE));
        values.extend((0..SIZE * SIZE).map(|i| if is_white(i) { 1.0 } else { -1.0 }));
    }
    Tensor::from_data(TensorData::new::<f32, _>(values, [BATCH, 1, SIZE, SIZE]), device)
}

fn noise(stream: &mut Stream, device: &Device) -> Tensor<4> {
    let values = stream.normals(BATCH * SIZE * SIZE);
    Tensor::from_data(TensorData::new(values, [BATCH, 1, SIZE, SIZE]), device)
}

/// Trains a network for some steps, from one seed.
pub fn train(steps: u64) -> Result<Net, Box<dyn Error>> {
    let device = Device::flex();
    let config = NetConfig { patch: 2, width: 64, depth: 2, heads: 4, ..NetConfig::preset("browser-s", SIZE, 1, 0)? };
    let mut net = config.init(0, &device.clone().autodiff());
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.0).init();
    for i in 0..steps {
        net = step(net, &mut optimizer, &mut Stream::new(0, Purpose::Noise, i), &device);
    }
    Ok(net)
}

/// Pictures side by side, as text.
pub fn drawn(pictures: Tensor<4>, count: usize) -> Result<String, Box<dyn Error>> {
    let values = pictures.try_into_vec_as::<f32>()?;
    let pixel = |picture: usize, row: usize, column: usize| match values[(picture * SIZE + row) * SIZE + column] {
        x if x > 0.3 => "██",
        x if x > -0.3 => "▒▒",
        _ => "· ",
    };
    let line = |row| {
        let pictures =
            (0..count).map(|picture| (0..SIZE).map(|column| pixel(picture, row, column)).collect::<String>());
        pictures.collect::<Vec<_>>().join("   ")
    };
    Ok((0..SIZE).map(line).collect::<Vec<_>>().join("\n") + "\n")
}

#[allow(dead_code, reason = "the tests have this file as a module")]
fn main() -> Result<(), Box<dyn Error>> {
    let net = train(1500)?;
    let e = noise(&mut Stream::new(1, Purpose::Noise, 0), &Device::flex());
    stdout().write_all(drawn(sample(&net, e), 4)?.as_bytes())?;
    Ok(())
}
