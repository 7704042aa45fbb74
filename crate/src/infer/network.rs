//! Which network it is.

use super::dit::Dit;
use super::layers::Scope;
use super::ops::{ConditionOps, Modulation, Ops};
use crate::error::Error;
use crate::model::{Architecture, NetConfig, ParamSpec};

/// The layers of a network, by their places in the list of its parameters.
#[derive(Debug)]
pub(crate) enum Network {
    /// Diffusion Transformer.
    Dit(Dit),
}

/// Whether the bytes are a weights file, but of a network that the page's engines do not compute.
pub fn needs_fallback(bytes: &[u8]) -> bool {
    super::weights::open(bytes).is_ok_and(|(info, _)| !is_supported(&info.net))
}

/// Whether the page's engines compute such a network. It names every field, so that a new one must be considered here.
pub(crate) fn is_supported(config: &NetConfig) -> bool {
    let NetConfig {
        image_size: _,
        channels: _,
        patch: _,
        width: _,
        depth: _,
        heads: _,
        mlp_ratio: _,
        classes: _,
        times: _,
        output: _,
        architecture,
        guidance: _,
        velocity_head,
        decoder_depth: _,
        noise_scale: _,
    } = config;
    *architecture == Architecture::Dit && velocity_head.is_none()
}

impl Network {
    /// From the list of its parameters.
    ///
    /// # Errors
    /// Another network than a plain Diffusion Transformer.
    pub fn new(config: &NetConfig, params: &[ParamSpec]) -> Result<Self, Error> {
        if !is_supported(config) {
            return Err(Error::Config("only plain Diffusion Transformers can be drawn with or written so".into()));
        }
        Dit::new(config, &Scope::new(params)).map(Self::Dit)
    }

    /// The layers that make modulations of conditions, by their index.
    pub fn modulations(&self) -> Vec<&Modulation> {
        match self {
            Self::Dit(net) => net.modulations(),
        }
    }

    /// What it is told besides the picture.
    pub fn conditions<O: ConditionOps>(&self, ops: &mut O) -> Vec<O::Vector> {
        match self {
            Self::Dit(net) => net.conditions(ops),
        }
    }

    /// One network call.
    pub fn forward<O: Ops>(&self, ops: &mut O) {
        match self {
            Self::Dit(net) => net.forward(ops),
        }
    }
}
