//! The tensors of a file by name, for readers that are not burn's network.

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::{ModelInfo, describe, params, read_info};
use crate::error::Error;

/// Where weights come from.
pub(crate) trait Source {
    /// The values of a tensor of the given shape, in the file's order.
    ///
    /// # Errors
    /// When it is missing, of another shape, or holds what is no number.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error>;
}

/// The tensors of a file, by name.
pub(crate) struct Tensors<'data>(SafeTensors<'data>);

/// What a weights file says about itself, and its tensors.
///
/// # Errors
/// As [`super::decode`]; whether each tensor is there and of the right shape shows when it is read. As all of them
/// together have as many values as the network, reading each of the network's leaves none over.
pub(crate) fn open(bytes: &[u8]) -> Result<(ModelInfo, Tensors<'_>), Error> {
    let info = read_info(bytes)?;
    let tensors = tensors(bytes, &info)?;
    Ok((info, tensors))
}

/// The tensors of a file that says this about itself.
///
/// # Errors
/// As [`open`].
pub(crate) fn tensors<'data>(bytes: &'data [u8], info: &ModelInfo) -> Result<Tensors<'data>, Error> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| describe(bytes, &e))?;
    params::check(&info.net, &tensors)?;
    Ok(Tensors(tensors))
}

impl Tensors<'_> {
    /// Whether half precision holds them: all are stored as `F16`, or as whole numbers with scales.
    #[cfg_attr(not(feature = "webgpu"), allow(dead_code))]
    pub fn are_half(&self) -> bool {
        let exact = |(_, view): (_, TensorView)| view.dtype() == Dtype::F32 && view.shape().len() > 1;
        self.0.iter().any(|(_, view)| view.dtype() != Dtype::F32) && !self.0.iter().any(exact)
    }
}

impl Source for Tensors<'_> {
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        params::read(&self.0, name, shape, false).map_err(Error::Weights)
    }
}
