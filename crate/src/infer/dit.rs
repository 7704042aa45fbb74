//! The Diffusion Transformer (DiT, arXiv 2212.09748), for inference; over burn, for training, it is `net::dit`.

use super::conditions::Embeddings;
use super::layers::{Linear, Scope, Table};
use super::ops::{Activation, ConditionOps, Gate, Modulation, Ops, Time};
use crate::model::NetConfig;
use crate::model::text::TextConditioning;

/// Times and class modulate every block (adaLN-zero).
#[derive(Debug)]
pub(crate) struct Dit {
    embeddings: Embeddings,
    /// Whether the last blocks are conditioned on `r` in place of `t` (decoupled MeanFlow, arXiv 2510.24474).
    is_decoupled: bool,
    /// Text tokens and their places, and what the network does with them.
    text: Option<Text>,
    patch: Linear,
    blocks: Vec<Block>,
    head: Head,
}

#[derive(Debug)]
struct Text {
    embedding: Table,
    positions: Table,
    conditioning: TextConditioning,
}

#[derive(Debug)]
struct Block {
    modulation: Modulation,
    qkv: Linear,
    proj: Linear,
    fc1: Linear,
    fc2: Linear,
}

#[derive(Debug)]
struct Head {
    modulation: Modulation,
    linear: Linear,
}

impl Dit {
    /// Finds its layers.
    pub fn new(config: &NetConfig, params: &Scope) -> Self {
        let NetConfig { depth, decoder_depth, .. } = *config;
        let encoder = depth - decoder_depth.unwrap_or(0);
        let modulation = |params: &Scope, index: usize| {
            let condition = usize::from(decoder_depth.is_some() && index >= encoder);
            Modulation { layer: params.linear("modulation"), condition, index }
        };
        let head = params.part("head");
        Self {
            embeddings: Embeddings::new(params),
            is_decoupled: decoder_depth.is_some(),
            text: config.text.as_ref().and_then(|text| {
                Some(Text {
                    embedding: params.table("text.embedding")?,
                    positions: params.table("text.positions")?,
                    conditioning: text.conditioning,
                })
            }),
            patch: params.linear("patch"),
            blocks: params.parts("blocks", depth, |i, params| Block {
                modulation: modulation(params, i),
                qkv: params.linear("attention.qkv"),
                proj: params.linear("attention.proj"),
                fc1: params.linear("mlp.fc1"),
                fc2: params.linear("mlp.fc2"),
            }),
            head: Head { modulation: modulation(&head, depth), linear: head.linear("linear") },
        }
    }

    /// The layers that make modulations of conditions, by their index.
    pub fn modulations(&self) -> Vec<&Modulation> {
        self.blocks.iter().map(|block| &block.modulation).chain([&self.head.modulation]).collect()
    }

    /// What the blocks are conditioned on: the first ones and, where that is something else, the last ones.
    pub fn conditions<O: ConditionOps>(&self, ops: &mut O) -> Vec<O::Vector> {
        let last = self.is_decoupled.then_some(Time::R);
        [Some(Time::T), last].into_iter().flatten().map(|at| self.condition(ops, at)).collect()
    }

    /// What conditions blocks that stand at a time, through SiLU.
    fn condition<O: ConditionOps>(&self, ops: &mut O, at: Time) -> O::Vector {
        let each = self.embeddings.each(ops, at).into_iter();
        // Some time is an input of every network.
        let mut sum = each.reduce(|sum, part| ops.add(sum, part)).unwrap_or_else(|| ops.concat(Vec::new()));
        if let Some(Text { embedding, positions, conditioning: TextConditioning::Adaln }) = &self.text {
            let tokens = ops.prompt(embedding, positions.rows);
            let text = ops.sum(tokens, embedding.width);
            sum = ops.add(sum, text);
        }
        ops.silu(sum)
    }

    /// Tokens in front of the patches.
    pub fn prefix(&self) -> usize {
        self.tokens_of(TextConditioning::InContext)
    }

    /// Text tokens beside the patches.
    pub fn text_tokens(&self) -> usize {
        self.tokens_of(TextConditioning::KeysValues)
    }

    fn tokens_of(&self, conditioning: TextConditioning) -> usize {
        self.text.as_ref().filter(|text| text.conditioning == conditioning).map_or(0, |text| text.positions.rows)
    }

    /// The text tokens in front of the patches or beside them, in their places.
    pub fn prefix_tokens<O: ConditionOps>(&self, ops: &mut O) -> Option<O::Vector> {
        let Text { embedding, positions, .. } =
            self.text.as_ref().filter(|text| text.conditioning != TextConditioning::Adaln)?;
        let tokens = ops.prompt(embedding, positions.rows);
        let places = ops.rows(positions, positions.rows);
        Some(ops.add(tokens, places))
    }

    /// One network call.
    pub fn forward<O: Ops>(&self, ops: &mut O) {
        let patches = ops.patches();
        let x = ops.tokens(patches, &self.patch);
        let has_text = self.text_tokens() > 0;
        let x = self.blocks.iter().fold(x, |x, block| block.forward(ops, x, has_text));
        let normed = ops.modulate(&x, &self.head.modulation, 0);
        ops.output(normed, &self.head.linear);
    }
}

impl Block {
    /// `x += gate · attention(modulate(x))`, then `x += gate · mlp(modulate(x))`. Not inlined, like the operations:
    /// browsers compile them while a visitor waits, and take more than twice as long for a function of twice the size.
    #[inline(never)]
    fn forward<O: Ops>(&self, ops: &mut O, x: O::Value, has_text: bool) -> O::Value {
        let normed = match has_text {
            true => ops.modulate_beside_text(&x, &self.modulation, 0),
            false => ops.modulate(&x, &self.modulation, 0),
        };
        let qkv = ops.linear(normed, &self.qkv, Activation::Heads);
        let heads = ops.attention(qkv);
        let x = ops.add(x, Gate::Modulation(&self.modulation, 2), heads, &self.proj);
        let normed = ops.modulate(&x, &self.modulation, 3);
        let hidden = ops.linear(normed, &self.fc1, Activation::Gelu);
        ops.add(x, Gate::Modulation(&self.modulation, 5), hidden, &self.fc2)
    }
}
