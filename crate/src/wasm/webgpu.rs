//! The WebGPU build: the engine of [`crate::gpu`], nothing of burn's.

pub(super) use crate::condition::is_plain as computes;
pub use crate::gpu::{Generator as Model, Gpu as Device};
