//! A model's layers on the GPU, and the modulation of its blocks by times and class.

use bytemuck::cast_slice;
use wgpu::BufferUsages;

use super::device::Gpu;
use super::kernels::{ComputePrecision, Kernels, MAX_HEAD_WIDTH, PARTS, Product, Sizes};
use super::matrix::{Matrix, heads, plain};
use super::workspace::{Dispatch, Grid, bind};
use crate::error::Error;
use crate::infer::conditions::{Embeddings, SLOTS, first_modulations, is_supported};
use crate::infer::weights::Tensors;
use crate::model::NetConfig;
use crate::model::tables::position_table;

/// The layers of a block.
#[derive(Debug)]
pub(super) struct Block {
    pub qkv: Matrix,
    pub proj: Matrix,
    pub fc1: Matrix,
    pub fc2: Matrix,
    /// `[SLOTS, 6, width]`.
    pub modulations: wgpu::Buffer,
}

/// All layers of a model.
#[derive(Debug)]
pub(super) struct Network {
    pub sizes: Sizes,
    pub kernels: Kernels,
    pub embeddings: Embeddings,
    pub patch: Matrix,
    pub positions: wgpu::Buffer,
    pub blocks: Vec<Block>,
    pub head: Matrix,
    /// `[SLOTS, 6, width]`, of which the first two are used.
    pub head_modulations: wgpu::Buffer,
    modulate: Modulate,
}

/// Fills slots: from conditions to the modulations of all blocks and the head.
#[derive(Debug)]
struct Modulate {
    call: wgpu::Buffer,
    /// `[SLOTS, width]` each: of the first blocks and of the last ones.
    conditions: [wgpu::Buffer; 2],
    targets: wgpu::Buffer,
    dispatches: Vec<Dispatch>,
}

/// Refuses what the kernels cannot do.
fn supported(config: &NetConfig) -> Result<(), Error> {
    if !is_supported(config) {
        return Err(Error::Device("on WebGPU there are only plain Diffusion Transformers".into()));
    }
    let head_width = config.width / config.heads;
    match head_width > MAX_HEAD_WIDTH {
        true => Err(Error::Device(format!(
            "its heads have {head_width} features; on WebGPU at most {MAX_HEAD_WIDTH} are possible"
        ))),
        false => Ok(()),
    }
}

impl Network {
    /// Reads the layers and makes what belongs to them.
    ///
    /// # Errors
    /// A network that the kernels cannot run, a file that lacks a tensor, or a GPU without room.
    pub fn read(gpu: &Gpu, file: &Tensors, config: &NetConfig, arithmetic: ComputePrecision) -> Result<Self, Error> {
        supported(config)?;
        let sizes = Sizes::new(config, arithmetic);
        // First, so that the browser compiles while the weights are laid out.
        let kernels = Kernels::new(gpu, &sizes);
        let NetConfig { width, heads: count, .. } = *config;
        let [tokens, pixels, hidden] = [width, config.patch_values(), sizes.hidden].map(plain);
        let [parts, joined] = [3, 1].map(|parts| heads(parts, count, width / count));
        let read = |name: &str, inputs, outputs| Matrix::read(gpu, file, name, inputs, outputs);
        let slots = || gpu.buffer("the modulations", (SLOTS * PARTS * width * 4) as u64, BufferUsages::STORAGE);
        let block = |i: usize| {
            let read = |name: &str, inputs, outputs| read(&format!("blocks.{i}.{name}"), inputs, outputs);
            Ok(Block {
                qkv: read("attention.qkv", &tokens, &parts)?,
                proj: read("attention.proj", &joined, &tokens)?,
                fc1: read("mlp.fc1", &tokens, &hidden)?,
                fc2: read("mlp.fc2", &hidden, &tokens)?,
                modulations: slots()?,
            })
        };
        let blocks = (0..config.depth).map(block).collect::<Result<Vec<_>, Error>>()?;
        let head_modulations = slots()?;
        let modulate = Modulate::read(gpu, file, &kernels, &sizes, &blocks, &head_modulations)?;
        Ok(Self {
            embeddings: Embeddings::read(file, config)?,
            patch: read("patch", &pixels, &tokens)?,
            positions: gpu.upload("positions", cast_slice(&position_table(config.side(), width)))?,
            blocks,
            head: read("head.linear", &tokens, &pixels)?,
            head_modulations,
            modulate,
            kernels,
            sizes,
        })
    }

    /// Records the filling of `slots` with the modulations of as many conditions; none, none.
    pub fn fill(&self, gpu: &Gpu, pass: &mut wgpu::ComputePass, slots: &[u32], conditions: &[Vec<f32>; 2]) {
        if slots.is_empty() {
            return;
        }
        let Modulate { call, conditions: rows, targets, dispatches } = &self.modulate;
        gpu.queue.write_buffer(call, 0, cast_slice(&[slots.len() as u32, 0, 0, 0]));
        for (rows, conditions) in rows.iter().zip(conditions) {
            gpu.queue.write_buffer(rows, 0, cast_slice(conditions));
        }
        gpu.queue.write_buffer(targets, 0, cast_slice(slots));
        dispatches.iter().for_each(|dispatch| dispatch.record(pass, slots.len()));
    }
}

impl Modulate {
    fn read(
        gpu: &Gpu,
        file: &Tensors,
        kernels: &Kernels,
        sizes: &Sizes,
        blocks: &[Block],
        head: &wgpu::Buffer,
    ) -> Result<Self, Error> {
        let call = gpu.buffer("a call", 16, BufferUsages::UNIFORM)?;
        let rows = || gpu.buffer("the conditions", (SLOTS * sizes.width * 4) as u64, BufferUsages::STORAGE);
        let conditions = [rows()?, rows()?];
        let first = first_modulations(&sizes.config);
        let targets = gpu.buffer("the slots", (SLOTS * 4) as u64, BufferUsages::STORAGE)?;
        let dispatch = |i: usize, name: &str, parts: usize, into: &wgpu::Buffer| {
            let conditions = &conditions[usize::from(i >= first)];
            let mut outputs = plain(parts * sizes.width);
            outputs.resize(PARTS * sizes.width, None);
            let matrix = Matrix::read(gpu, file, name, &plain(sizes.width), &outputs)?;
            let buffers =
                [(0, &call), (1, &matrix.weights), (2, &matrix.bias), (3, conditions), (4, into), (5, &targets)];
            let pipeline = kernels.modulation.clone();
            let grid = Grid::Tiles { columns: sizes.column_tiles(Product::Modulation), rows: 1 };
            Ok(Dispatch { group: bind(gpu, &pipeline, &buffers), pipeline, grid })
        };
        let each = blocks.iter().enumerate();
        let dispatches = each
            .map(|(i, block)| dispatch(i, &format!("blocks.{i}.modulation"), 6, &block.modulations))
            .chain([dispatch(blocks.len(), "head.modulation", 2, head)])
            .collect::<Result<_, Error>>()?;
        Ok(Self { call, conditions, targets, dispatches })
    }
}
