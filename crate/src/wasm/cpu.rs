//! The CPU build: burn's network on the CPU.

use burn::tensor::Device as Cpu;

use crate::device;
use crate::error::Error;
use crate::generator::{Generator, Request};
use crate::weights::ModelInfo;

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

#[derive(Clone)]
pub struct Model(Generator);

impl Model {
    pub async fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, Error> {
        Generator::from_bytes(bytes, &device.0).map(Self)
    }

    pub fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    pub async fn images(&self, request: Request) -> Result<Vec<f32>, Error> {
        let unreadable = |e: &dyn std::fmt::Display| Error::Device(e.to_string());
        let data = self.0.images(request)?.into_data_async().await.map_err(|e| unreadable(&e))?;
        data.convert::<f32>().try_into_vec().map_err(|e| unreadable(&e))
    }

    pub async fn rgba(&self, request: Request) -> Result<Vec<u8>, Error> {
        self.0.rgba(request).await
    }
}
