//! The transformer block of a DiT: attention and MLP, modulated by the conditioning (adaLN-zero).

use burn::module::Module;
use burn::nn::Linear;

use super::init::{Init, Initializer};
use super::param::ParamRole;
use crate::dual::{Dual, attend, gelu_tanh, layer_norm, linear};

/// ε of every layer normalisation (DiT).
pub(crate) const NORM_EPSILON: f64 = 1e-6;

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
    pub(super) fn new(width: usize, heads: usize, mlp_ratio: usize, init: &Init) -> Self {
        Self {
            modulation: init.linear(ParamRole::Modulation, width, 6 * width, Initializer::Zeros),
            attention: Attention::new(width, heads, init),
            mlp: Mlp::new(width, mlp_ratio * width, init),
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
    fn new(width: usize, heads: usize, init: &Init) -> Self {
        let hidden = |output| init.linear(ParamRole::Hidden, width, output, Initializer::Xavier);
        Self { qkv: hidden(3 * width), proj: hidden(width), heads }
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
    fn new(width: usize, hidden: usize, init: &Init) -> Self {
        let layer = |input, output| init.linear(ParamRole::Hidden, input, output, Initializer::Xavier);
        Self { fc1: layer(width, hidden), fc2: layer(hidden, width) }
    }

    fn forward(&self, x: Dual<3>) -> Dual<3> {
        linear(&self.fc2, gelu_tanh(linear(&self.fc1, x)))
    }
}
