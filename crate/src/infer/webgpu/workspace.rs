//! The buffers of a batch, and the dispatches of a network call on them: made once, used for every batch that fits.

use bytemuck::cast_slice;
use wgpu::BufferUsages;

use super::device::Gpu;
use super::kernels::{Kernel, Sizes};
use super::network::Network;
use super::recorder::{Dispatch, Grid, MAX_OPERATIONS, Planned, Recorder};
use crate::infer::conditions::SLOTS;
use crate::model::NetConfig;
use crate::model::tables::MIN_DIVISOR;

/// Everything that batches of up to `capacity` pictures need besides the layers.
#[derive(Debug)]
pub(super) struct Workspace {
    pub capacity: usize,
    /// Pictures that can be read back at once.
    pub readable: usize,
    /// Most pictures of a batch on this GPU: as buffers of that size have room for, and submits are short enough for.
    pub most_pictures: usize,
    /// The images, `[capacity, channels, size, size]`: noise, then after each call closer to data.
    pub z: wgpu::Buffer,
    /// The same as RGBA bytes.
    pub rgba: wgpu::Buffer,
    /// Where either is read from.
    pub staging: wgpu::Buffer,
    call: wgpu::Buffer,
    slots: wgpu::Buffer,
    /// A network call and its step.
    pub step: Vec<Dispatch>,
    /// The way to RGBA after the last one.
    pub to_rgba: Vec<Dispatch>,
}

impl Workspace {
    /// For a network.
    pub fn new(gpu: &Gpu, network: &Network, [capacity, readable]: [usize; 2]) -> Self {
        let (planned, workspace) = Self::plan(gpu, network, [capacity, readable]);
        workspace.bind(gpu, network, planned)
    }

    /// The same, for a network whose layers are not read yet: without its dispatches, the last of which is the way to
    /// RGBA.
    pub fn plan(gpu: &Gpu, network: &Network, [capacity, readable]: [usize; 2]) -> (Vec<Planned>, Self) {
        let NetConfig { image_size, channels, .. } = network.sizes.config;
        let pixels = image_size * image_size;
        let bytes = |values: usize| (4 * values * capacity) as u64;
        let copied = |label: &str, bytes| gpu.buffer(label, bytes, BufferUsages::STORAGE | BufferUsages::COPY_SRC);
        let z = copied("the images", bytes(pixels * channels));
        let rgba = copied("the pictures", bytes(pixels));
        let call = gpu.buffer("a call", 16, BufferUsages::UNIFORM);
        let slots = gpu.buffer("the slots", (SLOTS * 4) as u64, BufferUsages::STORAGE);
        let mut recorder = Recorder {
            gpu,
            network,
            capacity,
            call: &call,
            slots: &slots,
            z: &z,
            planned: Vec::new(),
            pool: Vec::new(),
            largest: (4 * pixels * channels) as u64,
        };
        network.layers.forward(&mut recorder);
        let Recorder { mut planned, largest, .. } = recorder;
        planned.push(Planned {
            pipeline: network.kernels.pipeline(gpu, &network.sizes, Kernel::Rgba),
            layer: None,
            buffers: vec![(0, z.clone()), (1, rgba.clone())],
            grid: Grid::Rows { x: pixels.div_ceil(64) as u32 },
            operations: 0,
        });
        let most = planned.iter().map(|planned| planned.operations).max().unwrap_or_default().max(1);
        let workspace = Self {
            capacity,
            readable,
            most_pictures: ((gpu.most_bytes() / largest).min(MAX_OPERATIONS / most) as usize).clamp(1, SLOTS),
            staging: gpu.buffer("the answer", (4 * pixels * channels * readable) as u64, BufferUsages::MAP_READ),
            step: Vec::new(),
            to_rgba: Vec::new(),
            z,
            rgba,
            call,
            slots,
        };
        (planned, workspace)
    }

    /// With the dispatches that were planned.
    pub fn bind(self, gpu: &Gpu, network: &Network, planned: Vec<Planned>) -> Self {
        let mut step = network.bind(gpu, planned);
        let to_rgba = step.pop().into_iter().collect();
        Self { step, to_rgba, ..self }
    }

    /// Says what the next call is about: from `t` to `r`, and the slot of each picture.
    pub fn prepare(&self, gpu: &Gpu, sizes: &Sizes, [r, t]: [f64; 2], slots: &[u32]) {
        let [rows, patch_rows] = [sizes.tokens, sizes.patches].map(|of_picture| (of_picture * slots.len()) as u32);
        let [span, divisor] = [t - r, t.max(MIN_DIVISOR)].map(|x| (x as f32).to_bits());
        gpu.queue.write_buffer(&self.call, 0, cast_slice(&[rows, span, divisor, patch_rows]));
        gpu.queue.write_buffer(&self.slots, 0, cast_slice(slots));
    }
}
