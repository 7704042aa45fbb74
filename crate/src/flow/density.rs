//! The flow as a density: the log-likelihood of images by the instantaneous change of variables.
//!
//! Along `dz/dt = v(z, t)` the density changes as `d log p_t(z_t)/dt = −div v(z_t, t)` (Chen et al. 2018,
//! arXiv 1806.07366), so with noise of standard deviation `s` at `t = 1`
//!
//! ```text
//! log p(x) = log N(z₁; 0, s² I) + ∫₀¹ div v(z_t, t) dt
//! ```
//!
//! where `z₁` is where `x` is carried to. The divergence is the trace of a Jacobian, which forward mode reads one
//! direction at a time: `⟨d, J d⟩`, summed over the unit vectors `d` (exact), or averaged over random signs
//! (Hutchinson 1990; FFJORD, arXiv 1810.01367).

use burn::tensor::{Device, Tensor, TensorData};

use super::AverageVelocity;
use super::solver::{Integrator, integrate};
use crate::dual::Dual;
use crate::error::Error;
use crate::net::Labels;
use crate::rng::{Purpose, Stream};

/// Most values of an image whose divergence is computed exactly: one pass for each of them.
const MAX_EXACT: usize = 1024;

/// How the divergence is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divergence {
    /// Exactly, in one pass per value of an image.
    Exact,
    /// An unbiased estimate by random signs, the same along the whole path of an image.
    Hutchinson {
        /// Passes; the variance falls as one over them.
        probes: usize,
        /// Seed of the signs.
        seed: u64,
    },
}

/// What the flow says about images.
#[derive(Clone, Debug)]
pub struct Density {
    /// `log p(x)` in nats, of images in `[−1, 1]`, `[batch]`.
    pub log_density: Tensor<1>,
    /// The noise `z₁` that the flow carries them to, as the images: of the network's own scale.
    pub noise: Tensor<4>,
    /// Network passes made, each with a tangent.
    pub passes: usize,
}

/// The log-density of images under the flow of the instantaneous velocity.
///
/// # Shapes
/// `x`: `[batch, channels, height, width]`.
///
/// # Errors
/// An exact divergence of large images, no probes, or as [`integrate`].
pub fn log_density(
    net: &impl AverageVelocity,
    x: Tensor<4>,
    labels: Option<Labels>,
    divergence: Divergence,
    integrator: Integrator,
) -> Result<Density, Error> {
    let shape @ [batch, channels, height, width] = x.dims();
    let values = channels * height * width;
    let probes = Probes::new(divergence, shape, &x.device())?;
    // One more column than values: the integral of the divergence so far.
    let field = |state: Tensor<2>, t: f64| {
        let z = state.narrow(1, 0, values).reshape(shape);
        let (v, divergence) = velocity_and_divergence(net, z, t, labels.clone(), &probes);
        Tensor::cat(vec![v.reshape([batch, values]), divergence.reshape([batch, 1])], 1)
    };
    let start = Tensor::cat(vec![x.clone().reshape([batch, values]), Tensor::zeros([batch, 1], &x.device())], 1);
    let integral = integrate(field, start, 0.0, 1.0, integrator)?;
    let noise = integral.end.clone().narrow(1, 0, values);
    let scale = net.noise_scale();
    let normalizer = values as f64 * (0.5 * std::f64::consts::TAU.ln() + scale.ln());
    let energy = (noise.clone() * noise.clone()).sum_dim(1) * (0.5 / (scale * scale)) + normalizer;
    let log_density = integral.end.narrow(1, values, 1) - energy;
    Ok(Density {
        log_density: log_density.squeeze_dim(1),
        noise: noise.reshape(shape),
        passes: integral.evaluations * probes.directions.len(),
    })
}

/// Bits per value of 8-bit images, `[batch]` → `[batch]`, from the log-density of dequantised images in `[−1, 1]`.
///
/// A byte `b` stands for the interval of width `1/127.5` around `b/127.5 − 1`. With [`dequantise`] the density is
/// averaged over that interval *after* the logarithm, so this is an upper bound on the bits that the probability of the
/// bytes themselves would take (Theis et al. 2016, arXiv 1511.01844): `log₂ 127.5 − log p(x) / (values · ln 2)`.
pub fn bits_per_dimension(log_density: Tensor<1>, values: usize) -> Tensor<1> {
    log_density * (-1.0 / (values as f64 * std::f64::consts::LN_2)) + 127.5_f64.log2()
}

/// Spreads 8-bit images in `[−1, 1]` evenly over the intervals that their bytes stand for (uniform dequantisation,
/// arXiv 1511.01844).
///
/// # Shapes
/// Any, and the same.
pub fn dequantise(x: Tensor<4>, seed: u64) -> Tensor<4> {
    let shape = x.dims();
    let mut stream = Stream::new(seed, Purpose::Dequantisation, 0);
    let offsets = (0..shape.iter().product()).map(|_| ((stream.uniform() - 0.5) / 127.5) as f32).collect();
    let offsets: Tensor<4> = Tensor::from_data(TensorData::new::<f32, _>(offsets, shape), &x.device());
    x + offsets
}

/// Directions whose `⟨d, J d⟩` sum, weighted, to the divergence.
struct Probes {
    /// Each of the shape of the batch.
    directions: Vec<Tensor<4>>,
    weight: f64,
}

impl Probes {
    fn new(divergence: Divergence, shape: [usize; 4], device: &Device) -> Result<Self, Error> {
        let [_, channels, height, width] = shape;
        let values = channels * height * width;
        let one_hot = |i: usize| {
            let unit = (0..values).map(|j| f32::from(u8::from(i == j))).collect();
            let unit: Tensor<4> =
                Tensor::from_data(TensorData::new::<f32, _>(unit, [1, channels, height, width]), device);
            unit.expand(shape)
        };
        let signs = |seed: u64, probe: usize| {
            let mut stream = Stream::new(seed, Purpose::Probe, probe as u64);
            let signs = (0..shape.iter().product()).map(|_| if stream.uniform() < 0.5 { -1.0 } else { 1.0 }).collect();
            Tensor::from_data(TensorData::new::<f32, _>(signs, shape), device)
        };
        match divergence {
            Divergence::Exact if values > MAX_EXACT => Err(Error::Request(format!(
                "an exact divergence of {values} values would take as many passes a step; at most {MAX_EXACT} are \
                 possible, and Hutchinson's estimate beyond"
            ))),
            Divergence::Exact => Ok(Self { directions: (0..values).map(one_hot).collect(), weight: 1.0 }),
            Divergence::Hutchinson { probes: 0, .. } => {
                Err(Error::Request("an estimate takes at least 1 probe".into()))
            }
            Divergence::Hutchinson { probes, seed } => Ok(Self {
                directions: (0..probes).map(|probe| signs(seed, probe)).collect(),
                weight: 1.0 / probes as f64,
            }),
        }
    }
}

/// `v(z, t)` and `div v(z, t)`: `[batch, ..]` and `[batch]`.
fn velocity_and_divergence(
    net: &impl AverageVelocity,
    z: Tensor<4>,
    t: f64,
    labels: Option<Labels>,
    probes: &Probes,
) -> (Tensor<4>, Tensor<1>) {
    let [batch, ..] = z.dims();
    let time: Tensor<1> = Tensor::full([batch], t, &z.device());
    let mut divergence: Tensor<1> = Tensor::zeros([batch], &z.device());
    let mut v = z.zeros_like();
    for direction in &probes.directions {
        let moving = Dual::new(z.clone(), direction.clone());
        let u = net.u(moving, time.clone().into(), time.clone().into(), labels.clone());
        if let Some(change) = u.tangent {
            let along = (direction.clone() * change).flatten::<2>(1, 3).sum_dim(1).squeeze_dim(1);
            divergence = divergence + along * probes.weight;
        }
        v = u.primal;
    }
    (v, divergence)
}
