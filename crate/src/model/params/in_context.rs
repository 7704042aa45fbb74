//! The parameters of the transformer of improved and pixel MeanFlow.

use super::dit::{guidance, time};
use super::{Initializer, ParamList, ParamRole, ZEROS};
use crate::model::tables::FREQUENCIES;
use crate::model::{InContextConfig, NetConfig, Positions};

/// The linear layers of the blocks start as N(0, 0.32²/inputs).
const HIDDEN_SCALE: f64 = 0.32;

/// Initialisation is the authors': embeddings N(0, 1/inputs), tokens N(0, 1/width), zero for the scales of the blocks
/// and for the output.
pub(super) fn list(config: &NetConfig, parts: &InContextConfig, params: &mut ParamList) {
    let NetConfig { width, depth, classes, .. } = *config;
    let normal = |inputs: usize| Initializer::Normal(1.0 / (inputs as f64).sqrt());
    let embedding = [normal(FREQUENCIES), normal(width)];
    let tokens = |params: &mut ParamList, name: &str, count| params.table(name, count, width, normal(width));
    if parts.positions == Positions::Plane {
        let places = config.prefix_tokens(parts) + config.side() * config.side();
        params.table("places", places, width, Initializer::Normal(0.02));
    }
    let input = |params: &mut ParamList, name: &str, inputs, outputs| {
        params.linear(name, ParamRole::Input, [inputs, outputs], Initializer::xavier(inputs, outputs));
    };
    input(params, "patch", config.patch_values(), parts.bottleneck.unwrap_or(width));
    if let Some(narrow) = parts.bottleneck {
        input(params, "widen", narrow, width);
    }
    time(params, "time_h", width, embedding);
    if classes > 0 {
        tokens(params, "label", classes + 1);
    }
    guidance(config, params, embedding);
    params.scope("prefix", |params| {
        for (name, count) in config.prefix(parts) {
            tokens(params, name, count);
        }
    });
    params.repeat("blocks", depth, |params, _| block(config, parts, params));
    params.scope("head", |params| head(config, params));
    if let Some(own) = config.velocity_head {
        params.scope("velocity", |params| {
            params.repeat("blocks", own, |params, _| block(config, parts, params));
            params.scope("head", |params| head(config, params));
        });
    }
}

/// A block with RMS normalisation, normalised queries and keys, and a gated MLP.
fn block(config: &NetConfig, parts: &InContextConfig, params: &mut ParamList) {
    let NetConfig { width, heads, .. } = *config;
    let layer = |params: &mut ParamList, name: &str, inputs: usize, outputs| {
        let initializer = Initializer::Normal(HIDDEN_SCALE / (inputs as f64).sqrt());
        params.linear_without_bias(name, ParamRole::Hidden, [inputs, outputs], initializer);
    };
    params.vector("norm1", width, 1.0);
    for name in ["q", "k", "v", "proj"] {
        layer(params, name, width, width);
    }
    params.vector("q_norm", width / heads, 1.0);
    params.vector("k_norm", width / heads, 1.0);
    params.vector("attention_scale", width, 0.0);
    params.vector("norm2", width, 1.0);
    layer(params, "gate", width, parts.hidden);
    layer(params, "up", width, parts.hidden);
    layer(params, "down", parts.hidden, width);
    params.vector("mlp_scale", width, 0.0);
}

fn head(config: &NetConfig, params: &mut ParamList) {
    params.vector("norm", config.width, 1.0);
    params.linear("linear", ParamRole::Output, [config.width, config.patch_values()], ZEROS);
}
