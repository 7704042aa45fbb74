//! What JavaScript sees of the build that trains: networks that learn points in the plane, and drawings.

mod drawings;

use burn::tensor::Device;
use js_sys::Float32Array;
use wasm_bindgen::prelude::*;

use crate::device::open_for_inference;
use crate::error::Error;
use crate::learn::StepStats;
use crate::learn::playground::{self, Laboratory as Native, Measured, PlaygroundConfig, PointSource, Points, Series};

/// A small network and the points that it learns.
#[wasm_bindgen]
pub struct Laboratory {
    laboratory: Native,
    device: Device,
    seed: u64,
}

#[wasm_bindgen]
impl Laboratory {
    /// Begins anew: `settings` as JSON, by the names of a settings file; `points` the name of a distribution, or
    /// coordinates, two a point.
    #[wasm_bindgen(constructor)]
    pub fn new(
        settings: &str,
        #[wasm_bindgen(unchecked_param_type = "string | Float32Array")] points: &JsValue,
    ) -> Result<Laboratory, JsError> {
        let config: PlaygroundConfig = serde_json::from_str(settings).map_err(|e| Error::Config(e.to_string()))?;
        let source = match points.as_string() {
            Some(name) => name.parse::<Points>()?.into(),
            None => {
                let values = Float32Array::new(points).to_vec();
                PointSource::drawn(values.as_chunks::<2>().0.to_vec())?
            }
        };
        let device = open_for_inference();
        Ok(Self { laboratory: Native::new(&config, source, &device)?, device, seed: config.seed })
    }

    /// Takes steps. Three numbers of each: the loss, and the mean squared residuals of the rows with r < t and with
    /// r = t, NaN where there are none.
    pub fn step(&mut self, count: usize) -> Result<Vec<f32>, JsError> {
        measures(count, || self.laboratory.step())
    }

    /// Steps taken so far.
    #[wasm_bindgen(getter, js_name = stepsDone)]
    pub fn steps_done(&self) -> f64 {
        self.laboratory.steps_done() as f64
    }

    /// Points of what is learnt, two numbers each.
    pub fn data(&self, count: usize) -> Vec<f32> {
        self.laboratory.data(count).concat()
    }

    /// The noise that samples come from.
    pub fn noise(&self, count: usize) -> Vec<f32> {
        self.start(count).concat()
    }

    /// Where one call of the averaged network takes that noise.
    pub fn jumps(&self, count: usize) -> Result<Vec<f32>, JsError> {
        Ok(playground::jumps(&self.laboratory.net(), &self.start(count), &self.device)?.concat())
    }

    /// Where the first points of that noise are as they follow v in so many steps: all of them at the start, then all
    /// of them after each step.
    pub fn walks(&self, count: usize, steps: u32) -> Result<Vec<f32>, JsError> {
        let walks = playground::walks(&self.laboratory.net(), &self.start(count), steps, &self.device)?;
        Ok(walks.concat().concat())
    }

    /// At the places of a square grid, one after the other: all of v(z, t), then all of u(z, r, t).
    pub fn velocities(&self, edge: usize, r: f64, t: f64) -> Result<Vec<f32>, JsError> {
        let both = playground::velocities(&self.laboratory.net(), &playground::grid(edge), [r, t], &self.device)?;
        Ok(both.concat().concat())
    }

    fn start(&self, count: usize) -> Series {
        playground::noise(count, self.seed)
    }
}

/// Takes steps, and reads three numbers of each.
fn measures(count: usize, mut step: impl FnMut() -> StepStats) -> Result<Vec<f32>, JsError> {
    let mut measured = Vec::with_capacity(3 * count);
    for _ in 0..count {
        let Measured { loss, interval, instant } = Measured::read(step())?;
        measured.extend([loss, interval.unwrap_or(f32::NAN), instant.unwrap_or(f32::NAN)]);
    }
    Ok(measured)
}

/// The places of a square grid, row by row, two numbers each.
#[wasm_bindgen]
pub fn grid(edge: usize) -> Vec<f32> {
    playground::grid(edge).concat()
}

/// Runs once when the module is loaded: a panic then says where it happened.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}
