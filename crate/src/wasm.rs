//! What JavaScript sees: one class, three methods. No DOM here, no tensors there.

use std::cell::RefCell;

use burn::tensor::Device;
use wasm_bindgen::prelude::*;

use crate::device;
use crate::flow::Solver;
use crate::generator::{Generator as Model, Request, SampleOptions};
use crate::image::to_rgba;
use crate::rng;

/// A loaded model.
#[wasm_bindgen]
pub struct Generator {
    model: Model,
}

#[wasm_bindgen]
impl Generator {
    /// Opens the device (the first time) and reads the bytes of a weights file.
    pub async fn load(bytes: Vec<u8>) -> Result<Generator, JsError> {
        let device = shared_device().await?;
        Ok(Generator { model: Model::from_bytes(&bytes, &device)? })
    }

    /// What the page needs to know about the model, as JSON.
    #[wasm_bindgen(getter)]
    pub fn info(&self) -> String {
        let info = self.model.info();
        serde_json::json!({
            "name": info.name,
            "width": info.net.image_size,
            "height": info.net.image_size,
            "channels": info.net.channels,
            "classes": info.classes,
            "license": info.data.license,
            "source": info.data.source,
            "description": info.data.description,
            "step": info.training.step,
            "parameters": info.net.parameters(),
            "format_version": info.format_version,
        })
        .to_string()
    }

    /// RGBA bytes of `count` pictures with seeds `seed`, `seed + 1`, …, in `nfe` network calls each; by the average
    /// velocity, or by another `solver`.
    pub async fn generate(
        &self,
        seed: u64,
        count: usize,
        class: Option<usize>,
        nfe: usize,
        solver: Option<String>,
    ) -> Result<Vec<u8>, JsError> {
        // A clone shares the weights; the borrow of `self` must not outlive the first await.
        let model = self.model.clone();
        let options = SampleOptions { solver: solver_of(solver)?, ..SampleOptions::default() };
        Ok(to_rgba(model.sample(Request { seed, count, class, nfe }, options)?.images).await?)
    }

    /// RGBA bytes of the pictures that noise of the caller's becomes.
    #[wasm_bindgen(js_name = fromNoise)]
    pub async fn from_noise(
        &self,
        noise: Vec<f32>,
        class: Option<usize>,
        nfe: usize,
        solver: Option<String>,
    ) -> Result<Vec<u8>, JsError> {
        let model = self.model.clone();
        Ok(to_rgba(model.from_noise(noise, class, nfe, solver_of(solver)?)?).await?)
    }

    /// The noise that pictures come from; their values as `[count, channels, height, width]` in `[−1, 1]`.
    pub async fn invert(&self, values: Vec<f32>, class: Option<usize>, calls: usize) -> Result<Vec<f32>, JsError> {
        let model = self.model.clone();
        let noise = model.invert(values, class, calls)?.into_data_async().await;
        let noise = noise.map_err(|e| JsError::new(&e.to_string()))?;
        noise.try_into_vec::<f32>().map_err(|e| JsError::new(&e.to_string()))
    }
}

/// The solver of a name; without one the average velocity's own.
fn solver_of(name: Option<String>) -> Result<Solver, JsError> {
    Ok(name.map(|name| name.parse()).transpose()?.unwrap_or_default())
}

/// Opens the device. Optional: loading a model does it too; alone, it tells a missing GPU from a bad file.
#[wasm_bindgen(js_name = openDevice)]
pub async fn open_device() -> Result<(), JsError> {
    shared_device().await.map(drop)
}

/// The class that the picture with this seed gets when none is asked for, or nothing when the model has no classes.
#[wasm_bindgen(js_name = classOf)]
pub fn class_of(seed: u64, classes: usize) -> Option<usize> {
    (classes > 0).then(|| rng::class_of(seed, classes))
}

/// The noise behind a seed: the same bits as in native builds.
#[wasm_bindgen]
pub fn noise(seed: u64, count: usize) -> Vec<f32> {
    rng::noise(seed, count)
}

/// Runs once when the module is loaded: a panic then says where it happened.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

thread_local! {
    /// The page's one device: burn's WebGPU runtime may be initialised only once.
    static DEVICE: RefCell<Option<Device>> = const { RefCell::new(None) };
}

async fn shared_device() -> Result<Device, JsError> {
    if let Some(device) = DEVICE.with_borrow(Clone::clone) {
        return Ok(device);
    }
    let device = device::open_for_inference().await?;
    DEVICE.with_borrow_mut(|slot| *slot = Some(device.clone()));
    Ok(device)
}
