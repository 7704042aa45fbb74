//! Weights files into networks of burn, and back: the one place that knows how its modules name and lay out parameters.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::Net;
use super::quantization::EncodedTensor;
use crate::dual::IN_BROWSER;
use crate::error::Error;
use crate::model::weights::values::{TensorSpec, check, read};
use crate::model::weights::{METADATA_KEY, ModelInfo, Precision, dequantization, describe, read_info};

/// The bytes of a weights file.
///
/// # Errors
/// When `info` does not describe `net`, or the device cannot be read.
pub fn encode(net: &Net, info: &ModelInfo, precision: Precision) -> Result<Vec<u8>, Error> {
    info.validate()?;
    let json = serde_json::to_string(info).map_err(|e| Error::Weights(e.to_string()))?;
    // One entry only: the header's map has no order, and equal weights should give equal bytes.
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), json)]);
    let tensors = collect(net, precision)?;
    safetensors::serialize(tensors, Some(metadata)).map_err(|e| Error::Weights(e.to_string()))
}

/// The network and description in a weights file, on `device`, as f32.
///
/// # Errors
/// [`Error::Weights`] when the file is truncated, is no safetensors file, comes from another program or format
/// version, or its tensors do not fit its own configuration. Nothing is allocated before the header is checked.
pub fn decode(bytes: &[u8], device: &Device) -> Result<(Net, ModelInfo), Error> {
    let info = read_info(bytes)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| describe(bytes, &e))?;
    check(&info.net, tensors.names(), |name| form_in(&tensors, name))?;
    let net = apply(info.net.init(0, device), &tensors, device)?;
    Ok((net.no_grad(), info))
}

/// Where a walk through the module stands: the parameter's name, and whether PyTorch stores it transposed.
#[derive(Default)]
pub(crate) struct ParamPath {
    /// The names that lead here, all of them.
    pub(crate) names: Vec<String>,
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

    /// The names that lead here, without those of enums: how a network is built is the configuration's to say.
    pub(crate) fn name(&self) -> String {
        let named = self.names.iter().zip(&self.containers).filter(|(_, container)| !container.starts_with("Enum:"));
        named.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".")
    }

    /// burn keeps a linear layer as `[in, out]`, PyTorch and the file as `[out, in]`.
    pub(crate) fn is_transposed(&self) -> bool {
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
                            self.stored.insert(dequantization::scales_of(&name), scales);
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
        file.names().into_iter().filter(|name| !map.used.contains(*name) && !dequantization::is_scale(form, name));
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
    if transposed && IN_BROWSER {
        let mut turned = shape;
        turned.reverse();
        return Ok(here(read(of, name, &turned, false)?, turned).transpose());
    }
    Ok(here(read(of, name, &shape, transposed)?, shape))
}

/// The type and the shape of a tensor of a file.
fn form_in(file: &SafeTensors, name: &str) -> Option<TensorSpec> {
    file.tensor(name).ok().map(|view| (view.dtype(), view.shape().to_vec()))
}
