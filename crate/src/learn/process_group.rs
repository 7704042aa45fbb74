//! Processes that train together, and the sums of their gradients.

use std::fmt::Debug;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use crate::net::Net;

/// Processes that train together. Every call is made by all of them, in the same order, and waits for all of them.
pub trait ProcessGroup: Debug + Send + Sync {
    /// Which of the processes this is, from 0.
    fn rank(&self) -> usize;

    /// How many processes there are.
    fn size(&self) -> usize;

    /// Replaces values by their sums over all processes, added up in the order of ranks: the same bits everywhere, and
    /// in every run.
    fn all_reduce(&self, values: &mut [f32]);

    /// What each process has given, in the order of ranks.
    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>>;

    /// Ends all processes, because this one cannot go on.
    fn abort(&self) -> !;
}

/// The gradients of all processes, added up.
pub(super) fn all_reduce(
    group: &dyn ProcessGroup,
    net: &Net,
    gradients: GradientsParams,
    device: &Device,
) -> GradientsParams {
    let mut values = flatten(net, &gradients);
    group.all_reduce(&mut values);
    unflatten(net, &values, device)
}

/// All gradients one after the other, and then for each tensor 1 where it has a gradient, else 0. Sums of them are
/// those of the gradients.
pub(super) fn flatten(net: &Net, gradients: &GradientsParams) -> Vec<f32> {
    let mut flat = Flatten { gradients: Some(gradients), ..Flatten::default() };
    net.visit(&mut flat);
    let Flatten { mut values, present, .. } = flat;
    values.extend(present);
    values
}

/// How many values [`flatten`] writes for a network of so many tensors.
pub(super) fn flat_len(net: &Net, tensors: usize) -> usize {
    net.num_params() + tensors
}

/// The gradients that [`flatten`] wrote, or their sums.
pub(super) fn unflatten(net: &Net, values: &[f32], device: &Device) -> GradientsParams {
    let (values, present) = values.split_at(net.num_params().min(values.len()));
    let mut back = Unflatten { values, present, device, gradients: GradientsParams::new() };
    net.visit(&mut back);
    back.gradients
}

/// The weights of a network, or their gradients, one after the other. A gradient that there is none of is zeros.
#[derive(Default)]
pub(crate) struct Flatten<'a> {
    /// The gradients; without them the weights are taken.
    gradients: Option<&'a GradientsParams>,
    pub values: Vec<f32>,
    /// For each tensor 1 where it has a gradient, else 0.
    present: Vec<f32>,
}

impl ModuleVisitor for Flatten<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match self.gradients {
            Some(gradients) => gradients.get::<D>(param.id),
            None => Some(param.val()),
        };
        self.present.push(if tensor.is_some() { 1.0 } else { 0.0 });
        match tensor {
            Some(tensor) => {
                let data = tensor.into_data();
                match data.as_slice::<f32>() {
                    Ok(values) => self.values.extend_from_slice(values),
                    Err(_) => self.values.extend(data.iter::<f32>()),
                }
            }
            None => self.values.resize(self.values.len() + param.val().shape().num_elements(), 0.0),
        }
    }
}

struct Unflatten<'a> {
    values: &'a [f32],
    present: &'a [f32],
    device: &'a Device,
    gradients: GradientsParams,
}

impl ModuleVisitor for Unflatten<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.val().shape();
        let (own, rest) = self.values.split_at(shape.num_elements());
        self.values = rest;
        let [present, rest @ ..] = self.present else { return };
        self.present = rest;
        if *present > 0.0 {
            let gradient = Tensor::<D>::from_data(TensorData::new(own.to_vec(), shape), self.device);
            self.gradients.register(param.id, gradient);
        }
    }
}
