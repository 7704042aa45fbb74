//! Exponential moving average of the weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::dual::cpu::fused_update;
use crate::net::Net;

/// A shadow of the network, off the tape, that follows it slowly; samples and exports use the shadow.
#[derive(Clone, Debug)]
pub struct Ema {
    net: Net,
}

/// The decay of the main average at a step: it rises from 0.1 to the configured one as `(1 + n) / (10 + n)`, so that
/// the first samples are not of the initial weights.
pub fn rising_decay(decay: f64, step: u64) -> f64 {
    let n = step as f64;
    decay.min((1.0 + n) / (10.0 + n))
}

impl Ema {
    /// Starts at the network itself.
    pub fn new(net: &Net) -> Self {
        Self { net: net.valid() }
    }

    /// Continues from a shadow read from a checkpoint.
    pub fn resume(shadow: Net) -> Self {
        Self { net: shadow.valid() }
    }

    /// The averaged network.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// `ema ← ema + (1 − d)(θ − ema)` with the decay `d`.
    pub fn follow(&mut self, net: &Net, decay: f64) {
        let mut weights = Collect(GradientsParams::new());
        net.visit(&mut weights);
        let mut blend = Blend { weights: weights.0, rate: 1.0 - decay };
        // Another holder of the shadow's weights would have them copied instead of changed where they lie.
        let shadow = std::mem::replace(&mut self.net, net.clone());
        self.net = shadow.map(&mut blend);
    }
}

/// Gathers weights by parameter. burn's gradient container is its one map from parameters to tensors of any rank.
struct Collect(GradientsParams);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val().inner());
    }
}

struct Blend {
    weights: GradientsParams,
    rate: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let weight = self.weights.remove::<D>(param.id).expect("the shadow has the network's parameters");
        let rate = self.rate;
        let follow = |[shadow]: [&mut [f32]; 1], [weight]: [&[f32]; 1]| {
            shadow.iter_mut().zip(weight).for_each(|(shadow, weight)| *shadow += (weight - *shadow) * rate as f32);
        };
        param.map(|shadow| match fused_update([shadow], [&weight], follow) {
            Ok([shadow]) => shadow,
            Err([shadow]) => shadow.clone() + (weight - shadow).mul_scalar(rate),
        })
    }
}
