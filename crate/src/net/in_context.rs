//! The transformer of improved MeanFlow (arXiv 2512.02012) and pixel MeanFlow (arXiv 2601.22158): what it is told
//! stands as learned tokens in front of the patches, and nothing modulates the blocks.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::embed::{GuidanceEmbedding, Table, TimeEmbedding};
use super::init::{Init, Initializer};
use super::param::{ParamRole, Roles};
use super::patches::{patchify, unpatchify};
use super::rotary::Rotary;
use super::{Conditioning, InContextConfig, NetConfig, Positions, Velocities};
use crate::dual::{Dual, attend, linear, rms_norm, silu};

/// ε of every normalisation.
const NORM_EPSILON: f64 = 1e-6;
/// The linear layers start as N(0, 0.32²/inputs).
const START: f64 = 0.32;

/// Tokens for class, guidance, interval and time, then the patches.
#[derive(Module, Debug)]
pub struct InContext {
    patch: Linear,
    /// Widens the patches again, where they went through a bottleneck.
    widen: Option<Linear>,
    time_h: TimeEmbedding,
    pub(super) label: Option<Table>,
    guidance: Option<GuidanceEmbedding>,
    /// The learned tokens, all groups one after the other, `[tokens, width]`.
    prefix: Prefix,
    places: Option<Table>,
    blocks: Vec<Block>,
    head: Head,
    pub(super) velocity: Option<VelocityHead>,
    rotary: Rotary,
    #[module(skip)]
    pub(super) config: NetConfig,
    #[module(skip)]
    pub(super) roles: Roles,
}

/// Learned tokens by what they carry.
#[derive(Module, Debug)]
struct Prefix {
    class: Option<Table>,
    scale: Option<Table>,
    start: Option<Table>,
    end: Option<Table>,
    time: Table,
}

/// The auxiliary head: the instantaneous velocity from the same trunk.
#[derive(Module, Debug)]
pub(super) struct VelocityHead {
    blocks: Vec<Block>,
    head: Head,
}

/// Linear layer of a block: starts as N(0, 0.32²/inputs), without bias.
fn scaled(init: &Init, input: usize, output: usize) -> Linear {
    let start = Initializer::Deviation(START / (input as f64).sqrt());
    init.linear_without_bias(ParamRole::Hidden, input, output, start)
}

/// `x += a · attention(norm(x))`, then `x += b · mlp(norm(x))`, with learned vectors `a` and `b` that start at zero.
#[derive(Module, Debug)]
struct Block {
    norm1: Param<Tensor<1>>,
    q: Linear,
    k: Linear,
    v: Linear,
    proj: Linear,
    q_norm: Param<Tensor<1>>,
    k_norm: Param<Tensor<1>>,
    attention_scale: Param<Tensor<1>>,
    norm2: Param<Tensor<1>>,
    gate: Linear,
    up: Linear,
    down: Linear,
    mlp_scale: Param<Tensor<1>>,
    heads: usize,
}

impl Block {
    fn new(width: usize, heads: usize, hidden: usize, init: &Init) -> Self {
        let square = || scaled(init, width, width);
        let head = width / heads;
        Self {
            norm1: init.vector(width, 1.0),
            q: square(),
            k: square(),
            v: square(),
            proj: square(),
            q_norm: init.vector(head, 1.0),
            k_norm: init.vector(head, 1.0),
            attention_scale: init.vector(width, 0.0),
            norm2: init.vector(width, 1.0),
            gate: scaled(init, width, hidden),
            up: scaled(init, width, hidden),
            down: scaled(init, hidden, width),
            mlp_scale: init.vector(width, 0.0),
            heads,
        }
    }

    fn forward(&self, x: Dual<3>, rotary: &Rotary) -> Dual<3> {
        let scale = |by: &Param<Tensor<1>>| Dual::constant(by.val().reshape([1, 1, -1]));
        let x = x.clone() + self.attention(norm(x, &self.norm1), rotary) * scale(&self.attention_scale);
        let inner = norm(x.clone(), &self.norm2);
        let mlp = linear(&self.down, silu(linear(&self.gate, inner.clone())) * linear(&self.up, inner));
        x + mlp * scale(&self.mlp_scale)
    }

    fn attention(&self, x: Dual<3>, rotary: &Rotary) -> Dual<3> {
        let [batch, tokens, width] = x.dims();
        let split = |layer: &Linear| {
            linear(layer, x.clone()).reshape([batch, tokens, self.heads, width / self.heads]).swap_dims(1, 2)
        };
        let turned = |layer, weight| rotary.turn(norm(split(layer), weight));
        let joined = attend(turned(&self.q, &self.q_norm), turned(&self.k, &self.k_norm), split(&self.v));
        linear(&self.proj, joined.swap_dims(1, 2).reshape([batch, tokens, width]))
    }
}

fn norm<const D: usize>(x: Dual<D>, weight: &Param<Tensor<1>>) -> Dual<D> {
    rms_norm(x, weight.val(), NORM_EPSILON)
}

/// Normalisation and projection to patches; zero at the start.
#[derive(Module, Debug)]
struct Head {
    norm: Param<Tensor<1>>,
    linear: Linear,
}

impl Head {
    fn new(config: &NetConfig, init: &Init) -> Self {
        let linear = init.linear(ParamRole::Output, config.width, config.patch_values(), Initializer::Zeros);
        Self { norm: init.vector(config.width, 1.0), linear }
    }

    fn forward(&self, tokens: Dual<3>) -> Dual<3> {
        linear(&self.linear, norm(tokens, &self.norm))
    }
}

impl InContext {
    /// Initialisation is the authors': see [`START`]; embeddings N(0, 1/inputs), tokens N(0, 1/width), zero for the
    /// scales of the blocks and for the output.
    pub(super) fn new(config: &NetConfig, parts: &InContextConfig, init: &Init) -> Self {
        let NetConfig { width, heads, classes, .. } = *config;
        let deviation = |inputs: usize| Initializer::Deviation((inputs as f64).powf(-0.5));
        let embedding = [deviation(super::embed::FREQUENCIES), deviation(width)];
        let tokens = |count: usize| Table::new(count, width, deviation(width), init);
        let blocks = |count| (0..count).map(|_| Block::new(width, heads, parts.hidden, init)).collect();
        let prefix = config.prefix_tokens(parts);
        let device = init.device;
        let (places, rotary) = match parts.positions {
            Positions::Sequence => (None, Rotary::along(prefix + config.side() * config.side(), width / heads, device)),
            Positions::Plane => (
                Some(Table::new(prefix + config.side() * config.side(), width, Initializer::Deviation(0.02), init)),
                Rotary::over(prefix, config.side(), width / heads, device),
            ),
        };
        let [guided, limited] = config.guidance.flags();
        let input = |values, features| init.linear(ParamRole::Input, values, features, Initializer::Xavier);
        Self {
            patch: input(config.patch_values(), parts.bottleneck.unwrap_or(width)),
            widen: parts.bottleneck.map(|narrow| input(narrow, width)),
            time_h: TimeEmbedding::new(width, embedding, init),
            label: (classes > 0).then(|| tokens(classes + 1)),
            guidance: GuidanceEmbedding::new(config, embedding, init),
            prefix: Prefix {
                class: (classes > 0).then(|| tokens(parts.class_tokens)),
                scale: guided.then(|| tokens(parts.guidance_tokens)),
                start: limited.then(|| tokens(parts.interval_tokens)),
                end: limited.then(|| tokens(parts.interval_tokens)),
                time: tokens(parts.time_tokens),
            },
            places,
            blocks: blocks(config.depth),
            head: Head::new(config, init),
            velocity: config
                .velocity_head
                .map(|own| VelocityHead { blocks: blocks(own), head: Head::new(config, init) }),
            rotary,
            config: config.clone(),
            roles: Roles::default(),
        }
    }

    pub(super) fn forward(&self, z: Dual<4>, conditioning: Conditioning, both: bool) -> Velocities {
        let head = self.velocity.as_ref().filter(|_| both);
        let shared = self.blocks.len() - head.map_or(0, |head| head.blocks.len());
        let through = |blocks: &[Block], x: Dual<3>| blocks.iter().fold(x, |x, block| block.forward(x, &self.rotary));
        let trunk = through(&self.blocks[..shared], self.sequence(z.clone(), &conditioning));
        let velocity = |head: &Head, tokens: Dual<3>, z: Dual<4>, t: Dual<1>| {
            let patches = self.config.side() * self.config.side();
            let prefix = tokens.dims()[1] - patches;
            let output = unpatchify(head.forward(tokens.narrow(1, prefix, patches)), &self.config);
            self.config.to_velocity(z, output, t)
        };

        // The head is not differentiated along anything: only its value is trained.
        let instant = head.map(|head| {
            let (z, t) = (Dual::constant(z.primal.clone()), Dual::constant(conditioning.t.primal.clone()));
            velocity(&head.head, through(&head.blocks, trunk.primal.clone().into()), z, t).primal
        });
        let average = velocity(&self.head, through(&self.blocks[shared..], trunk), z, conditioning.t);
        Velocities { average, instant }
    }

    /// `[class | scale | start | end | time | patches]`, each group of tokens with its embedding added.
    fn sequence(&self, z: Dual<4>, conditioning: &Conditioning) -> Dual<3> {
        let Conditioning { r, t, labels } = conditioning;
        let [batch] = t.dims();
        let width = self.config.width;
        let group = |tokens: &Table, embedding: Dual<2>| {
            let tokens = Dual::constant(tokens.weight.val().unsqueeze::<3>());
            tokens + embedding.reshape([batch, 1, width])
        };
        let mut groups = Vec::new();
        if let (Some(tokens), Some(table)) = (&self.prefix.class, &self.label) {
            let labels = labels.as_ref().expect("a class-conditional network needs labels");
            groups.push(group(tokens, labels.embed(table)));
            let embedded = self
                .guidance
                .as_ref()
                .map(|guidance| guidance.forward(labels.guidance_or_none(&t.primal.clone().inner())));
            let tokens = [&self.prefix.scale, &self.prefix.start, &self.prefix.end].into_iter().flatten();
            groups.extend(tokens.zip(embedded.into_iter().flatten()).map(|(tokens, part)| group(tokens, part)));
        }
        groups.push(group(&self.prefix.time, self.time_h.forward(t.clone() - r.clone())));
        let patches = linear(&self.patch, patchify(z, &self.config));
        groups.push(match &self.widen {
            Some(widen) => linear(widen, patches),
            None => patches,
        });
        let sequence = groups.into_iter().reduce(|sequence, group| sequence.concat(group, 1));
        let sequence = sequence.expect("there are patches");
        match &self.places {
            Some(places) => sequence + places.weight.val().unsqueeze::<3>().into(),
            None => sequence,
        }
    }

    /// Trainable parameters of a configuration.
    pub(super) fn parameters(config: &NetConfig, parts: &InContextConfig) -> usize {
        let (width, values) = (config.width, config.patch_values());
        let prefix = config.prefix_tokens(parts);
        let patch = match parts.bottleneck {
            Some(narrow) => (values + 1) * narrow + (narrow + 1) * width,
            None => (values + 1) * width,
        };
        let tokens = prefix + config.side() * config.side();
        let places = if parts.positions == Positions::Plane { tokens * width } else { 0 };
        let label = if config.classes > 0 { (config.classes + 1) * width } else { 0 };
        let times = (1 + config.guidance.count()) * TimeEmbedding::parameters(width);
        let block = 4 * width * width + 3 * width * parts.hidden + 4 * width + 2 * (width / config.heads);
        let head = width + (width + 1) * values;
        let velocity = config.velocity_head.map_or(0, |own| own * block + head);
        patch + times + label + prefix * width + places + config.depth * block + head + velocity
    }
}
