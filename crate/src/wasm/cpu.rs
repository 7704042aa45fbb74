//! The CPU build: the engine of [`crate::infer::cpu`], nothing of burn's.

use crate::error::Error;
pub(super) use crate::infer::conditions::needs_fallback;
pub(super) use crate::infer::cpu::WeightsLoader;
use crate::infer::cpu::{CpuGenerator, Sampling, warm_up};
use crate::model::Class;
use crate::model::Solver;
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

    pub async fn rgba(&self, request: Request, solver: Solver, pause: Pause<'_>) -> Result<Vec<u8>, Error> {
        self.finish(self.0.start(request, None, solver)?, pause).await
    }

    pub async fn from_noise(
        &self,
        noise: Vec<f32>,
        class: Class,
        nfe: usize,
        solver: Solver,
        pause: Pause<'_>,
    ) -> Result<Vec<u8>, Error> {
        self.finish(self.0.start_from(noise, class, nfe, solver)?, pause).await
    }

    async fn finish(&self, mut sampling: Sampling, pause: Pause<'_>) -> Result<Vec<u8>, Error> {
        while self.0.step(&mut sampling) {
            pause().await?;
        }
        Ok(self.0.to_rgba(&sampling))
    }

    pub async fn show(&self, _: &[f32], _: Class, _: usize, _: Pause<'_>) -> Result<web_sys::ImageBitmap, Error> {
        Err(Error::Request("pictures are drawn without reading them back by the GPU build only".into()))
    }

    pub async fn invert(&self, values: Vec<f32>, class: Class, calls: usize) -> Result<Vec<f32>, Error> {
        self.0.invert(values, class, calls)
    }
}
