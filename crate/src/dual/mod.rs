//! Forward-mode differentiation above the tensor: a value together with its directional derivative.
//!
//! burn has reverse mode only, and its backends form a closed set, so forward mode lives here: a [`Dual`] carries a
//! `primal` and an optional `tangent`, and the network is written over duals once. `tangent: None` is a *symbolic
//! zero*: plain inference, flow-matching rows (`r = t`) and constants run the very same code at plain cost.
//!
//! One invariant holds everywhere:
//!
//! > The primal may be tracked by reverse mode. **The tangent never is.**
//!
//! Every rule reads primals through [`Tensor::inner`], so the stop-gradient `sg(du/dt)` of the MeanFlow target holds by
//! construction, and no activation of the tangent pass is kept for the backward pass.

#[cfg_attr(not(feature = "flex"), path = "cpu_absent.rs")]
mod cpu;
#[cfg_attr(not(any(feature = "wgpu", feature = "cuda")), path = "cube_absent.rs")]
mod cube;
mod layers;
mod ops;

#[cfg(feature = "train")]
pub(crate) use cpu::in_one_pass;
#[cfg(feature = "cpu")]
pub(crate) use layers::GELU;
pub use layers::{attend, convolve, gelu_tanh, group_norm, layer_norm, linear, rms_norm, silu, softmax};

use burn::tensor::Tensor;

/// A value and its directional derivative.
///
/// Shapes: `tangent`, where present, has the shape of `primal`.
#[derive(Clone, Debug)]
pub struct Dual<const D: usize> {
    /// The value; on the autodiff tape when its inputs are.
    pub primal: Tensor<D>,
    /// The derivative along the chosen direction, never on the tape; `None` is exactly zero.
    pub tangent: Option<Tensor<D>>,
}

impl<const D: usize> Dual<D> {
    /// A value that moves along `tangent`. The tangent is taken off the tape.
    ///
    /// # Panics
    /// When the two shapes differ.
    pub fn new(primal: Tensor<D>, tangent: Tensor<D>) -> Self {
        assert_eq!(primal.dims(), tangent.dims(), "a tangent has the shape of its primal");
        Self { primal, tangent: Some(tangent.inner()) }
    }

    /// A value that does not move.
    pub fn constant(primal: Tensor<D>) -> Self {
        Self { primal, tangent: None }
    }

    /// The shape of the value.
    pub fn dims(&self) -> [usize; D] {
        self.primal.dims()
    }
}

impl<const D: usize> From<Tensor<D>> for Dual<D> {
    fn from(primal: Tensor<D>) -> Self {
        Self::constant(primal)
    }
}
