//! The WebGPU build: the engine of [`crate::infer::webgpu`], nothing of burn's.

pub(super) use super::buffered_loader::BufferedLoader as WeightsLoader;
use super::request::{Drawing, Inversion};
use crate::error::Error;
pub(super) use crate::infer::needs_fallback;
pub use crate::infer::webgpu::Gpu as Device;
use crate::infer::webgpu::GpuGenerator;
use crate::model::weights::ModelInfo;
use crate::model::{Pause, Request};

pub async fn finish(weights: WeightsLoader, device: &Device) -> Result<Model, Error> {
    GpuGenerator::from_bytes(weights.bytes(), device).await.map(Model)
}

#[derive(Clone)]
pub struct Model(GpuGenerator);

impl Model {
    pub fn arithmetic(&self) -> &'static str {
        self.0.arithmetic()
    }

    pub fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    pub async fn images(&self, request: Request) -> Result<Vec<f32>, Error> {
        self.0.images(request).await
    }

    pub async fn generate(&self, drawing: Drawing, pause: Pause<'_>) -> Result<Vec<u8>, Error> {
        let Drawing { request, solver, noise, .. } = drawing;
        match noise {
            Some(noise) => self.0.from_noise(noise, request.class, request.nfe, solver, pause).await,
            None => self.0.rgba(request, solver, pause).await,
        }
    }

    pub async fn show(&self, drawing: Drawing, pause: Pause<'_>) -> Result<web_sys::ImageBitmap, Error> {
        let Drawing { request, noise, .. } = drawing;
        let noise = noise.ok_or_else(|| Error::Request("a bitmap is drawn of noise that is given".into()))?;
        self.0.show(&noise, request.class, request.nfe, pause).await
    }

    pub async fn invert(&self, Inversion { values, class, nfe }: Inversion) -> Result<Vec<f32>, Error> {
        self.0.invert(values, class, nfe).await
    }
}
