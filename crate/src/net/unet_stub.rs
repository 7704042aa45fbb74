//! Builds for browsers leave the U-Net out: its convolutions would be a quarter of their size, and it is no network for
//! a page.

use burn::module::Module;

use super::init::Init;
use super::param::Roles;
use super::{Conditioning, Dropout, NetConfig, UnetConfig};
use crate::dual::Dual;

/// Whether this build has it; [`NetConfig::validate`] refuses it where not.
pub(super) const IS_HERE: bool = false;

/// The place of the U-Net.
#[derive(Module, Debug)]
pub struct Unet {
    #[module(skip)]
    pub(super) config: NetConfig,
    #[module(skip)]
    pub(super) roles: Roles,
}

impl Unet {
    pub(super) fn new(config: &NetConfig, _: &UnetConfig, _: &Init) -> Self {
        Self { config: config.clone(), roles: Roles::default() }
    }

    pub(super) fn forward(&self, _: Dual<4>, _: Conditioning, _: Option<&Dropout>) -> Dual<4> {
        unreachable!("a configuration that this build lacks is refused")
    }

    pub(super) fn parameters(_: &NetConfig, _: &UnetConfig) -> usize {
        0
    }
}
