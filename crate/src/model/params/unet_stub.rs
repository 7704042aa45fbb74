//! In the place of the U-Net's parameters where the page's engines are alone: they leave it to burn.

use super::ParamList;
use crate::model::{NetConfig, UnetConfig};

/// None.
pub(super) fn list(_: &NetConfig, _: &UnetConfig, _: &mut ParamList) {}
