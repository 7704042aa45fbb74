//! A loaded model that answers seeds with pictures, as [`crate::generator`] does on burn.

use std::cell::RefCell;
use std::rc::Rc;

use bytemuck::{cast_slice, pod_collect_to_vec};

use super::device::Gpu;
use super::kernels::ComputePrecision;
use super::network::Network;
use super::recorder::submit;
use super::tensors::Tensors;
use super::workspace::Workspace;
use crate::error::Error;
use crate::infer::conditions::{CallInputs, ConditionCache, SLOTS};
use crate::infer::sampler::{DrawOptions, Engine, Step, request_of, sample};
use crate::model::weights::{Check, ModelInfo};
use crate::model::{Condition, NO_PAUSE, Pause, Request, Solver};

/// A network on the GPU, ready to sample from.
#[derive(Clone, Debug)]
pub struct GpuGenerator {
    model: Rc<Model>,
}

#[derive(Debug)]
struct Model {
    gpu: Gpu,
    info: ModelInfo,
    network: Network,
    most_pictures: usize,
    /// What a generation works in; away while one does.
    state: RefCell<Option<State>>,
}

/// What changes from batch to batch.
#[derive(Debug)]
struct State {
    slots: ConditionCache,
    workspace: Workspace,
}

/// Network calls of one picture that are submitted at a time, as those of a batch count: after them the CPU waits.
const CALLS_AHEAD: usize = 8;
/// Pictures of a batch where each takes one call: the CPU draws the noise of the next ones while the GPU is at work.
const PIPELINED: usize = 16;

/// Which of the results is read back.
#[derive(Clone, Copy)]
enum Readback {
    Images,
    Rgba,
    Nothing,
}

/// How a batch is made.
#[derive(Clone, Copy)]
struct RunOptions {
    draw: DrawOptions,
    wanted: Readback,
}

impl GpuGenerator {
    /// Reads a weights file and compiles its kernels, in the fastest precision that passes the file's own check.
    ///
    /// # Errors
    /// As `net::decode`, when the GPU cannot run the network, and when what it makes of the known seed is
    /// something else than the file says.
    pub async fn from_bytes(bytes: &[u8], gpu: &Gpu) -> Result<Self, Error> {
        gpu.check()?;
        let (info, tensors) = Tensors::open(bytes)?;
        let mut refused = Error::Device("there is no arithmetic for these weights".into());
        for &arithmetic in ComputePrecision::candidates(tensors.are_half, gpu.has_half()) {
            match Self::computing(gpu, &info, &tensors, arithmetic).await {
                Ok(generator) => return Ok(generator),
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

    /// The model in an arithmetic whose kernels the GPU compiles and whose picture is that of the file.
    async fn computing(
        gpu: &Gpu,
        info: &ModelInfo,
        tensors: &Tensors<'_>,
        arithmetic: ComputePrecision,
    ) -> Result<Self, Error> {
        let make = || {
            let plan = |network: &Network| Workspace::plan(gpu, network, [1, 1]);
            let (network, planned, workspace) = Network::read(gpu, tensors, &info.net, arithmetic, plan)?;
            let workspace = workspace.bind(gpu, &network, planned);
            let most_pictures = workspace.most_pictures;
            let state = RefCell::new(Some(State { slots: ConditionCache::new(), workspace }));
            Ok(Model { gpu: gpu.clone(), info: info.clone(), network, most_pictures, state })
        };
        let generator = Self { model: Rc::new(gpu.accepted(make).await?) };
        generator.check().await.map(|()| generator)
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
        let way = RunOptions { draw: Solver::MeanFlow.into(), wanted: Readback::Images };
        Ok(pod_collect_to_vec(&self.run(request, None, way, NO_PAUSE).await?))
    }

    /// Pictures as RGBA bytes, as [`crate::generator::to_rgba`] makes them, by the average velocity or by Euler's
    /// method along the instantaneous one. `pause` is awaited between network calls, after some work; its error ends
    /// the request.
    ///
    /// # Errors
    /// As [`Self::images`], other options, and the error of `pause`.
    pub async fn rgba(
        &self,
        request: Request,
        options: impl Into<DrawOptions>,
        pause: Pause<'_>,
    ) -> Result<Vec<u8>, Error> {
        self.run(request, None, RunOptions { draw: options.into(), wanted: Readback::Rgba }, pause).await
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
        let request = request_of(&noise, &self.model.info.net, class, nfe)?;
        self.run(request, Some(&noise), RunOptions { draw: options.into(), wanted: Readback::Rgba }, pause).await
    }

    /// The RGBA bytes of the one picture that noise becomes, left on the GPU: for canvases.
    ///
    /// # Shapes
    /// `noise`: `channels · size · size` standard normals.
    ///
    /// # Errors
    /// As [`Self::from_noise`].
    pub async fn on_gpu(
        &self,
        noise: &[f32],
        class: Condition,
        nfe: usize,
        options: impl Into<DrawOptions>,
        pause: Pause<'_>,
    ) -> Result<wgpu::Buffer, Error> {
        let request = Request { seed: 0, count: 1, class, nfe };
        let options = RunOptions { draw: options.into(), wanted: Readback::Nothing };
        self.run(request, Some(noise), options, pause).await?;
        self.model.state.borrow().as_ref().map(|state| state.workspace.rgba.clone()).ok_or_else(busy)
    }

    /// The GPU that it is on.
    pub fn gpu(&self) -> &Gpu {
        &self.model.gpu
    }

    /// Running backward is left to the CPU build, which has the solver for it.
    ///
    /// # Errors
    /// Always.
    pub async fn invert(&self, _: Vec<f32>, _: Condition, _: usize) -> Result<Vec<f32>, Error> {
        Err(Error::Request("pictures are run backward by the CPU build only".into()))
    }

    /// The pictures of a request, from the noise of its seeds or from noise that is given.
    async fn run(
        &self,
        request: Request,
        noise: Option<&[f32]>,
        RunOptions { draw, wanted }: RunOptions,
        pause: Pause<'_>,
    ) -> Result<Vec<u8>, Error> {
        let model = &self.model;
        model.gpu.check()?;
        let mut state = model.state.borrow_mut().take().ok_or_else(busy)?;
        let mut most = model.most_pictures;
        if request.nfe == 1 {
            most = most.min(PIPELINED);
        }
        let left = request.count;
        let mut drawing = Drawing { model, state: &mut state, wanted, most, left, unread: 0, bytes: Vec::new() };
        let result = sample(&mut drawing, &model.info.net, request, noise, draw, pause).await;
        let bytes = drawing.bytes;
        model.state.replace(Some(state));
        result.map(|()| bytes)
    }
}

fn busy() -> Error {
    Error::Request("the model is at work on another request".into())
}

/// Pictures on their way.
struct Drawing<'a> {
    model: &'a Model,
    state: &'a mut State,
    wanted: Readback,
    /// Most pictures of a batch.
    most: usize,
    /// Pictures that are not drawn yet.
    left: usize,
    /// Bytes that wait to be read back.
    unread: u64,
    /// What was read back.
    bytes: Vec<u8>,
}

impl Engine for Drawing<'_> {
    fn most_pictures(&self) -> usize {
        self.most
    }

    /// A request's first batch is its largest: when there is no room for it, nothing waits to be read back.
    async fn begin(&mut self, noise: impl Iterator<Item = Vec<f32>>, pictures: usize) -> Result<(), Error> {
        let Model { gpu, network, most_pictures, .. } = self.model;
        let Workspace { capacity, readable, .. } = self.state.workspace;
        let wanted = self.left.min(SLOTS);
        if pictures > capacity || wanted > readable {
            let capacity = pictures.next_power_of_two().min(*most_pictures).max(capacity);
            let room = [capacity, wanted.next_power_of_two().max(readable)];
            self.state.workspace = gpu.accepted(|| Ok(Workspace::new(gpu, network, room))).await?;
        }
        for (i, noise) in noise.enumerate() {
            gpu.queue.write_buffer(&self.state.workspace.z, (4 * i * noise.len()) as u64, cast_slice(&noise));
        }
        Ok(())
    }

    /// After the last step it makes RGBA of the images, too.
    fn call(&mut self, classes: &[Condition], Step { asked, r, t, guidance, is_last, .. }: Step) {
        let (Model { gpu, network, .. }, State { slots, workspace }) = (self.model, &mut *self.state);
        let inputs = CallInputs { r: asked, t, guidance };
        let assigned = slots.assign(&network.layers, &network.values, inputs, classes);
        workspace.prepare(gpu, &network.sizes, [r, t], &assigned.slots);
        let fill = network.fill(gpu, &assigned);
        let to_rgba = if is_last { &workspace.to_rgba[..] } else { &[] };
        let (fresh, pictures) = (assigned.fresh.len(), classes.len());
        submit(gpu, [(fill, fresh), (&workspace.step, pictures), (to_rgba, pictures)]);
    }

    /// Submitted work cannot be taken back, so little of it may wait.
    async fn may_pause(&mut self, pictures: usize, step: Step) -> Result<bool, Error> {
        let is_due = !step.is_last && step.calls.is_multiple_of(CALLS_AHEAD.div_ceil(pictures));
        if is_due {
            self.model.gpu.finished().await?;
        }
        Ok(is_due)
    }

    /// Puts the pictures where they are read back from, all at once where there is room for them.
    async fn end(&mut self, pictures: usize) -> Result<(), Error> {
        let (Model { gpu, info, .. }, State { workspace, .. }) = (self.model, &*self.state);
        let pixels = info.net.image_size * info.net.image_size;
        let (source, each) = match self.wanted {
            Readback::Images => (&workspace.z, 4 * pixels * info.net.channels),
            Readback::Rgba => (&workspace.rgba, 4 * pixels),
            Readback::Nothing => return Ok(()),
        };
        let bytes = (each * pictures) as u64;
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(source, 0, &workspace.staging, self.unread, bytes);
        gpu.submit(encoder);
        self.unread += bytes;
        self.left -= pictures;
        // The next batch is no larger.
        if self.left == 0 || self.unread + bytes > workspace.staging.size() {
            self.bytes.extend(gpu.read(&workspace.staging, self.unread).await?);
            self.unread = 0;
        }
        Ok(())
    }
}
