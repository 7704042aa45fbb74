//! The WebGPU build: the engine of [`crate::gpu`], nothing of burn's.

pub use crate::gpu::{Generator as Model, Gpu as Device};
