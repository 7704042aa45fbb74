//! Which network lies in a checkpoint, and where.

use burn::tensor::Device;

use super::{Checkpoint, dit, in_context, unet};
use crate::error::Error;
use crate::model::{NetConfig, TimeInputs};
use crate::net::Net;

/// What a checkpoint does not say about itself.
#[derive(Clone, Debug, Default)]
pub struct ImportChoice {
    /// Which of several networks, such as `ema.` or `net_ema1.`: the end of its place; only needed where there are
    /// several.
    pub prefix: Option<String>,
    /// Attention heads; those of the published network with this depth and width if not given.
    pub heads: Option<usize>,
    /// Edge of the images, in pixels or latent cells; from the stored positions if not given, else 32.
    pub size: Option<usize>,
    /// What a Diffusion Transformer is told besides `t`: `h = t − r` if not given; nothing, where it is of Flow
    /// Matching or decoupled.
    pub times: TimeInputs,
    /// Last blocks of a decoupled Diffusion Transformer, which are told `r`.
    pub decoder_depth: Option<usize>,
    /// Standard deviation of the noise at `t = 1`; if not given 1, or that of the published pixel MeanFlow of this
    /// size.
    pub noise_scale: Option<f64>,
}

impl ImportChoice {
    /// The heads chosen, or those of the published network of this size.
    pub(super) fn heads_for(&self, depth: usize, width: usize) -> Result<usize, Error> {
        self.heads.or_else(|| NetConfig::published_heads(depth, width)).ok_or_else(|| {
            Error::Checkpoint(format!("{depth} blocks of width {width} are no published size; give --heads"))
        })
    }
}

/// How the network of a kind is read, once its place is known.
type Read = fn(&Checkpoint, &ImportChoice, &Device) -> Result<Net, Error>;

/// Tensors that show what lies in a checkpoint, and where.
const SIGNS: [(&str, Read); 3] = [
    ("blocks.0.attn.qkv.weight", dit::read),
    ("u_heads.0.attn.q_proj.weight", in_context::read),
    ("map_layer0.weight", unet::read),
];

/// Reads the network at its place in the checkpoint: a Diffusion Transformer, the transformer of improved or pixel
/// MeanFlow, or the U-Net of CIFAR-10, under their published names.
///
/// # Errors
/// Several networks to choose from or none, tensors that do not fit (all of them, by name), positions of another kind,
/// or heads that are not known.
pub fn import(checkpoint: &Checkpoint, choice: &ImportChoice, device: &Device) -> Result<Net, Error> {
    let (network, read) = chosen(checkpoint, choice)?;
    network.all_are_floats(is_left_out)?;
    read(&network, choice, device)
}

/// The tensors at the place of the network that [`import`] leaves out, each with why.
///
/// # Errors
/// Several networks to choose from, or none.
pub fn left_out(checkpoint: &Checkpoint, choice: &ImportChoice) -> Result<Vec<(String, &'static str)>, Error> {
    let (network, _) = chosen(checkpoint, choice)?;
    Ok(network.all_names().filter_map(|name| Some((name.to_owned(), why_left_out(name)?))).collect())
}

/// The tensors of the network that is meant, and how they are read.
fn chosen(checkpoint: &Checkpoint, choice: &ImportChoice) -> Result<(Checkpoint, Read), Error> {
    let checkpoint = checkpoint.renamed(as_pytorch);
    let places: Vec<(String, Read)> = SIGNS
        .iter()
        .flat_map(|(sign, read)| checkpoint.places_of(sign).into_iter().map(|place| (place, *read)))
        .collect();
    let list = || places.iter().map(|(place, _)| format!("`{place}`")).collect::<Vec<_>>().join(", ");
    let fitting: Vec<_> = match &choice.prefix {
        Some(end) => {
            let whole = places.iter().filter(|(place, _)| place == end);
            let dotted = format!(".{end}");
            let ends = places.iter().filter(|(place, _)| place.ends_with(&dotted));
            whole.chain(ends).collect()
        }
        None => places.iter().collect(),
    };
    match (&fitting[..], &choice.prefix) {
        ([(place, read)], _) => Ok((checkpoint.at(place), *read)),
        _ if places.is_empty() => Err(Error::Checkpoint(format!(
            "no network under a published name: no tensor is called {}",
            SIGNS.map(|(sign, _)| format!("`{sign}`")).join(" or ")
        ))),
        (_, Some(place)) => Err(Error::Checkpoint(format!("no one network lies at `{place}`; there are {}", list()))),
        (_, None) => Err(Error::Checkpoint(format!("several networks, at {}; choose one with --prefix", list()))),
    }
}

/// Tensors beside the weights, by the first or last part of their names, and why a network does without them: tables
/// that a PyTorch module registers as buffers, and layers that only training needs.
const LEFT_OUT: [(&str, &str); 4] = [
    ("rope_freqs", "the network computes this table itself"),
    ("resample_filter", "the network computes this table itself"),
    // Of decoupled MeanFlow's loss.
    ("logvar_linear", "only training needs it"),
    // Its networks of Flow Matching are held to another network's features by these.
    ("projectors", "only training needs it"),
];

fn why_left_out(name: &str) -> Option<&'static str> {
    let first = name.split('.').next();
    let last = name.rsplit('.').next();
    LEFT_OUT.iter().find(|(part, _)| first == Some(*part) || last == Some(*part)).map(|(_, why)| *why)
}

/// Whether a tensor of this name is no part of any network.
pub(super) fn is_left_out(name: &str) -> bool {
    why_left_out(name).is_some()
}

/// The name without the wrappers that the authors' code has around layers.
fn as_pytorch(name: &str) -> String {
    let name = name.replace("._flax_linear", "").replace("._flax_embedding", "");
    match name.strip_suffix(".kernel").or_else(|| name.strip_suffix(".embedding")) {
        Some(layer) => format!("{layer}.weight"),
        None => name,
    }
}
