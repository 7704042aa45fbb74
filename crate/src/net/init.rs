//! Initial parameters: drawn from the seed, the same numbers on every device. Each is made here, with its shape, its
//! first values and its role.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use burn::module::{Module, Param, ParamId};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};

use super::param::{ParamRole, Roles};
use crate::rng::{Purpose, Stream};

/// How a matrix starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Initializer {
    /// All zero.
    Zeros,
    /// Normal, with this standard deviation.
    Deviation(f64),
    /// `U(−a, a)` with `a = √(6 / (rows + columns))` (Xavier).
    Xavier,
}

/// Makes the parameters of one network, each from its own stream, so that none depends on when another is drawn. burn's
/// own initialisation draws from one generator per process, which other threads may be drawing from too.
pub(crate) struct Init<'a> {
    seed: u64,
    /// Streams that were drawn from.
    drawn: Cell<u64>,
    roles: RefCell<HashMap<ParamId, ParamRole>>,
    pub device: &'a Device,
}

impl<'a> Init<'a> {
    pub fn new(seed: u64, device: &'a Device) -> Self {
        Self { seed, drawn: Cell::new(0), roles: RefCell::default(), device }
    }

    /// The roles of all parameters of `net`, which was made here.
    pub(super) fn roles(&self, net: &impl Module) -> Roles {
        Roles::new(net, &self.roles.borrow())
    }

    /// A linear layer with bias zero.
    pub fn linear(&self, role: ParamRole, input: usize, output: usize, start: Initializer) -> Linear {
        Linear { weight: self.matrix(role, input, output, start), bias: Some(self.vector(output, 0.0)) }
    }

    /// A linear layer without bias.
    pub fn linear_without_bias(&self, role: ParamRole, input: usize, output: usize, start: Initializer) -> Linear {
        Linear { weight: self.matrix(role, input, output, start), bias: None }
    }

    /// A vector that is one number everywhere.
    pub fn vector(&self, length: usize, value: f32) -> Param<Tensor<1>> {
        self.parameter(ParamRole::Vector, [length], move |count| vec![value; count])
    }

    /// A parameter of `rows × columns`.
    pub fn matrix(&self, role: ParamRole, rows: usize, columns: usize, start: Initializer) -> Param<Tensor<2>> {
        let mut stream = self.next_stream();
        let limit = (6.0 / (rows + columns) as f64).sqrt();
        self.parameter(role, [rows, columns], move |count| match start {
            Initializer::Zeros => vec![0.0; count],
            Initializer::Deviation(deviation) => {
                stream.normals(count).into_iter().map(|z| deviation as f32 * z).collect()
            }
            Initializer::Xavier => (0..count).map(|_| (limit * (2.0 * stream.uniform() - 1.0)) as f32).collect(),
        })
    }

    /// The random numbers of the next parameter.
    pub fn next_stream(&self) -> Stream {
        Stream::new(self.seed, Purpose::Weights, self.drawn.replace(self.drawn.get() + 1))
    }

    /// A parameter whose values are made when first needed: a network that is about to be loaded never needs them.
    pub fn parameter<const D: usize>(
        &self,
        role: ParamRole,
        shape: [usize; D],
        values: impl FnOnce(usize) -> Vec<f32> + Send + Sync + 'static,
    ) -> Param<Tensor<D>> {
        let make = move |device: &Device, require_grad: bool| {
            let tensor = Tensor::from_data(TensorData::new(values(shape.iter().product()), shape), device);
            if require_grad { tensor.require_grad() } else { tensor }
        };
        let id = ParamId::new();
        self.roles.borrow_mut().insert(id, role);
        Param::uninitialized(id, make, self.device.clone(), true, shape.into())
    }
}
