//! A few drawings as a data set: what a visitor draws, a small network learns in the page.
//!
//! Each drawing is a class of its own. What the class says, the noise need not decide, so one call draws it clean.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::batch::{Batch, OwnRows};
use super::config::TrainerConfig;
use super::muon;
use super::optimization::OptimizerKind;
use super::part::Part;
use super::trainer::{StepStats, Trainer};
use crate::error::{Error, check};
use crate::flow::{PixelMeanFlow, TimesConfig, one_step};
use crate::generator::noise_images;
use crate::model::weights::{DataInfo, FORMAT_VERSION, ModelInfo, Precision, TrainingInfo};
use crate::model::{NetConfig, Output, from_byte, rgba_of};
use crate::net::{Labels, encode};
use crate::rng::{Purpose, Stream};

/// Drawings, at most.
pub const MAX_DRAWINGS: usize = 64;
/// Drawings per step; they take turns, so that each is seen as often as the others.
pub const BATCH: usize = 32;
/// Channels of a drawing: RGB.
const CHANNELS: usize = 3;
/// Edge of a patch, in pixels.
const PATCH: usize = 4;

/// What may be chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrawingsConfig {
    /// Edge of a drawing in pixels, 16 or 32.
    pub size: usize,
    /// What each drawing is called.
    pub names: Vec<String>,
    /// Optimizer steps.
    pub steps: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// Whether half of the drawings are mirrored, left and right.
    pub mirror: bool,
    /// Most pixels by which they are shifted, along each axis.
    pub shift: usize,
}

impl Default for DrawingsConfig {
    fn default() -> Self {
        Self { size: 16, names: Vec::new(), steps: 600, seed: 0, mirror: false, shift: 0 }
    }
}

impl DrawingsConfig {
    /// # Errors
    /// Names the first setting that is out of range, or what is wrong with the drawings.
    fn validate(&self, drawings: &[u8]) -> Result<(), Error> {
        let count = self.names.len();
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_unstable();
        names.dedup();
        let rules = [
            ([16, 32].contains(&self.size), "size must be 16 or 32"),
            (count > 0, "there are no drawings"),
            (count <= MAX_DRAWINGS, "there are more than 64 drawings"),
            (names.len() == count && names.iter().all(|name| !name.is_empty()), "each drawing needs a name of its own"),
            (drawings.len() == count * CHANNELS * self.size * self.size, "the drawings are of another size"),
            ((1..=1_000_000).contains(&self.steps), "steps must be 1 to 1000000"),
            (self.shift < self.size / 2, "shift must be less than half of the size"),
        ];
        check(rules, str::to_owned)
    }

    fn net(&self) -> Result<NetConfig, Error> {
        let net = NetConfig::named("browser-s", self.size, CHANNELS, self.names.len())?;
        let net = NetConfig { patch: PATCH, width: 96, depth: 4, heads: 3, output: Output::Image, ..net };
        net.validate().map(|()| net)
    }

    /// That of the shipped models, but that both velocities are learnt from the first step on, at a higher learning
    /// rate: there are few steps, and what is learnt is simple.
    fn trainer(&self) -> TrainerConfig {
        let times = TimesConfig { std: 1.6, uniform: 0.3, ..TimesConfig::default() };
        let mut config =
            TrainerConfig { objective: PixelMeanFlow::default().into(), times, ..TrainerConfig::default() };
        config.scale_to(self.steps);
        config.train.optimizer = OptimizerKind::Muon;
        config.train.learning_rate = 3e-3;
        config.train.flow_matching_steps = 0;
        config.train.ramp_steps = self.steps / 5;
        config.train.batch_size = BATCH;
        config.train.ema_decay = 0.985;
        config.train.seed = self.seed;
        config
    }
}

/// One of so many shares.
fn share(index: usize, count: usize) -> Result<Part, Error> {
    match index < count && count <= BATCH {
        true => Ok(Part { index, count }),
        false => Err(Error::Config(format!("{index} is none of {count} shares of {BATCH} drawings"))),
    }
}

/// A small network that learns drawings, a step at a time.
pub struct Drawings {
    trainer: Trainer,
    settings: DrawingsConfig,
    net: NetConfig,
    /// `[drawing, channel, row, column]`.
    pixels: Vec<u8>,
    device: Device,
}

impl Drawings {
    /// A network that has learnt nothing yet.
    ///
    /// # Shapes
    /// `rgb`: `[drawing, row, column, 3]`, a drawing for each name.
    ///
    /// # Errors
    /// A setting that is out of range; drawings that are not as many as their names or of another size.
    pub fn new(settings: DrawingsConfig, rgb: &[u8], device: &Device) -> Result<Self, Error> {
        let trainer = |settings: &DrawingsConfig, net: &NetConfig| Ok(Trainer::new(settings.trainer(), net, device));
        Self::with(settings, rgb, device, trainer)
    }

    /// Goes on where [`state`](Self::state) was asked for, with the same settings and drawings.
    ///
    /// # Errors
    /// As [`new`](Self::new); a state that is damaged or of another network.
    pub fn resume(settings: DrawingsConfig, rgb: &[u8], state: &[u8], device: &Device) -> Result<Self, Error> {
        let trainer =
            |settings: &DrawingsConfig, net: &NetConfig| Trainer::from_bytes(settings.trainer(), net, state, device);
        Self::with(settings, rgb, device, trainer)
    }

    fn with(
        settings: DrawingsConfig,
        rgb: &[u8],
        device: &Device,
        trainer: impl FnOnce(&DrawingsConfig, &NetConfig) -> Result<Trainer, Error>,
    ) -> Result<Self, Error> {
        settings.validate(rgb)?;
        let net = settings.net()?;
        muon::check(&settings.trainer().train, &net.params())?;
        let plane = settings.size * settings.size;
        let channel =
            |drawing: &[u8], channel: usize| drawing.iter().skip(channel).step_by(CHANNELS).copied().collect();
        let planes = |drawing| (0..CHANNELS).flat_map(move |c| -> Vec<u8> { channel(drawing, c) });
        let pixels = rgb.chunks_exact(CHANNELS * plane).flat_map(planes).collect();
        Ok(Self { trainer: trainer(&settings, &net)?, settings, net, pixels, device: device.clone() })
    }

    /// Takes one step.
    pub fn step(&mut self) -> StepStats {
        let batch = self.batch(self.trainer.steps_done(), Part::WHOLE);
        self.trainer.step(batch)
    }

    /// The gradients of one of so many shares of a step's drawings. Sums of all of them are what
    /// [`update`](Self::update) takes: so several Workers, each with drawings of the same settings, take a step together.
    ///
    /// # Errors
    /// A share that there is not.
    pub fn gradients(&self, index: usize, count: usize) -> Result<Vec<f32>, Error> {
        let share = share(index, count)?;
        Ok(self.trainer.shared_gradients(self.batch(self.trainer.steps_done(), share)))
    }

    /// Moves one of so many shares of the weights by the sum of all gradients; what comes back the others
    /// [take](Self::take).
    ///
    /// # Errors
    /// A share that there is not, or a device that cannot be read.
    pub fn update(&mut self, sum: &[f32], index: usize, count: usize) -> Result<Vec<f32>, Error> {
        self.trainer.update_share(sum, share(index, count)?)
    }

    /// Takes a share of the weights that another has moved.
    ///
    /// # Errors
    /// A share that there is not, or weights that are not its.
    pub fn take(&mut self, weights: &[f32], index: usize, count: usize) -> Result<(), Error> {
        self.trainer.take_share(weights, share(index, count)?)
    }

    /// Ends a step in which all shares were moved or taken.
    pub fn end_step(&mut self) {
        self.trainer.end_step(BATCH);
    }

    /// The drawings of a step, changed as the settings say, or one part of them.
    fn batch(&self, step: u64, part: Part) -> Batch {
        let rows = part.rows(BATCH, self.trainer.objective().group());
        let DrawingsConfig { size, mirror, shift, .. } = self.settings;
        let count = self.settings.names.len();
        let mut changes = Stream::new(self.settings.seed, Purpose::Augmentation, step);
        let mut values = Vec::with_capacity(BATCH * CHANNELS * size * size);
        let mut labels = Vec::with_capacity(BATCH);
        for row in 0..BATCH as u64 {
            let drawing = ((step * BATCH as u64 + row) % count as u64) as usize;
            let is_mirrored = mirror && changes.uniform() < 0.5;
            let mut offset = || changes.below(2 * shift + 1) as isize - shift as isize;
            let [right, down] = [offset(), offset()];
            // What comes in at an edge is as what was there.
            let source = |place: usize, offset: isize| (place as isize - offset).clamp(0, size as isize - 1) as usize;
            labels.push(drawing as i32);
            if rows.binary_search(&(row as usize)).is_err() {
                continue;
            }
            let planes = &self.pixels[drawing * CHANNELS * size * size..][..CHANNELS * size * size];
            for (channel, y, x) in (0..CHANNELS * size * size).map(|i| (i / (size * size), i / size % size, i % size)) {
                let [x, y] = [source(if is_mirrored { size - 1 - x } else { x }, right), source(y, down)];
                values.push(from_byte(planes[(channel * size + y) * size + x]));
            }
        }
        let images = Tensor::from_data(TensorData::new(values, [rows.len(), CHANNELS, size, size]), &self.device);
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [BATCH]), &self.device);
        let own = (part != Part::WHOLE).then_some(OwnRows { part, rows, of: BATCH });
        Batch { own, ..Batch::new(images, Some(labels)) }
    }

    /// Steps taken so far.
    pub fn steps_done(&self) -> u64 {
        self.trainer.steps_done()
    }

    /// One call of the averaged network for each drawing, from the noise of so many seeds: RGBA, drawing by drawing.
    ///
    /// # Shapes
    /// `[drawing, seed, row, column, 4]`
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn samples(&self, seeds: usize) -> Result<Vec<u8>, Error> {
        let DrawingsConfig { size, seed, .. } = self.settings;
        let count = self.settings.names.len();
        let noise = noise_images(seed, seeds, [CHANNELS, size, size], &self.device).repeat_dim(0, count);
        let labels: Vec<i32> = (0..count as i32).flat_map(|drawing| std::iter::repeat_n(drawing, seeds)).collect();
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [count * seeds]), &self.device);
        let images = one_step(self.trainer.averaged(), noise, Some(Labels::from(labels)));
        let values = images.try_into_vec_as::<f32>().map_err(|e| Error::Device(e.to_string()))?;
        Ok(rgba_of(&values, [count * seeds, CHANNELS, size * size]))
    }

    /// What [`resume`](Self::resume) goes on with.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn state(&self) -> Result<Vec<u8>, Error> {
        self.trainer.to_bytes()
    }

    /// The bytes of a weights file with what is learnt, which the page, the element and the program read.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn weights(&self, name: &str) -> Result<Vec<u8>, Error> {
        let info = ModelInfo {
            format_version: FORMAT_VERSION,
            name: name.into(),
            net: self.net.clone(),
            classes: self.settings.names.clone(),
            vocabulary: Vec::new(),
            latent: None,
            check: None,
            data: DataInfo {
                description: "Drawings of a visitor".into(),
                images: self.settings.names.len(),
                ..DataInfo::default()
            },
            training: TrainingInfo {
                step: self.steps_done(),
                batch_size: BATCH,
                seed: self.settings.seed,
                program: concat!("meanflow ", env!("CARGO_PKG_VERSION"), " in a page").into(),
                init: None,
                settings: None,
            },
        };
        encode(self.trainer.averaged(), &info, Precision::F16)
    }
}
