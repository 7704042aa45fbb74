//! The transformer of improved MeanFlow (arXiv 2512.02012) and pixel MeanFlow (arXiv 2601.22158), for inference; over
//! burn, for training, it is `net::in_context`.

use super::conditions::Embeddings;
use super::layers::{Linear, Param, Scope, Table};
use super::ops::{Activation, ConditionOps, Gate, Ops, Time};
use crate::model::{InContextConfig, NetConfig};

/// What conditions it stands as learned tokens in front of the patches, and nothing modulates the blocks.
#[derive(Debug)]
pub(crate) struct InContext {
    embeddings: Embeddings,
    /// Groups of learned tokens, one for each embedding in their order.
    prefix: Vec<Table>,
    /// A row for each token, where there are such.
    places: Option<Table>,
    patch: Linear,
    /// Widens the patches again, where they went through a bottleneck.
    widen: Option<Linear>,
    blocks: Vec<Block>,
    head: Head,
}

#[derive(Debug)]
struct Block {
    norm1: Param,
    qkv: Linear,
    /// Gains of queries and of keys.
    qk_norm: [Param; 2],
    proj: Linear,
    attention_scale: Param,
    norm2: Param,
    gate: Linear,
    up: Linear,
    down: Linear,
    mlp_scale: Param,
}

#[derive(Debug)]
struct Head {
    norm: Param,
    linear: Linear,
}

impl InContext {
    /// Finds its layers.
    pub fn new(config: &NetConfig, parts: &InContextConfig, params: &Scope) -> Self {
        let tokens = params.part("prefix");
        let head = params.part("head");
        Self {
            embeddings: Embeddings::new(params),
            prefix: config.prefix(parts).into_iter().filter_map(|(name, _)| tokens.table(name)).collect(),
            places: params.table("places"),
            patch: params.linear("patch"),
            widen: parts.bottleneck.map(|_| params.linear("widen")),
            blocks: params.parts("blocks", config.depth, |_, params| Block {
                norm1: params.param("norm1"),
                qkv: params.side_by_side(&["q", "k", "v"]),
                qk_norm: [params.param("q_norm"), params.param("k_norm")],
                proj: params.linear("proj"),
                attention_scale: params.param("attention_scale"),
                norm2: params.param("norm2"),
                gate: params.linear("gate"),
                up: params.linear("up"),
                down: params.linear("down"),
                mlp_scale: params.param("mlp_scale"),
            }),
            head: Head { norm: head.param("norm"), linear: head.linear("linear") },
        }
    }

    /// Tokens in front of the patches.
    pub fn prefix(&self) -> usize {
        self.prefix.iter().map(|tokens| tokens.rows).sum()
    }

    /// What is added to each patch's token, where there is something: rows of `values`, the network's tensors.
    pub fn positions<'a>(&self, values: &'a [Vec<f32>]) -> &'a [f32] {
        self.places.map_or(&[], |Table { param, width, .. }| &values[param][self.prefix() * width..])
    }

    /// The tokens in front of the patches, each group with its embedding added: they depend on no pixel.
    pub fn prefix_tokens<O: ConditionOps>(&self, ops: &mut O) -> O::Vector {
        let conditions = self.embeddings.each(ops, Time::T);
        let group = |(tokens, condition): (&Table, O::Vector)| {
            let tokens = ops.rows(tokens, tokens.rows);
            ops.add(tokens, condition)
        };
        let groups = self.prefix.iter().zip(conditions).map(group).collect();
        let prefix = ops.concat(groups);
        match &self.places {
            Some(places) => {
                let places = ops.rows(places, self.prefix());
                ops.add(prefix, places)
            }
            None => prefix,
        }
    }

    /// One network call.
    pub fn forward<O: Ops>(&self, ops: &mut O) {
        let patches = ops.patches();
        let (patches, layer) = match &self.widen {
            Some(widen) => (ops.linear(patches, &self.patch, Activation::Identity), widen),
            None => (patches, &self.patch),
        };
        let x = ops.tokens(patches, layer);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(ops, x));
        let normed = ops.rms_norm(&x, self.head.norm);
        ops.output(normed, &self.head.linear);
    }
}

impl Block {
    /// `x += a · attention(norm(x))`, then `x += b · mlp(norm(x))`, with learned vectors `a` and `b`. Not inlined, as
    /// the block of a Diffusion Transformer is not.
    #[inline(never)]
    fn forward<O: Ops>(&self, ops: &mut O, x: O::Value) -> O::Value {
        let normed = ops.rms_norm(&x, self.norm1);
        let qkv = ops.linear(normed, &self.qkv, Activation::Heads);
        let qkv = ops.rotary(qkv, self.qk_norm);
        let heads = ops.attention(qkv);
        let x = ops.add(x, Gate::Learned(self.attention_scale), heads, &self.proj);
        let normed = ops.rms_norm(&x, self.norm2);
        let hidden = ops.swiglu(normed, &self.gate, &self.up);
        ops.add(x, Gate::Learned(self.mlp_scale), hidden, &self.down)
    }
}
