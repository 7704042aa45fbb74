//! MeanFlow in the plane: distributions of points that a small network learns in seconds, and pictures of what it
//! learnt.
//!
//! A point is an image of one pixel with two channels, so network, objective and optimizer are those of images.

mod figure;
mod points;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

pub use figure::{Portrait, Series};
pub use points::{PointSource, Points};

use super::batch::Batch;
use super::config::TrainerConfig;
use super::muon;
use super::optimization::OptimizerKind;
use super::trainer::{StepStats, Trainer};
use crate::device::read;
use crate::error::{Error, check};
use crate::flow::{
    AdaptiveWeight, AverageVelocity, ImprovedMeanFlow, ObjectiveConfig, TimesConfig, Velocity, one_step,
};
use crate::model::NetConfig;
use crate::net::Net;
use crate::rng::{Purpose, Stream};

/// Points per step.
pub const BATCH: usize = 256;

/// Steps beyond which points in the plane are learnt long since.
const MAX_STEPS: u64 = 1_000_000;

/// What may be chosen; the names are those of a settings file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlaygroundConfig {
    /// Optimizer steps.
    pub steps: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// What is trained; its schedule is that of a run of the default length, and scaled with it.
    pub objective: ObjectiveConfig,
    /// Which times are trained.
    pub times: TimesConfig,
    /// The weight of the loss.
    pub weight: AdaptiveWeight,
}

impl Default for PlaygroundConfig {
    fn default() -> Self {
        Self {
            steps: 2500,
            seed: 0,
            objective: ImprovedMeanFlow::default().into(),
            times: TimesConfig { uniform: 0.5, ..TimesConfig::default() },
            // Plain squares: in two dimensions the errors of a place differ too much for the adaptive weight, which
            // then pulls towards medians; in thousands they hardly do.
            weight: AdaptiveWeight { p: 0.0, ..AdaptiveWeight::default() },
        }
    }
}

impl PlaygroundConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    fn validate(&self) -> Result<(), Error> {
        let AdaptiveWeight { p, c } = self.weight;
        let weight = p >= 0.0 && p.is_finite() && c > 0.0 && c.is_finite();
        let rules = [
            ((1..=MAX_STEPS).contains(&self.steps), "steps must be 1 to 1000000"),
            (weight, "[weight] p must not be negative, and c must be above 0"),
        ];
        check(rules, str::to_owned)?;
        self.times.validate()?;
        self.objective.validate()?;
        self.objective.check_batch(&self.times, BATCH, 1.0)
    }

    /// Of images' default schedule, scaled; what points in the plane need otherwise.
    fn trainer(&self) -> TrainerConfig {
        let Self { objective, times, weight, .. } = self.clone();
        let mut config = TrainerConfig { objective, times, weight, ..TrainerConfig::default() };
        config.scale_to(self.steps);
        config.train.optimizer = OptimizerKind::Muon;
        config.train.learning_rate = 2e-3;
        config.train.batch_size = BATCH;
        config.train.ema_decay = 0.995;
        config.train.seed = self.seed;
        config
    }
}

/// What a step measured, read back from the device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The weighted loss.
    pub loss: f32,
    /// Mean of `‖u − u_tgt‖²` of the rows with `r < t`, where there are any: the one-step objective.
    pub interval: Option<f32>,
    /// The same of the rows with `r = t`: the Flow Matching error.
    pub instant: Option<f32>,
}

impl Measured {
    /// Waits for the device.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(stats: StepStats) -> Result<Self, Error> {
        let mean = |rows: Option<Tensor<1>>| rows.map(|rows| read(rows.mean())).transpose();
        let (interval, instant) = (mean(stats.residuals.interval)?, mean(stats.residuals.instant)?);
        Ok(Self { loss: read(stats.loss)?, interval, instant })
    }
}

/// A small network that learns points in the plane, a step at a time.
pub struct Laboratory {
    trainer: Trainer,
    config: TrainerConfig,
    source: PointSource,
    device: Device,
}

impl Laboratory {
    /// A network that has learnt nothing yet.
    ///
    /// # Errors
    /// A setting that is out of range, or an objective that the network or the batches do not suit.
    pub fn new(config: &PlaygroundConfig, source: impl Into<PointSource>, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        let net = NetConfig::preset("browser-s", 4, 2, 0)?;
        let net = NetConfig { image_size: 1, patch: 1, width: 64, depth: 3, heads: 4, ..net };
        config.objective.check_network(&net)?;
        let config = config.trainer();
        muon::check(&config.train, &net.params())?;
        let trainer = Trainer::new(config.clone(), &net, device);
        Ok(Self { trainer, config, source: source.into(), device: device.clone() })
    }

    /// Takes one step on a batch of points.
    pub fn step(&mut self) -> StepStats {
        let mut stream = Stream::new(self.config.train.seed, Purpose::Batch, self.trainer.steps_done());
        self.trainer.step(Batch::new(plane(&self.source.draw(BATCH, &mut stream), &self.device), None))
    }

    /// Steps taken so far.
    pub fn steps_done(&self) -> u64 {
        self.trainer.steps_done()
    }

    /// The learning rate of the last step.
    pub fn learning_rate(&self) -> f64 {
        self.config.train.learning_rate_at(self.steps_done().saturating_sub(1))
    }

    /// What it has learnt.
    pub fn net(&self) -> Net {
        self.trainer.averaged().valid()
    }

    /// Points of what is learnt, none of which are in a batch.
    pub fn data(&self, count: usize) -> Series {
        held_out(&self.source, count, self.config.train.seed)
    }
}

/// Points that no step sees.
fn held_out(source: &PointSource, count: usize, seed: u64) -> Series {
    source.draw(count, &mut Stream::new(seed, Purpose::Batch, u64::MAX))
}

/// The noise of a seed.
pub fn noise(count: usize, seed: u64) -> Series {
    let mut stream = Stream::new(seed, Purpose::Noise, 0);
    (0..count).map(|_| stream.normal_pair().map(|z| z as f32)).collect()
}

/// Where one call takes points of noise.
///
/// # Errors
/// When the device cannot be read.
pub fn jumps(net: &Net, noise: &[[f32; 2]], device: &Device) -> Result<Series, Error> {
    series(one_step(net, plane(noise, device), None))
}

/// Where points of noise are as they follow `v`, from noise to data: `steps + 1` times all of them.
///
/// # Errors
/// When the device cannot be read.
pub fn walks(net: &Net, noise: &[[f32; 2]], steps: u32, device: &Device) -> Result<Vec<Series>, Error> {
    let velocity = Velocity::new(net, None, None);
    let mut z = plane(noise, device);
    let mut walks = vec![noise.to_vec()];
    for i in 0..steps {
        let t = 1.0 - f64::from(i) / f64::from(steps);
        z = z.clone() - velocity.at(z, t) / f64::from(steps);
        walks.push(series(z.clone())?);
    }
    Ok(walks)
}

/// At some places, the velocity `v(z, t)` and the average velocity `u(z, r, t)`.
///
/// # Errors
/// When the device cannot be read.
pub fn velocities(net: &Net, places: &[[f32; 2]], [r, t]: [f64; 2], device: &Device) -> Result<[Series; 2], Error> {
    let z = plane(places, device);
    let time = |t: f64| Tensor::full([places.len()], t, device).into();
    let v = series(Velocity::new(net, None, None).at(z.clone(), t))?;
    Ok([v, series(net.u(z.into(), time(r), time(t), None).primal)?])
}

/// A grid of `edge²` places.
pub fn grid(edge: usize) -> Series {
    let at = |i: usize| i as f32 * 4.0 / (edge.max(2) - 1) as f32 - 2.0;
    (0..edge * edge).map(|i| [at(i % edge), at(i / edge)]).collect()
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
    let noise = noise(samples, seed);
    let jumps = jumps(net, &noise, device)?;
    let data = held_out(&points.into(), samples, seed);
    let walks = walks(net, &noise[..paths], steps, device)?;
    let places = grid(9);
    let [v, u] = velocities(net, &places, [0.0, 1.0], device)?;
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
