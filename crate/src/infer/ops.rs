//! The operations that a network's forward is made of. Each engine has them in its own way: the CPU computes them
//! ([`super::cpu`]), WebGPU records dispatches ([`super::webgpu`]), ONNX adds nodes to a graph.

use super::layers::{Linear, Param, Table};

/// What can be done with the tokens of a picture.
///
/// They are fused as products want them: an engine reads, normalises and modulates a product's input, or activates,
/// gates and adds its output, without a pass of its own over memory.
pub(crate) trait Ops {
    /// Features of every token, `[tokens, features]`: memory of the CPU or the GPU, or the name of a value. Who is
    /// given one may use its memory again.
    type Value;

    /// The patches of the picture, `[patches, patch · patch · channels]`, row by row; the values of one in the order
    /// (row, column, channel).
    fn patches(&mut self) -> Self::Value;

    /// `f(x W + b)`.
    fn linear(&mut self, x: Self::Value, layer: &Linear, activation: Activation) -> Self::Value;

    /// `silu(x G) · (x U)`, of the layers `gate` and `up`.
    fn swiglu(&mut self, x: Self::Value, gate: &Linear, up: &Linear) -> Self::Value;

    /// The tokens: those in front, which are the network's condition, then `x W + b` of the patches with the place of
    /// each.
    fn tokens(&mut self, x: Self::Value, layer: &Linear) -> Self::Value;

    /// `x / √(mean(x²) + ε)` times a learned gain, of every token.
    fn rms_norm(&mut self, x: &Self::Value, gain: Param) -> Self::Value;

    /// Queries and keys of every head normalised as by [`Self::rms_norm`], by gains of `[head width]`, and turned by
    /// the rotary positions.
    fn rotary(&mut self, qkv: Self::Value, gains: [Param; 2]) -> Self::Value;

    /// `x̂ (1 + scale) + shift` of tokens normalised to mean 0 and variance 1 (adaLN); `shift` is the given part of the
    /// modulation, `scale` the next one.
    fn modulate(&mut self, x: &Self::Value, modulation: &Modulation, part: usize) -> Self::Value;

    /// The same beside the text tokens, which come first and are normalised alone, `[text tokens + tokens, width]`: for
    /// networks that attend to text tokens which do not change.
    fn modulate_beside_text(&mut self, x: &Self::Value, modulation: &Modulation, part: usize) -> Self::Value;

    /// `softmax(q kᵀ / √d) v` of every head, `[tokens, 3 · width]` to `[tokens, width]`. Text tokens that are beside
    /// the others are attended to alone.
    fn attention(&mut self, qkv: Self::Value) -> Self::Value;

    /// `x + gate · (branch W + b)`.
    fn add(&mut self, x: Self::Value, gate: Gate, branch: Self::Value, layer: &Linear) -> Self::Value;

    /// What the network gives: `x W + b` as the patches of a picture; tokens in front of them are left out.
    fn output(&mut self, x: Self::Value, layer: &Linear);
}

/// What a layer's outputs go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing.
    Identity,
    /// Nothing; they are queries, keys and values of heads, each of which an engine may fill up to whole vectors.
    Heads,
    /// GELU in its tanh form.
    Gelu,
}

/// What a branch is multiplied by before it joins the tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gate<'a> {
    /// A part of a modulation.
    Modulation(&'a Modulation, usize),
    /// A learned vector, `[width]`.
    Learned(Param),
}

/// Vectors of `[width]` that follow from a condition by a linear layer: shifts, scales and gates.
#[derive(Clone, Debug)]
pub(crate) struct Modulation {
    /// From the condition to `[parts · width]`.
    pub layer: Linear,
    /// Which of the network's conditions.
    pub condition: usize,
    /// Its place among the network's modulations.
    pub index: usize,
}

/// What can be done with the vectors that times and classes are embedded in, one a picture.
pub(crate) trait ConditionOps {
    /// `[features]`.
    type Vector;

    /// `[cos(s f) | sin(s f)]` of a time `s` and the frequencies `f`.
    fn sinusoids(&mut self, time: Time) -> Self::Vector;

    /// `x W + b`.
    fn linear(&mut self, x: Self::Vector, layer: &Linear) -> Self::Vector;

    /// `x σ(x)`.
    fn silu(&mut self, x: Self::Vector) -> Self::Vector;

    /// The picture's class: its row of the table, or the mean of the rows that it lies between.
    fn class(&mut self, table: &Table) -> Self::Vector;

    /// The first rows of a table as tokens, the same for all pictures, `[rows · width]`.
    fn rows(&mut self, table: &Table, rows: usize) -> Self::Vector;

    /// The rows of a table that the tokens of the picture's prompt are made of, `[tokens · width]`; its last row in
    /// places that no word takes.
    fn prompt(&mut self, table: &Table, tokens: usize) -> Self::Vector;

    /// The sum of tokens, each `[width]`.
    fn sum(&mut self, tokens: Self::Vector, width: usize) -> Self::Vector;

    /// `a + b`; one `b` is added to each of several tokens.
    fn add(&mut self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// Groups of tokens, one after the other.
    fn concat(&mut self, groups: Vec<Self::Vector>) -> Self::Vector;
}

/// The times that may be inputs of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Time {
    /// Where the call stands.
    T,
    /// Where its step lands.
    R,
    /// How far that is, `t − r`.
    H,
    /// No time: the scale ω of guidance, as `1 − 1/ω`.
    Guidance,
    /// The same in every call.
    Constant(f32),
}
