//! Initial parameters: drawn from the seed, the same numbers on every device.

use std::cell::Cell;

use burn::module::{Param, ParamId};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};

use crate::rng::{Purpose, Stream};

/// How a matrix starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
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
    made: Cell<u64>,
    pub device: &'a Device,
}

impl<'a> Init<'a> {
    pub fn new(seed: u64, device: &'a Device) -> Self {
        Self { seed, made: Cell::new(0), device }
    }

    /// A linear layer with bias zero.
    pub fn linear(&self, input: usize, output: usize, start: Start) -> Linear {
        Linear { weight: self.matrix(input, output, start), bias: Some(self.constant([output], 0.0)) }
    }

    /// A linear layer without bias.
    pub fn linear_without_bias(&self, input: usize, output: usize, start: Start) -> Linear {
        Linear { weight: self.matrix(input, output, start), bias: None }
    }

    /// A parameter that is one number everywhere.
    pub fn constant<const D: usize>(&self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        self.parameter(shape, move |count| vec![value; count])
    }

    /// A parameter of `rows × columns`.
    pub fn matrix(&self, rows: usize, columns: usize, start: Start) -> Param<Tensor<2>> {
        let mut stream = self.next_stream();
        let limit = (6.0 / (rows + columns) as f64).sqrt();
        self.parameter([rows, columns], move |count| match start {
            Start::Zeros => vec![0.0; count],
            Start::Deviation(deviation) => stream.normals(count).into_iter().map(|z| deviation as f32 * z).collect(),
            Start::Xavier => (0..count).map(|_| (limit * (2.0 * stream.uniform() - 1.0)) as f32).collect(),
        })
    }

    /// The random numbers of the next parameter.
    pub fn next_stream(&self) -> Stream {
        Stream::new(self.seed, Purpose::Weights, self.made.replace(self.made.get() + 1))
    }

    /// A parameter whose values are made when first needed: a network that is about to be loaded never needs them.
    pub fn parameter<const D: usize>(
        &self,
        shape: [usize; D],
        values: impl FnOnce(usize) -> Vec<f32> + Send + Sync + 'static,
    ) -> Param<Tensor<D>> {
        let make = move |device: &Device, require_grad: bool| {
            let tensor = Tensor::from_data(TensorData::new(values(shape.iter().product()), shape), device);
            if require_grad { tensor.require_grad() } else { tensor }
        };
        Param::uninitialized(ParamId::new(), make, self.device.clone(), true, shape.into())
    }
}
