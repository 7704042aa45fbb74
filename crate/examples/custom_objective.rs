//! An objective of one's own: the interval splitting of SplitMeanFlow, which needs no derivative. A small network
//! learns the points of a ring by it.
//!
//! ```sh
//! cargo run --release --example custom_objective
//! ```

use std::error::Error;
use std::io::{Write, stdout};

use burn::tensor::{Device, Tensor, TensorData};
use meanflow::NetConfig;
use meanflow::flow::{Models, Objective, Residuals, StepInputs, one_step, squared_norm};
use meanflow::rng::{Purpose, Stream};
use meanflow::train::{Batch, OptimizerKind, TrainConfig, Trainer};

/// A jump from `t` to `r` is one from `t` to `s`, which lands at `z_s`, and one from there:
/// `(t − r) u(z, r, t) = (t − s) u(z, s, t) + (s − r) u(z_s, r, s)`.
#[derive(Debug)]
pub struct SplitMeanFlow;

impl Objective for SplitMeanFlow {
    fn residuals(&self, models: Models<'_>, inputs: StepInputs, step: u64) -> Residuals {
        // Where s splits the interval: multiples of the golden ratio spread evenly.
        let early = (step as f64 * 0.618_033_988_75).fract();
        // Rows with r = t learn the velocity of the path.
        Residuals::with_flow_matching(models, &inputs, |rows| {
            let StepInputs { z, r, t, labels, .. } = rows;
            let s = r.clone() + (t.clone() - r.clone()) * early;
            let span = (t.clone() - s.clone()).reshape([-1, 1, 1, 1]);
            let first = models.detached.eval(z.clone(), s.clone(), t.clone(), labels.clone());
            let second = models.detached.eval(z.clone() - span * first.clone(), r.clone(), s, labels.clone());
            let target = first * (1.0 - early) + second * early;
            squared_norm(models.online.u(z.into(), r.into(), t.into(), labels).primal - target)
        })
    }
}

/// Radius of the ring.
pub const RADIUS: f64 = 1.5;

/// Points as images of one pixel with two channels, `[count, 2, 1, 1]`.
fn points(count: usize, mut point: impl FnMut() -> [f64; 2]) -> Tensor<4> {
    let values = (0..count).flat_map(|_| point().map(|x| x as f32)).collect();
    Tensor::from_data(TensorData::new::<f32, _>(values, [count, 2, 1, 1]), &Device::flex())
}

/// Trains for some steps, then takes points of noise to the ring in one call each.
pub fn learn(steps: u64) -> Result<Vec<[f32; 2]>, Box<dyn Error>> {
    let net = NetConfig { image_size: 1, patch: 1, width: 64, depth: 2, ..NetConfig::preset("browser-s", 4, 2, 0)? };
    let mut config = TrainConfig::default();
    (config.weight.p, config.times.uniform) = (0.0, 0.5);
    (config.train.optimizer, config.train.learning_rate, config.train.ema_decay) = (OptimizerKind::Muon, 2e-3, 0.98);
    config.scale_to(steps);
    let mut trainer = Trainer::new(&config, &net, &Device::flex()).with_objective(SplitMeanFlow);
    for step in 0..steps {
        let mut stream = Stream::new(0, Purpose::Batch, step);
        let mut angle = || std::f64::consts::TAU * stream.uniform();
        trainer.step(Batch::new(points(256, || <[f64; 2]>::from(angle().sin_cos()).map(|x| RADIUS * x)), None));
    }
    let mut stream = Stream::new(1, Purpose::Noise, 0);
    let made = one_step(trainer.averaged(), points(500, || stream.normal_pair()), None).try_into_vec_as::<f32>()?;
    Ok(made.chunks_exact(2).map(|point| [point[0], point[1]]).collect())
}

/// Mean distance of points from the ring.
pub fn distance(points: &[[f32; 2]]) -> f32 {
    points.iter().map(|[x, y]| (x.hypot(*y) - RADIUS as f32).abs()).sum::<f32>() / points.len() as f32
}

#[allow(dead_code, reason = "the tests have this file as a module")]
fn main() -> Result<(), Box<dyn Error>> {
    let made = learn(1_000)?;
    writeln!(stdout(), "points of noise are about 0.5 from the ring; one call takes them to {:.3}", distance(&made))?;
    Ok(())
}
