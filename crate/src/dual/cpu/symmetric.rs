//! Softmax, normalisation and activations: functions whose Jacobian is symmetric, in one pass each way. What carries a
//! tangent forward then carries a gradient backward too.

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use super::{in_order, like, native, read_in_order, tape, values};
use crate::dual::Dual;
use crate::kernels::attention::softmax as row_softmax;
use crate::kernels::lanes::{WIDTH, dot, map, map_along, sum};
use crate::kernels::rows::{Gate, normalise};

/// A function of whole tensors.
pub trait Layer: Copy + Debug + Send + 'static {
    type Derivatives: Symmetric;

    /// Its value and its derivatives at a place, whose values lie in order.
    fn at(self, x: FlexTensor) -> (FlexTensor, Self::Derivatives);
}

/// The derivatives of a function at some place.
pub trait Symmetric: Clone + Debug + Send + 'static {
    /// The derivative along a direction, or the gradient before the function from that behind it.
    fn along(&self, direction: &[f32]) -> Vec<f32>;
}

/// A function of a dual, on the tape or off it.
///
/// Of a tangent that is itself on the tape, which is rare, burn's own operations have the gradient.
fn apply<const D: usize>(layer: impl Layer, x: &Dual<D>) -> Option<Dual<D>> {
    if x.tangent.as_ref().is_some_and(Tensor::is_autodiff) {
        return None;
    }
    let (primal, derivatives) = match read_in_order(&x.primal) {
        Some(place) => {
            let (value, derivatives) = layer.at(place);
            (Tensor::from_primitive::<Flex>(value), derivatives)
        }
        None => tape::apply(layer, &x.primal)?,
    };
    let tangent = match &x.tangent {
        Some(tangent) => Some(Tensor::from_primitive::<Flex>(along(&derivatives, read_in_order(tangent)?))),
        None => None,
    };
    Some(Dual { primal, tangent })
}

/// [`Symmetric::along`] of a tensor.
pub fn along(derivatives: &impl Symmetric, direction: FlexTensor) -> FlexTensor {
    let direction = in_order(direction);
    like(&direction, derivatives.along(values(&direction)))
}

/// `x σ(y(x))` where `y` is `x (linear + cubic x²)`: GELU and SiLU. burn computes exponentials one by one here, which
/// took a quarter of the time of a picture in the browser.
pub fn gated<const D: usize>(x: &Dual<D>, linear: f32, cubic: f32) -> Option<Dual<D>> {
    apply(Gate::new(linear, cubic), x)
}

impl Layer for Gate {
    type Derivatives = Gated;

    fn at(self, x: FlexTensor) -> (FlexTensor, Gated) {
        let mut out = values(&x).to_vec();
        native::in_chunks(&mut out, WIDTH, |_, piece| map(piece, self));
        (like(&x, out), Gated { x, gate: self })
    }
}

#[derive(Clone, Debug)]
pub struct Gated {
    x: FlexTensor,
    gate: Gate,
}

impl Symmetric for Gated {
    fn along(&self, direction: &[f32]) -> Vec<f32> {
        let mut out = direction.to_vec();
        let places = values(&self.x);
        native::in_chunks(&mut out, WIDTH, |first, piece| map_along(piece, &places[first..][..piece.len()], self.gate));
        out
    }
}

/// Layer normalisation of the last axis without affine parameters: `x̂ = (x − mean) / √(var + ε)`.
pub fn layer_norm<const D: usize>(x: &Dual<D>, epsilon: f64) -> Option<Dual<D>> {
    apply(LayerNorm { width: x.dims()[D - 1], epsilon: epsilon as f32 }, x)
}

#[derive(Clone, Copy, Debug)]
struct LayerNorm {
    width: usize,
    epsilon: f32,
}

impl Layer for LayerNorm {
    type Derivatives = Normal;

    fn at(self, x: FlexTensor) -> (FlexTensor, Normal) {
        let Self { width, epsilon } = self;
        let mut out = values(&x).to_vec();
        let scales = out.chunks_exact_mut(width).map(|row| normalise(row, epsilon)).collect();
        let out = like(&x, out);
        (out.clone(), Normal { out, scales, width })
    }
}

#[derive(Clone, Debug)]
struct Normal {
    out: FlexTensor,
    /// `1 / √(var + ε)` of each row.
    scales: Arc<[f32]>,
    width: usize,
}

impl Symmetric for Normal {
    /// `(d − mean(d) − x̂ · mean(x̂ d)) / √(var + ε)`.
    fn along(&self, direction: &[f32]) -> Vec<f32> {
        let mut out = direction.to_vec();
        let (normals, width) = (values(&self.out), self.width);
        native::in_chunks(&mut out, width, |first, piece| {
            let rows = piece.chunks_exact_mut(width).zip(normals[first..].chunks_exact(width));
            for ((row, normal), scale) in rows.zip(&self.scales[first / width..]) {
                let mean = sum(row) / width as f32;
                let common = dot(row, normal) / width as f32;
                row.iter_mut().zip(normal).for_each(|(d, normal)| *d = (*d - mean - normal * common) * scale);
            }
        });
        out
    }
}

/// Softmax over the last axis.
pub fn softmax<const D: usize>(x: &Dual<D>) -> Option<Dual<D>> {
    apply(Softmax { width: x.dims()[D - 1] }, x)
}

#[derive(Clone, Copy, Debug)]
struct Softmax {
    width: usize,
}

impl Layer for Softmax {
    type Derivatives = Shares;

    fn at(self, x: FlexTensor) -> (FlexTensor, Shares) {
        let mut out = values(&x).to_vec();
        native::in_chunks(&mut out, self.width, |_, piece| {
            piece.chunks_exact_mut(self.width).for_each(|row| row_softmax(row, 1.0));
        });
        let out = like(&x, out);
        (out.clone(), Shares { out, width: self.width })
    }
}

#[derive(Clone, Debug)]
struct Shares {
    out: FlexTensor,
    width: usize,
}

impl Symmetric for Shares {
    /// `P (d − Σ P d)`.
    fn along(&self, direction: &[f32]) -> Vec<f32> {
        let mut out = direction.to_vec();
        let (all, width) = (values(&self.out), self.width);
        native::in_chunks(&mut out, width, |first, piece| {
            for (row, shares) in piece.chunks_exact_mut(width).zip(all[first..].chunks_exact(width)) {
                let mean = dot(row, shares);
                row.iter_mut().zip(shares).for_each(|(d, share)| *d = share * (*d - mean));
            }
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, activation};

    use super::*;

    /// Value, tangent and gradient of one of ours beside those of the same written in burn's operations.
    fn compare(shape: [usize; 3], ours: impl Fn(&Dual<3>) -> Option<Dual<3>>, theirs: impl Fn(Tensor<3>) -> Tensor<3>) {
        let device = Device::flex();
        let drawn = || Tensor::<3>::random(shape, Distribution::Normal(0.0, 2.0), &device);
        let (x, dx, weight) = (drawn(), drawn(), drawn());
        let gradient = |f: &dyn Fn(Tensor<3>) -> Tensor<3>, weight: &Tensor<3>| {
            let x = x.clone().autodiff().require_grad();
            let grads = (f(x.clone()) * weight.clone().autodiff()).sum().backward();
            x.grad(&grads).expect("it is a leaf")
        };
        let here = |x: Tensor<3>| ours(&x.into()).expect("it is the CPU").primal;
        let dual = ours(&Dual::new(x.clone(), dx.clone())).expect("it is the CPU");
        let tangent = dual.tangent.expect("it moves");
        // A symmetric matrix carries a direction as it carries a gradient.
        for (name, ours, theirs) in [
            ("value", dual.primal, theirs(x.clone())),
            ("gradient", gradient(&here, &weight), gradient(&theirs, &weight)),
            ("tangent", tangent, gradient(&theirs, &dx)),
        ] {
            let apart = (ours - theirs).abs().max().try_into_scalar::<f32>().expect("a number");
            assert!(apart < 2e-5, "{name} of {shape:?}: {apart}");
        }
    }

    #[test]
    fn gates_are_those_of_burn_each_way() {
        for shape in [[1, 1, 1], [2, 3, 5], [2, 7, 64]] {
            let theirs =
                |x: Tensor<3>| x.clone() * activation::sigmoid(x.clone() * ((x.clone() * x.clone()) * 0.1 + 1.5));
            compare(shape, |x| gated(x, 1.5, 0.1), theirs);
            compare(shape, |x| gated(x, 1.0, 0.0), activation::silu);
        }
    }

    #[test]
    fn normalised_rows_are_those_of_burn_each_way() {
        for shape in [[2, 3, 5], [2, 5, 16], [1, 4, 195]] {
            compare(
                shape,
                |x| layer_norm(x, 1e-3),
                |x| {
                    let centred = x.clone() - x.mean_dim(2);
                    centred.clone() / ((centred.clone() * centred).mean_dim(2) + 1e-3).sqrt()
                },
            );
        }
    }

    #[test]
    fn shares_are_those_of_burn_each_way() {
        for shape in [[1, 2, 1], [2, 3, 7], [2, 5, 64]] {
            compare(shape, softmax, |x| activation::softmax(x, 2));
        }
    }
}
