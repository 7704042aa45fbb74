//! What several tests share: devices, random tensors, comparisons, a tiny network.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use meanflow::flow::{AverageVelocity, Models, ObjectiveConfig, PathSample, Residuals, StepInputs, Times};
use meanflow::net::Labels;
use meanflow::rng::{Purpose, Stream};
use meanflow::{Net, NetConfig};

pub fn device() -> Device {
    Device::flex()
}

pub fn autodiff_device() -> Device {
    Device::flex().autodiff()
}

/// A reproducible random tensor, off the tape.
pub fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    let values = Stream::new(seed, Purpose::Noise, 99).normals(shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), &device())
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().try_into_vec_as::<f32>().expect("a float tensor reads back")
}

/// The classes that a test's own velocity is asked for.
pub fn classes(labels: Option<Labels>) -> Tensor<1, Int> {
    labels.and_then(|labels| labels.named().cloned()).expect("labels that name classes")
}

/// `⟨a, b⟩` in f64.
pub fn inner_product<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f64 {
    values(a).into_iter().zip(values(b)).map(|(a, b)| f64::from(a) * f64::from(b)).sum()
}

/// Largest difference over the largest magnitude of the reference.
pub fn relative_error(ours: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(ours.len(), reference.len(), "lengths differ");
    let largest = reference.iter().fold(1e-30_f64, |m, x| m.max(f64::from(x.abs())));
    let worst = ours.iter().zip(reference).map(|(a, b)| f64::from((a - b).abs()));
    worst.fold(0.0, |m: f64, x| if x.is_nan() { f64::INFINITY } else { m.max(x) }) / largest
}

#[track_caller]
pub fn assert_close(name: &str, ours: &[f32], reference: &[f32], tolerance: f64) {
    let error = relative_error(ours, reference);
    assert!(error <= tolerance, "{name}: relative error {error:.3e} exceeds {tolerance:.1e}");
}

pub fn tiny_config(channels: usize, classes: usize) -> NetConfig {
    let preset = NetConfig::preset("browser-s", 8, channels, classes).expect("it is a preset");
    NetConfig { width: 16, depth: 2, heads: 2, ..preset }
}

/// A network all of whose parameters are random: a fresh one is `u = 0`, so its derivative would prove nothing.
pub fn random_net(config: &NetConfig, device: &Device) -> Net {
    randomise(config.init(0, device))
}

/// The same parameters with random values.
pub fn randomise(net: Net) -> Net {
    randomise_by(net, |_| 0.15)
}

/// The same with values of a deviation that may depend on the shape.
pub fn randomise_by(net: Net, deviation: fn(&[usize]) -> f32) -> Net {
    struct Randomise(u64, fn(&[usize]) -> f32);
    impl ModuleMapper for Randomise {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 += 1;
            let (seed, deviation) = (self.0, self.1);
            param.map(|old| {
                let new = random(seed, old.dims()) * deviation(&old.dims());
                if old.is_autodiff() { new.autodiff().require_grad() } else { new }
            })
        }
    }
    net.map(&mut Randomise(1000, deviation))
}

/// Squared residuals of the default objective, MeanFlow, with one network in all roles.
pub fn mean_flow_residuals(
    net: &dyn AverageVelocity,
    path: PathSample,
    times: Times,
    labels: Option<Labels>,
) -> Residuals {
    ObjectiveConfig::default().residuals(Models::all(net), StepInputs::new(path, times, labels), 0)
}

/// The gradients of all parameters, in one row.
pub fn gradients(net: &Net, loss: Tensor<1>) -> Vec<f32> {
    struct Collect<'a>(&'a Gradients, Vec<f32>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.extend(param.val().grad(self.0).map(values).expect("every parameter has a gradient"));
        }
    }
    let gradients = loss.backward();
    let mut collect = Collect(&gradients, Vec::new());
    net.visit(&mut collect);
    collect.1
}
