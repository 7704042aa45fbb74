//! The place of the CPU's kernels in builds without its backend.

use burn::tensor::{Device, Tensor};

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

pub(super) fn linear<const D: usize>(_: &Tensor<D>, _: &Tensor<2>, _: Option<&Tensor<1>>) -> Option<Tensor<D>> {
    None
}

pub(super) fn matmul<const D: usize>(_: &Tensor<D>, _: &Tensor<D>) -> Option<Tensor<D>> {
    None
}

pub(crate) fn in_thread_pool<T>(_: &Device, work: impl FnOnce() -> T) -> T {
    work()
}

pub(crate) fn in_parallel<T>(count: usize, work: impl Fn(usize) -> T) -> Vec<T> {
    (0..count).map(work).collect()
}

#[cfg(feature = "train")]
pub(crate) fn fused_update<const D: usize, const N: usize, const M: usize>(
    changed: [Tensor<D>; N],
    _: [&Tensor<D>; M],
    _: impl Fn([&mut [f32]; N], [&[f32]; M]) + Sync,
) -> Result<[Tensor<D>; N], [Tensor<D>; N]> {
    Err(changed)
}
