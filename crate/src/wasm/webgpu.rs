//! The WebGPU build: the engine of [`crate::infer::webgpu`], nothing of burn's.

#[path = "screen.rs"]
mod screen;

use std::cell::RefCell;
use std::rc::Rc;

pub(super) use super::buffered_loader::BufferedLoader as WeightsLoader;
use super::request::{Drawing, Inversion};
use crate::error::Error;
use crate::infer::DrawOptions;
pub(super) use crate::infer::needs_fallback;
pub use crate::infer::webgpu::Gpu as Device;
use crate::infer::webgpu::GpuGenerator;
use crate::model::weights::ModelInfo;
use crate::model::{Pause, Request, Solver};
use screen::Screen;

pub async fn finish(weights: WeightsLoader, device: &Device) -> Result<Model, Error> {
    let generator = GpuGenerator::from_bytes(weights.bytes(), device).await?;
    Ok(Model { generator, screen: Rc::default() })
}

#[derive(Clone)]
pub struct Model {
    generator: GpuGenerator,
    /// Where single pictures are drawn without being read back; made when first needed.
    screen: Rc<RefCell<Option<Screen>>>,
}

impl Model {
    pub fn arithmetic(&self) -> &'static str {
        self.generator.arithmetic()
    }

    pub fn info(&self) -> &ModelInfo {
        self.generator.info()
    }

    pub async fn images(&self, request: Request) -> Result<Vec<f32>, Error> {
        self.generator.images(request).await
    }

    pub async fn generate(&self, drawing: Drawing, pause: Pause<'_>) -> Result<Vec<u8>, Error> {
        let Drawing { request, solver, guidance, noise } = drawing;
        let options = DrawOptions { solver, guidance };
        match noise {
            Some(noise) => self.generator.from_noise(noise, request.class, request.nfe, options, pause).await,
            None => self.generator.rgba(request, options, pause).await,
        }
    }

    pub async fn show(&self, drawing: Drawing, pause: Pause<'_>) -> Result<web_sys::ImageBitmap, Error> {
        let Drawing { request, guidance, noise, .. } = drawing;
        let options = DrawOptions { solver: Solver::MeanFlow, guidance };
        let noise = noise.ok_or_else(|| Error::Request("a bitmap is drawn of noise that is given".into()))?;
        let rgba = self.generator.on_gpu(&noise, request.class, request.nfe, options, pause).await?;
        let gpu = self.generator.gpu();
        let screen = match self.screen.take() {
            Some(screen) => screen,
            None => Screen::new(gpu, self.info().net.image_size as u32).await?,
        };
        let shown = screen.show(gpu, &rgba).await;
        self.screen.replace(Some(screen));
        shown
    }

    pub async fn invert(&self, Inversion { values, class, nfe }: Inversion) -> Result<Vec<f32>, Error> {
        self.generator.invert(values, class, nfe).await
    }
}
