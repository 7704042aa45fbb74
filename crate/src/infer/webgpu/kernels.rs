//! The kernels of a model: WGSL put together for its sizes, compiled once.

use std::cell::RefCell;

use super::device::Gpu;
use super::wgsl::wgsl;
use crate::model::tables::NORM_EPSILON;
use crate::model::{self, NetConfig};

/// Vectors of a block's modulation: shift, scale and gate of attention, then of the MLP; the head has the first two.
pub(super) const PARTS: usize = 6;

/// Inputs that a matrix product takes at once.
pub(super) const DEPTH: usize = 8;
/// Threads of an attention workgroup, one query each.
const QUERIES: usize = 32;
/// Most features of a head: each thread keeps a query and a sum of that many in registers.
pub(super) const MAX_HEAD_WIDTH: usize = 256;
/// Quads of workgroup memory for keys and for values, each: 2 KB for the usual heads, 16 KB being what every GPU has.
const KEY_QUADS: usize = 128;

/// Rows and columns that a workgroup makes at once. Small, so that one picture of 64 tokens already makes many
/// workgroups; each thread has 4 × 8 of them, as what it reads takes longer than what it computes.
pub(super) const TILE_ROWS: usize = 32;
/// See [`TILE_ROWS`]; matrices are filled up to whole tiles.
pub(super) const TILE_COLUMNS: usize = 64;

/// What a dispatch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// A matrix product with what is fused into it.
    Product(Product),
    /// Queries, keys and values to what the heads give.
    Attention,
    /// Queries and keys normalised and turned by their places.
    Rotary,
    /// The tokens in front of the patches, out of their slots.
    Prefix,
    /// Images to RGBA bytes.
    Rgba,
}

/// A matrix product of rows; features are counted with those that fill heads up to whole quads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Product {
    pub inputs: usize,
    pub outputs: usize,
    pub input: Input,
    pub output: Output,
    /// Whether its rows are the patches alone, not all tokens.
    pub of_patches: bool,
}

/// How a product reads its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Rows as they are.
    Plain,
    /// Pixels of the images.
    Patches,
    /// Normalised tokens, shifted and scaled by a modulation, from this part of it on.
    Modulated(usize),
    /// Tokens over the root of their mean square, times a learned gain.
    Rms,
}

/// What a product does with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Rows as they are.
    Plain,
    /// Rows through GELU.
    Gelu,
    /// Rows through SiLU.
    Silu,
    /// It multiplies what is there.
    Times,
    /// The positions of tokens are added.
    Positions,
    /// It joins the tokens, times this part of a modulation.
    Gated(usize),
    /// It joins the tokens, times a learned vector.
    Scaled,
    /// Rows of the slots of conditions.
    Slots,
    /// The step of the solver.
    Step,
}

/// In which precision a model's weights are kept and multiplied. Sums, tokens and attention are always `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ComputePrecision {
    /// Products of halves, four at a time, then summed in `f32`: for weights in half precision, on GPUs that have it.
    Half,
    /// Weights kept as halves, products in `f32`.
    HalfWeights,
    /// All in `f32`.
    Single,
}

impl ComputePrecision {
    /// As people know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Half => "f16",
            Self::HalfWeights | Self::Single => "f32",
        }
    }

    /// Those that fit the weights of a file and a GPU, fastest first.
    pub fn candidates(half_weights: bool, half_gpu: bool) -> &'static [Self] {
        match (half_weights, half_gpu) {
            (true, true) => &[Self::Half, Self::HalfWeights],
            (true, false) => &[Self::HalfWeights],
            (false, _) => &[Self::Single],
        }
    }
}

/// Sizes of a network as the kernels see them.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    pub config: NetConfig,
    /// Tokens in front of the patches of a picture.
    pub prefix: usize,
    /// Those of them that are text tokens beside the patches: normalised alone, and put there anew for every attention.
    pub text_tokens: usize,
    /// Patches of a picture.
    pub patches: usize,
    /// Both together.
    pub tokens: usize,
    /// Features of a token.
    pub width: usize,
    /// Features of a head, filled up to whole quads.
    pub head_width: usize,
    /// Of the weights and their products.
    pub arithmetic: ComputePrecision,
}

impl Sizes {
    pub fn new(config: &NetConfig, [prefix, text_tokens]: [usize; 2], arithmetic: ComputePrecision) -> Self {
        let patches = config.side() * config.side();
        Self {
            prefix: prefix + text_tokens,
            text_tokens,
            patches,
            tokens: prefix + text_tokens + patches,
            width: config.width,
            head_width: (config.width / config.heads).next_multiple_of(4),
            arithmetic,
            config: config.clone(),
        }
    }

    /// Rows of a picture that a product takes.
    pub fn rows(&self, of_patches: bool) -> usize {
        if of_patches { self.patches } else { self.tokens }
    }

    /// Floating-point operations of a kernel for a picture: those of its products of matrices, beside which all others
    /// are few.
    pub fn operations(&self, kernel: Kernel) -> u64 {
        let [a, b, c] = match kernel {
            // A row of a slot is a condition, of which a picture has at most one.
            Kernel::Product(Product { inputs, outputs, output: Output::Slots, .. }) => [1, inputs, outputs],
            Kernel::Product(Product { inputs, outputs, of_patches, .. }) => [self.rows(of_patches), inputs, outputs],
            Kernel::Attention => [2 * self.tokens, self.tokens, self.padded(self.width)],
            _ => [0; 3],
        };
        2 * a as u64 * b as u64 * c as u64
    }

    /// Features that belong to heads, with those that fill each up to whole quads.
    pub fn padded(&self, features: usize) -> usize {
        features / (self.width / self.config.heads) * self.head_width
    }

    /// The constants that all kernels may use.
    fn constants(&self, source: &mut Source) {
        let NetConfig { image_size, channels, patch, heads, .. } = self.config;
        source.numbers(&[
            ("PREFIX", self.prefix),
            ("PATCHES", self.patches),
            ("TOKENS", self.tokens),
            ("UNMODULATED", self.text_tokens),
            ("SIDE", self.config.side()),
            ("SIZE", image_size),
            ("PIXELS", image_size * image_size),
            ("CHANNELS", channels),
            ("PATCH", patch),
            ("PATCH_VALUES", self.config.patch_values()),
            ("WIDTH_QUADS", self.width / 4),
            ("PARTS", PARTS),
            ("HEADS", heads),
            ("HEAD_QUADS", self.head_width / 4),
        ]);
        // In whole billionths: writing any number with a point takes as much code as a kernel.
        let billionths = (1e9 * NORM_EPSILON).round() as usize;
        source.add(&["const NORM_EPSILON = ", &billionths.to_string(), "e-9f;\n"]);
    }

    /// The source of a kernel.
    pub fn source(&self, kernel: Kernel) -> String {
        let mut source = Source::default();
        if let Kernel::Product(product) = kernel {
            self.product(product, &mut source);
            return source.0;
        }
        self.constants(&mut source);
        match kernel {
            Kernel::Product(_) => {}
            Kernel::Attention => self.attention(&mut source),
            Kernel::Rotary => source.add(&[wgsl!("rotary")]),
            Kernel::Prefix => source.add(&[wgsl!("prefix")]),
            Kernel::Rgba => source.add(&[wgsl!("rgba")]),
        }
        source.0
    }

    fn product(&self, product: Product, source: &mut Source) {
        let Product { inputs, outputs, input, output, of_patches } = product;
        // It may begin with a directive, which must come before all else.
        source.add(&[match self.arithmetic {
            ComputePrecision::Half => wgsl!("arithmetic_half"),
            ComputePrecision::HalfWeights => wgsl!("weights_half"),
            ComputePrecision::Single => wgsl!("weights_full"),
        }]);
        self.constants(source);
        source.numbers(&[
            ("INPUT_QUADS", inputs.div_ceil(4)),
            ("OUTPUT_QUADS", outputs.div_ceil(4)),
            ("WEIGHT_QUADS", outputs.next_multiple_of(TILE_COLUMNS) / 4),
            ("TILE_ROWS", TILE_ROWS),
            ("TILE_QUADS", TILE_COLUMNS / 4),
            ("DEPTH", DEPTH),
        ]);
        let reads = match input {
            Input::Plain => wgsl!("input_plain"),
            Input::Patches => wgsl!("input_patches"),
            Input::Modulated(part) => {
                source.numbers(&[("SHIFT", part)]);
                wgsl!("input_modulated")
            }
            Input::Rms => wgsl!("input_rms"),
        };
        let stores = match output {
            Output::Plain => wgsl!("output_plain"),
            Output::Gelu => wgsl!("output_gelu"),
            Output::Silu => wgsl!("output_silu"),
            Output::Times => wgsl!("output_times"),
            Output::Positions => wgsl!("output_positions"),
            Output::Gated(part) => {
                source.numbers(&[("GATE", part)]);
                wgsl!("output_gated")
            }
            Output::Scaled => wgsl!("output_scaled"),
            Output::Slots => wgsl!("output_slots"),
            Output::Step => wgsl!("output_step"),
        };
        source.add(&[reads, stores, wgsl!("linear")]);
        // What an input and an output share is needed once.
        if input == Input::Patches || output == Output::Step {
            source.add(&[wgsl!("pixel")]);
        }
        if matches!(input, Input::Modulated(_)) || matches!(output, Output::Gated(_)) {
            source.add(&[wgsl!("modulation")]);
        }
        if output == Output::Step {
            source.add(&[self.gives()]);
        }
        // How many rows there are, the token of a row of patches, and the token that an input is read from.
        let rows = if of_patches { "call.patch_rows" } else { "call.rows" };
        let token = if self.prefix == 0 { "row" } else { "row / PATCHES * TOKENS + PREFIX + row % PATCHES" };
        let read = if output == Output::Step { "token_of(row)" } else { "row" };
        source.add(&["fn rows() -> u32 { return ", rows, "; }\n"]);
        source.add(&["fn token_of(row: u32) -> u32 { return ", token, "; }\n"]);
        source.add(&["fn source_row(row: u32) -> u32 { return ", read, "; }\n"]);
    }

    fn gives(&self) -> &'static str {
        match self.config.output {
            model::Output::Velocity => wgsl!("gives_velocity"),
            model::Output::Image => wgsl!("gives_image"),
        }
    }

    fn attention(&self, source: &mut Source) {
        let quads = self.head_width / 4;
        let head_width = (self.width / self.config.heads).to_string();
        source.add(&["const SCALE = inverseSqrt(", &head_width, "f);\n"]);
        source.numbers(&[("THREADS", QUERIES), ("TILE_KEYS", self.tile_keys())]);
        for line in wgsl!("attention").lines() {
            match line.strip_prefix("//@ ") {
                Some(each) => (0..quads).for_each(|i| source.add(&[&each.replace('#', &i.to_string()), "\n"])),
                None => source.add(&[line, "\n"]),
            }
        }
    }

    /// Keys that a workgroup of attention takes at once.
    pub fn tile_keys(&self) -> usize {
        (KEY_QUADS * 4 / self.head_width).max(1)
    }

    /// Workgroups that cover the queries of a head.
    pub fn query_groups(&self) -> u32 {
        self.tokens.div_ceil(QUERIES) as u32
    }
}

/// The source of a kernel on its way. Its functions are not inlined: they are called for every part.
#[derive(Default)]
struct Source(String);

impl Source {
    #[inline(never)]
    fn add(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.0.push_str(part));
    }

    #[inline(never)]
    fn numbers(&mut self, numbers: &[(&str, usize)]) {
        for (name, value) in numbers {
            self.add(&["const ", name, " = ", &value.to_string(), "u;\n"]);
        }
    }
}

/// The kernels of a model, compiled when they are first asked for.
#[derive(Debug, Default)]
pub(super) struct Kernels(RefCell<Vec<(Kernel, wgpu::ComputePipeline)>>);

impl Kernels {
    /// The pipeline of a kernel.
    pub fn pipeline(&self, gpu: &Gpu, sizes: &Sizes, kernel: Kernel) -> wgpu::ComputePipeline {
        let mut compiled = self.0.borrow_mut();
        if let Some((_, pipeline)) = compiled.iter().find(|(other, _)| *other == kernel) {
            return pipeline.clone();
        }
        let pipeline = compile(gpu, &sizes.source(kernel));
        compiled.push((kernel, pipeline.clone()));
        pipeline
    }

    /// Whose pipeline it is.
    #[cfg(feature = "train")]
    pub fn kernel_of(&self, pipeline: &wgpu::ComputePipeline) -> Option<Kernel> {
        self.0.borrow().iter().find(|(_, other)| other == pipeline).map(|(kernel, _)| *kernel)
    }
}

fn compile(gpu: &Gpu, source: &str) -> wgpu::ComputePipeline {
    let source = wgpu::ShaderSource::Wgsl(source.into());
    let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    })
}
