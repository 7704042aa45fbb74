//! The tensors of a whole file, by name.

use safetensors::tensor::{Dtype, TensorView};

use crate::error::Error;
use crate::infer::weights::Header;
use crate::model::weights::{ModelInfo, values};

/// The tensors of a file, by name.
pub(crate) struct Tensors<'data> {
    bytes: &'data [u8],
    header: Header,
    /// Whether half precision holds them: all are stored as `F16`, or as whole numbers with scales.
    pub are_half: bool,
}

impl<'data> Tensors<'data> {
    /// What a weights file says about itself, and its tensors.
    ///
    /// # Errors
    /// As `net::decode`; whether each tensor is there and of the right shape shows when it is read. As all of them
    /// together have as many values as the network, reading each of the network's leaves none over.
    pub fn open(bytes: &'data [u8]) -> Result<(ModelInfo, Self), Error> {
        let header = Header::of(bytes)?;
        let info = header.info()?;
        header.fits(&info)?;
        let tensors = || (0..).map_while(|place| header.nth(place)).map(|(_, tensor)| tensor);
        let are_half = tensors().any(|tensor| tensor.dtype != Dtype::F32)
            && !tensors().any(|tensor| tensor.dtype == Dtype::F32 && tensor.shape.len() > 1);
        Ok((info, Self { bytes, header, are_half }))
    }

    /// The values of a tensor of the given shape, in the file's order.
    ///
    /// # Errors
    /// When it is missing, of another shape, or holds what is no number.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        values::read(|name| self.view(name), name, shape, false).map_err(Error::Weights)
    }

    fn view(&self, name: &str) -> Option<TensorView<'data>> {
        let tensor = self.header.find(name)?;
        let (from, to) = tensor.data_offsets;
        let place = self.header.start.checked_add(from)?..self.header.start.checked_add(to)?;
        TensorView::new(tensor.dtype, tensor.shape.clone(), self.bytes.get(place)?).ok()
    }
}
