//! Weights that are tensors out while the rest of their file is still on its way. Of its bytes nothing is kept.

use std::cell::RefCell;

use safetensors::tensor::{Dtype, TensorView};

use super::generator::CpuGenerator;
use super::streaming::StreamingReader;
use crate::error::Error;
use crate::kernels::{COLUMNS, Matrix, Packed};
use crate::model::weights::dequantization::{scaled_by, scales_of};
use crate::model::weights::values::{missing, read, shape_mismatch, values};
use crate::model::{ParamRole, ParamSpec};

/// The tensors of a network, in the order of its parameters.
#[derive(Debug)]
pub(super) struct Weights {
    /// As files have them; empty where they are packed.
    pub values: Vec<Vec<f32>>,
    /// For products; empty where a tensor is for none.
    pub packed: Vec<Packed>,
}

impl Weights {
    /// Takes them all, each in the form that its role asks for.
    ///
    /// # Errors
    /// As [`WeightSource::values`].
    pub fn read(file: &dyn WeightSource, params: &[ParamSpec]) -> Result<Self, Error> {
        let mut weights = Self { values: Vec::new(), packed: Vec::new() };
        for spec in params {
            let (values, packed) = match (acts_on_tokens(spec), &spec.stored_shape()[..]) {
                (true, &[outputs, inputs]) => (Vec::new(), file.packed(&spec.name, [outputs, inputs])?),
                (_, shape) => (file.values(&spec.name, shape)?, Packed::default()),
            };
            weights.values.push(values);
            weights.packed.push(packed);
        }
        Ok(weights)
    }
}

/// Whether a parameter is the weights of a linear layer that every token goes through, for products; those of times and
/// classes meet one row at a time.
fn acts_on_tokens(spec: &ParamSpec) -> bool {
    spec.is_linear && matches!(spec.role, ParamRole::Input | ParamRole::Hidden | ParamRole::Output)
}

/// Where a network's weights come from.
pub(super) trait WeightSource {
    /// The values of a tensor of the given shape, in the file's order.
    ///
    /// # Errors
    /// When it is missing, of another shape, or holds what is no number.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error>;

    /// The weights of a linear layer, which files have as `[outputs, inputs]`, for products.
    ///
    /// # Errors
    /// As [`WeightSource::values`].
    fn packed(&self, name: &str, shape: [usize; 2]) -> Result<Packed, Error> {
        Ok(pack(&self.values(name, &shape)?, shape[1]))
    }
}

fn pack(values: &[f32], inputs: usize) -> Packed {
    Packed::new(Matrix::of_rows(values, inputs).transposed())
}

/// Zeros for every tensor.
pub(super) struct Zeros;

impl WeightSource for Zeros {
    fn values(&self, _: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        // As those of a file in half precision are read, so that browsers compile that.
        let bytes = vec![0; 2 * shape.iter().product::<usize>()];
        let view = TensorView::new(Dtype::F16, shape.to_vec(), &bytes);
        let view = view.map_err(|_| Error::Weights("zeros of no shape".into()))?;
        read(|_| Some(view.clone()), "zeros", shape, false).map_err(Error::Weights)
    }
}

/// A weights file on its way to become a `Generator`.
pub struct WeightsLoader {
    reader: StreamingReader,
    tensors: LoadedTensors,
}

/// Those tensors that the network has, in the form that it has them in.
#[derive(Default)]
struct LoadedTensors {
    tensors: RefCell<Vec<LoadedTensor>>,
    /// The parameters of the network, once its description has arrived.
    params: Vec<ParamSpec>,
}

struct LoadedTensor {
    name: String,
    shape: Vec<usize>,
    form: StoredTensor,
}

enum StoredTensor {
    Values(Vec<f32>),
    Packed(Packed),
    /// Whole numbers whose scales have not arrived yet.
    Whole(Vec<u8>),
    /// What cannot be read, and why.
    Wrong(String),
}

impl WeightsLoader {
    /// Of a file of `total` bytes; 0 where that is not known.
    pub fn new(total: usize) -> Self {
        reserve(3 * total.min(MAX_RESERVED));
        Self { reader: StreamingReader::new(), tensors: LoadedTensors::default() }
    }

    /// Takes the next piece of the file, and lays out what tensors it completes.
    pub fn push(&mut self, piece: &[u8]) {
        self.reader.push(piece, &mut |info, name, view| {
            if self.tensors.params.is_empty() {
                self.tensors.params = info.net.params();
            }
            self.tensors.add(name, &view);
        });
    }

    /// The model, once all has arrived.
    ///
    /// # Errors
    /// As `Generator::from_bytes`.
    pub fn finish(self) -> Result<CpuGenerator, Error> {
        CpuGenerator::new(self.reader.finish()?, &self.tensors)
    }
}

/// Larger files are not believed before they are there.
const MAX_RESERVED: usize = 64 << 20;

/// Makes room for a network in half precision and some more: left to grow as it is needed, memory costs browsers dozens
/// of steps.
fn reserve(bytes: usize) {
    let mut room = Vec::<u8>::new();
    // Without it there is only less haste.
    let _ = room.try_reserve_exact(bytes);
    std::hint::black_box(&room);
}

impl LoadedTensors {
    fn add(&mut self, name: &str, view: &TensorView) {
        let of = scaled_by(name).unwrap_or(name);
        if !self.params.iter().any(|spec| spec.name == name || spec.name == of) {
            return;
        }
        let form = self.form(name, view).unwrap_or_else(StoredTensor::Wrong);
        self.tensors.get_mut().push(LoadedTensor { name: name.to_owned(), shape: view.shape().to_vec(), form });
    }

    fn form(&self, name: &str, view: &TensorView) -> Result<StoredTensor, String> {
        let scales = scales_of(name);
        match view.dtype() == Dtype::I8 && !self.tensors.borrow().iter().any(|tensor| tensor.name == scales) {
            true => Ok(StoredTensor::Whole(view.data().to_vec())),
            false => self.lay_out(name, view),
        }
    }

    fn lay_out(&self, name: &str, view: &TensorView) -> Result<StoredTensor, String> {
        let of = scales_of(name);
        let scales = || {
            let tensors = self.tensors.borrow();
            match tensors.iter().find(|tensor| tensor.name == of) {
                Some(LoadedTensor { shape, form: StoredTensor::Values(scales), .. }) => {
                    Ok((shape.clone(), scales.clone()))
                }
                Some(LoadedTensor { form: StoredTensor::Wrong(reason), .. }) => Err(reason.clone()),
                _ => Err(missing(&of)),
            }
        };
        let values = values(name, view, &scales)?;
        let is_multiplied = self.params.iter().any(|spec| spec.name == name && acts_on_tokens(spec));
        Ok(match view.shape() {
            // Panels are of whole columns: of fewer outputs they would be many times what has arrived, in files that
            // lie.
            &[outputs, inputs] if outputs >= COLUMNS && inputs > 0 && is_multiplied => {
                StoredTensor::Packed(pack(&values, inputs))
            }
            _ => StoredTensor::Values(values),
        })
    }

    /// A tensor of the given shape.
    fn take(&self, name: &str, shape: &[usize]) -> Result<StoredTensor, Error> {
        self.taken(name, shape).map_err(Error::Weights)
    }

    fn taken(&self, name: &str, shape: &[usize]) -> Result<StoredTensor, String> {
        let place = self.tensors.borrow().iter().position(|tensor| tensor.name == name);
        let LoadedTensor { shape: of, form, .. } =
            self.tensors.borrow_mut().swap_remove(place.ok_or_else(|| missing(name))?);
        if of != shape {
            return Err(shape_mismatch(name, &of, shape));
        }
        match form {
            StoredTensor::Wrong(reason) => Err(reason),
            StoredTensor::Whole(bytes) => {
                let view = TensorView::new(Dtype::I8, of, &bytes).map_err(|_| missing(name))?;
                self.lay_out(name, &view)
            }
            form => Ok(form),
        }
    }
}

impl WeightSource for LoadedTensors {
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        match self.take(name, shape)? {
            StoredTensor::Values(values) => Ok(values),
            _ => Err(Error::Weights(missing(name))),
        }
    }

    fn packed(&self, name: &str, shape: [usize; 2]) -> Result<Packed, Error> {
        match self.take(name, &shape)? {
            StoredTensor::Packed(packed) => Ok(packed),
            StoredTensor::Values(values) => Ok(pack(&values, shape[1])),
            _ => Err(Error::Weights(missing(name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::NetConfig;
    use crate::model::weights::{FORMAT_VERSION, ModelInfo, Precision};
    use crate::net;

    /// What would otherwise be done after the last byte, while a visitor waits.
    #[test]
    fn every_matrix_for_products_is_packed_before_the_file_ends() {
        let net = NetConfig { depth: 2, ..NetConfig::preset("browser-s", 16, 4, 3).expect("it is a preset") };
        let info = ModelInfo {
            format_version: FORMAT_VERSION,
            name: "random".into(),
            classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
            vocabulary: Vec::new(),
            latent: None,
            check: None,
            data: Default::default(),
            training: Default::default(),
            net: net.clone(),
        };
        for precision in [Precision::F32, Precision::F16, Precision::I8] {
            let bytes = net::encode(&net.init(0, &Device::flex()), &info, precision).expect("it encodes");
            let mut loading = WeightsLoader::new(bytes.len());
            bytes.chunks(1000).for_each(|piece| loading.push(piece));
            let tensors = loading.tensors.tensors.borrow();
            let packed = tensors.iter().filter(|tensor| matches!(tensor.form, StoredTensor::Packed(_))).count();
            // Four in each block; those of patches and of the head.
            assert_eq!(packed, 4 * net.depth + 2, "{precision:?}");
        }
    }
}
