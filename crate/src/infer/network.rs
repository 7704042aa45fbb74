//! Which network it is.

use super::dit::Dit;
use super::in_context::InContext;
use super::layers::Scope;
use super::ops::{ConditionOps, Modulation, Ops};
use crate::error::Error;
use crate::model::tables::{position_table, rotary_angles};
use crate::model::{Architecture, NetConfig, ParamSpec};

/// The layers of a network, by their places in the list of its parameters.
#[derive(Debug)]
pub(crate) enum Network {
    /// Diffusion Transformer.
    Dit(Dit),
    /// Transformer conditioned by tokens.
    InContext(InContext),
}

/// Whether the bytes are a weights file, but of a network that the page's engines do not compute.
pub fn needs_fallback(bytes: &[u8]) -> bool {
    super::weights::read_info(bytes).is_ok_and(|info| !is_supported(&info.net))
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
        text: _,
    } = config;
    !matches!(architecture, Architecture::Unet(_)) && velocity_head.is_none()
}

impl Network {
    /// From the list of its parameters.
    ///
    /// # Errors
    /// A U-Net, or an auxiliary head, which only training needs.
    pub fn new(config: &NetConfig, params: &[ParamSpec]) -> Result<Self, Error> {
        let scope = Scope::new(params);
        match &config.architecture {
            Architecture::Dit if is_supported(config) => Ok(Self::Dit(Dit::new(config, &scope))),
            Architecture::InContext(parts) if is_supported(config) => {
                Ok(Self::InContext(InContext::new(config, parts, &scope)))
            }
            _ => Err(Error::Config(
                "only Diffusion Transformers and the transformers of improved and pixel MeanFlow, without an auxiliary \
                 head, can be drawn with or written so"
                    .into(),
            )),
        }
    }

    /// The layers that make modulations of conditions, by their index.
    pub fn modulations(&self) -> Vec<&Modulation> {
        match self {
            Self::Dit(net) => net.modulations(),
            Self::InContext(_) => Vec::new(),
        }
    }

    /// Tokens in front of the patches.
    pub fn prefix(&self) -> usize {
        match self {
            Self::Dit(net) => net.prefix(),
            Self::InContext(net) => net.prefix(),
        }
    }

    /// What is added to each patch's token, `[side², width]`; empty where nothing is. `values` are the network's
    /// tensors.
    pub fn positions(&self, config: &NetConfig, values: &[Vec<f32>]) -> Vec<f32> {
        match self {
            Self::Dit(_) => position_table(config.side(), config.width),
            Self::InContext(net) => net.positions(values).to_vec(),
        }
    }

    /// Cosine and sine of each token's rotary positions, `[tokens, head width / 2]`; empty where they are not turned.
    pub fn rotary(&self, config: &NetConfig) -> Vec<[f32; 2]> {
        let Architecture::InContext(parts) = &config.architecture else { return Vec::new() };
        let angles = rotary_angles(parts.positions, self.prefix(), config.side(), config.width / config.heads);
        angles.into_iter().map(|angle| [libm::cos(angle) as f32, libm::sin(angle) as f32]).collect()
    }

    /// What modulates its blocks.
    pub fn conditions<O: ConditionOps>(&self, ops: &mut O) -> Vec<O::Vector> {
        match self {
            Self::Dit(net) => net.conditions(ops),
            Self::InContext(_) => Vec::new(),
        }
    }

    /// Text tokens that are beside the patches in every attention.
    pub fn text_tokens(&self) -> usize {
        match self {
            Self::Dit(net) => net.text_tokens(),
            Self::InContext(_) => 0,
        }
    }

    /// The tokens in front of the patches, or the text tokens beside them, `[tokens · width]`, where there are such.
    pub fn prefix_tokens<O: ConditionOps>(&self, ops: &mut O) -> Option<O::Vector> {
        match self {
            Self::Dit(net) => net.prefix_tokens(ops),
            Self::InContext(net) => Some(net.prefix_tokens(ops)),
        }
    }

    /// One network call.
    pub fn forward<O: Ops>(&self, ops: &mut O) {
        match self {
            Self::Dit(net) => net.forward(ops),
            Self::InContext(net) => net.forward(ops),
        }
    }
}
