//! The kernels of a model: WGSL put together for its sizes, compiled once.

use crate::model::tables::NORM_EPSILON;
use crate::model::{NetConfig, Output};

use super::device::Gpu;

/// Inputs that a matrix product takes at once.
pub(super) const DEPTH: usize = 8;
/// Threads of an attention workgroup, one query each.
const QUERIES: usize = 32;
/// Most features of a head: each thread keeps a query and a sum of that many in registers.
pub(super) const MAX_HEAD_WIDTH: usize = 256;
/// Quads of workgroup memory for keys and for values, each: 2 KB for the usual heads, 16 KB being what every GPU has.
const KEY_QUADS: usize = 128;

/// Vectors of a modulation: a block's shift, scale and gate of attention, then of the MLP; the head uses two.
pub(super) const PARTS: usize = 6;

/// Rows and columns that a workgroup makes at once. Small, so that one picture of 64 tokens already makes many
/// workgroups; each thread has 4 × 8 of them, as what it reads takes longer than what it computes.
pub(super) const TILE_ROWS: usize = 32;
/// See [`TILE_ROWS`]; matrices are filled up to whole tiles.
pub(super) const TILE_COLUMNS: usize = 64;

/// One matrix product with what is fused into it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Product {
    /// Conditions to the modulation of a block or the head, into slots.
    Modulation,
    /// Pixels to tokens.
    Patch,
    /// Normalised tokens to queries, keys and values.
    Qkv,
    /// Attention back into the tokens.
    Proj,
    /// Normalised tokens to the MLP's hidden layer.
    Fc1,
    /// The hidden layer back into the tokens.
    Fc2,
    /// Normalised tokens to pixels, and the step of the solver.
    Head,
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
    /// Tokens of a picture.
    pub tokens: usize,
    /// Features of a token.
    pub width: usize,
    /// Features of a head, filled up to whole quads.
    pub head_width: usize,
    /// Hidden features of the MLP.
    pub hidden: usize,
    /// Of the weights and their products.
    pub arithmetic: ComputePrecision,
}

impl Sizes {
    pub fn new(config: &NetConfig, arithmetic: ComputePrecision) -> Self {
        Self {
            tokens: config.side() * config.side(),
            width: config.width,
            head_width: (config.width / config.heads).next_multiple_of(4),
            hidden: config.mlp_ratio * config.width,
            arithmetic,
            config: config.clone(),
        }
    }

    /// Features of all heads together.
    pub fn heads_width(&self) -> usize {
        self.config.heads * self.head_width
    }

    /// Inputs and outputs of a product.
    fn shape(&self, product: Product) -> [usize; 2] {
        match product {
            Product::Modulation => [self.width, PARTS * self.width],
            Product::Patch => [self.config.patch_values(), self.width],
            Product::Qkv => [self.width, 3 * self.heads_width()],
            Product::Proj => [self.heads_width(), self.width],
            Product::Fc1 => [self.width, self.hidden],
            Product::Fc2 => [self.hidden, self.width],
            Product::Head => [self.width, self.config.patch_values()],
        }
    }

    /// Workgroups side by side that cover the outputs of a product.
    pub fn column_tiles(&self, product: Product) -> u32 {
        let [_, outputs] = self.shape(product);
        outputs.div_ceil(TILE_COLUMNS) as u32
    }

    /// The constants that all kernels may use.
    fn constants(&self) -> String {
        let NetConfig { image_size, channels, patch, heads, .. } = self.config;
        let numbers = [
            ("TOKENS", self.tokens),
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
        ];
        // In whole billionths: writing any number with a point takes as much code as a kernel.
        let norm = format!("const NORM_EPSILON = {}e-9f;\n", (1e9 * NORM_EPSILON).round() as u32);
        numbers.into_iter().map(number).chain([norm]).collect()
    }

    /// The source of a matrix product.
    fn product(&self, product: Product) -> String {
        let [inputs, outputs] = self.shape(product);
        let weight_quads = outputs.next_multiple_of(TILE_COLUMNS) / 4;
        let (reads, stores, more) = self.ends(product);
        let numbers = [
            ("INPUT_QUADS", inputs.div_ceil(4)),
            ("OUTPUT_QUADS", outputs.div_ceil(4)),
            ("WEIGHT_QUADS", weight_quads),
            ("TILE_ROWS", TILE_ROWS),
            ("TILE_QUADS", TILE_COLUMNS / 4),
            ("DEPTH", DEPTH),
        ];
        let numbers = numbers.into_iter().chain(more.iter().copied()).map(number);
        // It may begin with a directive, which must come before all else.
        let weights = match self.arithmetic {
            ComputePrecision::Half => include_str!("wgsl/arithmetic_half.wgsl"),
            ComputePrecision::HalfWeights => include_str!("wgsl/weights_half.wgsl"),
            ComputePrecision::Single => include_str!("wgsl/weights_full.wgsl"),
        };
        let parts = [reads, stores, include_str!("wgsl/linear.wgsl")];
        // What stands in two of the parts is needed once.
        let shared = match product {
            Product::Patch => include_str!("wgsl/pixel.wgsl").to_owned(),
            Product::Head => {
                [include_str!("wgsl/pixel.wgsl"), include_str!("wgsl/modulation.wgsl"), self.gives()].concat()
            }
            Product::Modulation => String::new(),
            _ => include_str!("wgsl/modulation.wgsl").to_owned(),
        };
        let numbers: String = numbers.collect();
        [weights, &self.constants(), &numbers, &parts.concat(), &shared].concat()
    }

    fn gives(&self) -> &'static str {
        match self.config.output {
            Output::Velocity => include_str!("wgsl/gives_velocity.wgsl"),
            Output::Image => include_str!("wgsl/gives_image.wgsl"),
        }
    }

    /// How a product reads its input and stores its result, and which parts of the modulation it uses.
    fn ends(&self, product: Product) -> (&'static str, &'static str, &'static [(&'static str, usize)]) {
        let plain = include_str!("wgsl/input_plain.wgsl");
        let modulated = include_str!("wgsl/input_modulated.wgsl");
        let residual = include_str!("wgsl/output_residual.wgsl");
        match product {
            Product::Modulation => (plain, include_str!("wgsl/output_slots.wgsl"), &[]),
            Product::Patch => {
                (include_str!("wgsl/input_patches.wgsl"), include_str!("wgsl/output_positions.wgsl"), &[])
            }
            Product::Qkv => (modulated, include_str!("wgsl/output_plain.wgsl"), &[("SHIFT", 0)]),
            Product::Proj => (plain, residual, &[("GATE", 2)]),
            Product::Fc1 => (modulated, include_str!("wgsl/output_gelu.wgsl"), &[("SHIFT", 3)]),
            Product::Fc2 => (plain, residual, &[("GATE", 5)]),
            Product::Head => (modulated, include_str!("wgsl/output_step.wgsl"), &[("SHIFT", 0)]),
        }
    }

    /// The source of attention.
    fn attention(&self) -> String {
        let quads = self.head_width / 4;
        let scale = format!("const SCALE = inverseSqrt({}f);\n", self.width / self.config.heads);
        let numbers = [("THREADS", QUERIES), ("TILE_KEYS", (KEY_QUADS / quads).max(1))];
        let body =
            include_str!("wgsl/attention.wgsl").lines().map(|line| match line.trim_start().strip_prefix("//@ ") {
                Some(each) => (0..quads).map(|i| each.replace('#', &i.to_string()) + "\n").collect(),
                None => format!("{line}\n"),
            });
        [self.constants(), scale].into_iter().chain(numbers.into_iter().map(number)).chain(body).collect()
    }

    /// Workgroups that cover the queries of a head.
    pub fn query_groups(&self) -> u32 {
        self.tokens.div_ceil(QUERIES) as u32
    }
}

fn number((name, value): (&str, usize)) -> String {
    format!("const {name} = {value}u;\n")
}

/// The compiled kernels of a model.
#[derive(Debug)]
pub(super) struct Kernels {
    pub modulation: wgpu::ComputePipeline,
    pub patch: wgpu::ComputePipeline,
    pub qkv: wgpu::ComputePipeline,
    pub attention: wgpu::ComputePipeline,
    pub proj: wgpu::ComputePipeline,
    pub fc1: wgpu::ComputePipeline,
    pub fc2: wgpu::ComputePipeline,
    pub head: wgpu::ComputePipeline,
    pub rgba: wgpu::ComputePipeline,
}

impl Kernels {
    pub fn new(gpu: &Gpu, sizes: &Sizes) -> Self {
        let product = |label, which| compile(gpu, label, &sizes.product(which));
        Self {
            modulation: product("modulation", Product::Modulation),
            patch: product("patch", Product::Patch),
            qkv: product("qkv", Product::Qkv),
            attention: compile(gpu, "attention", &sizes.attention()),
            proj: product("proj", Product::Proj),
            fc1: product("fc1", Product::Fc1),
            fc2: product("fc2", Product::Fc2),
            head: product("head", Product::Head),
            rgba: compile(gpu, "rgba", &[&sizes.constants(), include_str!("wgsl/rgba.wgsl")].concat()),
        }
    }
}

fn compile(gpu: &Gpu, label: &str, source: &str) -> wgpu::ComputePipeline {
    let source = wgpu::ShaderSource::Wgsl(source.into());
    let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some(label), source });
    gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(label),
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    })
}
