//! The WebGPU build: the engine of [`crate::gpu`], nothing of burn's.

pub(super) use super::buffered_loader::BufferedLoader as WeightsLoader;
pub(super) use crate::condition::needs_fallback;
use crate::error::Error;
pub use crate::gpu::{Gpu as Device, GpuGenerator as Model};

pub async fn finish(weights: WeightsLoader, device: &Device) -> Result<Model, Error> {
    Model::from_bytes(weights.bytes(), device).await
}
