//! A network call as dispatches: what a layer reads, normalises, modulates, adds and activates is fused into the matrix
//! product before or after it.

use wgpu::BufferUsages;

use super::device::Gpu;
use super::kernels::{Input, Kernel, Output, Product, TILE_COLUMNS, TILE_ROWS};
use super::matrix::{Heads, Matrix, features};
use super::network::Network;
use crate::infer::layers::{Linear, Param};
use crate::infer::ops::{Activation, Gate, Modulation, Ops};

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

impl Grid {
    /// How many there are along each axis.
    pub fn workgroups(self, pictures: usize) -> [u32; 3] {
        match self {
            Self::Tiles { columns, rows } => [columns, (pictures * rows).div_ceil(TILE_ROWS) as u32, 1],
            Self::Pictures { x, y } => [x, y, pictures as u32],
            Self::Rows { x } => [x, pictures as u32, 1],
        }
    }
}

/// A kernel with its buffers.
#[derive(Debug)]
pub(super) struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    grid: Grid,
    /// Floating-point operations of a picture.
    pub operations: u64,
}

/// Most floating-point operations of a submit, but for a dispatch that has more: a system takes a GPU that is busy with
/// one for seconds to hang. A phone multiplies a few hundred of these a second.
pub(super) const MAX_OPERATIONS: u64 = 20_000_000_000;

/// Whether what has so many operations is submitted before so many more join it.
fn is_full(operations: u64, more: u64) -> bool {
    operations > 0 && operations + more > MAX_OPERATIONS
}

/// Submits dispatches, each group with how many pictures it is for, in parts of little work.
pub(super) fn submit(gpu: &Gpu, work: [(&[Dispatch], usize); 3]) {
    let begin = || {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let pass = encoder.begin_compute_pass(&Default::default()).forget_lifetime();
        (encoder, pass)
    };
    let end = |(encoder, pass)| {
        // The pass ends with its last handle.
        drop::<wgpu::ComputePass>(pass);
        gpu.submit(encoder);
    };
    let (mut part, mut operations) = (begin(), 0);
    for (dispatches, pictures) in work {
        for dispatch in dispatches {
            let more = dispatch.operations * pictures as u64;
            if is_full(operations, more) {
                end(std::mem::replace(&mut part, begin()));
                operations = 0;
            }
            operations += more;
            dispatch.record(&mut part.1, pictures);
        }
    }
    end(part);
}

impl Dispatch {
    /// Records it for so many pictures.
    fn record(&self, pass: &mut wgpu::ComputePass, pictures: usize) {
        let [x, y, z] = self.grid.workgroups(pictures);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

/// A dispatch whose layer may not be read yet.
#[derive(Debug)]
pub(super) struct Planned {
    pub pipeline: wgpu::ComputePipeline,
    pub layer: Option<PlannedLayer>,
    pub buffers: Vec<(u32, wgpu::Buffer)>,
    pub grid: Grid,
    /// As a [`Dispatch`] has them.
    pub operations: u64,
}

/// A layer as its kernel takes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedLayer {
    pub layer: Linear,
    pub heads: Heads,
    /// As the kernel counts them.
    pub outputs: usize,
}

impl Planned {
    /// With the weights of its layer, where it has one.
    pub fn bind(self, gpu: &Gpu, matrix: Option<&Matrix>) -> Dispatch {
        let Self { pipeline, buffers, grid, operations, .. } = self;
        let weights = matrix.map(|Matrix { weights, bias }| [(1, weights), (2, bias)]);
        let buffers = buffers.iter().map(|(binding, buffer)| (*binding, buffer));
        let all: Vec<_> = buffers.chain(weights.into_iter().flatten()).collect();
        Dispatch { group: gpu.bind(&pipeline.get_bind_group_layout(0), &all), pipeline, grid, operations }
    }
}

/// Plans the dispatches of a network call for batches of up to `capacity` pictures.
pub(super) struct Recorder<'a> {
    pub gpu: &'a Gpu,
    pub network: &'a Network,
    pub capacity: usize,
    /// What the call is about.
    pub call: &'a wgpu::Buffer,
    /// The slot of each picture.
    pub slots: &'a wgpu::Buffer,
    /// The images.
    pub z: &'a wgpu::Buffer,
    pub planned: Vec<Planned>,
    /// Features of buffers that are free.
    pub pool: Vec<(usize, wgpu::Buffer)>,
    /// Bytes of the largest buffer of one picture.
    pub largest: u64,
}

/// Tokens in a buffer, and what is to be done when they are read.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    buffer: wgpu::Buffer,
    features: usize,
    /// Whether they are what attention heads give.
    of_heads: bool,
    input: Input,
    /// Whether there are rows of patches alone.
    of_patches: bool,
    /// The buffers that this takes.
    by: Vec<(u32, wgpu::Buffer)>,
}

impl Recorder<'_> {
    /// A buffer for tokens of so many features, with room for all of them.
    #[inline(never)]
    fn take(&mut self, features: usize, of_patches: bool) -> Tokens {
        let features = features.next_multiple_of(4);
        let free = self.pool.iter().position(|(free, _)| *free == features);
        let buffer = match free.map(|free| self.pool.swap_remove(free)) {
            Some((_, buffer)) => buffer,
            None => {
                let bytes = (4 * self.network.sizes.tokens * features) as u64;
                self.largest = self.largest.max(bytes);
                self.gpu.buffer("the activations", bytes * self.capacity as u64, BufferUsages::STORAGE)
            }
        };
        Tokens { buffer, features, of_heads: false, input: Input::Plain, of_patches, by: Vec::new() }
    }

    /// Takes back what is read no more; tokens that are to be normalised are kept by who gave them.
    #[inline(never)]
    fn give(&mut self, used: Tokens) {
        if used.input == Input::Plain {
            self.pool.push((used.features, used.buffer));
        }
    }

    #[inline(never)]
    fn plan(&mut self, kernel: Kernel, layer: Option<PlannedLayer>, buffers: Vec<(u32, wgpu::Buffer)>, grid: Grid) {
        let Network { kernels, sizes, .. } = self.network;
        let (pipeline, operations) = (kernels.pipeline(self.gpu, sizes, kernel), sizes.operations(kernel));
        self.planned.push(Planned { pipeline, layer, buffers, grid, operations });
    }

    /// `x W + b` into a buffer, with what `output` takes besides.
    #[inline(never)]
    fn product(
        &mut self,
        x: &Tokens,
        (layer, heads): (&Linear, Heads),
        output: Output,
        into: &wgpu::Buffer,
        more: &[(u32, wgpu::Buffer)],
    ) {
        let network = self.network;
        let sizes = &network.sizes;
        let [inputs, outputs] = features(sizes, layer, heads);
        let rows = sizes.rows(x.of_patches);
        let grid = Grid::Tiles { columns: outputs.div_ceil(TILE_COLUMNS) as u32, rows };
        let own = [(0, self.call.clone()), (3, x.buffer.clone()), (4, into.clone())];
        let buffers = own.into_iter().chain(x.by.iter().cloned()).chain(more.iter().cloned()).collect();
        let kernel = Kernel::Product(Product { inputs, outputs, input: x.input, output, of_patches: x.of_patches });
        self.plan(kernel, Some(PlannedLayer { layer: *layer, heads, outputs }), buffers, grid);
    }

    fn vector(&self, params: &[Param]) -> wgpu::Buffer {
        self.network.vector(self.gpu, params)
    }

    /// Puts the tokens in front of the patches, where there are such.
    #[inline(never)]
    fn put_prefix(&mut self, tokens: &Tokens) {
        let sizes = &self.network.sizes;
        if let Some(prefixes) = &self.network.prefixes {
            let buffers =
                [(0, prefixes), (1, &tokens.buffer), (5, self.slots)].map(|(at, buffer)| (at, buffer.clone()));
            let quads = sizes.prefix * sizes.width / 4;
            self.plan(Kernel::Prefix, None, buffers.to_vec(), Grid::Rows { x: quads.div_ceil(64) as u32 });
        }
    }

    fn modulation(&self, modulation: &Modulation) -> [(u32, wgpu::Buffer); 2] {
        [(5, self.slots.clone()), (6, self.network.modulations[modulation.index].clone())]
    }
}

impl Ops for Recorder<'_> {
    type Value = Tokens;

    fn patches(&mut self) -> Tokens {
        let features = self.network.sizes.config.patch_values();
        let buffer = self.z.clone();
        Tokens { buffer, features, of_heads: false, input: Input::Patches, of_patches: true, by: Vec::new() }
    }

    fn linear(&mut self, x: Tokens, layer: &Linear, activation: Activation) -> Tokens {
        let (output, heads) = match activation {
            Activation::Identity => (Output::Plain, Heads::Neither),
            Activation::Heads => (Output::Plain, Heads::Outputs),
            Activation::Gelu => (Output::Gelu, Heads::Neither),
        };
        let [_, outputs] = features(&self.network.sizes, layer, heads);
        let out = self.take(outputs, x.of_patches);
        self.product(&x, (layer, heads), output, &out.buffer, &[]);
        self.give(x);
        out
    }

    fn swiglu(&mut self, x: Tokens, gate: &Linear, up: &Linear) -> Tokens {
        let out = self.take(gate.outputs, x.of_patches);
        self.product(&x, (gate, Heads::Neither), Output::Silu, &out.buffer, &[]);
        self.product(&x, (up, Heads::Neither), Output::Times, &out.buffer, &[]);
        self.give(x);
        out
    }

    /// Text tokens beside the patches are put there by each block's [`Self::modulate_beside_text`].
    fn tokens(&mut self, x: Tokens, layer: &Linear) -> Tokens {
        let out = self.take(self.network.sizes.width, false);
        if self.network.sizes.text_tokens == 0 {
            self.put_prefix(&out);
        }
        let positions = [(5, self.network.positions.clone())];
        self.product(&x, (layer, Heads::Neither), Output::Positions, &out.buffer, &positions);
        self.give(x);
        out
    }

    fn rms_norm(&mut self, x: &Tokens, gain: Param) -> Tokens {
        let by = vec![(7, self.vector(&[gain]))];
        Tokens { input: Input::Rms, by, ..x.clone() }
    }

    fn rotary(&mut self, qkv: Tokens, gains: [Param; 2]) -> Tokens {
        let sizes = &self.network.sizes;
        let buffers = vec![(0, qkv.buffer.clone()), (1, self.vector(&gains)), (2, self.network.rotary.clone())];
        let heads = 2 * sizes.tokens * sizes.config.heads;
        self.plan(Kernel::Rotary, None, buffers, Grid::Rows { x: heads.div_ceil(64) as u32 });
        qkv
    }

    fn modulate(&mut self, x: &Tokens, modulation: &Modulation, part: usize) -> Tokens {
        let by = self.modulation(modulation).to_vec();
        Tokens { input: Input::Modulated(part), by, ..x.clone() }
    }

    /// The text tokens are put in front of the patches again: what the last block made of their places is not read.
    fn modulate_beside_text(&mut self, x: &Tokens, modulation: &Modulation, part: usize) -> Tokens {
        self.put_prefix(x);
        self.modulate(x, modulation, part)
    }

    fn attention(&mut self, qkv: Tokens) -> Tokens {
        let network = self.network;
        let sizes = &network.sizes;
        let grid = Grid::Pictures { x: sizes.query_groups(), y: sizes.config.heads as u32 };
        let out = Tokens { of_heads: true, ..self.take(qkv.features / 3, false) };
        self.plan(Kernel::Attention, None, vec![(0, qkv.buffer.clone()), (1, out.buffer.clone())], grid);
        self.give(qkv);
        out
    }

    fn add(&mut self, x: Tokens, gate: Gate, branch: Tokens, layer: &Linear) -> Tokens {
        let (output, by) = match gate {
            Gate::Modulation(modulation, part) => (Output::Gated(part), self.modulation(modulation).to_vec()),
            Gate::Learned(scale) => (Output::Scaled, vec![(5, self.vector(&[scale]))]),
        };
        let heads = if branch.of_heads { Heads::Inputs } else { Heads::Neither };
        self.product(&branch, (layer, heads), output, &x.buffer, &by);
        self.give(branch);
        x
    }

    fn output(&mut self, x: Tokens, layer: &Linear) {
        let z = self.z.clone();
        self.product(&Tokens { of_patches: true, ..x }, (layer, Heads::Neither), Output::Step, &z, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_OPERATIONS, is_full};

    #[test]
    fn parts_have_little_work_but_something() {
        assert!(!is_full(1, 2) && !is_full(MAX_OPERATIONS - 1, 1) && !is_full(0, MAX_OPERATIONS + 1));
        assert!(is_full(MAX_OPERATIONS, 1) && is_full(1, MAX_OPERATIONS));
    }
}
