//! A loaded model that answers seeds with pictures, as [`crate::generator`] does on burn.

use std::cell::RefCell;
use std::rc::Rc;

use bytemuck::{cast_slice, pod_collect_to_vec};

use super::device::Gpu;
use super::kernels::ComputePrecision;
use super::network::Network;
use super::workspace::{Workspace, most_pictures};
use crate::error::Error;
use crate::infer::conditions::ConditionCache;
use crate::infer::weights::{self, Tensors};
use crate::model::Class;
use crate::model::Solver;
use crate::model::weights::{Check, ModelInfo};
use crate::model::{NO_PAUSE, Pause, Request, whole_pictures};
use crate::rng;

/// A network on the GPU, ready to sample from.
#[derive(Clone, Debug)]
pub struct GpuGenerator {
    pub(super) model: Rc<Model>,
}

#[derive(Debug)]
pub(super) struct Model {
    pub gpu: Gpu,
    pub info: ModelInfo,
    network: Network,
    most_pictures: usize,
    /// What a generation works in; away while one does.
    pub state: RefCell<Option<State>>,
    /// Where single pictures are drawn without being read back; made when first needed.
    #[cfg(target_family = "wasm")]
    pub screen: RefCell<Option<super::screen::Screen>>,
}

/// What changes from batch to batch.
#[derive(Debug)]
pub(super) struct State {
    slots: ConditionCache,
    pub workspace: Workspace,
}

/// Network calls of one picture that are submitted at a time, as those of a batch count: after them the CPU waits.
const CALLS_AHEAD: usize = 8;

/// Which of the results is read back.
#[derive(Clone, Copy)]
pub(super) enum Readback {
    Images,
    Rgba,
    #[allow(dead_code, reason = "canvases are in browsers only")]
    Nothing,
}

/// How a batch is made.
#[derive(Clone, Copy)]
pub(super) struct RunOptions {
    pub nfe: usize,
    pub solver: Solver,
    pub wanted: Readback,
}

impl GpuGenerator {
    /// Reads a weights file and compiles its kernels, in the fastest precision that passes the file's own check.
    ///
    /// # Errors
    /// As [`net::decode`], when the GPU cannot run the network, and when what it makes of the known seed is
    /// something else than the file says.
    pub async fn from_bytes(bytes: &[u8], gpu: &Gpu) -> Result<Self, Error> {
        gpu.check()?;
        let (info, tensors) = weights::open(bytes)?;
        let mut refused = Error::Device("there is no arithmetic for these weights".into());
        for &arithmetic in ComputePrecision::candidates(tensors.are_half, gpu.has_half()) {
            let generator = Self::computing(gpu, &info, &tensors, arithmetic).await?;
            match generator.check().await {
                Ok(()) => return Ok(generator),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Compared with what the weights say that the model makes of one known seed, where they do.
    async fn check(&self) -> Result<(), Error> {
        let ModelInfo { check: Some(check), net, .. } = self.info() else { return Ok(()) };
        check.accept(&self.images(Check::request(check.seed)).await?, net)
    }

    async fn computing(
        gpu: &Gpu,
        info: &ModelInfo,
        tensors: &Tensors<'_>,
        arithmetic: ComputePrecision,
    ) -> Result<Self, Error> {
        let make = || {
            let network = Network::read(gpu, tensors, &info.net, arithmetic)?;
            let most_pictures = most_pictures(gpu, &network.sizes)?;
            let workspace = Workspace::new(gpu, &network, 1)?;
            let state = RefCell::new(Some(State { slots: ConditionCache::new(), workspace }));
            Ok(Model {
                gpu: gpu.clone(),
                info: info.clone(),
                network,
                most_pictures,
                state,
                #[cfg(target_family = "wasm")]
                screen: Default::default(),
            })
        };
        Ok(Self { model: Rc::new(gpu.accepted(make).await?) })
    }

    /// In which precision it computes, `f16` or `f32`.
    pub fn arithmetic(&self) -> &'static str {
        self.model.network.sizes.arithmetic.name()
    }

    /// What the weights file says about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.model.info
    }

    /// Pictures in `[−1, 1]`, `[count, channels, size, size]`, one after the other.
    ///
    /// # Errors
    /// A count, class or NFE that is out of range, a GPU that was lost, or another generation that is under way.
    pub async fn images(&self, request: Request) -> Result<Vec<f32>, Error> {
        let way = RunOptions { nfe: request.nfe, solver: Solver::MeanFlow, wanted: Readback::Images };
        Ok(pod_collect_to_vec(&self.run(request, None, way, NO_PAUSE).await?))
    }

    /// Pictures as RGBA bytes, as [`crate::generator::to_rgba`] makes them, by the average velocity or by Euler's method
    /// along the instantaneous one. `pause` is awaited between network calls, after some work; its error ends the
    /// request.
    ///
    /// # Errors
    /// As [`Self::images`], another solver, and the error of `pause`.
    pub async fn rgba(&self, request: Request, solver: Solver, pause: Pause<'_>) -> Result<Vec<u8>, Error> {
        self.run(request, None, RunOptions { nfe: request.nfe, solver, wanted: Readback::Rgba }, pause).await
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
        class: Class,
        nfe: usize,
        solver: Solver,
        pause: Pause<'_>,
    ) -> Result<Vec<u8>, Error> {
        let count = whole_pictures(&noise, &self.model.info.net)?;
        let request = Request { seed: 0, count, class, nfe };
        self.run(request, Some(&noise), RunOptions { nfe, solver, wanted: Readback::Rgba }, pause).await
    }

    /// Running backward is left to the CPU build, which has the solver for it.
    ///
    /// # Errors
    /// Always.
    pub async fn invert(&self, _: Vec<f32>, _: Class, _: usize) -> Result<Vec<f32>, Error> {
        Err(Error::Request("pictures are run backward by the CPU build only".into()))
    }

    /// The pictures of a request, from the noise of its seeds or from noise that is given.
    pub(super) async fn run(
        &self,
        request: Request,
        noise: Option<&[f32]>,
        way: RunOptions,
        pause: Pause<'_>,
    ) -> Result<Vec<u8>, Error> {
        let model = &self.model;
        model.gpu.check()?;
        if !matches!(way.solver, Solver::MeanFlow | Solver::Euler) {
            return Err(Error::Request(format!("the GPU build has mean-flow and euler, not {}", way.solver)));
        }
        let net = &model.info.net;
        let values = net.channels * net.image_size * net.image_size;
        let labels = request.classes(noise.is_some(), net.classes)?;
        let busy = || Error::Request("the model is at work on another request".into());
        let mut state = model.state.borrow_mut().take().ok_or_else(busy)?;
        let mut bytes = Vec::new();
        let mut result = Ok(());
        for (i, labels) in labels.chunks(model.most_pictures).enumerate() {
            let first = i * model.most_pictures;
            let noise_of = |picture: usize| {
                let mut noise = match noise {
                    Some(noise) => noise[(first + picture) * values..][..values].to_vec(),
                    None => rng::noise(request.seed.wrapping_add((first + picture) as u64), values),
                };
                net.scale_noise(&mut noise);
                noise
            };
            match model.batch(&mut state, noise_of, labels, way, pause).await {
                Ok(pictures) => bytes.extend(pictures),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        model.state.replace(Some(state));
        result.map(|()| bytes)
    }
}

impl Model {
    /// The pictures of one batch, in as many network calls.
    async fn batch(
        &self,
        state: &mut State,
        noise_of: impl Fn(usize) -> Vec<f32>,
        labels: &[Class],
        RunOptions { nfe, solver, wanted }: RunOptions,
        pause: Pause<'_>,
    ) -> Result<Vec<u8>, Error> {
        let count = labels.len();
        if count > state.workspace.capacity {
            let capacity = count.next_power_of_two().min(self.most_pictures);
            let make = || Workspace::new(&self.gpu, &self.network, capacity);
            state.workspace = self.gpu.accepted(make).await?;
        }
        let State { slots, workspace } = state;
        let net = &self.info.net;
        let values = net.channels * net.image_size * net.image_size;
        for i in 0..count {
            self.gpu.queue.write_buffer(&workspace.z, (4 * i * values) as u64, cast_slice(&noise_of(i)));
        }
        let time = |i: usize| i as f64 / nfe as f64;
        for i in (1..=nfe).rev() {
            let (r, t) = (time(i - 1), time(i));
            // Euler's method takes the velocity where it stands, u(z, t, t).
            let asked = if solver == Solver::Euler { t } else { r };
            self.step(slots, workspace, labels, [asked, r, t], i == 1);
            // Submitted work cannot be taken back, so little of it may wait.
            if i > 1 && (nfe - i + 1).is_multiple_of(CALLS_AHEAD.div_ceil(count)) {
                self.gpu.finished().await?;
                pause().await?;
            }
        }
        let pixels = net.image_size * net.image_size;
        let (source, bytes) = match wanted {
            Readback::Images => (&workspace.z, 4 * values * count),
            Readback::Rgba => (&workspace.rgba, 4 * pixels * count),
            Readback::Nothing => return Ok(Vec::new()),
        };
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(source, 0, &workspace.staging, 0, bytes as u64);
        self.gpu.queue.submit([encoder.finish()]);
        self.gpu.read(&workspace.staging, bytes as u64).await
    }

    /// Moves the images from time `t` to `r` by the velocity towards `asked`, and after the last step makes them
    /// pictures.
    fn step(
        &self,
        slots: &mut ConditionCache,
        workspace: &Workspace,
        labels: &[Class],
        [asked, r, t]: [f64; 3],
        last: bool,
    ) {
        let assigned = slots.assign(&self.network.embeddings, asked, t, labels);
        workspace.prepare(&self.gpu, labels.len() * self.network.sizes.tokens, r, t, &assigned.slots);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.network.fill(&self.gpu, &mut pass, &assigned.fresh, &assigned.conditions);
            workspace.record_step(&mut pass, labels.len());
            if last {
                workspace.record_rgba(&mut pass, labels.len());
            }
        }
        self.gpu.queue.submit([encoder.finish()]);
    }
}
