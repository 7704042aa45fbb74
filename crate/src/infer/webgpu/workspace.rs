//! The buffers of a batch, and the dispatches of a network call on them: made once, used for every batch that fits.

use bytemuck::cast_slice;
use wgpu::BufferUsages;

use super::device::Gpu;
use super::kernels::{Kernels, Product, Sizes, TILE_ROWS};
use super::matrix::Matrix;
use super::network::{Block, Network};
use crate::error::Error;
use crate::infer::conditions::SLOTS;
use crate::model::NetConfig;
use crate::model::tables::MIN_DIVISOR;

/// How many workgroups a dispatch takes for a number of pictures.
#[derive(Clone, Copy, Debug)]
pub(super) enum Grid {
    /// Tiles of a matrix product whose input has so many rows a picture.
    Tiles { columns: u32, rows: usize },
    /// A layer of workgroups for each picture.
    Pictures { x: u32, y: u32 },
    /// A row of workgroups for each picture.
    Rows { x: u32 },
}

/// A kernel with its buffers.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub pipeline: wgpu::ComputePipeline,
    pub group: wgpu::BindGroup,
    pub grid: Grid,
}

impl Dispatch {
    /// Records it for so many pictures.
    pub fn record(&self, pass: &mut wgpu::ComputePass, pictures: usize) {
        let [x, y, z] = match self.grid {
            Grid::Tiles { columns, rows } => [columns, (pictures * rows).div_ceil(TILE_ROWS) as u32, 1],
            Grid::Pictures { x, y } => [x, y, pictures as u32],
            Grid::Rows { x } => [x, pictures as u32, 1],
        };
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

/// Binds buffers to a kernel.
pub(super) fn bind(gpu: &Gpu, pipeline: &wgpu::ComputePipeline, buffers: &[(u32, &wgpu::Buffer)]) -> wgpu::BindGroup {
    bind_layout(gpu, &pipeline.get_bind_group_layout(0), buffers)
}

/// The same for any pipeline's layout.
pub(super) fn bind_layout(
    gpu: &Gpu,
    layout: &wgpu::BindGroupLayout,
    buffers: &[(u32, &wgpu::Buffer)],
) -> wgpu::BindGroup {
    let entries: Vec<_> = buffers
        .iter()
        .map(|&(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    gpu.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
}

/// Everything that batches of up to `capacity` pictures need besides the layers.
#[derive(Debug)]
pub(super) struct Workspace {
    pub capacity: usize,
    /// The images, `[capacity, channels, size, size]`: noise, then after each call closer to data.
    pub z: wgpu::Buffer,
    /// The same as RGBA bytes.
    pub rgba: wgpu::Buffer,
    /// Where either is read from.
    pub staging: wgpu::Buffer,
    call: wgpu::Buffer,
    slots: wgpu::Buffer,
    /// A network call and its step.
    step: Vec<Dispatch>,
    to_rgba: Dispatch,
}

/// What the dispatches of a call pass on.
struct Activations {
    /// `[capacity × tokens, width]`.
    tokens: wgpu::Buffer,
    /// Queries, keys and values, later the hidden layer.
    wide: wgpu::Buffer,
    /// What the heads give.
    heads: wgpu::Buffer,
}

/// Bytes of the largest buffers that a picture needs: images, tokens, wide, heads.
fn bytes_per_picture(sizes: &Sizes) -> [u64; 4] {
    let NetConfig { image_size, channels, .. } = sizes.config;
    let wide = (3 * sizes.heads_width()).max(sizes.hidden);
    let per_token = [sizes.width, wide, sizes.heads_width()].map(|values| sizes.tokens * values);
    let [tokens, wide, heads] = per_token;
    [image_size * image_size * channels, tokens, wide, heads].map(|values| 4 * values as u64)
}

/// Most pictures of a batch on this GPU.
///
/// # Errors
/// When not even one has room.
pub(super) fn most_pictures(gpu: &Gpu, sizes: &Sizes) -> Result<usize, Error> {
    let largest = bytes_per_picture(sizes).into_iter().max().unwrap_or(1);
    match gpu.most_bytes() / largest {
        0 => Err(Error::Device(format!(
            "a picture takes {} MB, but the GPU allows {} MB in one buffer",
            largest >> 20,
            gpu.most_bytes() >> 20
        ))),
        most => Ok((most as usize).min(SLOTS)),
    }
}

impl Workspace {
    /// # Errors
    /// When the GPU has no room.
    pub fn new(gpu: &Gpu, network: &Network, capacity: usize) -> Result<Self, Error> {
        let Network { sizes, kernels, .. } = network;
        let [images, tokens, wide, heads] = bytes_per_picture(sizes).map(|bytes| bytes * capacity as u64);
        let storage = |label: &str, bytes| gpu.buffer(label, bytes, BufferUsages::STORAGE);
        let readable = |label: &str, bytes| gpu.buffer(label, bytes, BufferUsages::STORAGE | BufferUsages::COPY_SRC);
        let pixels = sizes.config.image_size * sizes.config.image_size;
        let bytes_of_rgba = (4 * pixels * capacity) as u64;
        let z = readable("the images", images)?;
        let rgba = readable("the pictures", bytes_of_rgba)?;
        let call = gpu.buffer("a call", 16, BufferUsages::UNIFORM)?;
        let slots = storage("the slots", (SLOTS * 4) as u64)?;
        let activations = Activations {
            tokens: storage("the tokens", tokens)?,
            wide: storage("the activations", wide)?,
            heads: storage("the heads", heads)?,
        };
        let to_rgba = Dispatch {
            pipeline: kernels.rgba.clone(),
            group: bind(gpu, &kernels.rgba, &[(0, &z), (1, &rgba)]),
            grid: Grid::Rows { x: pixels.div_ceil(64) as u32 },
        };
        let plan = Plan { gpu, network, call: &call, slots: &slots, z: &z, activations: &activations };
        Ok(Self {
            step: plan.step(),
            staging: gpu.buffer("the answer", images.max(bytes_of_rgba), BufferUsages::MAP_READ)?,
            capacity,
            to_rgba,
            z,
            rgba,
            call,
            slots,
        })
    }

    /// Says what the next call is about: how many pictures, from `t` to `r`, and the slot of each.
    pub fn prepare(&self, gpu: &Gpu, rows: usize, r: f64, t: f64, slots: &[u32]) {
        let [span, divisor] = [t - r, t.max(MIN_DIVISOR)].map(|x| (x as f32).to_bits());
        gpu.queue.write_buffer(&self.call, 0, cast_slice(&[rows as u32, span, divisor, 0]));
        gpu.queue.write_buffer(&self.slots, 0, cast_slice(slots));
    }

    /// Records a network call and its step.
    pub fn record_step(&self, pass: &mut wgpu::ComputePass, pictures: usize) {
        self.step.iter().for_each(|dispatch| dispatch.record(pass, pictures));
    }

    /// Records the conversion to RGBA.
    pub fn record_rgba(&self, pass: &mut wgpu::ComputePass, pictures: usize) {
        self.to_rgba.record(pass, pictures);
    }
}

/// What the dispatches of a network call are put together from.
struct Plan<'a> {
    gpu: &'a Gpu,
    network: &'a Network,
    call: &'a wgpu::Buffer,
    slots: &'a wgpu::Buffer,
    z: &'a wgpu::Buffer,
    activations: &'a Activations,
}

impl Plan<'_> {
    fn step(&self) -> Vec<Dispatch> {
        let Self { network, z, .. } = self;
        let kernels = &network.kernels;
        let tokens = &self.activations.tokens;
        let positions = [(5, &network.positions)];
        let patch = self.product(Product::Patch, &kernels.patch, &network.patch, z, tokens, &positions);
        let modulated = [(5, self.slots), (6, &network.head_modulations)];
        let head = self.product(Product::Head, &kernels.head, &network.head, tokens, z, &modulated);
        [patch].into_iter().chain(network.blocks.iter().flat_map(|block| self.block(block))).chain([head]).collect()
    }

    fn block(&self, block: &Block) -> [Dispatch; 5] {
        let Kernels { qkv, proj, fc1, fc2, .. } = &self.network.kernels;
        let Activations { tokens, wide, heads } = self.activations;
        let by = [(5, self.slots), (6, &block.modulations)];
        [
            self.product(Product::Qkv, qkv, &block.qkv, tokens, wide, &by),
            self.attention(wide, heads),
            self.product(Product::Proj, proj, &block.proj, heads, tokens, &by),
            self.product(Product::Fc1, fc1, &block.fc1, tokens, wide, &by),
            self.product(Product::Fc2, fc2, &block.fc2, wide, tokens, &by),
        ]
    }

    fn product(
        &self,
        which: Product,
        pipeline: &wgpu::ComputePipeline,
        matrix: &Matrix,
        input: &wgpu::Buffer,
        output: &wgpu::Buffer,
        more: &[(u32, &wgpu::Buffer)],
    ) -> Dispatch {
        let own = [(0, self.call), (1, &matrix.weights), (2, &matrix.bias), (3, input), (4, output)];
        let sizes = &self.network.sizes;
        Dispatch {
            pipeline: pipeline.clone(),
            group: bind(self.gpu, pipeline, &[&own, more].concat()),
            grid: Grid::Tiles { columns: sizes.column_tiles(which), rows: sizes.tokens },
        }
    }

    fn attention(&self, qkv: &wgpu::Buffer, heads: &wgpu::Buffer) -> Dispatch {
        let pipeline = &self.network.kernels.attention;
        let sizes = &self.network.sizes;
        Dispatch {
            pipeline: pipeline.clone(),
            group: bind(self.gpu, pipeline, &[(0, qkv), (1, heads)]),
            grid: Grid::Pictures { x: sizes.query_groups(), y: sizes.config.heads as u32 },
        }
    }
}
