//! Trained weights that a new run begins with.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;

use super::config::TrainConfig;
use super::data::Images;
use crate::io::read_whole;
use crate::net::Net;
use crate::weights::{self, LatentSpace, ModelInfo};

/// The network of a weights file, of the same shape as the one to train: to go on with a published network, to make one
/// of few steps from one of Flow Matching, or to learn other images of the same size. Where the one to train is
/// decoupled and that of the file is not, it is made so ([`Net::into_decoupled`]).
#[derive(Clone, Debug)]
pub struct Start {
    net: Net,
    info: ModelInfo,
}

impl Start {
    /// Reads a weights file.
    ///
    /// # Errors
    /// When it is none, or does not fit the settings and images: the message names what differs.
    pub fn read(file: &Path, config: &TrainConfig, images: &Images, device: &Device) -> Result<Self> {
        let read = || -> Result<Self> {
            let (net, info) = weights::decode(&read_whole(file)?, device)?;
            let wanted = config.net_config(images.classes.len())?;
            let net = match wanted.decoder_depth {
                Some(depth) if info.net.decoder_depth.is_none() => net.into_decoupled(depth)?,
                _ => net,
            };
            if *net.config() != wanted {
                bail!("its network is {:?}; that of the settings and images is {wanted:?}", net.config());
            }
            let space = images.latents.as_ref().map(|latents| &latents.info().space);
            if info.latent.as_ref() != space {
                bail!("it makes {}, but the images are {}", kind(info.latent.as_ref()), kind(space));
            }
            Ok(Self { net, info })
        };
        read().with_context(|| format!("cannot begin with {}", file.display()))
    }

    /// The trained network.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Its name and steps, for the description of what is made from it.
    pub(super) fn description(&self) -> String {
        let ModelInfo { name, training, .. } = &self.info;
        match &training.init {
            Some(before) => format!("{name}, step {}, from {before}", training.step),
            None => format!("{name}, step {}", training.step),
        }
    }
}

/// What a network makes, in words.
fn kind(latent: Option<&LatentSpace>) -> String {
    latent.map_or_else(|| "pixels".into(), |space| format!("latents ({space:?})"))
}
