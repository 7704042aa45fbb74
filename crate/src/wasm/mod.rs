//! What JavaScript sees: one class, the same for all builds. No DOM here, no tensors there.

#[cfg_attr(feature = "webgpu", path = "webgpu.rs")]
#[cfg_attr(feature = "cpu", path = "cpu.rs")]
#[cfg_attr(feature = "burn", path = "burn.rs")]
mod backend;
#[allow(dead_code, reason = "the CPU's build reads while it loads")]
mod buffered_loader;
mod request;

use std::cell::RefCell;

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::error::Error;
use crate::model::GuidanceInputs;
use crate::rng;
use backend::{Device, Model, WeightsLoader};
use request::{Drawing, GenerateRequest, Inversion, InvertRequest};

/// A loaded model.
#[wasm_bindgen]
pub struct Generator {
    model: Model,
}

#[wasm_bindgen]
impl Generator {
    /// Reads the bytes of a weights file, as [`ModelLoader`] does.
    pub async fn load(bytes: Vec<u8>) -> Result<Generator, JsError> {
        let mut download = ModelLoader::new(bytes.len());
        download.push(&bytes);
        download.finish().await
    }

    /// What the page needs to know about the model, as an object.
    #[wasm_bindgen(getter, unchecked_return_type = "GeneratorInfo")]
    pub fn info(&self) -> js_sys::Object {
        let info = self.model.info();
        let text = |text: &str| JsValue::from_str(text);
        let number = |number: u64| JsValue::from_f64(number as f64);
        let size = number(info.net.image_size as u64);
        let list = |names: &[String]| names.iter().map(|name| text(name)).collect::<js_sys::Array>().into();
        let entries = [
            ("name", text(&info.name)),
            ("width", size.clone()),
            ("height", size),
            ("channels", number(info.net.channels as u64)),
            ("classes", list(&info.classes)),
            ("promptTokens", number(info.net.text.as_ref().map_or(0, |text| text.tokens as u64))),
            ("vocabulary", list(&info.vocabulary)),
            ("guidance", (info.net.guidance != GuidanceInputs::None).into()),
            ("license", text(&info.data.license)),
            ("source", text(&info.data.source)),
            ("description", text(&info.data.description)),
            ("step", number(info.training.step)),
            ("init", info.training.init.as_deref().map_or(JsValue::NULL, text)),
            ("parameters", number(info.net.parameters() as u64)),
            ("format_version", number(info.format_version.into())),
            ("arithmetic", text(self.model.arithmetic())),
        ];
        let object = js_sys::Object::new();
        for (name, value) in entries {
            // It cannot fail on a plain object.
            let _ = js_sys::Reflect::set(&object, &text(name), &value);
        }
        object
    }

    /// RGBA bytes of the pictures of a request. Between two network calls `pause` is awaited, where it is given: a
    /// function that resolves with whether to go on.
    pub async fn generate(
        &self,
        request: GenerateRequest,
        pause: Option<js_sys::Function>,
    ) -> Result<Vec<u8>, JsError> {
        let drawing = Drawing::read(&request, self.model.info())?;
        // A clone shares the weights; the borrow of `self` must not outlive the first await.
        let model = self.model.clone();
        let pause = Pause(pause);
        Ok(model.generate(drawing, &|| Box::pin(pause.proceed())).await?)
    }

    /// The one picture that `initialNoise` becomes by the average velocity, as a bitmap that is never read back. On the
    /// GPU only.
    pub async fn show(
        &self,
        request: GenerateRequest,
        pause: Option<js_sys::Function>,
    ) -> Result<web_sys::ImageBitmap, JsError> {
        let drawing = Drawing::read(&request, self.model.info())?;
        let model = self.model.clone();
        let pause = Pause(pause);
        Ok(model.show(drawing, &|| Box::pin(pause.proceed())).await?)
    }

    /// The noise that pictures come from. On the CPU only.
    pub async fn invert(&self, request: InvertRequest) -> Result<Vec<f32>, JsError> {
        let inversion = Inversion::read(&request, self.model.info())?;
        let model = self.model.clone();
        Ok(model.invert(inversion).await?)
    }

    /// The same pictures as numbers in `[−1, 1]`, `[count, channels, height, width]`, neither clamped nor rounded; by
    /// the average velocity, from the noise of their seeds, without guidance.
    pub async fn images(&self, request: GenerateRequest) -> Result<Vec<f32>, JsError> {
        let Drawing { request, .. } = Drawing::read(&request, self.model.info())?;
        let model = self.model.clone();
        Ok(model.images(request).await?)
    }
}

/// Announced sizes beyond this are not believed before the bytes are there.
const MAX_ANNOUNCED: usize = 1 << 30;

/// A weights file on its way: as its pieces come, they are read.
#[wasm_bindgen]
pub struct ModelLoader {
    weights: WeightsLoader,
}

#[wasm_bindgen]
impl ModelLoader {
    /// Of a file of `total` bytes; 0 where that is not known.
    #[wasm_bindgen(constructor)]
    pub fn new(total: usize) -> Self {
        let believed = if total <= MAX_ANNOUNCED { total } else { 0 };
        Self { weights: WeightsLoader::new(believed) }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.weights.push(piece);
    }

    /// Opens the device (the first time) and makes the model of all that has come. Where the file says what it makes of
    /// a known seed, this engine must make the same, or it is refused.
    pub async fn finish(self) -> Result<Generator, JsError> {
        let device = shared_device().await?;
        let model = backend::finish(self.weights, &device).await?;
        if model.info().latent.is_some() {
            return Err(JsError::new("the model makes latents, for which there is no autoencoder here"));
        }
        Ok(Generator { model })
    }
}

/// What happens between two network calls of a request: a function of the caller's that resolves with whether to go on.
struct Pause(Option<js_sys::Function>);

impl Pause {
    /// # Errors
    /// When the caller does not want the rest.
    async fn proceed(&self) -> Result<(), Error> {
        let Some(pause) = &self.0 else { return Ok(()) };
        let answer = match pause.call0(&JsValue::NULL) {
            Ok(promise) => JsFuture::from(js_sys::Promise::resolve(&promise)).await,
            Err(error) => Err(error),
        };
        match answer.is_ok_and(|answer| answer.is_truthy()) {
            true => Ok(()),
            false => Err(Error::Request("the request was aborted".into())),
        }
    }
}

/// Whether the bytes are a weights file, but of a network that this build does not compute.
#[wasm_bindgen(js_name = needsFallback)]
pub fn needs_fallback(bytes: &[u8]) -> bool {
    backend::needs_fallback(bytes)
}

/// Opens the device. Optional: loading a model does it too; alone, it tells a missing GPU from a bad file.
#[wasm_bindgen(js_name = openDevice)]
pub async fn open_device() -> Result<(), JsError> {
    shared_device().await.map(drop)
}

/// Resolves with the reason when the device is lost; then load again, which opens a new one. The CPU is never lost.
#[wasm_bindgen(js_name = deviceLost)]
pub async fn device_lost() -> Result<String, JsError> {
    Ok(shared_device().await?.lost().await)
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
    /// The page's one device, until it is lost.
    static DEVICE: RefCell<Option<Device>> = const { RefCell::new(None) };
}

async fn shared_device() -> Result<Device, JsError> {
    if let Some(device) = DEVICE.with_borrow(Clone::clone).filter(|device| device.check().is_ok()) {
        return Ok(device);
    }
    let device = Device::open().await?;
    DEVICE.set(Some(device.clone()));
    Ok(device)
}
