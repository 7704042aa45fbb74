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
//!
//! The one exception is asked for: along a direction that is itself on the tape ([`Dual::differentiable`]), every rule
//! keeps the primals that it reads on the tape too, and the derivative can be differentiated backward (reverse over
//! forward mode).
//!
//! A tangent may be of the first rows alone, along the first axis; those after them stand still. So a batch of which
//! some rows move is one pass forward and one back, and only what moves is paid for. The first axis must then stay the
//! batch's.
//!
//! # Example
//! A Jacobian-vector product: along `(1, 0)`, the derivative of `x² y` at `(3, 2)` is `2 x y = 12`.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use meanflow::Dual;
//!
//! let number = |value: f32| Tensor::<1>::from_data([value], &Device::flex());
//! let (x, y) = (Dual::new(number(3.0), number(1.0)), Dual::constant(number(2.0)));
//! let f = x.clone() * x * y;
//! assert_eq!(f.primal.try_into_scalar::<f32>()?, 18.0);
//! let tangent = f.tangent.expect("f depends on x, which moves");
//! assert_eq!(tangent.try_into_scalar::<f32>()?, 12.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod cpu;
#[cfg_attr(not(any(feature = "wgpu", feature = "cuda")), path = "cube_stub.rs")]
mod cube;
mod layers;
mod ops;

#[allow(unused_imports, reason = "builds for browsers do not train")]
pub(crate) use cpu::{in_parallel, in_thread_pool};
pub use layers::{attend, convolve, gelu_tanh, group_norm, layer_norm, linear, rms_norm, silu, softmax};

use burn::tensor::Tensor;

/// Browsers have one thread and no products by faer.
pub(crate) const IN_BROWSER: bool = cfg!(target_family = "wasm");

/// A value and its directional derivative.
///
/// Shapes: `tangent`, where present, has the shape of `primal`, or of its first rows along the first axis; the others
/// do not move. Values that are computed from one another move in the same rows.
#[derive(Clone, Debug)]
pub struct Dual<const D: usize> {
    /// The value; on the autodiff tape when its inputs are.
    pub primal: Tensor<D>,
    /// The derivative along the chosen direction, on the tape only if that direction is; `None` is exactly zero.
    pub tangent: Option<Tensor<D>>,
}

impl<const D: usize> Dual<D> {
    /// A value that moves along `tangent`, or whose first rows do. The tangent is taken off the tape.
    ///
    /// # Panics
    /// When the shapes differ beyond the first axis, or the tangent has more rows, or none.
    pub fn new(primal: Tensor<D>, tangent: Tensor<D>) -> Self {
        Self::differentiable(primal, tangent.inner())
    }

    /// The same along a direction that stays on the tape, where it is on one: what is computed from it has derivatives
    /// with gradients, at the cost of keeping the activations of both passes.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn differentiable(primal: Tensor<D>, tangent: Tensor<D>) -> Self {
        let ([rows, moving], [of, along]) = ([&primal, &tangent].map(first), [&primal, &tangent].map(rest));
        assert!(
            of == along && (1..=rows).contains(&moving),
            "a tangent has the shape of its primal, or of its first rows"
        );
        Self { primal, tangent: Some(tangent) }
    }

    /// A value that does not move.
    pub fn constant(primal: Tensor<D>) -> Self {
        Self { primal, tangent: None }
    }

    /// The shape of the value.
    pub fn dims(&self) -> [usize; D] {
        self.primal.dims()
    }

    /// How many rows move, where others do not.
    fn tangent_rows(&self) -> Option<usize> {
        let moving = first(self.tangent.as_ref()?);
        (moving < first(&self.primal)).then_some(moving)
    }

    /// What its tangent meets of other values.
    fn motion(&self) -> Motion {
        Motion { rows: self.tangent_rows(), on_tape: self.tangent.as_ref().is_some_and(Tensor::is_autodiff) }
    }
}

/// How a value moves.
#[derive(Clone, Copy)]
struct Motion {
    /// How many rows do, where others do not.
    rows: Option<usize>,
    /// Whether the derivative is to have gradients.
    on_tape: bool,
}

/// What a tangent meets of a value: its rows, of which a single one stands for all, off the tape if the tangent is.
fn aligned_primal<const D: usize>(value: &Tensor<D>, Motion { rows, on_tape }: Motion) -> Tensor<D> {
    let value = if on_tape { value.clone() } else { value.clone().inner() };
    match rows {
        Some(rows) if first(&value) > 1 => value.narrow(0, 0, rows),
        _ => value,
    }
}

/// Length of the first axis.
fn first<const D: usize>(x: &Tensor<D>) -> usize {
    x.dims()[0]
}

/// Lengths of the others.
fn rest<const D: usize>(x: &Tensor<D>) -> Vec<usize> {
    x.dims()[1..].to_vec()
}

impl<const D: usize> From<Tensor<D>> for Dual<D> {
    fn from(primal: Tensor<D>) -> Self {
        Self::constant(primal)
    }
}
