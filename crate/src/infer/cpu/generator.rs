//! A loaded model that answers seeds with pictures, as [`crate::generator`] does on burn.

use std::cell::RefCell;
use std::rc::Rc;

use super::loader::{Weights, WeightsLoader};
use super::network::{Conditions, Network};
use super::scratch::Scratch;
use crate::error::Error;
use crate::model::Class;
use crate::model::Solver;
use crate::model::rgba_of;
use crate::model::weights::{Check, ModelInfo};
use crate::model::{Request, whole_pictures};
use crate::rng;

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
    /// As [`crate::model::decode`], another network than a plain Diffusion Transformer, and when what it makes of the
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
    pub(super) fn new(info: ModelInfo, file: &dyn Weights) -> Result<Self, Error> {
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
        Ok(self.finish(self.start(request, None, Solver::MeanFlow)?).images)
    }

    /// Pictures as RGBA bytes, as [`crate::generator::to_rgba`] makes them, by the average velocity or by Euler's method
    /// along the instantaneous one.
    ///
    /// # Errors
    /// As [`Self::images`], and another solver.
    pub fn rgba(&self, request: Request, solver: Solver) -> Result<Vec<u8>, Error> {
        Ok(self.to_rgba(&self.finish(self.start(request, None, solver)?)))
    }

    /// The same from noise of the caller's own, of one class or of no named one.
    ///
    /// # Shapes
    /// `noise`: `count · channels · size · size` standard normals.
    ///
    /// # Errors
    /// As [`Self::rgba`], and noise that is no whole number of pictures or not finite.
    pub fn from_noise(&self, noise: Vec<f32>, class: Class, nfe: usize, solver: Solver) -> Result<Vec<u8>, Error> {
        Ok(self.to_rgba(&self.finish(self.start_from(noise, class, nfe, solver)?)))
    }

    /// The noise that pictures come from: the flow of the instantaneous velocity run backward by Heun's method.
    ///
    /// # Shapes
    /// `values`: `count` pictures in `[−1, 1]`; result of the same shape.
    ///
    /// # Errors
    /// As [`Self::from_noise`]; `calls` must be even.
    pub fn invert(&self, mut values: Vec<f32>, class: Class, calls: usize) -> Result<Vec<f32>, Error> {
        let count = whole_pictures(&values, &self.info().net)?;
        let classes = Request { seed: 0, count, class, nfe: calls }.classes(true, self.info().net.classes)?;
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
                let (first, mut ahead) = (state.velocity(&self.model.network, x, [t, t], class).to_vec(), x.to_vec());
                advance(&mut ahead, &first, span);
                let second = state.velocity(&self.model.network, &ahead, [next, next], class);
                advance(x, &first, 0.5 * span);
                advance(x, second, 0.5 * span);
            }
        }
        let scale = self.info().net.noise_scale as f32;
        values.iter_mut().for_each(|value| *value /= scale);
        Ok(values)
    }

    /// What has been sampled, as RGBA bytes.
    pub fn to_rgba(&self, Sampling { images: values, .. }: &Sampling) -> Vec<u8> {
        let net = &self.info().net;
        let pixels = net.image_size * net.image_size;
        rgba_of(values, [values.len() / (net.channels * pixels), net.channels, pixels])
    }

    /// Begins to sample the pictures of a request, from the noise of its seeds or from noise that is given; no network
    /// call is made yet.
    ///
    /// # Errors
    /// As [`Self::rgba`].
    pub fn start(&self, request: Request, noise: Option<Vec<f32>>, solver: Solver) -> Result<Sampling, Error> {
        if !matches!(solver, Solver::MeanFlow | Solver::Euler) {
            return Err(Error::Request(format!("the CPU build has mean-flow and euler, not {solver}")));
        }
        let net = &self.info().net;
        let Request { seed, count, nfe, .. } = request;
        let classes = request.classes(noise.is_some(), net.classes)?;
        let each = net.channels * net.image_size * net.image_size;
        let drawn = || (0..count as u64).flat_map(|i| rng::noise(seed.wrapping_add(i), each)).collect();
        let mut images = noise.unwrap_or_else(drawn);
        net.scale_noise(&mut images);
        Ok(Sampling { images, classes, nfe, solver, calls: 0 })
    }

    /// As [`Self::start`] for noise of the caller's own, of one class or of no named one.
    ///
    /// # Errors
    /// As [`Self::from_noise`].
    pub fn start_from(&self, noise: Vec<f32>, class: Class, nfe: usize, solver: Solver) -> Result<Sampling, Error> {
        let count = whole_pictures(&noise, &self.info().net)?;
        self.start(Request { seed: 0, count, class, nfe }, Some(noise), solver)
    }

    fn finish(&self, mut sampling: Sampling) -> Sampling {
        while self.step(&mut sampling) {}
        sampling
    }

    /// Makes the next network call; returns whether there is another.
    pub fn step(&self, sampling: &mut Sampling) -> bool {
        let Sampling { images, classes, nfe, solver, calls } = sampling;
        let (picture, done) = (*calls / *nfe, *calls % *nfe);
        let Some(&class) = classes.get(picture) else { return false };
        let each = images.len() / classes.len();
        let time = |i: usize| i as f64 / *nfe as f64;
        let [r, t] = [time(*nfe - done - 1), time(*nfe - done)];
        // Euler's method takes the velocity where it stands, u(z, t, t).
        let end = if *solver == Solver::Euler { t } else { r };
        let z = &mut images[picture * each..][..each];
        let state = &mut *self.model.state.borrow_mut();
        let u = state.velocity(&self.model.network, z, [end, t], class);
        advance(z, u, (r - t) as f32);
        *calls += 1;
        *calls < *nfe * classes.len()
    }
}

/// Pictures on their way from noise, one network call at a time, so that a caller can stop between two.
#[derive(Debug)]
pub struct Sampling {
    images: Vec<f32>,
    classes: Vec<Class>,
    nfe: usize,
    solver: Solver,
    /// Network calls made, of `nfe` for each picture.
    calls: usize,
}

impl State {
    /// `u(z, r, t)` of one image.
    fn velocity(&mut self, network: &Network, z: &[f32], times: [f64; 2], class: Class) -> &[f32] {
        network.velocity(z, times, class, &mut self.conditions, &mut self.work);
        &self.work.u
    }
}

/// `z += span · u`.
fn advance(z: &mut [f32], u: &[f32], span: f32) {
    z.iter_mut().zip(u).for_each(|(z, u)| *z += span * u);
}
