//! MeanFlow in the plane: distributions of points that a small network learns in seconds, and pictures of what it
//! learnt.
//!
//! A point is an image of one pixel with two channels, so network, objective and optimizer are those of images.

mod figure;
mod points;

use anyhow::{Result, bail};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

pub use figure::{Portrait, Series};
pub use points::Points;

use super::batch::Batch;
use super::config::TrainConfig;
use super::log::MetricAccumulator;
use super::optimization::OptimizerKind;
use super::trainer::Trainer;
use super::{Observer, Record};
use crate::error::Error;
use crate::flow::{AverageVelocity, ImprovedMeanFlow, Velocity, one_step};
use crate::model::NetConfig;
use crate::net::Net;
use crate::rng::{Purpose, Stream};

/// Points per step.
const BATCH: usize = 256;

/// Learns a distribution with improved MeanFlow.
///
/// # Errors
/// A loss that is not finite.
pub fn learn(points: Points, steps: u64, seed: u64, device: &Device, observer: &mut dyn Observer) -> Result<Net> {
    let config = settings(steps, seed);
    let net = NetConfig::preset("browser-s", 4, 2, 0)?;
    let net = NetConfig { image_size: 1, patch: 1, width: 64, depth: 3, heads: 4, ..net };
    let mut trainer = Trainer::new(&config, &net, device);
    let mut meter = MetricAccumulator::default();
    for step in 0..steps {
        let x = plane(&points.draw(BATCH, &mut Stream::new(seed, Purpose::Batch, step)), device);
        meter.add(trainer.step(Batch::new(x, None)));
        observer.step(step + 1);
        if (step + 1).is_multiple_of(200) || step + 1 == steps {
            let record: Record = meter.record(step + 1, config.train.learning_rate_at(step), None)?;
            observer.record(&record);
            if !record.residual.is_finite() {
                bail!("the loss is {} at step {}", record.loss, step + 1);
            }
        }
    }
    Ok(trainer.averaged().valid())
}

/// Of images' default schedule, scaled; what points in the plane need otherwise.
fn settings(steps: u64, seed: u64) -> TrainConfig {
    let objective = ImprovedMeanFlow::default().into();
    let mut config = TrainConfig { objective, ..TrainConfig::default() };
    config.times.uniform = 0.5;
    // Plain squares: in two dimensions the errors of a place differ too much for the adaptive weight, which then pulls
    // towards medians; in thousands they hardly do.
    config.weight.p = 0.0;
    config.scale_to(steps);
    config.train.optimizer = OptimizerKind::Muon;
    config.train.learning_rate = 2e-3;
    config.train.batch_size = BATCH;
    config.train.ema_decay = 0.995;
    config.train.seed = seed;
    config
}

/// What a network has learnt, from the noise of a seed: where one call takes it, and the way of the velocity.
///
/// # Shapes
/// `count` points each; a path holds `steps + 1` points, from noise to data.
///
/// # Errors
/// When the device cannot be read.
pub fn portray(net: &Net, points: Points, seed: u64, device: &Device) -> Result<Portrait, Error> {
    let (samples, paths, steps) = (600, 48, 64);
    let mut stream = Stream::new(seed, Purpose::Noise, 0);
    let noise: Vec<[f32; 2]> = (0..samples).map(|_| stream.normal_pair().map(|z| z as f32)).collect();
    let e = plane(&noise, device);
    let jumps = series(one_step(net, e, None))?;
    let data = points.draw(samples, &mut Stream::new(seed, Purpose::Batch, u64::MAX));

    let velocity = Velocity::new(net, None, None);
    let mut z = plane(&noise[..paths], device);
    let mut walks = vec![noise[..paths].to_vec()];
    for i in 0..steps {
        let t = 1.0 - f64::from(i) / f64::from(steps);
        z = z.clone() - velocity.at(z, t) / f64::from(steps);
        walks.push(series(z.clone())?);
    }

    let at = 1.0;
    let places: Vec<[f32; 2]> = (0..81).map(|i| [(i % 9) as f32 * 0.5 - 2.0, (i / 9) as f32 * 0.5 - 2.0]).collect();
    let z = plane(&places, device);
    let time = |t: f64| Tensor::full([places.len()], t, device).into();
    let v = series(velocity.at(z.clone(), at))?;
    let u = series(net.u(z.into(), time(0.0), time(at), None).primal)?;
    Ok(Portrait { data, noise, jumps, walks, places, v, u })
}

/// Points as images of one pixel: `[count, 2, 1, 1]`.
fn plane(points: &[[f32; 2]], device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(points.concat(), [points.len(), 2, 1, 1]), device)
}

fn series(z: Tensor<4>) -> Result<Series, Error> {
    let values = z.try_into_vec_as::<f32>().map_err(|e| Error::Device(e.to_string()))?;
    Ok(values.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect())
}
