//! Memory that a picture's way through the network works in, made once for a model.

use crate::kernels::attention::AttentionScratch;
use crate::model::NetConfig;

/// The activations of one picture.
#[derive(Debug)]
pub(super) struct Scratch {
    /// `[tokens, width]`.
    pub tokens: Vec<f32>,
    /// Normalised and modulated.
    pub normed: Vec<f32>,
    /// Queries, keys and values, later the hidden layer.
    pub wide: Vec<f32>,
    /// What the heads give.
    pub heads: Vec<f32>,
    /// `[tokens, patch · patch · channels]`.
    pub patches: Vec<f32>,
    /// The result, `[channels, size, size]`.
    pub u: Vec<f32>,
    /// Of matrix products.
    pub rows: Vec<f32>,
    pub attention: AttentionScratch,
}

impl Scratch {
    pub fn new(config: &NetConfig) -> Self {
        let tokens = config.side() * config.side();
        let zeros = |features: usize| vec![0.0; tokens * features];
        Self {
            tokens: zeros(config.width),
            normed: zeros(config.width),
            wide: zeros(config.width * config.mlp_ratio.max(3)),
            heads: zeros(config.width),
            patches: zeros(config.patch_values()),
            u: zeros(config.patch_values()),
            rows: Vec::new(),
            attention: AttentionScratch::default(),
        }
    }
}
