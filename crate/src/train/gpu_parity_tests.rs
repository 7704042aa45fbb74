//! Training on a GPU, or on a driver that computes on the CPU, is training on the CPU.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Tensor};

use super::{NetOverrides, Sampler, TrainConfig, Trainer};
use crate::data::{DataConfig, Images};
use crate::device;
use crate::net::Net;

/// Adds to every weight: a fresh network is `u = 0`, which does not move.
struct Stir;

impl ModuleMapper for Stir {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|x| x.random_like(Distribution::Normal(0.0, 0.1)) + x)
    }
}

fn config() -> TrainConfig {
    let net = NetOverrides {
        preset: "browser-s".into(),
        patch: Some(4),
        width: Some(32),
        depth: Some(2),
        heads: Some(2),
        ..NetOverrides::default()
    };
    // So many tokens that attention takes the kernel of GPUs.
    let data = DataConfig { size: 32, channels: 3, ..DataConfig::default() };
    let mut config = TrainConfig { net, data, ..TrainConfig::default() };
    config.train.batch_size = 8;
    config.train.flow_matching_steps = 0;
    config.train.ramp_steps = 0;
    config.train.warmup_steps = 0;
    config
}

/// The losses of the first steps.
fn losses(config: &TrainConfig, net: &Net, device: &Device) -> Vec<f64> {
    let images = Images::random(&config.data, 16);
    let mut sampler = Sampler::new(&images, &config.train, false);
    let mut trainer = Trainer::beginning_with(config, net, device);
    let mut loss = |step| {
        let measured = trainer.step(sampler.batch(step, device).expect("pictures"));
        measured.loss.try_into_scalar::<f32>().map(f64::from).expect("a number")
    };
    (0..4).map(&mut loss).collect()
}

#[test]
fn the_losses_of_a_gpu_are_those_of_the_cpu() {
    let [cpu, gpu] = ["cpu", "wgpu"].map(|name| device::open(Some(name)).expect("a device"));
    assert_ne!(cpu, gpu, "the GPU's backend comes first where it is compiled in");
    let config = config();
    let net = config.net_config(0).expect("a network").init(0, &cpu).map(&mut Stir);
    let [expected, ours] = [&cpu, &gpu].map(|device| losses(&config, &net, device));
    for (expected, ours) in expected.iter().zip(&ours) {
        assert!((expected - ours).abs() < 1e-3 * expected.abs(), "{ours} instead of {expected}");
    }
    assert_ne!(expected[0], expected[3], "nothing was learnt");
}
