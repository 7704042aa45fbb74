//! A model's layers on the GPU, and the modulation of its blocks by times and class.

use std::cell::RefCell;

use bytemuck::cast_slice;
use wgpu::BufferUsages;

use super::device::Gpu;
use super::kernels::{
    ComputePrecision, Input, Kernel, Kernels, MAX_HEAD_WIDTH, Output, PARTS, Product, Sizes, TILE_COLUMNS,
};
use super::matrix::{Heads, Matrix};
use super::recorder::{Dispatch, Grid, Planned, PlannedLayer};
use super::tensors::Tensors;
use crate::error::Error;
use crate::infer::conditions::{Assigned, SLOTS};
use crate::infer::layers::Param;
use crate::infer::network;
use crate::infer::ops::Modulation;
use crate::model::{NetConfig, ParamRole, ParamSpec};

/// A network with its weights.
#[derive(Debug)]
pub(super) struct Network {
    pub sizes: Sizes,
    pub kernels: Kernels,
    pub layers: network::Network,
    /// The tensors that the CPU embeds times and classes with, and vectors; empty where a matrix is on the GPU.
    pub values: Vec<Vec<f32>>,
    /// Layers by the place of their first weights.
    matrices: Vec<Option<Matrix>>,
    /// What is added to each patch's token.
    pub positions: wgpu::Buffer,
    /// Cosine and sine of each token's rotary positions.
    pub rotary: wgpu::Buffer,
    /// The tokens in front of the patches, `[SLOTS, prefix, width]`, where there are such.
    pub prefixes: Option<wgpu::Buffer>,
    /// Learned vectors by their places.
    vectors: RefCell<Vec<(Vec<Param>, wgpu::Buffer)>>,
    /// `[SLOTS, PARTS, width]` each.
    pub modulations: Vec<wgpu::Buffer>,
    modulate: Modulate,
}

/// Fills slots: from conditions to the modulations of all blocks and the head.
#[derive(Debug)]
struct Modulate {
    call: wgpu::Buffer,
    /// `[SLOTS, width]` each, of the conditions that the network has.
    conditions: [wgpu::Buffer; 2],
    targets: wgpu::Buffer,
    dispatches: Vec<Dispatch>,
}

/// Refuses what the kernels cannot do.
fn supported(config: &NetConfig) -> Result<(), Error> {
    let head_width = config.width / config.heads;
    match head_width > MAX_HEAD_WIDTH {
        true => Err(Error::Device(format!(
            "its heads have {head_width} features; on WebGPU at most {MAX_HEAD_WIDTH} are possible"
        ))),
        false => Ok(()),
    }
}

impl Network {
    /// Reads the layers, and has `plan` say first which of them there are in a call: so the browser compiles its
    /// kernels while the weights are laid out.
    ///
    /// # Errors
    /// A network that the kernels cannot run, or a file that lacks a tensor.
    pub fn read<T>(
        gpu: &Gpu,
        file: &Tensors,
        config: &NetConfig,
        arithmetic: ComputePrecision,
        plan: impl FnOnce(&Self) -> (Vec<Planned>, T),
    ) -> Result<(Self, Vec<Planned>, T), Error> {
        let params = config.params();
        let mut network =
            Self::new(gpu, config, &params, arithmetic, |spec| file.values(&spec.name, &spec.stored_shape()))?;
        let (planned, more) = plan(&network);
        let modulate = network.plan_modulation(gpu);
        for planned in planned.iter().chain(&modulate).filter_map(|planned| planned.layer) {
            let tensors = (&params[..], &network.values[..]);
            let matrix = Matrix::read(gpu, file, tensors, &network.sizes, planned)?;
            network.matrices[planned.layer.weight] = Some(matrix);
        }
        network.modulate.dispatches = network.bind(gpu, modulate);
        Ok((network, planned, more))
    }

    /// A network without its matrices; `value` reads a tensor that the CPU needs.
    pub fn new(
        gpu: &Gpu,
        config: &NetConfig,
        params: &[ParamSpec],
        arithmetic: ComputePrecision,
        value: impl Fn(&ParamSpec) -> Result<Vec<f32>, Error>,
    ) -> Result<Self, Error> {
        let layers = network::Network::new(config, params)?;
        supported(config)?;
        let sizes = Sizes::new(config, [layers.prefix(), layers.text_tokens()], arithmetic);
        let is_value = |role| matches!(role, ParamRole::Conditioning | ParamRole::Embedding | ParamRole::Vector);
        let mut values = Vec::new();
        for spec in params {
            values.push(if is_value(spec.role) { value(spec)? } else { Vec::new() });
        }
        let of_slots = |label, each: usize| gpu.buffer(label, (SLOTS * each * 4) as u64, BufferUsages::STORAGE);
        let prefix = sizes.prefix * sizes.width;
        let mut positions = layers.positions(config, &values);
        positions.resize(sizes.patches * sizes.width, 0.0);
        Ok(Self {
            positions: gpu.upload("positions", cast_slice(&positions)),
            rotary: gpu.upload("rotary positions", cast_slice(&layers.rotary(config))),
            prefixes: (prefix > 0).then(|| of_slots("the prefixes", prefix)),
            vectors: RefCell::default(),
            modulations: layers
                .modulations()
                .iter()
                .map(|_| of_slots("the modulations", PARTS * sizes.width))
                .collect(),
            modulate: Modulate {
                call: gpu.buffer("a call", 16, BufferUsages::UNIFORM),
                conditions: [sizes.width; 2].map(|width| of_slots("the conditions", width)),
                targets: of_slots("the slots", 1),
                dispatches: Vec::new(),
            },
            matrices: params.iter().map(|_| None).collect(),
            kernels: Kernels::default(),
            sizes,
            layers,
            values,
        })
    }

    /// With the weights of their layers.
    pub fn bind(&self, gpu: &Gpu, planned: Vec<Planned>) -> Vec<Dispatch> {
        let bind = |planned: Planned| {
            let matrix = planned.layer.and_then(|planned| self.matrices[planned.layer.weight].as_ref());
            planned.bind(gpu, matrix)
        };
        planned.into_iter().map(bind).collect()
    }

    /// Learned vectors, one after the other; made once for all recordings.
    #[inline(never)]
    pub fn vector(&self, gpu: &Gpu, params: &[Param]) -> wgpu::Buffer {
        let mut vectors = self.vectors.borrow_mut();
        if let Some((_, vector)) = vectors.iter().find(|(of, _)| of == params) {
            return vector.clone();
        }
        let mut values = Vec::new();
        params.iter().for_each(|&param| values.extend_from_slice(&self.values[param]));
        let vector = gpu.upload("a vector", cast_slice(&values));
        vectors.push((params.to_vec(), vector.clone()));
        vector
    }

    /// The dispatches that fill slots.
    pub fn plan_modulation(&self, gpu: &Gpu) -> Vec<Planned> {
        let Modulate { call, conditions, targets, .. } = &self.modulate;
        let (inputs, outputs) = (self.sizes.width, PARTS * self.sizes.width);
        let product = Product { inputs, outputs, input: Input::Plain, output: Output::Slots, of_patches: false };
        let plan = |(modulation, into): (&Modulation, &wgpu::Buffer)| Planned {
            pipeline: self.kernels.pipeline(gpu, &self.sizes, Kernel::Product(product)),
            layer: Some(PlannedLayer { layer: modulation.layer, heads: Heads::Neither, outputs }),
            buffers: [(0, call), (3, &conditions[modulation.condition]), (4, into), (5, targets)]
                .map(|(binding, buffer)| (binding, buffer.clone()))
                .to_vec(),
            grid: Grid::Tiles { columns: outputs.div_ceil(TILE_COLUMNS) as u32, rows: 1 },
            operations: self.sizes.operations(Kernel::Product(product)),
        };
        self.layers.modulations().into_iter().zip(&self.modulations).map(plan).collect()
    }

    /// The dispatches that fill slots with what follows from as many conditions; where there are none, none.
    pub fn fill(&self, gpu: &Gpu, assigned: &Assigned) -> &[Dispatch] {
        let Assigned { fresh, conditions, prefixes: tokens, .. } = assigned;
        if fresh.is_empty() {
            return &[];
        }
        if let Some(prefixes) = &self.prefixes {
            for (slot, prefix) in fresh.iter().zip(tokens) {
                gpu.queue.write_buffer(prefixes, u64::from(*slot) * (4 * prefix.len()) as u64, cast_slice(prefix));
            }
        }
        let Modulate { call, conditions: rows, targets, dispatches } = &self.modulate;
        gpu.queue.write_buffer(call, 0, cast_slice(&[fresh.len() as u32, 0, 0, 0]));
        for (i, of_picture) in conditions.iter().enumerate() {
            for (rows, condition) in rows.iter().zip(of_picture) {
                gpu.queue.write_buffer(rows, (4 * i * condition.len()) as u64, cast_slice(condition));
            }
        }
        gpu.queue.write_buffer(targets, 0, cast_slice(fresh));
        dispatches
    }
}
