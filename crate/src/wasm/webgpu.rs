//! The WebGPU build: the engine of [`crate::infer::webgpu`], nothing of burn's.

pub(super) use super::buffered_loader::BufferedLoader as WeightsLoader;
use crate::error::Error;
pub(super) use crate::infer::conditions::needs_fallback;
pub use crate::infer::webgpu::{Gpu as Device, GpuGenerator as Model};

pub async fn finish(weights: WeightsLoader, device: &Device) -> Result<Model, Error> {
    Model::from_bytes(weights.bytes(), device).await
}
