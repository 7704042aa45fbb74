//! Diffusion Transformers under their published names (facebookresearch/DiT, the MeanFlow ports to PyTorch, and the
//! authors' JAX checkpoints after `tools/jax_to_safetensors.py`).

use burn::tensor::Device;

use super::detect::is_left_out;
use super::tensor_map::TensorMap;
use super::{Checkpoint, ImportChoice};
use crate::error::Error;
use crate::model::tables::{FREQUENCIES, position_table};
use crate::model::{NetConfig, TimeInputs};
use crate::net::Net;

/// Reads the network.
///
/// # Errors
/// As [`super::import`].
pub(super) fn read(checkpoint: &Checkpoint, choice: &ImportChoice, device: &Device) -> Result<Net, Error> {
    let config = config(checkpoint, choice)?;
    let second = if checkpoint.get("r_embedder.mlp.0.weight").is_some() { "r_embedder" } else { "h_embedder" };
    let net = parts(checkpoint, &config, second).load(checkpoint, &config, may_be_left, device)?;
    check_positions(checkpoint, &config)?;
    Ok(net)
}

/// The fixed table of positions is compared, not taken.
fn may_be_left(name: &str) -> bool {
    name == "pos_embed" || is_left_out(name)
}

/// The sizes that the shapes show, with the choices for what they do not.
fn config(checkpoint: &Checkpoint, choice: &ImportChoice) -> Result<NetConfig, Error> {
    let shape = |name: &str| checkpoint.get(name).map(|array| array.shape.as_slice());
    let Some(&[width, channels, patch, _]) = shape("x_embedder.proj.weight") else {
        return Err(Error::Checkpoint("`x_embedder.proj.weight` is missing, or no convolution".into()));
    };
    let depth = (0..).take_while(|i| checkpoint.get(&format!("blocks.{i}.attn.qkv.weight")).is_some()).count();
    let hidden =
        shape("blocks.0.mlp.fc1.weight").map_or(width.saturating_mul(4), |shape| shape.first().copied().unwrap_or(0));
    let classes = checkpoint.classes("y_embedder.embedding_table.weight")?;
    let tokens = shape("pos_embed").and_then(|shape| shape.get(1)).copied();
    let stored = tokens.map(|tokens| patch.saturating_mul(tokens.isqrt()));
    let config = NetConfig {
        image_size: choice.size.or(stored).unwrap_or(32),
        channels,
        patch,
        width,
        depth,
        heads: choice.heads_for(depth, width)?,
        mlp_ratio: hidden.checked_div(width).unwrap_or(0),
        classes,
        times: choice.times,
        output: Default::default(),
        architecture: Default::default(),
        guidance: Default::default(),
        text: None,
        velocity_head: None,
        decoder_depth: choice.decoder_depth,
        noise_scale: choice.noise_scale.unwrap_or(1.0),
    };
    config.validate().map(|()| config).map_err(|e| Error::Checkpoint(e.to_string()))
}

fn parts(checkpoint: &Checkpoint, config: &NetConfig, second: &str) -> TensorMap {
    let (width, hidden) = (config.width, config.mlp_ratio * config.width);
    let mut parts = TensorMap::default();
    let second_time = match config.times {
        TimeInputs::TAndR => "time_r",
        _ => "time_h",
    };
    let [_, r, h] = config.times.flags();
    let second = (r || h).then_some((second, second_time));
    for (theirs, ours) in [("t_embedder", "time_t")].into_iter().chain(second) {
        parts.linear(&format!("{theirs}.mlp.0"), &format!("{ours}.fc1"), [FREQUENCIES, width]);
        parts.linear(&format!("{theirs}.mlp.2"), &format!("{ours}.fc2"), [width, width]);
    }
    for i in 0..config.depth {
        let inside = [
            ("attn.qkv", "attention.qkv", [width, 3 * width]),
            ("attn.proj", "attention.proj", [width, width]),
            ("mlp.fc1", "mlp.fc1", [width, hidden]),
            ("mlp.fc2", "mlp.fc2", [hidden, width]),
            ("adaLN_modulation.1", "modulation", [width, 6 * width]),
        ];
        for (theirs, ours, sizes) in inside {
            parts.linear(&format!("blocks.{i}.{theirs}"), &format!("blocks.{i}.{ours}"), sizes);
        }
    }
    parts.linear("final_layer.linear", "head.linear", [width, config.patch_values()]);
    parts.linear("final_layer.adaLN_modulation.1", "head.modulation", [width, 2 * width]);
    parts.patches("x_embedder.proj", "patch", [width, config.channels, config.patch, config.patch]);
    if config.classes > 0 {
        parts.rows("y_embedder.embedding_table.weight", "label.weight", [config.classes + 1, width], checkpoint);
    }
    parts
}

/// Stored positions must be the fixed table that this network has.
fn check_positions(checkpoint: &Checkpoint, config: &NetConfig) -> Result<(), Error> {
    let Some(shape) = checkpoint.get("pos_embed").map(|tensor| &tensor.shape) else { return Ok(()) };
    let ours = position_table(config.side(), config.width);
    let far = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-3;
    let other = shape.iter().fold(1, |all: usize, &size| all.saturating_mul(size)) != ours.len()
        || checkpoint.read("pos_embed")?.values.iter().zip(&ours).any(far);
    match other {
        true => Err(Error::Checkpoint("`pos_embed` is not the fixed sine-cosine table for this size".into())),
        false => Ok(()),
    }
}
