//! The Diffusion Transformer (DiT, arXiv 2212.09748) as MeanFlow uses it (arXiv 2505.13447, appendix A).

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::embed::{GuidanceEmbedding, Table, TimeEmbedding, positions};
use super::init::Init;
use super::patches::{patchify, unpatchify};
use super::text::TextEmbedding;
use super::{Conditioning, NetConfig, TimeInputs, Velocities};
use crate::dual::{Dual, attend, gelu_tanh, layer_norm, linear, silu};
use crate::error::Error;
use crate::model::tables::NORM_EPSILON;
use crate::model::text::TextConditioning;

/// Times and class modulate every block (adaLN-zero).
#[derive(Module, Debug)]
pub struct Dit {
    patch: Linear,
    time_t: Option<TimeEmbedding>,
    time_r: Option<TimeEmbedding>,
    time_h: Option<TimeEmbedding>,
    pub(super) label: Option<Table>,
    guidance: Option<GuidanceEmbedding>,
    pub(super) text: Option<TextEmbedding>,
    blocks: Vec<Block>,
    head: Head,
    pub(super) velocity: Option<VelocityHead>,
    #[module(skip)]
    positions: Tensor<3>,
    #[module(skip)]
    pub(super) config: NetConfig,
}

/// Final modulation and projection of tokens to patches; zero at the start, so a fresh network gives zero.
#[derive(Module, Debug)]
struct Head {
    modulation: Linear,
    linear: Linear,
}

impl Head {
    fn new(init: &Init) -> Self {
        Self { modulation: init.linear("modulation"), linear: init.linear("linear") }
    }

    fn forward(&self, tokens: Dual<3>, condition: Dual<3>) -> Dual<3> {
        let [shift, scale] = linear(&self.modulation, condition).chunk(2);
        linear(&self.linear, modulate(tokens, shift, scale))
    }
}

/// The auxiliary head of improved MeanFlow (arXiv 2512.02012): the instantaneous velocity from the same trunk.
#[derive(Module, Debug)]
pub(super) struct VelocityHead {
    blocks: Vec<Block>,
    head: Head,
}

impl Dit {
    pub(super) fn new(config: &NetConfig, init: &Init) -> Self {
        let blocks = |init: &Init| init.repeat("blocks", |init| Block::new(config.heads, init));
        Self {
            patch: init.linear("patch"),
            time_t: init.optional("time_t", TimeEmbedding::new),
            time_r: init.optional("time_r", TimeEmbedding::new),
            time_h: init.optional("time_h", TimeEmbedding::new),
            label: init.optional("label", Table::new),
            guidance: init.optional("guidance", GuidanceEmbedding::new),
            text: init.optional("text", TextEmbedding::new),
            blocks: blocks(init),
            head: Head::new(&init.scope("head")),
            velocity: init.optional("velocity", |init| VelocityHead {
                blocks: blocks(init),
                head: Head::new(&init.scope("head")),
            }),
            positions: positions(config.side(), config.width, init.device),
            config: config.clone(),
        }
    }

    pub(super) fn forward(&self, z: Dual<4>, conditioning: Conditioning, both: bool) -> Velocities {
        let condition = self.condition(&conditioning);
        // Decoupled MeanFlow (arXiv 2510.24474, section 3): the decoder is conditioned by r as the encoder is by t.
        let decoder = self.config.decoder_depth;
        let of_decoder =
            decoder.map(|_| self.condition(&Conditioning { t: conditioning.r.clone(), ..conditioning.clone() }));
        let head = self.velocity.as_ref().filter(|_| both);
        let shared = self.blocks.len() - head.map_or(decoder.unwrap_or(0), |head| head.blocks.len());
        let patches = linear(&self.patch, patchify(z.clone(), &self.config)) + self.positions.clone().into();
        let text = |kind| self.text.as_ref()?.embed(kind, &self.config, conditioning.labels.as_ref());
        let tokens = match text(TextConditioning::InContext) {
            Some(words) => words.concat(patches, 1),
            None => patches,
        };
        let words = text(TextConditioning::KeysValues);
        let through = |blocks: &[Block], x: Dual<3>, condition: &Dual<3>| {
            blocks.iter().fold(x, |x, block| block.forward(x, condition.clone(), words.as_ref()))
        };
        let trunk = through(&self.blocks[..shared], tokens, &condition);
        let velocity = |head: &Head, tokens: Dual<3>, condition: Dual<3>, z: Dual<4>, t: Dual<1>| {
            let patches = self.config.side() * self.config.side();
            let before = tokens.dims()[1] - patches;
            let output = head.forward(tokens.narrow(1, before, patches), condition);
            self.config.to_velocity(z, unpatchify(output, &self.config), t)
        };

        // The head is not differentiated along anything: only its value is trained.
        let instant = head.map(|head| {
            let condition = Dual::constant(condition.primal.clone());
            let own = through(&head.blocks, trunk.primal.clone().into(), &condition);
            let (z, t) = (Dual::constant(z.primal.clone()), Dual::constant(conditioning.t.primal.clone()));
            velocity(&head.head, own, condition, z, t).primal
        });
        let condition = of_decoder.unwrap_or(condition);
        let last = through(&self.blocks[shared..], trunk, &condition);
        Velocities { average: velocity(&self.head, last, condition, z, conditioning.t), instant }
    }

    /// The decoupled network of a Flow Matching network, see [`super::Net::into_decoupled`].
    pub(super) fn into_decoupled(mut self, decoder_depth: usize) -> Result<Self, Error> {
        let NetConfig { times, decoder_depth: before, .. } = self.config;
        if before.is_some() || !matches!(times, TimeInputs::T | TimeInputs::TAndH) {
            return Err(Error::Config(format!(
                "only a Diffusion Transformer told `t` or `t,h`, without a decoder, can become a decoupled one; this \
                 one is told {times:?} with decoder_depth {before:?}"
            )));
        }
        let config =
            NetConfig { times: TimeInputs::T, velocity_head: None, decoder_depth: Some(decoder_depth), ..self.config };
        config.validate()?;
        // At r = t the embedding of h = 0 is a constant, which the bias of that of t takes over.
        if let (Some(time_t), Some(time_h)) = (self.time_t.as_mut(), self.time_h.take()) {
            time_t.absorb(&time_h);
        }
        Ok(Self { velocity: None, config, ..self })
    }

    /// What modulates the blocks, `[batch, 1, width]`, through SiLU.
    fn condition(&self, conditioning: &Conditioning) -> Dual<3> {
        let Conditioning { r, t, labels } = conditioning;
        let [batch] = t.dims();
        let times = [(&self.time_t, t.clone()), (&self.time_r, r.clone()), (&self.time_h, t.clone() - r.clone())];
        let embeddings = times.into_iter().filter_map(|(embedding, time)| Some(embedding.as_ref()?.forward(time)));
        let mut condition = embeddings.reduce(|sum, time| sum + time).expect("every network is told some time");
        if let Some(table) = &self.label {
            let labels = labels.as_ref().expect("a class-conditional network needs labels");
            condition = condition + labels.embed(table);
        }
        let text = |text: &TextEmbedding| text.embed(TextConditioning::Adaln, &self.config, labels.as_ref());
        if let Some(words) = self.text.as_ref().and_then(text) {
            condition = condition + words.reshape([batch, self.config.width]);
        }
        if let (Some(guidance), Some(labels)) = (&self.guidance, labels) {
            let parts = guidance.forward(labels.guidance_or_none(&t.primal.clone().inner()));
            condition = parts.into_iter().fold(condition, |sum, part| sum + part);
        }
        silu(condition).reshape([batch, 1, self.config.width])
    }
}

/// `x̂ · (1 + scale) + shift` of the normalised tokens.
///
/// # Shapes
/// `x: [batch, tokens, width]`, `shift`, `scale`: `[batch, 1, width]`.
pub(super) fn modulate(x: Dual<3>, shift: Dual<3>, scale: Dual<3>) -> Dual<3> {
    layer_norm(x, NORM_EPSILON) * scale.shift(1.0) + shift
}

/// The transformer block, attention and MLP, modulated by the conditioning (adaLN-zero): `x += gate ·
/// attention(modulate(x))`, then `x += gate · mlp(modulate(x))`.
#[derive(Module, Debug)]
pub struct Block {
    modulation: Linear,
    attention: Attention,
    mlp: Mlp,
}

impl Block {
    /// A fresh block; its gates are zero, so it starts as the identity (adaLN-zero).
    pub(super) fn new(heads: usize, init: &Init) -> Self {
        Self {
            modulation: init.linear("modulation"),
            attention: Attention::new(heads, &init.scope("attention")),
            mlp: Mlp::new(&init.scope("mlp")),
        }
    }

    /// # Shapes
    /// `x: [batch, tokens, width]`; `condition: [batch, 1, width]`, already through SiLU; `words: [batch, words,
    /// width]`, which attention takes further keys and values from.
    pub fn forward(&self, x: Dual<3>, condition: Dual<3>, words: Option<&Dual<3>>) -> Dual<3> {
        let [shift_a, scale_a, gate_a, shift_m, scale_m, gate_m] = linear(&self.modulation, condition).chunk(2);
        let x = x.clone() + gate_a * self.attention.forward(modulate(x, shift_a, scale_a), words);
        x.clone() + gate_m * self.mlp.forward(modulate(x, shift_m, scale_m))
    }
}

/// Multi-head self-attention; `qkv` gives `[q | k | v]`, each split into heads.
#[derive(Module, Debug)]
pub struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    fn new(heads: usize, init: &Init) -> Self {
        Self { qkv: init.linear("qkv"), proj: init.linear("proj"), heads }
    }

    fn forward(&self, x: Dual<3>, words: Option<&Dual<3>>) -> Dual<3> {
        let [batch, tokens, width] = x.dims();
        let split = |part: Dual<3>| {
            let [_, tokens, _] = part.dims();
            part.reshape([batch, tokens, self.heads, width / self.heads]).swap_dims(1, 2)
        };
        let [q, mut k, mut v] = linear(&self.qkv, x).chunk(2).map(split);
        if let Some(words) = words {
            let [_, of_words, values] = linear(&self.qkv, layer_norm(words.clone(), NORM_EPSILON)).chunk(2).map(split);
            (k, v) = (of_words.concat(k, 2), values.concat(v, 2));
        }
        let joined = attend(q, k, v).swap_dims(1, 2).reshape([batch, tokens, width]);
        linear(&self.proj, joined)
    }
}

/// Two linear layers with a tanh-GELU between.
#[derive(Module, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    fn new(init: &Init) -> Self {
        Self { fc1: init.linear("fc1"), fc2: init.linear("fc2") }
    }

    fn forward(&self, x: Dual<3>) -> Dual<3> {
        linear(&self.fc2, gelu_tanh(linear(&self.fc1, x)))
    }
}
