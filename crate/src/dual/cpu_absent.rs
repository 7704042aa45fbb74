//! The place of the CPU's kernels in builds without its backend.

use burn::nn::Linear;
use burn::tensor::Tensor;

use super::Dual;

pub(super) fn gated<const D: usize>(_: &Dual<D>, _: f32, _: f32) -> Option<Dual<D>> {
    None
}

pub(super) fn attend(_: &Tensor<4>, _: &Tensor<4>, _: &Tensor<4>) -> Option<Tensor<4>> {
    None
}

pub(super) fn layer_norm<const D: usize>(_: &Dual<D>, _: f64) -> Option<Dual<D>> {
    None
}

pub(super) fn softmax<const D: usize>(_: &Dual<D>) -> Option<Dual<D>> {
    None
}

pub(super) fn linear<const D: usize>(_: &Tensor<D>, _: &Linear) -> Option<Tensor<D>> {
    None
}
