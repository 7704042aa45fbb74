//! Burn's parameters from the list of a network's parameters: each is looked up by its name.

use std::collections::HashMap;
use std::rc::Rc;

use burn::module::{Param, ParamId};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};

use crate::model::ParamSpec;

/// Makes the parameters of a network, or of a part of it. burn's own initialisation draws from one generator per
/// process, which other threads may be drawing from too; here each value follows from the seed and the name.
pub(crate) struct Init<'a> {
    seed: u64,
    scope: String,
    specs: Rc<HashMap<String, ParamSpec>>,
    pub device: &'a Device,
}

impl<'a> Init<'a> {
    /// For the parameters that are listed.
    pub fn new(seed: u64, specs: Vec<ParamSpec>, device: &'a Device) -> Self {
        let specs = specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        Self { seed, scope: String::new(), specs: Rc::new(specs), device }
    }

    /// For a part of the network.
    pub fn scope(&self, name: impl std::fmt::Display) -> Self {
        let scope = format!("{}{name}.", self.scope);
        Self { seed: self.seed, scope, specs: Rc::clone(&self.specs), device: self.device }
    }

    /// A part that the network may have: it has one where there are parameters of it.
    pub fn optional<T>(&self, name: &str, make: impl FnOnce(&Self) -> T) -> Option<T> {
        let part = self.scope(name);
        part.specs.keys().any(|name| name.starts_with(&part.scope)).then(|| make(&part))
    }

    /// Parts alike, as many as there are.
    pub fn repeat<T>(&self, name: &str, make: impl Fn(&Self) -> T) -> Vec<T> {
        let parts = self.scope(name);
        (0..).map_while(|i: usize| parts.optional(&i.to_string(), &make)).collect()
    }

    /// A linear layer, with the bias that it has, if any.
    pub fn linear(&self, name: &str) -> Linear {
        let layer = self.scope(name);
        let bias = layer.spec("bias").is_some().then(|| layer.param("bias"));
        Linear { weight: layer.param("weight"), bias }
    }

    fn spec(&self, name: &str) -> Option<&ParamSpec> {
        self.specs.get(&format!("{}{name}", self.scope))
    }

    /// A parameter whose values are made when first needed: a network that is about to be loaded never needs them.
    pub fn param<const D: usize>(&self, name: &str) -> Param<Tensor<D>> {
        let spec =
            self.spec(name).unwrap_or_else(|| panic!("`{}{name}` is listed in model::params", self.scope)).clone();
        let (seed, shape) = (self.seed, std::array::from_fn::<_, D, _>(|axis| spec.shape[axis]));
        let make = move |device: &Device, require_grad: bool| {
            let tensor = Tensor::from_data(TensorData::new(spec.initial_values(seed), shape), device);
            if require_grad { tensor.require_grad() } else { tensor }
        };
        Param::uninitialized(ParamId::new(), make, self.device.clone(), true, shape.into())
    }
}
