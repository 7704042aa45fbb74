//! The place of [`native`](super::native) in builds for the browser: one thread, no tape, the kernels' own products.

use burn::tensor::{Device, Tensor};

use super::symmetric::Layer;

pub fn linear_dense<const D: usize>(_: &Tensor<D>, _: &Tensor<2>, _: Option<&Tensor<1>>) -> Option<Tensor<D>> {
    None
}

pub fn matmul<const D: usize>(_: &Tensor<D>, _: &Tensor<D>) -> Option<Tensor<D>> {
    None
}

pub fn attend_dense(_: &Tensor<4>, _: &Tensor<4>, _: &Tensor<4>) -> Option<Tensor<4>> {
    None
}

/// Runs `work`.
pub fn in_thread_pool<T>(_: &Device, work: impl FnOnce() -> T) -> T {
    work()
}

/// What `work` gives for every index below `count`.
pub fn in_parallel<T>(count: usize, work: impl Fn(usize) -> T) -> Vec<T> {
    (0..count).map(work).collect()
}

/// Does `work` for each item.
#[allow(dead_code, reason = "most builds for browsers do not train")]
pub fn for_each<T>(items: Vec<T>, work: impl Fn(T)) {
    items.into_iter().for_each(work);
}

/// Calls `change` with all rows.
pub fn in_chunks(values: &mut [f32], _: usize, change: impl Fn(usize, &mut [f32])) {
    change(0, values);
}

pub fn apply<const D: usize, L: Layer>(_: L, _: &Tensor<D>) -> Option<(Tensor<D>, L::Derivatives)> {
    None
}
