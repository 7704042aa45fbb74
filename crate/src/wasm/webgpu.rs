//! The WebGPU build: the engine of [`crate::gpu`], nothing of burn's.

pub(super) use super::pieces::Loading;
pub(super) use crate::condition::is_plain as computes;
use crate::error::Error;
pub use crate::gpu::{Generator as Model, Gpu as Device};
use crate::weights::{ModelInfo, open};

/// What a weights file says about itself.
pub fn info(bytes: &[u8]) -> Result<ModelInfo, Error> {
    open(bytes).map(|(info, _)| info)
}

pub async fn finish(weights: Loading, device: &Device) -> Result<Model, Error> {
    Model::from_bytes(weights.bytes(), device).await
}
