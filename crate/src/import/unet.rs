//! The U-Net of CIFAR-10 under the names of the authors' PyTorch code (Gsunshine/py-meanflow).

use burn::tensor::Device;

use super::detect::is_left_out;
use super::tensor_map::TensorMap;
use super::{Checkpoint, ImportChoice};
use crate::error::Error;
use crate::model::params::unet::{BlockPlan, UnetPlan};
use crate::model::{AUGMENT_DIM, Architecture, NetConfig, TimeInputs, UnetConfig};
use crate::net::Net;

/// Reads the network.
///
/// # Errors
/// As [`super::import`].
pub(super) fn read(checkpoint: &Checkpoint, choice: &ImportChoice, device: &Device) -> Result<Net, Error> {
    let (config, inside) = config(checkpoint, choice)?;
    parts(&config, &inside).load(checkpoint, &config, is_left_out, device)
}

/// The sizes that names and shapes show.
fn config(checkpoint: &Checkpoint, choice: &ImportChoice) -> Result<(NetConfig, UnetConfig), Error> {
    let shape = |name: &str| checkpoint.get(name).map(|tensor| tensor.shape.as_slice());
    let size = checkpoint.names().find_map(|name| {
        name.strip_prefix("enc.")?.strip_suffix("_conv.weight")?.split_once('x')?.0.parse::<usize>().ok()
    });
    let size = size.ok_or_else(|| Error::Checkpoint("no tensor is called `enc.32x32_conv.weight`".into()))?;
    let Some(&[width, channels, ..]) = shape(&format!("enc.{size}x{size}_conv.weight")) else {
        return Err(Error::Checkpoint(format!("`enc.{size}x{size}_conv.weight` is no convolution")));
    };
    let named = |edge: usize, i: usize, part: &str| shape(&format!("enc.{edge}x{edge}_block{i}.{part}.weight"));
    let edges =
        (0..usize::BITS).map(|level| size >> level).take_while(|&edge| edge > 0 && named(edge, 0, "conv0").is_some());
    let edges: Vec<usize> = edges.collect();
    let multiplier =
        |&edge: &usize| named(edge, 0, "conv0").and_then(|shape| shape.first()?.checked_div(width)).unwrap_or(0);
    let inside = UnetConfig {
        multipliers: edges.iter().map(multiplier).collect(),
        augmentation: shape("map_augment.weight").is_some(),
        attention: edges.iter().copied().filter(|&edge| named(edge, 0, "qkv").is_some()).collect(),
    };
    let config = NetConfig {
        image_size: size,
        channels,
        patch: 1,
        width,
        depth: (0..).take_while(|&i| named(size, i, "conv0").is_some()).count(),
        heads: 1,
        mlp_ratio: 4,
        classes: 0,
        times: TimeInputs::TAndH,
        output: Default::default(),
        architecture: Architecture::Unet(inside.clone()),
        guidance: Default::default(),
        text: None,
        velocity_head: None,
        decoder_depth: None,
        noise_scale: choice.noise_scale.unwrap_or(1.0),
    };
    config.validate().map(|()| (config, inside)).map_err(|e| Error::Checkpoint(e.to_string()))
}

fn parts(config: &NetConfig, inside: &UnetConfig) -> TensorMap {
    let (width, features, size) = (config.width, 4 * config.width, config.image_size);
    let mut parts = TensorMap::default();
    parts.linear("map_layer0", "times0", [4 * width, features]);
    if inside.augmentation {
        parts.same("map_augment.weight", "augmentation.weight", &[4 * width, AUGMENT_DIM]);
    }
    parts.linear("map_layer1", "times1", [features, features]);
    parts.weight_and_bias(&format!("enc.{size}x{size}_conv"), "input", &[width, config.channels, 3, 3]);
    let plan = UnetPlan::new(config, inside);
    for (coder, side, plans) in [("encoder", "enc", &plan.encoder), ("decoder", "dec", &plan.decoder)] {
        for (i, (plan, name)) in plans.iter().zip(names(config, inside, side)).enumerate() {
            block(&mut parts, &name, &format!("{coder}.{i}"), *plan, features);
        }
    }
    let last = width * inside.multipliers.first().copied().unwrap_or(1);
    parts.weight_and_bias(&format!("dec.{size}x{size}_aux_norm"), "norm", &[last]);
    parts.weight_and_bias(&format!("dec.{size}x{size}_aux_conv"), "output", &[config.channels, last, 3, 3]);
    parts
}

/// The published names of the blocks, in the order in which they run.
fn names(config: &NetConfig, inside: &UnetConfig, side: &str) -> Vec<String> {
    let levels = inside.multipliers.len();
    let name = |level: usize, part: String| {
        let edge = config.image_size >> level;
        format!("{side}.{edge}x{edge}_{part}")
    };
    let blocks = |level: usize, count: usize| (0..count).map(move |i| (level, format!("block{i}")));
    let parts: Vec<(usize, String)> = match side {
        "enc" => (0..levels)
            .flat_map(|level| {
                (level > 0).then(|| (level, "down".to_owned())).into_iter().chain(blocks(level, config.depth))
            })
            .collect(),
        _ => (0..levels)
            .rev()
            .flat_map(|level| {
                let first = if level + 1 == levels { vec!["in0", "in1"] } else { vec!["up"] };
                let first = first.into_iter().map(move |part| (level, part.to_owned()));
                first.chain(blocks(level, config.depth + 1))
            })
            .collect(),
    };
    parts.into_iter().map(|(level, part)| name(level, part)).collect()
}

fn block(parts: &mut TensorMap, theirs: &str, ours: &str, plan: BlockPlan, features: usize) {
    let [input, output] = plan.channels;
    let mut add = |part: &str, weight: &[usize]| {
        parts.weight_and_bias(&format!("{theirs}.{part}"), &format!("{ours}.{part}"), weight);
    };
    add("norm0", &[input]);
    add("conv0", &[output, input, 3, 3]);
    add("affine", &[output, features]);
    add("norm1", &[output]);
    add("conv1", &[output, output, 3, 3]);
    if plan.has_skip() {
        add("skip", &[output, input, 1, 1]);
    }
    if plan.attention {
        add("norm2", &[output]);
        add("qkv", &[3 * output, output, 1, 1]);
        add("proj", &[output, output, 1, 1]);
    }
}
