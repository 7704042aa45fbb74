//! Parameters by name: out of a network into the bytes of a file, and back.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, View};

use super::quantization;
use crate::error::{Error, name_of};
use crate::net::NetConfig;

/// How weights are stored. In memory they are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Half the size; each weight keeps 11 significant bits.
    F16,
    /// Exact.
    F32,
    /// A quarter of the size: matrices as whole numbers of −127 to 127, each row with a scale in `NAME_scale`; what is
    /// no matrix as [`Self::F16`].
    I8,
}

/// The type and the shape of a tensor.
pub(crate) type TensorSpec = (Dtype, Vec<usize>);

/// One tensor of the file.
pub(crate) struct EncodedTensor {
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl EncodedTensor {
    fn new(shape: Vec<usize>, dtype: Dtype, values: &[f32]) -> Self {
        let bytes = match dtype {
            Dtype::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        Self { shape, dtype, bytes }
    }

    /// A matrix as whole numbers, and the scale of each row.
    fn quantized([rows, columns]: [usize; 2], values: &[f32]) -> [Self; 2] {
        let (bytes, scales) = quantization::quantized(columns, values);
        [Self { shape: vec![rows, columns], dtype: Dtype::I8, bytes }, Self::new(vec![rows], Dtype::F32, &scales)]
    }
}

impl View for EncodedTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Where a walk through the module stands: the parameter's name, and whether PyTorch stores it transposed.
#[derive(Default)]
pub(crate) struct ParamPath {
    names: Vec<String>,
    containers: Vec<String>,
}

impl ParamPath {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    /// The names that lead here, all of them.
    pub(crate) fn path(&self) -> String {
        self.names.join(".")
    }

    /// The names that lead here, without those of enums: how a network is built is the configuration's to say.
    pub(crate) fn name(&self) -> String {
        let named = self.names.iter().zip(&self.containers).filter(|(_, container)| !container.starts_with("Enum:"));
        named.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".")
    }

    /// burn keeps a linear layer as `[in, out]`, PyTorch and the file as `[out, in]`.
    fn is_transposed(&self) -> bool {
        self.containers.last().is_some_and(|c| c == "Struct:Linear") && self.names.last().is_some_and(|n| n == "weight")
    }
}

/// Every parameter of a module, by name, as the file stores it.
pub(crate) fn collect(net: &impl Module, precision: Precision) -> Result<BTreeMap<String, EncodedTensor>, Error> {
    struct Collect {
        place: ParamPath,
        precision: Precision,
        stored: BTreeMap<String, EncodedTensor>,
        failed: Option<String>,
    }

    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.place.enter(name, container);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.exit();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val().inner();
            let value = if self.place.is_transposed() { value.transpose() } else { value };
            let shape = value.dims().to_vec();
            match value.try_into_vec_as::<f32>() {
                Ok(values) => {
                    let name = self.place.name();
                    let stored = match (self.precision, &shape[..]) {
                        (Precision::I8, &[rows, columns]) => {
                            let [matrix, scales] = EncodedTensor::quantized([rows, columns], &values);
                            self.stored.insert(quantization::scales_of(&name), scales);
                            matrix
                        }
                        (Precision::F32, _) => EncodedTensor::new(shape, Dtype::F32, &values),
                        _ => EncodedTensor::new(shape, Dtype::F16, &values),
                    };
                    self.stored.insert(name, stored);
                }
                Err(e) => self.failed = Some(e.to_string()),
            }
        }
    }

    let mut visit = Collect { place: ParamPath::default(), precision, stored: BTreeMap::new(), failed: None };
    net.visit(&mut visit);
    match visit.failed {
        Some(reason) => Err(Error::Device(reason)),
        None => Ok(visit.stored),
    }
}

/// Refuses a file whose tensors, of these names, have not as many values as the network of `config`, before that is
/// allocated.
pub(super) fn check<'name>(
    config: &NetConfig,
    names: impl IntoIterator<Item = &'name str>,
    form: impl Fn(&str) -> Option<TensorSpec>,
) -> Result<(), Error> {
    let parameters = names.into_iter().filter(|name| !quantization::is_scale(&form, name)).filter_map(&form);
    let values: usize = parameters.map(|(_, shape)| shape.iter().product::<usize>()).sum();
    if values != config.parameters() {
        return Err(Error::Weights(format!(
            "it holds {values} numbers, but its network needs {}",
            config.parameters()
        )));
    }
    Ok(())
}

/// The type and the shape of a tensor of a file.
pub(super) fn form_in(file: &SafeTensors, name: &str) -> Option<TensorSpec> {
    file.tensor(name).ok().map(|view| (view.dtype(), view.shape().to_vec()))
}

/// The module with the file's weights; the error lists every tensor that is missing, extra, or of another shape.
pub(crate) fn apply<M: Module>(module: M, file: &SafeTensors, device: &Device) -> Result<M, Error> {
    struct Apply<'a, 'data> {
        place: ParamPath,
        file: &'a SafeTensors<'data>,
        device: &'a Device,
        used: BTreeSet<String>,
        failed: Vec<String>,
    }

    impl ModuleMapper for Apply<'_, '_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.place.enter(name, container);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.place.exit();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.place.name();
            let shape: [usize; D] = param.lazy_shape().dims();
            // Never touches the old value, so its random initialisation is not even computed.
            match tensor(self.file, &name, shape, self.place.is_transposed(), self.device) {
                Ok(value) => {
                    self.used.insert(name);
                    Param::initialized(param.id, value)
                }
                Err(reason) => {
                    // A tensor of the wrong shape is named once, not as an extra one too.
                    self.used.insert(name);
                    self.failed.push(reason);
                    param
                }
            }
        }
    }

    let form = |name: &str| form_in(file, name);
    let mut map = Apply { place: ParamPath::default(), file, device, used: BTreeSet::new(), failed: Vec::new() };
    let module = module.map(&mut map);
    let unused =
        file.names().into_iter().filter(|name| !map.used.contains(*name) && !quantization::is_scale(form, name));
    map.failed.extend(unused.map(|name| format!("tensor `{name}` belongs to no parameter")));
    match map.failed.is_empty() {
        true => Ok(module),
        false => Err(Error::Weights(map.failed.join("; "))),
    }
}

/// A parameter of the given shape, from `[out, in]` to `[in, out]` where `transposed`.
fn tensor<const D: usize>(
    file: &SafeTensors,
    name: &str,
    shape: [usize; D],
    transposed: bool,
    device: &Device,
) -> Result<Tensor<D>, String> {
    let here = |values, shape: [usize; D]| Tensor::from_data(TensorData::new(values, shape), device);
    let of = |name: &str| file.tensor(name).ok();
    // A browser's CPU packs weights its own way before it first draws: turning them before that would be for nothing.
    if transposed && cfg!(target_family = "wasm") {
        let mut turned = shape;
        turned.reverse();
        return Ok(here(read(of, name, &turned, false)?, turned).transpose());
    }
    Ok(here(read(of, name, &shape, transposed)?, shape))
}

/// The values of a parameter of the given shape, from `[out, in]` to `[in, out]` where `transposed`.
pub(super) fn read<'data>(
    tensor: impl Fn(&str) -> Option<TensorView<'data>>,
    name: &str,
    shape: &[usize],
    transposed: bool,
) -> Result<Vec<f32>, String> {
    let view = tensor(name).ok_or_else(|| missing(name))?;
    let expected: Vec<usize> = if transposed { shape.iter().rev().copied().collect() } else { shape.to_vec() };
    if view.shape() != expected {
        return Err(shape_mismatch(name, view.shape(), &expected));
    }
    let scales = || {
        let of = quantization::scales_of(name);
        let view = tensor(&of).ok_or_else(|| missing(&of))?;
        Ok((view.shape().to_vec(), to_f32(&of, &view)?))
    };
    let values = values(name, &view, scales)?;
    Ok(if transposed { transpose(&values, shape[0]) } else { values })
}

pub(crate) fn missing(name: &str) -> String {
    format!("tensor `{name}` is missing")
}

pub(crate) fn shape_mismatch(name: &str, shape: &[usize], needed: &[usize]) -> String {
    format!("tensor `{name}` has shape {shape:?}; its network needs {needed:?}")
}

/// The values of a tensor in the file's order; whole numbers need the scales of their rows, with the shape that these
/// have.
pub(crate) fn values(
    name: &str,
    view: &TensorView,
    scales: impl FnOnce() -> Result<(Vec<usize>, Vec<f32>), String>,
) -> Result<Vec<f32>, String> {
    let values = match view.dtype() {
        Dtype::I8 => quantization::values(name, view, scales),
        _ => to_f32(name, view),
    };
    finite(name, values?)
}

fn finite(name: &str, values: Vec<f32>) -> Result<Vec<f32>, String> {
    // Looking for the first one only where there is one lets compilers make vectors of the common case.
    if values.iter().fold(false, |bad, x| bad | !x.is_finite()) {
        let bad = values.iter().find(|x| !x.is_finite()).copied().unwrap_or(f32::NAN);
        return Err(format!("tensor `{name}` holds {}", name_of(bad)));
    }
    Ok(values)
}

/// Columns of `rows` values as rows; in squares, so that neither side misses the caches.
fn transpose(values: &[f32], rows: usize) -> Vec<f32> {
    const SIDE: usize = 16;
    let columns = values.len() / rows.max(1);
    let mut out = vec![0.0; values.len()];
    for (group, out) in out.chunks_mut(SIDE * columns.max(1)).enumerate() {
        for (at, columns_of) in values.chunks(SIDE * rows.max(1)).enumerate() {
            for (row, out) in out.chunks_exact_mut(columns).enumerate() {
                let from = columns_of.iter().skip(group * SIDE + row).step_by(rows);
                out[at * SIDE..].iter_mut().zip(from).for_each(|(out, x)| *out = *x);
            }
        }
    }
    out
}

/// What is stored, as it is.
pub(super) fn to_f32(name: &str, view: &TensorView) -> Result<Vec<f32>, String> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F32 => Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        Dtype::F16 => Ok(bytes.chunks_exact(2).map(|b| from_half(u16::from_le_bytes([b[0], b[1]]))).collect()),
        other => Err(format!("tensor `{name}` is {other:?}; only F16, F32 and I8 are read")),
    }
}

/// A number in half precision. Without a branch, so that compilers make vectors of loops over it: reading the weights
/// is a part of what a visitor waits for.
fn from_half(bits: u16) -> f32 {
    /// Exponents of half precision begin at 2⁻¹⁴, those of single precision at 2⁻¹²⁶; subnormal ones come out right
    /// too.
    const SHIFT: f32 = f32::from_bits((127 + 112) << 23);
    let size = u32::from(bits & 0x7fff);
    let number = f32::from_bits(size << 13) * SHIFT;
    // The largest exponent is that of infinities and what is no number.
    let number = if size >= 0x7c00 { f32::from_bits(0x7f80_0000 | (size & 0x3ff) << 13) } else { number };
    f32::from_bits(number.to_bits() | u32::from(bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_number_in_half_precision_is_read_as_it_is() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (from_half(bits), f16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{bits:#06x}: {ours}");
        }
    }

    #[test]
    fn matrices_of_odd_sizes_are_transposed() {
        for [rows, columns] in [[1, 1], [1, 40], [33, 1], [16, 16], [35, 18]] {
            let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let turned = transpose(&values, rows);
            for (i, x) in turned.iter().enumerate() {
                assert_eq!(*x, values[(i % columns) * rows + i / columns], "{rows} × {columns} at {i}");
            }
        }
    }
}
