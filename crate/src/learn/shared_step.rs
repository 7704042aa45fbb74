//! A step that several Workers of a page take together, each with a trainer of its own. In the middle of it they exchange
//! what they have, which a browser does only between calls: so the step is in parts here, where
//! [`ProcessGroup`](super::ProcessGroup) waits inside of it.
//!
//! Each computes the gradients of its rows; of the sum each moves its share of the weights, as what Muon does for one
//! matrix takes as long whoever does it, and gives the others the result (ZeRO, arXiv 1910.02054, stage 1). All have the
//! same weights and averages after every step, bit for bit.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::batch::Batch;
use super::gradients;
use super::part::Part;
use super::process_group::{flat_len, flatten, unflatten};
use super::state::{Fill, Values};
use super::trainer::Trainer;
use crate::error::Error;
use crate::net::Net;

impl Trainer {
    /// The gradients of the rows of a batch that are in it, to be added to those of the others.
    pub(crate) fn shared_gradients(&self, batch: Batch) -> Vec<f32> {
        flatten(self.net(), &self.gradients(batch).0)
    }

    /// Moves one share of the weights by the sum of all gradients, and gives it for the others to
    /// [take](Self::take_share).
    ///
    /// # Errors
    /// A sum that is not of this network's gradients, or a device that cannot be read.
    pub(crate) fn update_share(&mut self, sum: &[f32], share: Part) -> Result<Vec<f32>, Error> {
        let chosen = chosen(self.net(), share);
        if sum.len() != flat_len(self.net(), chosen.len()) {
            return Err(of_another("gradients"));
        }
        let gradients = unflatten(self.net(), sum, &self.devices[0]);
        // By the norm of all, also of those that others move.
        let gradients = gradients::clip(self.net(), gradients, self.config.train.clip);
        let mut own = Keep { chosen: &chosen, at: 0, gradients, kept: GradientsParams::new() };
        self.net().visit(&mut own);
        let Keep { kept, .. } = own;
        self.update(kept);
        let mut values = Values::of(&chosen);
        self.net().visit(&mut values);
        values.read()
    }

    /// Takes the share of the weights that another has moved.
    ///
    /// # Errors
    /// Values that are not those of the share.
    pub(crate) fn take_share(&mut self, values: &[f32], share: Part) -> Result<(), Error> {
        let chosen = chosen(self.net(), share);
        let mut fill = Fill::new(values, Some(&chosen));
        // Unchanged where the values do not fit.
        let net = self.net().clone().map(&mut fill);
        if !fill.is_done() {
            return Err(of_another("weights"));
        }
        self.net = net;
        Ok(())
    }
}

fn of_another(what: &str) -> Error {
    Error::Checkpoint(format!("the {what} that another Worker gives are of another network"))
}

/// Whether each parameter, in the order of the network, is of a share. The shares take about as long as one another:
/// the largest parameters are given away first, each to whoever has least.
fn chosen(net: &Net, share: Part) -> Vec<bool> {
    let mut costs = Costs::default();
    net.visit(&mut costs);
    let mut order: Vec<usize> = (0..costs.0.len()).collect();
    order.sort_by_key(|&param| std::cmp::Reverse(costs.0[param]));
    let (mut loads, mut owners) = (vec![0; share.count], vec![0; order.len()]);
    for param in order {
        let owner = (0..share.count).min_by_key(|&owner| loads[owner]).unwrap_or_default();
        loads[owner] += costs.0[param];
        owners[param] = owner;
    }
    owners.into_iter().map(|owner| owner == share.index).collect()
}

/// What a step of each parameter costs, roughly: an orthogonal step of a matrix is products with its shorter side.
#[derive(Default)]
struct Costs(Vec<usize>);

impl ModuleVisitor for Costs {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.lazy_shape();
        let shorter = if D == 2 { shape.iter().min().copied().unwrap_or(1) } else { 1 };
        self.0.push(shape.num_elements() * shorter);
    }
}

/// Keeps the gradients of chosen parameters alone.
struct Keep<'a> {
    chosen: &'a [bool],
    at: usize,
    gradients: GradientsParams,
    kept: GradientsParams,
}

impl ModuleVisitor for Keep<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.at += 1;
        if let Some(gradient) = self.gradients.remove::<D>(param.id).filter(|_| self.chosen[self.at - 1]) {
            self.kept.register(param.id, gradient);
        }
    }
}
