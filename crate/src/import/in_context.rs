//! The transformers of improved and pixel MeanFlow under the names of the authors' code (Lyy-iiis/imeanflow and pMF).

use burn::tensor::Device;

use super::detect::is_left_out;
use super::tensor_map::TensorMap;
use super::{Checkpoint, ImportChoice};
use crate::error::Error;
use crate::model::tables::FREQUENCIES;
use crate::model::{Architecture, GuidanceInputs, InContextConfig, NetConfig, Output, Positions, TimeInputs};
use crate::net::Net;

/// Reads the network.
///
/// # Errors
/// As [`super::import`].
pub(super) fn read(checkpoint: &Checkpoint, choice: &ImportChoice, device: &Device) -> Result<Net, Error> {
    let (config, inside) = config(checkpoint, choice)?;
    parts(checkpoint, &config, &inside).load(checkpoint, &config, is_left_out, device)
}

/// How many blocks are called `name.0`, `name.1`, ….
fn count(checkpoint: &Checkpoint, name: &str) -> usize {
    (0..).take_while(|i| checkpoint.get(&format!("{name}.{i}.attn.q_proj.weight")).is_some()).count()
}

/// The sizes that the shapes show, with the choices for what they do not.
fn config(checkpoint: &Checkpoint, choice: &ImportChoice) -> Result<(NetConfig, InContextConfig), Error> {
    let shape = |name: &str| checkpoint.get(name).map(|array| array.shape.as_slice());
    let missing = |name: &str| Error::Checkpoint(format!("`{name}` is missing, or of no known shape"));
    let rows = |name: &str| checkpoint.rows(name).ok_or_else(|| missing(name));
    let (first, bottleneck) = match shape("x_embedder.proj1.weight") {
        Some(first) => (first, first.first().copied()),
        None => (shape("x_embedder.proj.weight").ok_or_else(|| missing("x_embedder.proj.weight"))?, None),
    };
    let (&[_, channels, patch, _], Some(&[width, _])) = (first, shape("u_heads.0.attn.q_proj.weight")) else {
        return Err(Error::Checkpoint("the embedding of patches is no convolution".into()));
    };
    let depth = count(checkpoint, "shared_blocks") + count(checkpoint, "u_heads");
    let positions = if shape("pos_embed").is_some() { Positions::Plane } else { Positions::Sequence };
    let inside = InContextConfig {
        hidden: shape("u_heads.0.mlp.w1.weight").and_then(|shape| shape.first()).copied().unwrap_or(0),
        class_tokens: rows("class_tokens")?,
        guidance_tokens: rows("omega_tokens")?,
        interval_tokens: rows("t_min_tokens")?,
        time_tokens: rows("time_tokens")?,
        bottleneck,
        positions,
    };
    let groups = [inside.class_tokens, inside.guidance_tokens, inside.interval_tokens, inside.interval_tokens];
    let prefix = groups.into_iter().fold(inside.time_tokens, usize::saturating_add);
    let stored = match positions {
        Positions::Plane => Some(patch.saturating_mul(rows("pos_embed")?.saturating_sub(prefix).isqrt())),
        Positions::Sequence => None,
    };
    let published = bottleneck.and_then(|_| NetConfig::published_noise_scale(depth, width, patch));
    let config = NetConfig {
        text: None,
        image_size: choice.size.or(stored).unwrap_or(32),
        channels,
        patch,
        width,
        depth,
        heads: choice.heads_for(depth, width)?,
        mlp_ratio: 4,
        classes: checkpoint.classes("y_embedder.embedding_table.weight")?,
        times: TimeInputs::H,
        output: if positions == Positions::Plane { Output::Image } else { Output::Velocity },
        architecture: Architecture::InContext(inside.clone()),
        guidance: GuidanceInputs::ScaleAndInterval,
        velocity_head: Some(count(checkpoint, "v_heads")).filter(|_| shape("v_final_layer.linear.weight").is_some()),
        decoder_depth: None,
        noise_scale: choice.noise_scale.or(published).unwrap_or(1.0),
    };
    config.validate().map(|()| (config, inside)).map_err(|e| Error::Checkpoint(e.to_string()))
}

fn parts(checkpoint: &Checkpoint, config: &NetConfig, inside: &InContextConfig) -> TensorMap {
    let width = config.width;
    let mut parts = TensorMap::default();
    let embedders = [
        ("h_embedder", "time_h"),
        ("omega_embedder", "guidance.scale"),
        ("cfg_t_start_embedder", "guidance.start"),
        ("cfg_t_end_embedder", "guidance.end"),
    ];
    for (theirs, ours) in embedders {
        parts.linear(&format!("{theirs}.mlp.0"), &format!("{ours}.fc1"), [FREQUENCIES, width]);
        parts.linear(&format!("{theirs}.mlp.2"), &format!("{ours}.fc2"), [width, width]);
    }
    let groups = [
        ("class_tokens", "prefix.class", inside.class_tokens),
        ("omega_tokens", "prefix.scale", inside.guidance_tokens),
        ("t_min_tokens", "prefix.start", inside.interval_tokens),
        ("t_max_tokens", "prefix.end", inside.interval_tokens),
        ("time_tokens", "prefix.time", inside.time_tokens),
    ];
    for (theirs, ours, count) in groups {
        parts.rows(theirs, format!("{ours}.weight"), [count, width], checkpoint);
    }
    parts.rows("y_embedder.embedding_table.weight", "label.weight", [config.classes + 1, width], checkpoint);
    if inside.positions == Positions::Plane {
        let tokens = config.prefix_tokens(inside) + config.side() * config.side();
        parts.rows("pos_embed", "places.weight", [tokens, width], checkpoint);
    }
    match inside.bottleneck {
        None => parts.patches("x_embedder.proj", "patch", [width, config.channels, config.patch, config.patch]),
        Some(narrow) => {
            parts.patches("x_embedder.proj1", "patch", [narrow, config.channels, config.patch, config.patch]);
            parts.pixel("x_embedder.proj2", "widen", [narrow, width]);
        }
    }
    let trunk = count(checkpoint, "shared_blocks");
    for i in 0..config.depth {
        let theirs = if i < trunk { format!("shared_blocks.{i}") } else { format!("u_heads.{}", i - trunk) };
        block(&mut parts, &theirs, &format!("blocks.{i}"), config, inside.hidden);
    }
    head(&mut parts, "u_final_layer", "head", config);
    if let Some(own) = config.velocity_head {
        for i in 0..own {
            block(&mut parts, &format!("v_heads.{i}"), &format!("velocity.blocks.{i}"), config, inside.hidden);
        }
        head(&mut parts, "v_final_layer", "velocity.head", config);
    }
    parts
}

fn block(parts: &mut TensorMap, theirs: &str, ours: &str, config: &NetConfig, hidden: usize) {
    let (width, narrow) = (config.width, config.width / config.heads);
    let inside: [(&str, &str, &[usize]); 13] = [
        ("norm1.weight", "norm1", &[width]),
        ("attn.q_proj.weight", "q.weight", &[width, width]),
        ("attn.k_proj.weight", "k.weight", &[width, width]),
        ("attn.v_proj.weight", "v.weight", &[width, width]),
        ("attn.out_proj.weight", "proj.weight", &[width, width]),
        ("attn.q_norm.weight", "q_norm", &[narrow]),
        ("attn.k_norm.weight", "k_norm", &[narrow]),
        ("attn_scale", "attention_scale", &[width]),
        ("norm2.weight", "norm2", &[width]),
        ("mlp.w1.weight", "gate.weight", &[hidden, width]),
        ("mlp.w3.weight", "up.weight", &[hidden, width]),
        ("mlp.w2.weight", "down.weight", &[width, hidden]),
        ("mlp_scale", "mlp_scale", &[width]),
    ];
    for (a, b, shape) in inside {
        parts.same(format!("{theirs}.{a}"), format!("{ours}.{b}"), shape);
    }
}

fn head(parts: &mut TensorMap, theirs: &str, ours: &str, config: &NetConfig) {
    parts.same(format!("{theirs}.norm.weight"), format!("{ours}.norm"), &[config.width]);
    parts.linear(&format!("{theirs}.linear"), &format!("{ours}.linear"), [config.width, config.patch_values()]);
}
