//! What JavaScript sees: one class, two methods. No DOM here, no tensors there.

use std::cell::RefCell;

use burn::tensor::Device;
use wasm_bindgen::prelude::*;

use crate::device;
use crate::generator::{Generator as Model, Request};
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

    /// RGBA bytes of `count` pictures with seeds `seed`, `seed + 1`, …, in `nfe` network calls each.
    pub async fn generate(
        &self,
        seed: u64,
        count: usize,
        class: Option<usize>,
        nfe: usize,
    ) -> Result<Vec<u8>, JsError> {
        // A clone shares the weights; the borrow of `self` must not outlive the first await.
        let model = self.model.clone();
        Ok(model.rgba(Request { seed, count, class, nfe }).await?)
    }
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
