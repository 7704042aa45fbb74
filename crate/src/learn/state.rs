//! The state of a trainer as bytes, for where there are no files: what a page keeps, so that training goes on after it
//! was closed.
//!
//! A run's checkpoint is [`train`](crate::train)'s, and holds all of it. What reads and writes the optimizer's state
//! would be a twentieth of what a browser downloads.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::config::TrainerConfig;
use super::trainer::{Trainer, optimizer};
use crate::error::Error;
use crate::model::NetConfig;

impl Trainer {
    /// The steps taken, the network and its average `main`.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut parts = Values { bytes: self.steps_done().to_le_bytes().to_vec(), failed: None };
        self.net().visit(&mut parts);
        self.averaged().visit(&mut parts);
        match parts.failed {
            None => Ok(parts.bytes),
            Some(why) => Err(Error::Device(why)),
        }
    }

    /// A trainer that goes on where [`to_bytes`](Self::to_bytes) was called; the optimizer's averages of the gradient
    /// begin anew.
    ///
    /// # Errors
    /// Bytes that are damaged, or of another network.
    pub fn from_bytes(config: TrainerConfig, net: &NetConfig, bytes: &[u8], device: &Device) -> Result<Self, Error> {
        let damaged = || Error::Checkpoint("the state of training is damaged, or of another network".into());
        let (step, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let mut values = Fill { rest: rest.as_chunks().0, fits: rest.len().is_multiple_of(size_of::<f32>()) };
        let live = net.init(0, &config.train.autodiff_device(device)).map(&mut values);
        // An average knows its parameters by those of the network.
        let average = live.valid().map(&mut values);
        if !values.fits || !values.rest.is_empty() {
            return Err(damaged());
        }
        let optimizer = optimizer(&config.train, &live);
        let step = u64::from_le_bytes(*step);
        Ok(Self::from_parts(config, [live, average], BTreeMap::new(), optimizer, step, device))
    }
}

/// Writes the values of all parameters, one after the other.
struct Values {
    bytes: Vec<u8>,
    failed: Option<String>,
}

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match param.val().inner().try_into_vec_as::<f32>() {
            Ok(values) => self.bytes.extend(values.into_iter().flat_map(f32::to_le_bytes)),
            Err(e) => self.failed = Some(e.to_string()),
        }
    }
}

/// Gives parameters the values that [`Values`] wrote.
struct Fill<'a> {
    rest: &'a [[u8; size_of::<f32>()]],
    fits: bool,
}

impl ModuleMapper for Fill<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|old| {
            let shape = old.shape();
            let Some((values, rest)) = self.rest.split_at_checked(shape.num_elements()) else {
                self.fits = false;
                return old;
            };
            self.rest = rest;
            let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let new = Tensor::from_data(TensorData::new(values, shape), &old.device());
            if old.is_require_grad() { new.require_grad() } else { new }
        })
    }
}
