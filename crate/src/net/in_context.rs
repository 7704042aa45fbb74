//! The transformer of improved MeanFlow (arXiv 2512.02012) and pixel MeanFlow (arXiv 2601.22158): what it is told
//! stands as learned tokens in front of the patches, and nothing modulates the blocks.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::embed::{GuidanceEmbedding, Table, TimeEmbedding};
use super::init::Init;
use super::patches::{patchify, unpatchify};
use super::rotary::Rotary;
use super::{Conditioning, InContextConfig, NetConfig, Velocities};
use crate::dual::{Dual, attend, linear, rms_norm, silu};
use crate::model::tables::NORM_EPSILON;

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
    fn new(heads: usize, init: &Init) -> Self {
        Self {
            norm1: init.param("norm1"),
            q: init.linear("q"),
            k: init.linear("k"),
            v: init.linear("v"),
            proj: init.linear("proj"),
            q_norm: init.param("q_norm"),
            k_norm: init.param("k_norm"),
            attention_scale: init.param("attention_scale"),
            norm2: init.param("norm2"),
            gate: init.linear("gate"),
            up: init.linear("up"),
            down: init.linear("down"),
            mlp_scale: init.param("mlp_scale"),
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
    fn new(init: &Init) -> Self {
        Self { norm: init.param("norm"), linear: init.linear("linear") }
    }

    fn forward(&self, tokens: Dual<3>) -> Dual<3> {
        linear(&self.linear, norm(tokens, &self.norm))
    }
}

impl InContext {
    pub(super) fn new(config: &NetConfig, parts: &InContextConfig, init: &Init) -> Self {
        let blocks = |init: &Init| init.repeat("blocks", |init| Block::new(config.heads, init));
        let (prefix, side, head_width) = (config.prefix_tokens(parts), config.side(), config.width / config.heads);
        let tokens = init.scope("prefix");
        Self {
            patch: init.linear("patch"),
            widen: parts.bottleneck.map(|_| init.linear("widen")),
            time_h: TimeEmbedding::new(&init.scope("time_h")),
            label: init.optional("label", Table::new),
            guidance: init.optional("guidance", GuidanceEmbedding::new),
            prefix: Prefix {
                class: tokens.optional("class", Table::new),
                scale: tokens.optional("scale", Table::new),
                start: tokens.optional("start", Table::new),
                end: tokens.optional("end", Table::new),
                time: Table::new(&tokens.scope("time")),
            },
            places: init.optional("places", Table::new),
            blocks: blocks(init),
            head: Head::new(&init.scope("head")),
            velocity: init.optional("velocity", |init| VelocityHead {
                blocks: blocks(init),
                head: Head::new(&init.scope("head")),
            }),
            rotary: Rotary::new(parts.positions, prefix, side, head_width, init.device),
            config: config.clone(),
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
}
