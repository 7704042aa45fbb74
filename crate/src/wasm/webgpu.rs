//! The WebGPU build: the engine of [`crate::gpu`], nothing of burn's.

pub(super) use super::pieces::Loading;
pub(super) use crate::condition::is_of_another_network;
use crate::error::Error;
pub use crate::gpu::{Generator as Model, Gpu as Device};

pub async fn finish(weights: Loading, device: &Device) -> Result<Model, Error> {
    Model::from_bytes(weights.bytes(), device).await
}
