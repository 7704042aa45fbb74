//! A loaded model that answers seeds with pictures, as [`crate::generator`] does on burn.

use std::cell::RefCell;
use std::rc::Rc;

use super::loader::{WeightSource, WeightsLoader};
use super::network::{Conditions, Network};
use super::scratch::Scratch;
use crate::error::Error;
use crate::infer::conditions::CallInputs;
use crate::infer::sampler::{DrawOptions, Engine, Step, at_once, classes_of, request_of, sample};
use crate::model::rgba_of;
use crate::model::weights::{Check, ModelInfo};
use crate::model::{Condition, NO_PAUSE, Pause, Request, Solver, whole_pictures};

/// A network on the CPU, ready to sample from.
#[derive(Clone, Debug)]
pub struct CpuGenerator {
    model: Rc<Model>,
}

#[derive(Debug)]
struct Model {
    info: ModelInfo,
    network: Network,
    state: RefCell<State>,
}

/// What is used again from picture to picture.
#[derive(Debug)]
struct State {
    conditions: Conditions,
    work: Scratch,
}

impl CpuGenerator {
    /// Reads a weights file.
    ///
    /// # Errors
    /// As `crate::model::decode`, a network that the page's engines do not have, and when what it makes of the
    /// known seed is something else than the file says.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut loading = WeightsLoader::new(bytes.len());
        loading.push(bytes);
        loading.finish()
    }

    /// Of weights that are being read.
    ///
    /// # Errors
    /// As [`Self::from_bytes`].
    pub(super) fn new(info: ModelInfo, file: &dyn WeightSource) -> Result<Self, Error> {
        let network = Network::read(file, &info.net)?;
        let state = RefCell::new(State { conditions: Conditions::new(), work: network.work() });
        let generator = Self { model: Rc::new(Model { info, network, state }) };
        if let ModelInfo { check: Some(check), net, .. } = generator.info() {
            check.accept(&generator.images(Check::request(check.seed))?, net)?;
        }
        Ok(generator)
    }

    /// What the weights file says about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.model.info
    }

    /// Pictures in `[−1, 1]`, `[count, channels, size, size]`, one after the other.
    ///
    /// # Errors
    /// A count, class or NFE that is out of range.
    pub fn images(&self, request: Request) -> Result<Vec<f32>, Error> {
        at_once(self.run(request, None, Solver::MeanFlow.into(), NO_PAUSE))
    }

    /// Pictures as RGBA bytes, as [`crate::generator::to_rgba`] makes them, by the average velocity or by Euler's
    /// method along the instantaneous one. `pause` is awaited between network calls; its error ends the request.
    ///
    /// # Errors
    /// As [`Self::images`], other options, and the error of `pause`.
    pub async fn rgba(
        &self,
        request: Request,
        options: impl Into<DrawOptions>,
        pause: Pause<'_>,
    ) -> Result<Vec<u8>, Error> {
        Ok(self.to_rgba(&self.run(request, None, options.into(), pause).await?))
    }

    /// The same from noise of the caller's own, of one class or of no named one.
    ///
    /// # Shapes
    /// `noise`: `count · channels · size · size` standard normals.
    ///
    /// # Errors
    /// As [`Self::rgba`], and noise that is no whole number of pictures or not finite.
    pub async fn from_noise(
        &self,
        noise: Vec<f32>,
        class: Condition,
        nfe: usize,
        options: impl Into<DrawOptions>,
        pause: Pause<'_>,
    ) -> Result<Vec<u8>, Error> {
        let request = request_of(&noise, &self.info().net, class, nfe)?;
        Ok(self.to_rgba(&self.run(request, Some(&noise), options.into(), pause).await?))
    }

    async fn run(
        &self,
        request: Request,
        noise: Option<&[f32]>,
        options: DrawOptions,
        pause: Pause<'_>,
    ) -> Result<Vec<f32>, Error> {
        let mut drawing = Drawing { model: &self.model, images: Vec::new(), begun: 0 };
        sample(&mut drawing, &self.info().net, request, noise, options, pause).await?;
        Ok(drawing.images)
    }

    /// The noise that pictures come from: the flow of the instantaneous velocity run backward by Heun's method.
    ///
    /// # Shapes
    /// `values`: `count` pictures in `[−1, 1]`; result of the same shape.
    ///
    /// # Errors
    /// As [`Self::from_noise`]; `calls` must be even.
    pub fn invert(&self, mut values: Vec<f32>, class: Condition, calls: usize) -> Result<Vec<f32>, Error> {
        let count = whole_pictures(&values, &self.info().net)?;
        let classes = classes_of(&Request { seed: 0, count, class, nfe: calls }, true, &self.info().net)?;
        if !calls.is_multiple_of(2) {
            return Err(Error::Request(format!(
                "{calls} network calls were asked for; Heun's method makes two a step"
            )));
        }
        let (steps, each) = (calls / 2, values.len() / count);
        let state = &mut *self.model.state.borrow_mut();
        for (x, class) in values.chunks_exact_mut(each).zip(classes) {
            for step in 0..steps {
                let [t, next] = [step, step + 1].map(|i| i as f64 / steps as f64);
                let span = (next - t) as f32;
                let inputs = |time| CallInputs { r: time, t: time, guidance: 1.0 };
                let first = state.velocity(&self.model.network, x, inputs(t), &class).to_vec();
                let mut ahead = x.to_vec();
                advance(&mut ahead, &first, span);
                let second = state.velocity(&self.model.network, &ahead, inputs(next), &class);
                advance(x, &first, 0.5 * span);
                advance(x, second, 0.5 * span);
            }
        }
        let scale = self.info().net.noise_scale as f32;
        values.iter_mut().for_each(|value| *value /= scale);
        Ok(values)
    }

    fn to_rgba(&self, images: &[f32]) -> Vec<u8> {
        let net = &self.info().net;
        let pixels = net.image_size * net.image_size;
        rgba_of(images, [images.len() / (net.channels * pixels), net.channels, pixels])
    }
}

/// Pictures on their way, one after the other.
struct Drawing<'a> {
    model: &'a Model,
    images: Vec<f32>,
    /// Where the one begins that is drawn.
    begun: usize,
}

impl Engine for Drawing<'_> {
    fn most_pictures(&self) -> usize {
        1
    }

    async fn begin(&mut self, noise: impl Iterator<Item = Vec<f32>>, _: usize) -> Result<(), Error> {
        self.begun = self.images.len();
        self.images.extend(noise.flatten());
        Ok(())
    }

    fn call(&mut self, classes: &[Condition], Step { asked, r, t, guidance, .. }: Step) {
        // Not kept while the caller is asked: another request may be drawn then.
        let state = &mut *self.model.state.borrow_mut();
        let z = &mut self.images[self.begun..];
        let inputs = CallInputs { r: asked, t, guidance };
        for class in classes {
            let u = state.velocity(&self.model.network, z, inputs, class);
            advance(z, u, (r - t) as f32);
        }
    }

    async fn may_pause(&mut self, _: usize, _: Step) -> Result<bool, Error> {
        Ok(true)
    }

    async fn end(&mut self, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

impl State {
    /// `u(z, r, t)` of one image.
    fn velocity(&mut self, network: &Network, z: &[f32], inputs: CallInputs, class: &Condition) -> &[f32] {
        network.velocity(z, inputs, class, &mut self.conditions, &mut self.work);
        &self.work.u
    }
}

/// `z += span · u`.
fn advance(z: &mut [f32], u: &[f32], span: f32) {
    z.iter_mut().zip(u).for_each(|(z, u)| *z += span * u);
}
