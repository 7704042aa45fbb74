//! Diffusion Transformers under their published names (facebookresearch/DiT, the MeanFlow ports to PyTorch, and the
//! authors' JAX checkpoints after `tools/jax_to_safetensors.py`).

use burn::tensor::Device;
use safetensors::SafeTensors;

use super::{Array, Checkpoint};
use crate::error::Error;
use crate::net::embed::{FREQUENCIES, positions};
use crate::net::{Net, NetConfig, TimeInputs};
use crate::weights::params;

/// A tensor that shows where a DiT lies in a checkpoint.
const SIGN: &str = "blocks.0.attn.qkv.weight";

/// What a checkpoint does not say about itself.
#[derive(Clone, Debug, Default)]
pub struct DitChoice {
    /// Which of several networks, such as `ema.`; only needed where there are several.
    pub place: Option<String>,
    /// Attention heads; those of the published network with this depth and width if not given.
    pub heads: Option<usize>,
    /// Edge of the images, in pixels or latent cells; from the stored positions if not given, else 32.
    pub size: Option<usize>,
    /// What the second time of the network is: `h = t − r` if not given.
    pub times: TimeInputs,
}

/// Reads the network at its place in the checkpoint.
///
/// # Errors
/// Several networks to choose from or none, tensors that do not fit (all of them, by name), learned positions, or heads
/// that are not known.
pub fn import_dit(checkpoint: &Checkpoint, choice: &DitChoice, device: &Device) -> Result<Net, Error> {
    let checkpoint = checkpoint.at(&place(checkpoint, choice)?);
    let config = config(&checkpoint, choice)?;
    let second = if checkpoint.get("r_embedder.mlp.0.weight").is_some() { "r_embedder" } else { "h_embedder" };
    let parts = parts(&config, second);
    let wanted: Vec<_> = parts.iter().map(|part| (part.theirs.clone(), part.shape.clone())).collect();
    let found = checkpoint.take(&wanted, |name| name == "pos_embed")?;
    check_positions(&checkpoint, &config)?;
    let tensors = parts.iter().zip(found).map(|(part, array)| (part.ours.clone(), part.to_ours(array, &config)));
    let bytes = to_safetensors(tensors)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::Checkpoint(e.to_string()))?;
    params::apply(config.init(0, device), &file, device)
}

fn place(checkpoint: &Checkpoint, choice: &DitChoice) -> Result<String, Error> {
    let places = checkpoint.places_of(SIGN);
    let list = || places.iter().map(|place| format!("`{place}`")).collect::<Vec<_>>().join(", ");
    match (&choice.place, &places[..]) {
        (_, []) => Err(Error::Checkpoint(format!("no Diffusion Transformer: no tensor is called `{SIGN}`"))),
        (Some(place), _) if places.contains(place) => Ok(place.clone()),
        (Some(place), _) => Err(Error::Checkpoint(format!("no network lies at `{place}`; there are {}", list()))),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Error::Checkpoint(format!("several networks, at {}; choose one with --place", list()))),
    }
}

/// The sizes that the shapes show, with the choices for what they do not.
fn config(checkpoint: &Checkpoint, choice: &DitChoice) -> Result<NetConfig, Error> {
    let shape = |name: &str| checkpoint.get(name).map(|array| array.shape.as_slice());
    let Some(&[width, channels, patch, _]) = shape("x_embedder.proj.weight") else {
        return Err(Error::Checkpoint("`x_embedder.proj.weight` is missing, or no convolution".into()));
    };
    let depth = (0..).take_while(|i| checkpoint.get(&format!("blocks.{i}.attn.qkv.weight")).is_some()).count();
    let hidden = shape("blocks.0.mlp.fc1.weight").map_or(4 * width, |shape| shape[0]);
    // The last row is the null label.
    let classes = shape("y_embedder.embedding_table.weight").map_or(0, |shape| shape[0].saturating_sub(1));
    let tokens = shape("pos_embed").and_then(|shape| shape.get(1)).copied();
    let stored = tokens.map(|tokens| patch * tokens.isqrt());
    let heads = choice.heads.or_else(|| NetConfig::published_heads(depth, width)).ok_or_else(|| {
        Error::Checkpoint(format!("{depth} blocks of width {width} are no published size; give --heads"))
    })?;
    let config = NetConfig {
        image_size: choice.size.or(stored).unwrap_or(32),
        channels,
        patch,
        width,
        depth,
        heads,
        mlp_ratio: hidden.checked_div(width).unwrap_or(0),
        classes,
        times: choice.times,
        output: Default::default(),
    };
    config.validate().map(|()| config).map_err(|e| Error::Checkpoint(e.to_string()))
}

/// A tensor under both names, with the shape that the checkpoint has.
struct Part {
    theirs: String,
    ours: String,
    shape: Vec<usize>,
}

impl Part {
    /// The patches are a convolution there, `[width, channels, patch, patch]`, and a linear layer of `(row, column,
    /// channel)` here; everything else is the same.
    fn to_ours(&self, array: &Array, config: &NetConfig) -> Array {
        let &[width, channels, patch, _] = &self.shape[..] else {
            return array.clone();
        };
        let area = patch * patch;
        let value = |i: usize| {
            let (row, place, channel) = (i / (area * channels), i / channels % area, i % channels);
            array.values[(row * channels + channel) * area + place]
        };
        let values = (0..array.values.len()).map(value).collect();
        Array { shape: vec![width, config.patch_values()], values }
    }
}

fn parts(config: &NetConfig, second: &str) -> Vec<Part> {
    let (width, hidden) = (config.width, config.mlp_ratio * config.width);
    let mut parts = Vec::new();
    let mut add = |theirs: String, ours: String, shape: Vec<usize>| parts.push(Part { theirs, ours, shape });
    let mut linear = |theirs: &str, ours: &str, [input, output]: [usize; 2]| {
        add(format!("{theirs}.weight"), format!("{ours}.weight"), vec![output, input]);
        add(format!("{theirs}.bias"), format!("{ours}.bias"), vec![output]);
    };
    let (first_time, second_time) = match config.times {
        TimeInputs::StandAndLand => ("time_t", "time_r"),
        _ => ("time_t", "time_h"),
    };
    for (theirs, ours) in [("t_embedder", first_time), (second, second_time)] {
        linear(&format!("{theirs}.mlp.0"), &format!("{ours}.fc1"), [FREQUENCIES, width]);
        linear(&format!("{theirs}.mlp.2"), &format!("{ours}.fc2"), [width, width]);
    }
    for i in 0..config.depth {
        let (theirs, ours) = (format!("blocks.{i}"), format!("blocks.{i}"));
        let inside = [
            ("attn.qkv", "attention.qkv", [width, 3 * width]),
            ("attn.proj", "attention.proj", [width, width]),
            ("mlp.fc1", "mlp.fc1", [width, hidden]),
            ("mlp.fc2", "mlp.fc2", [hidden, width]),
            ("adaLN_modulation.1", "modulation", [width, 6 * width]),
        ];
        for (a, b, sizes) in inside {
            linear(&format!("{theirs}.{a}"), &format!("{ours}.{b}"), sizes);
        }
    }
    linear("final_layer.linear", "head.linear", [width, config.patch_values()]);
    linear("final_layer.adaLN_modulation.1", "head.modulation", [width, 2 * width]);
    let (patch, channels) = (config.patch, config.channels);
    add("x_embedder.proj.weight".into(), "patch.weight".into(), vec![width, channels, patch, patch]);
    add("x_embedder.proj.bias".into(), "patch.bias".into(), vec![width]);
    if config.classes > 0 {
        add("y_embedder.embedding_table.weight".into(), "label.weight".into(), vec![config.classes + 1, width]);
    }
    parts
}

/// Stored positions must be the fixed table that this network has.
fn check_positions(checkpoint: &Checkpoint, config: &NetConfig) -> Result<(), Error> {
    let Some(stored) = checkpoint.get("pos_embed") else { return Ok(()) };
    let ours = positions(config.side(), config.width, &Device::flex()).try_into_vec_as::<f32>();
    let ours = ours.map_err(|e| Error::Device(e.to_string()))?;
    let far = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-3;
    match stored.values.len() != ours.len() || stored.values.iter().zip(&ours).any(far) {
        true => Err(Error::Checkpoint("`pos_embed` is not the fixed sine-cosine table for this size".into())),
        false => Ok(()),
    }
}

fn to_safetensors(tensors: impl Iterator<Item = (String, Array)>) -> Result<Vec<u8>, Error> {
    let owned: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .map(|(name, array)| (name, array.shape, array.values.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = owned.iter().map(|(name, shape, bytes)| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes)
            .map(|view| (name.as_str(), view))
            .map_err(|e| Error::Checkpoint(e.to_string()))
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize(views, None).map_err(|e| Error::Checkpoint(e.to_string()))
}
