//! The U-Net of the CIFAR-10 experiments (MeanFlow, arXiv 2505.13447, appendix B): the DDPM++ network of score-based
//! models (arXiv 2011.13456) in the form that EDM (arXiv 2206.00364) gave it, with a second time. Written from its
//! description.

mod block;
mod conv;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData};

use super::embed::Table;
use super::init::Init;
use super::{Conditioning, Dropout, Labels, NetConfig, UnetConfig};
use crate::dual::{Dual, linear, silu};
use crate::model::params::unet::{BlockPlan, UnetPlan};
use block::UnetBlock;
use conv::{Conv, GroupNorm};

/// Longest period of the sinusoids, in units of time / 2π.
const MAX_PERIOD: f64 = 10_000.0;

/// An encoder and a decoder with connections across.
#[derive(Module, Debug)]
pub struct Unet {
    times0: Linear,
    times1: Linear,
    augmentation: Option<Linear>,
    pub(super) label: Option<Table>,
    input: Conv,
    encoder: Vec<UnetBlock>,
    decoder: Vec<UnetBlock>,
    norm: GroupNorm,
    output: Conv,
    #[module(skip)]
    frequencies: Tensor<2>,
    #[module(skip)]
    pub(super) config: NetConfig,
}

impl Unet {
    pub(super) fn new(config: &NetConfig, parts: &UnetConfig, init: &Init) -> Self {
        let half = config.width;
        let frequency = |i: usize| libm::pow(MAX_PERIOD, -(i as f64) / (half - 1) as f64) as f32;
        let frequencies = TensorData::new((0..half).map(frequency).collect::<Vec<f32>>(), [1, half]);
        let plan = UnetPlan::new(config, parts);
        let blocks = |name: &str, plans: Vec<BlockPlan>| {
            let part = init.scope(name);
            let block = |(i, plan)| UnetBlock::new(plan, &part.scope(i));
            plans.into_iter().enumerate().map(block).collect()
        };
        Self {
            times0: init.linear("times0"),
            times1: init.linear("times1"),
            augmentation: parts.augmentation.then(|| init.linear("augmentation")),
            label: init.optional("label", Table::new),
            input: Conv::new(&init.scope("input")),
            encoder: blocks("encoder", plan.encoder),
            decoder: blocks("decoder", plan.decoder),
            norm: GroupNorm::new(&init.scope("norm")),
            output: Conv::new(&init.scope("output")),
            frequencies: Tensor::from_data(frequencies, &init.device.clone().inner()),
            config: config.clone(),
        }
    }

    pub(super) fn forward(&self, z: Dual<4>, conditioning: Conditioning, dropout: Option<&Dropout>) -> Dual<4> {
        if let Some(dropout) = dropout {
            dropout.restart();
        }
        let embedding = self.embed(&conditioning);
        let mut x = self.input.forward(z.clone());
        let mut across = vec![x.clone()];
        for block in &self.encoder {
            x = block.forward(x, embedding.clone(), dropout);
            across.push(x.clone());
        }
        for block in &self.decoder {
            if block.input() != x.dims()[1] {
                x = x.concat(across.pop().expect("the encoder leaves as much as the decoder takes"), 1);
            }
            x = block.forward(x, embedding.clone(), dropout);
        }
        let output = self.output.forward(silu(self.norm.forward(x)));
        self.config.to_velocity(z, output, conditioning.t)
    }

    /// The times, each as `[sin | cos]`, through two layers; with how the image was changed added before the first, and
    /// the class before the second, where the network is told them. Of no change it need not be told.
    fn embed(&self, conditioning: &Conditioning) -> Dual<2> {
        let Conditioning { r, t, labels } = conditioning;
        let times = self.config.times.flags().into_iter().zip([t.clone(), r.clone(), t.clone() - r.clone()]);
        let waves = times.filter_map(|(is_input, time)| is_input.then_some(time)).map(|time| {
            let [batch] = time.dims();
            let angles = time.reshape([batch, 1]) * Dual::constant(self.frequencies.clone());
            angles.clone().sin().concat(angles.cos(), 1)
        });
        let waves = waves.reduce(|all, wave| all.concat(wave, 1)).expect("every network is told some time");
        let changes = labels.as_ref().and_then(Labels::augment_labels);
        let waves = match (&self.augmentation, changes) {
            (Some(layer), Some(changes)) => waves + linear(layer, changes.clone().into()),
            _ => waves,
        };
        let mut inner = silu(linear(&self.times0, waves));
        if let Some(table) = &self.label {
            inner = inner + labels.as_ref().expect("a class-conditional network needs labels").embed(table);
        }
        silu(linear(&self.times1, inner))
    }
}
