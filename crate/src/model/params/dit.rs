//! The parameters of the Diffusion Transformer.

use super::{Initializer, ParamList, ParamRole, ZEROS};
use crate::model::NetConfig;
use crate::model::tables::FREQUENCIES;

/// Tokens of text start about as long as those of patches.
const TOKENS: Initializer = Initializer::Normal(0.5);

/// Initialisation is the DiT's: linear layers Xavier-uniform, embeddings N(0, 0.02²), and zero for modulation and
/// output, so that every block starts as the identity and the output is zero.
pub(super) fn list(config: &NetConfig, params: &mut ParamList) {
    let NetConfig { width, depth, classes, .. } = *config;
    let normal = Initializer::Normal(0.02);
    let values = config.patch_values();
    params.linear("patch", ParamRole::Input, [values, width], Initializer::xavier(values, width));
    for (name, is_input) in ["time_t", "time_r", "time_h"].into_iter().zip(config.times.flags()) {
        if is_input {
            time(params, name, width, [normal; 2]);
        }
    }
    if classes > 0 {
        params.table("label", classes + 1, width, normal);
    }
    params.repeat("blocks", depth, |params, _| block(config, params));
    params.scope("head", |params| head(config, params));
    // Last, so that networks without them start with the same numbers.
    guidance(config, params, [normal; 2]);
    if let Some(text) = &config.text {
        params.scope("text", |params| {
            params.table("embedding", text.rows(), width, TOKENS);
            params.table("positions", text.tokens, width, TOKENS);
        });
    }
    if let Some(own) = config.velocity_head {
        params.scope("velocity", |params| {
            params.repeat("blocks", own, |params, _| block(config, params));
            params.scope("head", |params| head(config, params));
        });
    }
}

/// A transformer block with adaLN-zero.
fn block(config: &NetConfig, params: &mut ParamList) {
    let (width, hidden) = (config.width, config.mlp_ratio * config.width);
    let layer = |params: &mut ParamList, name: &str, inputs, outputs| {
        params.linear(name, ParamRole::Hidden, [inputs, outputs], Initializer::xavier(inputs, outputs));
    };
    params.linear("modulation", ParamRole::Modulation, [width, 6 * width], ZEROS);
    params.scope("attention", |params| {
        layer(params, "qkv", width, 3 * width);
        layer(params, "proj", width, width);
    });
    params.scope("mlp", |params| {
        layer(params, "fc1", width, hidden);
        layer(params, "fc2", hidden, width);
    });
}

fn head(config: &NetConfig, params: &mut ParamList) {
    let width = config.width;
    params.linear("modulation", ParamRole::Modulation, [width, 2 * width], ZEROS);
    params.linear("linear", ParamRole::Output, [width, config.patch_values()], ZEROS);
}

/// The MLP that embeds a time.
pub(super) fn time(params: &mut ParamList, name: &str, width: usize, [first, second]: [Initializer; 2]) {
    params.scope(name, |params| {
        params.linear("fc1", ParamRole::Conditioning, [FREQUENCIES, width], first);
        params.linear("fc2", ParamRole::Conditioning, [width, width], second);
    });
}

/// Those that embed guidance, as far as it is an input.
pub(super) fn guidance(config: &NetConfig, params: &mut ParamList, initializers: [Initializer; 2]) {
    let [scale, interval] = config.guidance.flags();
    params.scope("guidance", |params| {
        for (name, is_input) in [("scale", scale), ("start", interval), ("end", interval)] {
            if is_input {
                time(params, name, config.width, initializers);
            }
        }
    });
}
