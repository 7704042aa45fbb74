//! The state of a trainer as bytes, for where there are no files: what a page keeps, so that training goes on after it
//! was closed.
//!
//! A run's checkpoint is [`train`](crate::train)'s, and holds all of it. What reads and writes the optimizer's state
//! would be a twentieth of what a browser downloads.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::config::TrainerConfig;
use super::muon::optimizer;
use super::trainer::Trainer;
use crate::error::Error;
use crate::model::NetConfig;

impl Trainer {
    /// The steps taken, the network and its average `main`.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut values = Values::default();
        self.net().visit(&mut values);
        self.averaged().visit(&mut values);
        let bytes = values.read()?.into_iter().flat_map(f32::to_le_bytes);
        Ok(self.steps_done().to_le_bytes().into_iter().chain(bytes).collect())
    }

    /// A trainer that goes on where [`to_bytes`](Self::to_bytes) was called; the optimizer's averages of the gradient
    /// begin anew.
    ///
    /// # Errors
    /// Bytes that are damaged, or of another network.
    pub fn from_bytes(config: TrainerConfig, net: &NetConfig, bytes: &[u8], device: &Device) -> Result<Self, Error> {
        let damaged = || Error::Checkpoint("the state of training is damaged, or of another network".into());
        let (step, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let (values, odd) = rest.as_chunks();
        let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let mut fill = Fill::new(&values, None);
        let live = net.init(0, &config.train.autodiff_device(device)).map(&mut fill);
        // An average knows its parameters by those of the network.
        let average = live.valid().map(&mut fill);
        if !fill.is_done() || !odd.is_empty() {
            return Err(damaged());
        }
        let optimizer = optimizer(&config.train, &live);
        let step = u64::from_le_bytes(*step);
        Ok(Self::from_parts(config, [live, average], BTreeMap::new(), optimizer, step, device))
    }
}

/// Gathers the values of all parameters, or of chosen ones, one after the other.
#[derive(Default)]
pub(super) struct Values<'a> {
    /// Of each parameter whether it is taken; without them all are.
    chosen: Option<&'a [bool]>,
    at: usize,
    values: Vec<f32>,
    failed: Option<String>,
}

impl<'a> Values<'a> {
    pub fn of(chosen: &'a [bool]) -> Self {
        Self { chosen: Some(chosen), ..Self::default() }
    }

    /// What was gathered.
    pub fn read(self) -> Result<Vec<f32>, Error> {
        match self.failed {
            None => Ok(self.values),
            Some(why) => Err(Error::Device(why)),
        }
    }
}

impl ModuleVisitor for Values<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.at += 1;
        if self.chosen.is_some_and(|chosen| !chosen[self.at - 1]) {
            return;
        }
        match param.val().inner().try_into_vec_as::<f32>() {
            Ok(values) => self.values.extend(values),
            Err(e) => self.failed = Some(e.to_string()),
        }
    }
}

/// Gives parameters, or chosen ones, the values that [`Values`] gathered.
pub(super) struct Fill<'a> {
    chosen: Option<&'a [bool]>,
    at: usize,
    rest: &'a [f32],
    fits: bool,
}

impl<'a> Fill<'a> {
    pub fn new(values: &'a [f32], chosen: Option<&'a [bool]>) -> Self {
        Self { chosen, at: 0, rest: values, fits: true }
    }

    /// Whether there was a value for each number, and none is left.
    pub fn is_done(&self) -> bool {
        self.fits && self.rest.is_empty()
    }
}

impl ModuleMapper for Fill<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.at += 1;
        if self.chosen.is_some_and(|chosen| !chosen[self.at - 1]) {
            return param;
        }
        param.map(|old| {
            let shape = old.shape();
            let Some((values, rest)) = self.rest.split_at_checked(shape.num_elements()) else {
                self.fits = false;
                return old;
            };
            self.rest = rest;
            let new = Tensor::from_data(TensorData::new(values.to_vec(), shape), &old.device());
            if old.is_require_grad() { new.require_grad() } else { new }
        })
    }
}
