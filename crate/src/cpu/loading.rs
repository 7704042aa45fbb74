//! Weights that are laid out while the rest of their file is still on its way.

use std::cell::RefCell;
use std::collections::HashMap;

use super::generator::Generator;
use super::network::is_multiplied;
use crate::error::Error;
use crate::kernels::{COLUMNS, Matrix, Packed};
use crate::weights::{self, Incoming, Source, Tensors};

/// Where a network's weights come from.
pub(super) trait Weights: Source {
    /// The weights of a linear layer, which files have as `[outputs, inputs]`, for products.
    ///
    /// # Errors
    /// As [`Source::values`].
    fn packed(&self, name: &str, shape: [usize; 2]) -> Result<Packed, Error> {
        Ok(pack(&self.values(name, &shape)?, shape[1]))
    }
}

fn pack(values: &[f32], inputs: usize) -> Packed {
    Packed::new(Matrix::of_rows(values, inputs).transposed())
}

/// Zeros for every tensor.
pub(super) struct Zeros;

impl Source for Zeros {
    fn values(&self, _: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        weights::zeros(shape)
    }
}

impl Weights for Zeros {}

/// A weights file on its way to become a [`Generator`].
pub struct Loading {
    incoming: Incoming,
    ready: HashMap<String, (Vec<usize>, Ready)>,
}

/// A tensor in the form that the network has it in.
enum Ready {
    Values(Vec<f32>),
    Packed(Packed),
}

impl Loading {
    /// Of a file of `total` bytes; 0 where that is not known.
    pub fn new(total: usize) -> Self {
        Self { incoming: Incoming::new(total), ready: HashMap::new() }
    }

    /// Takes the next piece of the file, and reads what tensors it completes.
    pub fn push(&mut self, piece: &[u8]) {
        let ready = &mut self.ready;
        self.incoming.push(piece, |name, view, scales| {
            // What cannot be read is said in the end.
            let Ok(values) = weights::values(name, view, scales) else { return };
            let form = match view.shape() {
                // Panels are of whole columns: of fewer outputs they would be many times what has arrived, in files that lie.
                &[outputs, inputs] if outputs >= COLUMNS && inputs > 0 && is_multiplied(name) => {
                    Ready::Packed(pack(&values, inputs))
                }
                _ => Ready::Values(values),
            };
            ready.insert(name.to_owned(), (view.shape().to_vec(), form));
        });
    }

    /// The model, once all has arrived.
    ///
    /// # Errors
    /// As [`Generator::from_bytes`].
    pub fn finish(self) -> Result<Generator, Error> {
        let (bytes, told) = self.incoming.finish();
        let (info, tensors) = match told {
            Some((header, info)) => {
                let tensors = weights::tensors(&bytes, header, &info)?;
                (info, tensors)
            }
            None => weights::open(&bytes)?,
        };
        Generator::new(info, &Laid { tensors, ready: RefCell::new(self.ready) })
    }
}

/// The tensors of a file, of which some are laid out already.
struct Laid<'data> {
    tensors: Tensors<'data>,
    ready: RefCell<HashMap<String, (Vec<usize>, Ready)>>,
}

impl Laid<'_> {
    /// A tensor of the given shape that is ready.
    fn take(&self, name: &str, shape: &[usize]) -> Option<Ready> {
        let (of, ready) = self.ready.borrow_mut().remove(name)?;
        (of == shape).then_some(ready)
    }
}

impl Source for Laid<'_> {
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        match self.take(name, shape) {
            Some(Ready::Values(values)) => Ok(values),
            _ => self.tensors.values(name, shape),
        }
    }
}

impl Weights for Laid<'_> {
    fn packed(&self, name: &str, shape: [usize; 2]) -> Result<Packed, Error> {
        match self.take(name, &shape) {
            Some(Ready::Packed(packed)) => Ok(packed),
            Some(Ready::Values(values)) => Ok(pack(&values, shape[1])),
            None => Ok(pack(&self.tensors.values(name, &shape)?, shape[1])),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::net::NetConfig;
    use crate::weights::{FORMAT_VERSION, ModelInfo, Precision};

    /// What would otherwise be done after the last byte, while a visitor waits.
    #[test]
    fn every_matrix_for_products_is_packed_before_the_file_ends() {
        let net = NetConfig { depth: 2, ..NetConfig::preset("browser-s", 16, 4, 3).expect("it is a preset") };
        let info = ModelInfo {
            format_version: FORMAT_VERSION,
            name: "random".into(),
            classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
            latent: None,
            check: None,
            data: Default::default(),
            training: Default::default(),
            net: net.clone(),
        };
        for precision in [Precision::F32, Precision::F16, Precision::I8] {
            let bytes = weights::encode(&net.init(0, &Device::flex()), &info, precision).expect("it encodes");
            let mut loading = Loading::new(bytes.len());
            bytes.chunks(1000).for_each(|piece| loading.push(piece));
            let packed = loading.ready.values().filter(|(_, form)| matches!(form, Ready::Packed(_))).count();
            // Four in each block; those of patches and of the head.
            assert_eq!(packed, 4 * net.depth + 2, "{precision:?}");
        }
    }
}
