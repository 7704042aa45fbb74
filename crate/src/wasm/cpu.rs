//! The CPU build: the engine of [`crate::infer::cpu`], nothing of burn's.

use super::request::{Drawing, Inversion};
use crate::error::Error;
use crate::infer::DrawOptions;
pub(super) use crate::infer::cpu::WeightsLoader;
use crate::infer::cpu::{CpuGenerator, warm_up};
pub(super) use crate::infer::needs_fallback;
use crate::model::weights::ModelInfo;
use crate::model::{Pause, Request};

/// The CPU is always there.
#[derive(Clone)]
pub struct Device;

impl Device {
    pub async fn open() -> Result<Self, Error> {
        warm_up().map(|()| Self)
    }

    pub fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    pub async fn lost(&self) -> String {
        std::future::pending().await
    }
}

pub async fn finish(weights: WeightsLoader, _: &Device) -> Result<Model, Error> {
    weights.finish().map(Model)
}

#[derive(Clone)]
pub struct Model(CpuGenerator);

impl Model {
    pub fn arithmetic(&self) -> &'static str {
        "f32"
    }

    pub fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    pub async fn images(&self, request: Request) -> Result<Vec<f32>, Error> {
        self.0.images(request)
    }

    pub async fn generate(&self, drawing: Drawing, pause: Pause<'_>) -> Result<Vec<u8>, Error> {
        let Drawing { request, solver, guidance, noise } = drawing;
        let options = DrawOptions { solver, guidance };
        match noise {
            Some(noise) => self.0.from_noise(noise, request.class, request.nfe, options, pause).await,
            None => self.0.rgba(request, options, pause).await,
        }
    }

    pub async fn show(&self, _: Drawing, _: Pause<'_>) -> Result<web_sys::ImageBitmap, Error> {
        Err(Error::Request("pictures are drawn without reading them back by the GPU build only".into()))
    }

    pub async fn invert(&self, Inversion { values, class, nfe }: Inversion) -> Result<Vec<f32>, Error> {
        self.0.invert(values, class, nfe)
    }
}
