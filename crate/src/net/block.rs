//! The transformer block of a DiT: attention and MLP, modulated by the conditioning (adaLN-zero).

use burn::module::Module;
use burn::nn::Linear;

use super::init::Init;
use crate::dual::{Dual, attend, gelu_tanh, layer_norm, linear};
use crate::model::tables::NORM_EPSILON;

/// `x̂ · (1 + scale) + shift` of the normalised tokens.
///
/// # Shapes
/// `x: [batch, tokens, width]`, `shift`, `scale`: `[batch, 1, width]`.
pub(super) fn modulate(x: Dual<3>, shift: Dual<3>, scale: Dual<3>) -> Dual<3> {
    layer_norm(x, NORM_EPSILON) * scale.shift(1.0) + shift
}

/// `x += gate · attention(modulate(x))`, then `x += gate · mlp(modulate(x))`.
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
    /// `x: [batch, tokens, width]`; `condition: [batch, 1, width]`, already through SiLU.
    pub fn forward(&self, x: Dual<3>, condition: Dual<3>) -> Dual<3> {
        let [shift_a, scale_a, gate_a, shift_m, scale_m, gate_m] = linear(&self.modulation, condition).chunk(2);
        let x = x.clone() + gate_a * self.attention.forward(modulate(x, shift_a, scale_a));
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

    fn forward(&self, x: Dual<3>) -> Dual<3> {
        let [batch, tokens, width] = x.dims();
        let split = |part: Dual<3>| part.reshape([batch, tokens, self.heads, width / self.heads]).swap_dims(1, 2);
        let [q, k, v] = linear(&self.qkv, x).chunk(2).map(split);
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
