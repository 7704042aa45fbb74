//! The build of burn's network on the CPU: for the architectures that the page's engines do not have.

use burn::tensor::{Device as Cpu, Tensor};

pub(super) use super::buffered_loader::BufferedLoader as WeightsLoader;
use super::request::{Drawing, Inversion};
use crate::device;
use crate::error::Error;
use crate::generator::to_rgba;
use crate::generator::{Generator, SampleOptions};
use crate::model::weights::{Check, ModelInfo};
use crate::model::{Pause, Request};

/// The CPU is always there.
#[derive(Clone)]
pub struct Device(Cpu);

impl Device {
    pub async fn open() -> Result<Self, Error> {
        Ok(Self(device::open_for_inference()))
    }

    pub fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    pub async fn lost(&self) -> String {
        std::future::pending().await
    }
}

pub async fn finish(weights: WeightsLoader, device: &Device) -> Result<Model, Error> {
    let model = Model(Generator::from_bytes(weights.bytes(), &device.0)?);
    if let ModelInfo { check: Some(check), net, .. } = model.info() {
        check.accept(&model.images(Check::request(check.seed)).await?, net)?;
    }
    Ok(model)
}

/// There is no network that it does not compute.
pub fn needs_fallback(_: &[u8]) -> bool {
    false
}

#[derive(Clone)]
pub struct Model(Generator);

impl Model {
    pub fn arithmetic(&self) -> &'static str {
        "f32"
    }

    pub fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    pub async fn images(&self, request: Request) -> Result<Vec<f32>, Error> {
        values(self.0.images(request)?).await
    }

    /// It makes all network calls without a pause: who cannot wait ends the Worker.
    pub async fn generate(&self, drawing: Drawing, _: Pause<'_>) -> Result<Vec<u8>, Error> {
        let Drawing { request, solver, guidance, noise } = drawing;
        let options = SampleOptions { guidance: guidance.into(), ..solver.into() };
        let images = match noise {
            Some(noise) => self.0.from_noise(noise, request.class, request.nfe, options)?,
            None => self.0.sample(request, options)?.images,
        };
        to_rgba(images).await
    }

    pub async fn show(&self, _: Drawing, _: Pause<'_>) -> Result<web_sys::ImageBitmap, Error> {
        Err(Error::Request("pictures are drawn without reading them back by the GPU build only".into()))
    }

    pub async fn invert(&self, inversion: Inversion) -> Result<Vec<f32>, Error> {
        values(self.0.invert(inversion.values, inversion.class, inversion.nfe)?).await
    }
}

async fn values(images: Tensor<4>) -> Result<Vec<f32>, Error> {
    let unreadable = |e: &dyn std::fmt::Display| Error::Device(e.to_string());
    let data = images.into_data_async().await.map_err(|e| unreadable(&e))?;
    data.convert::<f32>().try_into_vec().map_err(|e| unreadable(&e))
}
