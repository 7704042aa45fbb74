//! The tensors of a file by name, for readers that are not burn's network.

use safetensors::tensor::Dtype;

use super::header::Header;
use crate::error::Error;
use crate::model::weights::{ModelInfo, values};

/// Where weights come from.
pub(crate) trait Source {
    /// The values of a tensor of the given shape, in the file's order.
    ///
    /// # Errors
    /// When it is missing, of another shape, or holds what is no number.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error>;
}

/// The tensors of a file, by name.
pub(crate) struct Tensors<'data> {
    bytes: &'data [u8],
    header: Header,
    /// Whether half precision holds them: all are stored as `F16`, or as whole numbers with scales.
    pub are_half: bool,
}

/// What a weights file says about itself, whether or not its tensors are those of the network.
///
/// # Errors
/// As [`super::decode`].
pub(crate) fn read_info(bytes: &[u8]) -> Result<ModelInfo, Error> {
    Header::of(bytes)?.info()
}

/// What a weights file says about itself, and its tensors.
///
/// # Errors
/// As [`super::decode`]; whether each tensor is there and of the right shape shows when it is read. As all of them
/// together have as many values as the network, reading each of the network's leaves none over.
pub(crate) fn open(bytes: &[u8]) -> Result<(ModelInfo, Tensors<'_>), Error> {
    let header = Header::of(bytes)?;
    let info = header.info()?;
    header.fits(&info)?;
    let forms = || header.names.iter().filter_map(|name| header.form(name));
    let are_half = forms().any(|(dtype, _)| dtype != Dtype::F32)
        && !forms().any(|(dtype, shape)| dtype == Dtype::F32 && shape.len() > 1);
    Ok((info, Tensors { bytes, header, are_half }))
}

impl Source for Tensors<'_> {
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        values::read(|name| self.header.view(self.bytes, name), name, shape, false).map_err(Error::Weights)
    }
}
