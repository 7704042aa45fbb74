//! Dropout, which the U-Net trains with.

use std::cell::Cell;

use burn::tensor::{Tensor, TensorData};

use crate::dual::Dual;
use crate::rng::{Purpose, Stream, fold_in};

/// Dropout of one training step: every call of the step drops the same features, so that what a target asks the network
/// fits what is trained.
#[derive(Debug)]
pub struct Dropout {
    share: f64,
    seed: u64,
    made: Cell<u64>,
}

impl Dropout {
    /// Drops a share of the features, 0 to below 1, as the seed and the step say.
    pub fn new(share: f64, seed: u64, step: u64) -> Self {
        Self { share, seed: fold_in(seed, step), made: Cell::new(0) }
    }

    /// Begins a call of the network: its first mask comes next.
    pub(super) fn restart(&self) {
        self.made.set(0);
    }

    /// Zero or `1 / (1 − share)` for every feature of `x`, and of its tangent.
    pub(super) fn apply(&self, x: Dual<4>) -> Dual<4> {
        let shape = x.dims();
        let mut stream = Stream::new(self.seed, Purpose::Features, self.made.replace(self.made.get() + 1));
        let kept = (1.0 / (1.0 - self.share)) as f32;
        let draw = |_| if stream.uniform() < self.share { 0.0 } else { kept };
        let mask: Vec<f32> = (0..shape.iter().product()).map(draw).collect();
        let mask = Tensor::<4>::from_data(TensorData::new(mask, shape), &x.primal.device().inner());
        let mask = if x.primal.is_autodiff() { mask.autodiff() } else { mask };
        x * mask.into()
    }
}
