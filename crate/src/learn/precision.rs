//! Matrix products in half the bits, around which everything stays in single precision.

use std::collections::HashSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::ParamRole;
use crate::net::Net;
use crate::net::weights_file::ParamPath;

/// In which numbers the transformers multiply their matrices while training. Weights, their averages and the optimizer,
/// the derivative `du/dt`, the loss and all that is no matrix product are in f32 either way.
///
/// On CUDA a product of f32, of the derivative too, may round its factors to TF32, 11 significant bits, and sum up in
/// f32: burn takes the fastest kernel, also of those on tensor cores, and leaves no choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatmulPrecision {
    /// 24 significant bits, on CUDA at least 11.
    #[default]
    F32,
    /// 8 significant bits, summed up in f32: what GPUs have special units for. The derivative's own products see the
    /// same rounded weights, in f32, so that it is that of the network which the loss is of.
    Bf16,
}

impl MatmulPrecision {
    /// The network as it is computed: the matrices of its blocks are rounded, and say so by their type, which
    /// [`crate::dual::linear`] follows. On the tape, gradients go on to the weights themselves.
    pub fn of(self, net: &Net) -> Net {
        match self {
            Self::F32 => net.clone(),
            Self::Bf16 => {
                // Matrices between features, which act on every token; convolutions have no such products.
                let specs = net.param_specs().into_iter();
                let hidden = specs.filter(|spec| spec.role == ParamRole::Hidden && spec.shape.len() == 2);
                let hidden = hidden.map(|spec| spec.name).collect();
                net.clone().map(&mut Rounded { place: ParamPath::default(), hidden })
            }
        }
    }

    /// # Errors
    /// When the device has no such numbers.
    pub fn check(self, device: &Device) -> Result<(), Error> {
        match self {
            Self::Bf16 if !device.supports_dtype(FloatDType::BF16) => {
                Err(Error::Device("[train] precision = \"bf16\": this device does not compute in bf16".into()))
            }
            _ => Ok(()),
        }
    }
}

struct Rounded {
    place: ParamPath,
    /// The names of the parameters that are rounded.
    hidden: HashSet<String>,
}

impl ModuleMapper for Rounded {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.hidden.contains(&self.place.name()) {
            true => Param::initialized(param.id, param.val().cast(FloatDType::BF16)),
            false => param,
        }
    }
}
