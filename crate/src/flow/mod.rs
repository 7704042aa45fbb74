//! The method: MeanFlow (Geng, Deng, Bai, Kolter, He 2025, arXiv 2505.13447).
//!
//! [`Objective`] says what is trained and [`Guidance`] towards which velocity; [`Solver`](crate::model::Solver) makes
//! images, by average or instantaneous velocity; [`log_density`] reads the flow as a density.
//!
//! It knows the average velocity `u` only through [`AverageVelocity`]; the network is one of them, and so is the
//! closed-form flow that the tests use as an oracle.
//!
//! # Example
//! The gradients of a batch whose first two images have `r < t`:
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use meanflow::NetConfig;
//! use meanflow::flow::{AdaptiveWeight, MeanFlow, Models, Objective, StepInputs, Times, interpolate};
//!
//! let device = Device::flex();
//! let net = NetConfig::preset("browser-s", 8, 3, 0)?.init(0, &device.clone().autodiff());
//! let [x, e] = [1.0, 2.0].map(|sd| Tensor::<4>::random([4, 3, 8, 8], Distribution::Normal(0.0, sd), &device));
//! let [r, t] = [[0.2, 0.0, 0.5, 0.9], [0.7, 1.0, 0.5, 0.9]].map(|times| Tensor::<1>::from_data(times, &device));
//! let path = interpolate(x, e, t.clone());
//! let inputs = StepInputs::new(path, Times { r, t, intervals: 2 }, None);
//! let residuals = MeanFlow::default().residuals(Models::all(&net), inputs, 0);
//! let loss = AdaptiveWeight::default().apply(&residuals);
//! let gradients = loss.backward();
//! # Ok::<(), meanflow::Error>(())
//! ```

mod density;
mod guidance;
mod loss;
mod objective;
mod solver;
mod times;

pub use density::{Density, Divergence, bits_per_dimension, dequantise, log_density};
pub use guidance::{Guidance, GuidanceDraws};
pub use loss::{
    AdaptiveWeight, PathSample, Residuals, StepInputs, Tangent, interpolate, mean_flow_residuals, squared_norm,
};
// The objectives are listed in one place, the table there.
pub use objective::*;
pub use solver::{
    Integral, Integrator, Method, Sampled, Sampling, SamplingGuidance, TOLERANCES, Velocity, generate, integrate,
    invert, one_step, restart, sample, step,
};
pub use times::{TimePairs, Times, TimesConfig, TimesOrder};

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::dual::Dual;
use crate::net::{Dropout, Labels, Net, Velocities};

/// An average velocity `u(z, r, t, y) = 1/(t − r) ∫ᵣᵗ v(z_τ, τ) dτ`, differentiable forward (eq. 3 of the paper).
pub trait AverageVelocity {
    /// `u`, and its derivative along the direction in which the inputs move.
    ///
    /// # Shapes
    /// `z`: `[batch, channels, height, width]`; `r ≤ t`: `[batch]`; result as `z`.
    fn u(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4>;

    /// `u`, and the instantaneous velocity of an auxiliary head, where there is one.
    fn velocities(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Velocities {
        self.u(z, r, t, labels).into()
    }

    /// The average velocity `u(z, r, t, y)` off the tape, without a derivative: a part of a target.
    ///
    /// # Shapes
    /// As [`Self::u`].
    fn eval(&self, z: Tensor<4>, r: Tensor<1>, t: Tensor<1>, labels: Option<Labels>) -> Tensor<4> {
        self.u(z.into(), r.into(), t.into(), labels).primal.inner()
    }

    /// The device that records what is computed from its parameters, for the backward pass; `None` where nothing does.
    fn autodiff_device(&self) -> Option<Device> {
        None
    }

    /// The instantaneous velocity `v(z, t, y)` as the network says it, off the tape: by its auxiliary head, or else
    /// `u(z, t, t, y)`.
    fn v(&self, z: Tensor<4>, t: Tensor<1>, labels: Option<Labels>) -> Tensor<4> {
        let Velocities { average, instant } = self.velocities(z.into(), t.clone().into(), t.into(), labels);
        instant.unwrap_or(average.primal).inner()
    }

    /// Standard deviation of the noise that its flow ends in, at `t = 1`. Solvers take noise of that scale.
    fn noise_scale(&self) -> f64 {
        1.0
    }
}

impl AverageVelocity for Net {
    fn u(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        self.forward(z, r, t, labels)
    }

    fn velocities(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Velocities {
        Net::velocities(self, z, r, t, labels, None)
    }

    fn autodiff_device(&self) -> Option<Device> {
        self.devices().into_iter().find(Device::is_autodiff)
    }

    fn noise_scale(&self) -> f64 {
        self.config().noise_scale
    }
}

/// A network as training runs it: with dropout, if there is any.
#[derive(Debug)]
pub struct WithDropout<'a> {
    /// The network.
    pub net: &'a Net,
    /// What this step drops.
    pub dropout: Option<Dropout>,
}

impl AverageVelocity for WithDropout<'_> {
    fn u(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        self.velocities(z, r, t, labels).average
    }

    fn velocities(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Velocities {
        self.net.velocities(z, r, t, labels, self.dropout.as_ref())
    }

    fn autodiff_device(&self) -> Option<Device> {
        self.net.autodiff_device()
    }

    fn noise_scale(&self) -> f64 {
        self.net.config().noise_scale
    }
}

/// One number per image, shaped to broadcast over its pixels: `[batch]` → `[batch, 1, 1, 1]`.
fn per_image(values: Tensor<1>) -> Tensor<4> {
    values.reshape([-1, 1, 1, 1])
}
