//! Trained weights that a new run begins with.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;

use super::config::TrainConfig;
use crate::data::Images;
use crate::io::read_whole;
use crate::model::weights::{LatentSpace, ModelInfo};
use crate::net::{self, Net};

/// The network of a weights file, of the same shape as the one to train: to go on with a published network, to make one
/// of few steps from one of Flow Matching, or to learn other images of the same size. Where the one to train is
/// decoupled and that of the file is not, it is made so ([`Net::into_decoupled`]).
#[derive(Clone, Debug)]
pub struct Pretrained {
    net: Net,
    info: ModelInfo,
    notices: Vec<String>,
}

impl Pretrained {
    /// Reads a weights file. Classes are taken by their names: one that the weights do not know begins as "no class"
    /// does, so a trained network can be given more of them. So are the words of captions; one that the weights do not
    /// know begins as in a fresh network.
    ///
    /// # Errors
    /// When it is none, or does not fit the settings and images: the message names what differs.
    pub fn read(file: &Path, config: &TrainConfig, images: &Images, device: &Device) -> Result<Self> {
        let read = || -> Result<Self> {
            let (net, info) = net::decode(&read_whole(file)?, device)?;
            let wanted = config.net_for(images)?;
            let mut net = match wanted.decoder_depth {
                Some(depth) if info.net.decoder_depth.is_none() => net.into_decoupled(depth)?,
                _ => net,
            };
            if info.classes != images.classes && !info.classes.is_empty() && !images.classes.is_empty() {
                let known: Vec<Option<usize>> =
                    images.classes.iter().map(|class| info.classes.iter().position(|known| known == class)).collect();
                // Sets that have no class in common are as a rule another task, whose classes are numbered alike.
                if known.iter().any(Option::is_some) || info.net.classes != wanted.classes {
                    net = net.with_classes(&known);
                }
            }
            let mut notices = Vec::new();
            if let (Some(before), Some(text)) = (info.net.text, wanted.text)
                && (info.vocabulary != images.vocabulary || before.buckets != text.buckets)
            {
                let place = |word: &String| info.vocabulary.binary_search(word).ok();
                let known: Vec<Option<usize>> = images.vocabulary.iter().map(place).collect();
                net = net.with_vocabulary(&known, text.buckets, config.train.seed);
                notices.push(format!(
                    "{} of {} words begin as in the weights, the others anew",
                    known.iter().flatten().count(),
                    known.len()
                ));
                if before.buckets != text.buckets {
                    notices.push(format!(
                        "[net.text] buckets is {}, but {} in the weights: what they know of letter trigrams is lost",
                        text.buckets, before.buckets
                    ));
                }
            }
            if *net.config() != wanted {
                bail!("its network is {:?}; that of the settings and images is {wanted:?}", net.config());
            }
            same_latent_space(info.latent.as_ref(), images)?;
            Ok(Self { net, info, notices })
        };
        read().with_context(|| format!("cannot begin with {}", file.display()))
    }

    /// The trained network.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// What a person should know about how the weights were made to suit.
    pub fn notices(&self) -> &[String] {
        &self.notices
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

/// Refuses to train a network of one latent space, or of pictures, on images of another.
///
/// # Errors
/// Names the file of latents, both spaces, and what to do.
pub(super) fn same_latent_space(made: Option<&LatentSpace>, images: &Images) -> Result<()> {
    let data = images.latents.as_ref().map(|latents| (latents.path().display(), &latents.info().space));
    let pictures = |space: &LatentSpace| {
        format!("{space}; train on a file that meanflow encode makes with the autoencoder of these latents")
    };
    match (made, data) {
        (None, None) => Ok(()),
        (None, Some((file, space))) => bail!("its network makes pictures, but {file} holds {space}; train on pictures"),
        (Some(made), None) => bail!("the data are pictures, but its network makes {}", pictures(made)),
        (Some(made), Some((_, space))) if made == space => Ok(()),
        (Some(made), Some((file, space))) if made.factor == space.factor => bail!(
            "its network makes {made}, but {file} is read as {space}; set [data] normalization = {}",
            made.normalization.as_setting()
        ),
        (Some(made), Some((file, space))) => {
            bail!("{file} holds {space}, but its network makes {}", pictures(made))
        }
    }
}
