//! What learns drawings, as JavaScript sees it.

use burn::tensor::Device;
use wasm_bindgen::prelude::*;

use super::measures;
use crate::device::open_for_inference;
use crate::error::Error;
use crate::learn::drawings::{Drawings as Native, DrawingsConfig};

/// A small network and the drawings that it learns.
#[wasm_bindgen]
pub struct Drawings(Native);

#[wasm_bindgen]
impl Drawings {
    /// Begins anew, or goes on from a `state` of the same: `settings` as JSON; `rgb` the drawings, one after the other,
    /// three bytes a pixel, as many as there are names in the settings.
    #[wasm_bindgen(constructor)]
    pub fn new(settings: &str, rgb: &[u8], state: Option<Vec<u8>>) -> Result<Drawings, JsError> {
        let settings: DrawingsConfig = serde_json::from_str(settings).map_err(|e| Error::Config(e.to_string()))?;
        let device: Device = open_for_inference();
        Ok(Self(match state {
            Some(state) => Native::resume(settings, rgb, &state, &device)?,
            None => Native::new(settings, rgb, &device)?,
        }))
    }

    /// Takes steps. Three numbers of each, as those of a laboratory.
    pub fn step(&mut self, count: usize) -> Result<Vec<f32>, JsError> {
        measures(count, || self.0.step())
    }

    /// The gradients of one of so many shares of a step's drawings, to be added to those of the other Workers.
    pub fn gradients(&self, index: usize, count: usize) -> Result<Vec<f32>, JsError> {
        Ok(self.0.gradients(index, count)?)
    }

    /// Moves one of so many shares of the weights by the sum of all gradients, and gives it for the others to take.
    pub fn update(&mut self, sum: &[f32], index: usize, count: usize) -> Result<Vec<f32>, JsError> {
        Ok(self.0.update(sum, index, count)?)
    }

    /// Takes a share of the weights that another Worker has moved.
    pub fn take(&mut self, weights: &[f32], index: usize, count: usize) -> Result<(), JsError> {
        Ok(self.0.take(weights, index, count)?)
    }

    /// Ends a step in which all shares were moved or taken.
    #[wasm_bindgen(js_name = endStep)]
    pub fn end_step(&mut self) {
        self.0.end_step();
    }

    /// Steps taken so far.
    #[wasm_bindgen(getter, js_name = stepsDone)]
    pub fn steps_done(&self) -> f64 {
        self.0.steps_done() as f64
    }

    /// What one call of the averaged network draws of each drawing, from the noise of so many seeds: four bytes a
    /// pixel, drawing by drawing.
    pub fn samples(&self, seeds: usize) -> Result<Vec<u8>, JsError> {
        Ok(self.0.samples(seeds)?)
    }

    /// What a new one goes on from.
    pub fn state(&self) -> Result<Vec<u8>, JsError> {
        Ok(self.0.state()?)
    }

    /// The bytes of a weights file.
    pub fn weights(&self, name: &str) -> Result<Vec<u8>, JsError> {
        Ok(self.0.weights(name)?)
    }
}
