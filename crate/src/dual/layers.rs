//! Layers lifted to duals, in numerically stable closed form.
//!
//! Parameters do not move, so only the input's tangent passes through a layer, and it meets the parameters off the
//! tape.

use burn::nn::Linear;
use burn::tensor::module::{self, attention, conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, FloatDType, Tensor, activation};

use super::{Dual, aligned_primal, cpu, cube};
use crate::kernels::rows::GELU;

/// `x W + b`; the tangent is `dx W`. Where `W` is in bf16, so is `x` for the product, but not `dx`.
///
/// # Shapes
/// `[.., d_input]` → `[.., d_output]`.
pub fn linear<const D: usize>(layer: &Linear, x: Dual<D>) -> Dual<D> {
    if layer.weight.val().dtype() == DType::BF16 {
        return rounded_linear(layer, x);
    }
    let weight = layer.weight.val();
    let tangent = x.tangent.map(|dx| {
        let weight = parameter_beside(&dx, &weight);
        affine(dx, weight, None)
    });
    Dual { primal: affine(x.primal, weight, layer.bias.as_ref().map(|bias| bias.val())), tangent }
}

/// A parameter as a tangent meets it: off the tape if the tangent is.
fn parameter_beside<const D: usize, const E: usize>(tangent: &Tensor<D>, parameter: &Tensor<E>) -> Tensor<E> {
    if tangent.is_autodiff() { parameter.clone() } else { parameter.clone().inner() }
}

/// `x W + b`, on the CPU by our kernels.
fn affine<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    cpu::linear(&x, &weight, bias.as_ref()).unwrap_or_else(|| module::linear(x, weight, bias))
}

/// [`linear`] with a weight in bf16, and all else in f32.
fn rounded_linear<const D: usize>(layer: &Linear, x: Dual<D>) -> Dual<D> {
    let weight = layer.weight.val();
    let tangent = x.tangent.map(|dx| {
        let weight = parameter_beside(&dx, &weight);
        affine(dx, weight.cast(FloatDType::F32), None)
    });
    let product = module::linear(x.primal.cast(FloatDType::BF16), weight, None).cast(FloatDType::F32);
    let primal = match &layer.bias {
        Some(bias) => product + bias.val().unsqueeze(),
        None => product,
    };
    Dual { primal, tangent }
}

/// SiLU `x σ(x)` (arXiv 1702.03118), with derivative `σ + x σ (1 − σ)`, of each value of a tensor of any shape.
pub fn silu<const D: usize>(x: Dual<D>) -> Dual<D> {
    if let Some(here) = cpu::gated(&x, 1.0, 0.0) {
        return here;
    }
    let s = activation::sigmoid(x.primal.clone());
    gated(x, s, |_| None)
}

/// `x s` for a gate `s = σ(y)`, with derivative `s + x s (1 − s) dy/dx`; `slope` gives `dy/dx`, or nothing for 1. The
/// gate serves both, as its exponential is the dearest part.
fn gated<const D: usize>(x: Dual<D>, s: Tensor<D>, slope: impl FnOnce(&Tensor<D>) -> Option<Tensor<D>>) -> Dual<D> {
    let motion = x.motion();
    let tangent = x.tangent.map(|dx| {
        let [x, s] = [&x.primal, &s].map(|value| aligned_primal(value, motion));
        let rise = match slope(&x) {
            Some(slope) => x * slope,
            None => x,
        };
        (s.clone() + rise * s.clone() * (s.neg() + 1.0)) * dx
    });
    Dual { primal: x.primal * s, tangent }
}

/// GELU in its tanh approximation (arXiv 1606.08415), of each value of a tensor of any shape. Written as
/// `x σ(κ(x + c x³))` it is the same function in fewer passes over memory.
pub fn gelu_tanh<const D: usize>(x: Dual<D>) -> Dual<D> {
    if let Some(here) = cpu::gated(&x, GELU[0] as f32, GELU[1] as f32) {
        return here;
    }
    let squares = x.primal.clone() * x.primal.clone();
    let s = activation::sigmoid(x.primal.clone() * (squares * GELU[1] + GELU[0]));
    gated(x, s, |x| Some((x.clone() * x.clone()) * (3.0 * GELU[1]) + GELU[0]))
}

/// Softmax `P` over the last axis; the tangent is `P (dS − Σ P dS)`.
///
/// # Shapes
/// Any, and the same.
pub fn softmax<const D: usize>(x: Dual<D>) -> Dual<D> {
    if let Some(here) = cpu::softmax(&x) {
        return here;
    }
    let motion = x.motion();
    let primal = activation::softmax(x.primal, D - 1);
    let tangent = x.tangent.map(|ds| {
        let p = aligned_primal(&primal, motion);
        let mean = (p.clone() * ds.clone()).sum_dim(D - 1);
        p * (ds - mean)
    });
    Dual { primal, tangent }
}

/// Attention `softmax(q kᵀ / √d) v` (arXiv 1706.03762): a fused kernel where nothing moves and nothing is on the tape;
/// of many tokens on a GPU another for the tangent, or both; the explicit form otherwise, as the tape keeps its weights
/// for the backward pass.
///
/// # Shapes
/// `[batch, heads, tokens, d]` each, and the same.
pub fn attend(q: Dual<4>, k: Dual<4>, v: Dual<4>) -> Dual<4> {
    let moves = q.tangent.is_some() || k.tangent.is_some() || v.tangent.is_some();
    let tracked = q.primal.is_autodiff() || k.primal.is_autodiff() || v.primal.is_autodiff();
    if !moves && !tracked {
        let ours = cpu::attend(&q.primal, &k.primal, &v.primal);
        let fused = || attention(q.primal, k.primal, v.primal, None, None, Default::default());
        return ours.unwrap_or_else(fused).into();
    }
    let Some([value, tangent]) = cube::attend(&q, &k, &v) else { return attend_explicitly(q, k, v) };
    let primal = match tracked || q.tangent_rows().is_some() {
        true => attend_explicitly(q.primal.into(), k.primal.into(), v.primal.into()).primal,
        false => value,
    };
    Dual { primal, tangent: Some(tangent) }
}

/// [`attend`] by way of its weights.
fn attend_explicitly(q: Dual<4>, k: Dual<4>, v: Dual<4>) -> Dual<4> {
    let [.., head_width] = q.dims();
    let scores = q.scale((head_width as f64).powf(-0.5)).matmul(k.swap_dims(2, 3));
    softmax(scores).matmul(v)
}

/// Layer normalisation of the last axis without affine parameters: `x̂ = (x − mean) / √(var + ε)` (arXiv 1607.06450).
///
/// The tangent is `(dx − mean(dx) − x̂ · mean(x̂ dx)) / √(var + ε)`, which never forms a difference of large terms.
///
/// # Shapes
/// `[.., features]`, and the same; `epsilon` is above 0.
pub fn layer_norm<const D: usize>(x: Dual<D>, epsilon: f64) -> Dual<D> {
    if let Some(here) = cpu::layer_norm(&x, epsilon) {
        return here;
    }
    let motion = x.motion();
    let centred = x.primal.clone() - x.primal.mean_dim(D - 1);
    let variance = (centred.clone() * centred.clone()).mean_dim(D - 1);
    let deviation = (variance + epsilon).sqrt();
    let primal = centred / deviation.clone();
    let tangent = x.tangent.map(|dx| {
        let normal = aligned_primal(&primal, motion);
        let along = (normal.clone() * dx.clone()).mean_dim(D - 1);
        (dx.clone() - dx.mean_dim(D - 1) - normal * along) / aligned_primal(&deviation, motion)
    });
    Dual { primal, tangent }
}

/// Root-mean-square normalisation of the last axis with a scale per feature, `x / √(mean(x²) + ε) · weight` (arXiv
/// 1910.07467).
///
/// The tangent of the normalised `x̂` is `(dx − x̂ · mean(x̂ dx)) / √(mean(x²) + ε)`.
///
/// # Shapes
/// `x`: `[.., features]`, and the same; `weight`: `[features]`; `epsilon` is above 0.
pub fn rms_norm<const D: usize>(x: Dual<D>, weight: Tensor<1>, epsilon: f64) -> Dual<D> {
    let motion = x.motion();
    let size = ((x.primal.clone() * x.primal.clone()).mean_dim(D - 1) + epsilon).sqrt();
    let primal = x.primal / size.clone();
    let tangent = x.tangent.map(|dx| {
        let normal = aligned_primal(&primal, motion);
        let along = (normal.clone() * dx.clone()).mean_dim(D - 1);
        (dx - normal * along) / aligned_primal(&size, motion)
    });
    Dual { primal, tangent } * Dual::constant(weight.unsqueeze())
}

/// Group normalisation without affine parameters (arXiv 1803.08494): [`layer_norm`] over each of `groups` groups of
/// channels.
///
/// # Shapes
/// `[batch, channels, height, width]`, and the same; `groups` divides `channels`.
pub fn group_norm(x: Dual<4>, groups: usize, epsilon: f64) -> Dual<4> {
    let shape @ [batch, channels, height, width] = x.dims();
    layer_norm(x.reshape([batch, groups, channels / groups * height * width]), epsilon).reshape(shape)
}

/// Convolution with an odd kernel that keeps the size of the image.
///
/// # Shapes
/// `[batch, input, height, width]` → `[batch, output, height, width]`; `weight`: `[output, input, k, k]`, `k` odd;
/// `bias`: `[output]`.
pub fn convolve(x: Dual<4>, weight: &Tensor<4>, bias: &Tensor<1>) -> Dual<4> {
    let [.., kernel] = weight.dims();
    let options = || ConvOptions::new([1, 1], [kernel / 2; 2], [1, 1], 1);
    let tangent = x.tangent.map(|dx| {
        let weight = parameter_beside(&dx, weight);
        conv2d(dx, weight, None, options())
    });
    Dual { primal: conv2d(x.primal, weight.clone(), Some(bias.clone()), options()), tangent }
}
