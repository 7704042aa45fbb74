//! All settings of a training run: one TOML file, written back complete into the run folder.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::data::{DataConfig, Images};
use crate::error::{Error, check};
use crate::flow::{AdaptiveWeight, Guidance, Objective, TimesConfig};
use crate::net::{Architecture, GuidanceInputs, InContextConfig, NetConfig, Output, TimeInputs, UnetConfig};
use crate::weights::DataInfo;

/// The EMA of `[train] ema_decay`.
pub const MAIN: &str = "main";

/// Settings of a run. Every field has a default, so a file names only what it changes.
///
/// What table 1 of the MeanFlow paper varies is here: (a) the share of `r < t`, `[times] interval_probability`; (b) the
/// tangent, `[objective] direction`; (c) the times the network is told, `[net] times`; (d) their distribution, `[times]`
/// `mean`, `std` and `uniform`; (e) the power of the weight, `[weight] p`; (f) guidance, `[guidance] omega`, with
/// `kappa` and the interval of times beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Short name of the model, stored in its weights.
    pub name: String,
    /// How files become training images.
    pub data: DataConfig,
    /// Where the images come from and their licence, stored in the weights.
    pub card: DataInfo,
    /// The size of the network.
    pub net: NetChoice,
    /// What is trained.
    pub objective: Objective,
    /// Guidance towards the class inside the target; none by default.
    pub guidance: Guidance,
    /// Which times are trained.
    pub times: TimesConfig,
    /// The adaptive weight of the loss.
    pub weight: AdaptiveWeight,
    /// The optimization.
    pub train: Optimization,
    /// What is written, and how often.
    pub log: Logging,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            name: "meanflow".into(),
            data: DataConfig::default(),
            card: DataInfo::default(),
            net: NetChoice::default(),
            objective: Objective::default(),
            guidance: Guidance::default(),
            times: TimesConfig::default(),
            weight: AdaptiveWeight::default(),
            train: Optimization::default(),
            log: Logging::default(),
        }
    }
}

/// A preset, any of whose sizes may be replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetChoice {
    /// `browser-s`, `browser-m`, or a published size such as `dit-b/4`.
    pub preset: String,
    /// Edge of a patch, in pixels.
    pub patch: Option<usize>,
    /// Features per token.
    pub width: Option<usize>,
    /// Transformer blocks.
    pub depth: Option<usize>,
    /// Attention heads.
    pub heads: Option<usize>,
    /// Which times the network is told: `"t,h"`, `"t,r"`, `"t,r,h"` or `"h"`.
    pub times: Option<TimeInputs>,
    /// What the network gives: `"velocity"` or `"image"`.
    pub output: Option<Output>,
    /// What it is told of guidance: `"none"`, `"scale"` or `"scale-and-interval"`.
    pub guidance: Option<GuidanceInputs>,
    /// Blocks of the auxiliary head for the instantaneous velocity; without it there is no such head.
    pub velocity_head: Option<usize>,
    /// Levels and attention of the U-Net.
    pub unet: Option<UnetConfig>,
}

impl Default for NetChoice {
    fn default() -> Self {
        Self {
            preset: "browser-s".into(),
            patch: None,
            width: None,
            depth: None,
            heads: None,
            times: None,
            output: None,
            guidance: None,
            velocity_head: None,
            unet: None,
        }
    }
}

impl NetChoice {
    /// The network for images of so many pixels, channels and classes.
    fn config(&self, image_size: usize, channels: usize, classes: usize) -> Result<NetConfig, Error> {
        let mut net = NetConfig::named(&self.preset, image_size, channels, classes)?;
        let replace = |field: &mut usize, value: Option<usize>| *field = value.unwrap_or(*field);
        replace(&mut net.patch, self.patch);
        replace(&mut net.width, self.width);
        replace(&mut net.depth, self.depth);
        replace(&mut net.heads, self.heads);
        net.times = self.times.unwrap_or(net.times);
        net.output = self.output.unwrap_or(net.output);
        net.guidance = self.guidance.unwrap_or(net.guidance);
        net.velocity_head = self.velocity_head;
        match (&mut net.architecture, &self.unet) {
            (Architecture::InContext(parts), None) => parts.hidden = InContextConfig::improved(net.width).hidden,
            (Architecture::Unet(parts), Some(choice)) => *parts = choice.clone(),
            (_, Some(_)) => return Err(Error::Config("[net.unet] is for the preset `unet`".into())),
            _ => {}
        }
        net.validate().map(|()| net)
    }
}

/// Which rule turns gradients into steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// AdamW for every parameter, as the MeanFlow paper trains.
    #[default]
    AdamW,
    /// Muon for the matrices inside the blocks, AdamW for the rest, as pixel MeanFlow trains (arXiv 2601.22158): its
    /// orthogonal steps are scaled to the size of AdamW's, so both share one learning rate (arXiv 2502.16982).
    Muon,
}

/// How the learning rate falls in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cooldown {
    /// In a straight line.
    #[default]
    Linear,
    /// By half a cosine wave: slowly, fast, slowly.
    Cosine,
}

/// An average of the weights as they are trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Average {
    /// `ema ← d ema + (1 − d) θ` with a constant decay `d`, from the first step on (MeanFlow's 0.9999).
    Constant {
        /// The decay, 0 to below 1.
        decay: f64,
    },
    /// The decay that halves a weight's part within so many images, or within a share of those seen so far where that is
    /// less (EDM, arXiv 2206.00364; pixel MeanFlow).
    HalfLife {
        /// Images.
        half_life: f64,
        /// The share; 0.05 in EDM.
        #[serde(default = "Average::ramp")]
        ramp: f64,
    },
}

impl Average {
    fn ramp() -> f64 {
        0.05
    }

    /// The decay of a step, the first being 0, with so many images each.
    pub fn decay_at(&self, step: u64, batch_size: usize) -> f64 {
        match *self {
            Self::Constant { decay } => decay,
            Self::HalfLife { half_life, ramp } => {
                let (batch, seen) = (batch_size as f64, (step + 1) as f64 * batch_size as f64);
                0.5_f64.powf(batch / half_life.min(ramp * seen).max(1e-8))
            }
        }
    }

    fn is_valid(&self) -> bool {
        match *self {
            Self::Constant { decay } => (0.0..1.0).contains(&decay),
            Self::HalfLife { half_life, ramp } => half_life > 0.0 && half_life.is_finite() && ramp > 0.0,
        }
    }
}

/// The optimization: an optimizer with warm-up, and an exponential moving average (EMA) of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Optimization {
    /// Optimizer steps in all.
    pub steps: u64,
    /// Images per step.
    pub batch_size: usize,
    /// `"adamw"` or `"muon"`.
    pub optimizer: OptimizerKind,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises from 0.
    pub warmup_steps: u64,
    /// Last steps, over which it falls to 0.
    pub cooldown_steps: u64,
    /// How it falls: `"linear"`, or `"cosine"`, by half a wave.
    pub cooldown: Cooldown,
    /// Bound on the Euclidean norm of all gradients together; without it there is none, as in the papers.
    pub clip: Option<f64>,
    /// In how many parts a batch runs through the network, their gradients added up: the same step in less memory.
    pub accumulate: usize,
    /// Adam's decay of the gradient's mean.
    pub beta1: f32,
    /// Adam's decay of the squared gradient's mean.
    pub beta2: f32,
    /// Decoupled weight decay; the paper uses none.
    pub weight_decay: f32,
    /// Decay of the EMA; it starts lower and rises to this as steps go by.
    pub ema_decay: f64,
    /// More EMAs, by name, beside the one of `ema_decay`, which is called `main`; `meanflow export --ema NAME` takes one.
    pub averages: BTreeMap<String, Average>,
    /// First steps that train Flow Matching alone (`r = t`): the velocity must come first.
    pub flow_matching_steps: u64,
    /// Steps over which the share of `r < t` then rises to `times.interval_probability`.
    pub ramp_steps: u64,
    /// Whether the classes take turns, so that small ones are seen as often as large ones.
    pub balance_classes: bool,
    /// Share of labels replaced by the null label, so that the model also learns images of no named class; with
    /// guidance, these rows have `r = t`.
    pub class_dropout: f64,
    /// Share of the features that the U-Net drops; 0.2 on CIFAR-10 in the paper. The transformers have none.
    pub dropout: f64,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for Optimization {
    fn default() -> Self {
        Self {
            steps: 20_000,
            batch_size: 64,
            optimizer: OptimizerKind::default(),
            learning_rate: 1e-3,
            warmup_steps: 200,
            cooldown_steps: 2_000,
            cooldown: Cooldown::Linear,
            clip: None,
            accumulate: 1,
            beta1: 0.9,
            beta2: 0.95,
            weight_decay: 0.0,
            ema_decay: 0.999,
            averages: BTreeMap::new(),
            flow_matching_steps: 4_000,
            ramp_steps: 2_000,
            balance_classes: false,
            class_dropout: 0.1,
            dropout: 0.0,
            seed: 0,
        }
    }
}

/// What a run writes, in steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// Steps between lines of `log.jsonl`.
    pub every: u64,
    /// Steps between sample grids.
    pub sample_every: u64,
    /// Pictures in a grid.
    pub samples: usize,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints kept; the newest ones.
    pub keep: usize,
    /// Checkpoints whose step is a multiple of this are kept too; without it none are.
    pub keep_every: Option<u64>,
}

impl Default for Logging {
    fn default() -> Self {
        Self { every: 50, sample_every: 500, samples: 64, checkpoint_every: 500, keep: 2, keep_every: None }
    }
}

impl TrainConfig {
    /// Reads a TOML file's text.
    ///
    /// # Errors
    /// What is wrong with it and where: syntax, an unknown key, or a value out of range.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text).map_err(|e| Error::Config(e.to_string()))?;
        config.validate().map(|()| config)
    }

    /// The complete settings as TOML.
    ///
    /// # Errors
    /// When a number is too large for TOML's 64-bit integers.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string_pretty(self).map_err(|e| Error::Config(e.to_string()))
    }

    /// The network for a data set of `classes` classes.
    ///
    /// # Errors
    /// An unknown preset, or sizes that do not fit together.
    pub fn net_config(&self, classes: usize) -> Result<NetConfig, Error> {
        self.net.config(self.data.size, self.data.channels, classes)
    }

    /// Checks what depends on the images.
    ///
    /// # Errors
    /// Guidance without classes, or a network that is told guidance without any to learn from, or the reverse.
    pub fn suits(&self, images: &Images) -> Result<(), Error> {
        if self.guidance.is_on() && images.classes.is_empty() {
            return Err(Error::Config("[guidance] leads towards a class, but the images have no classes".into()));
        }
        let told = self.net_config(images.classes.len())?.guidance != GuidanceInputs::None;
        match told == self.guidance.input.is_some() {
            true => Ok(()),
            false => Err(Error::Config("[guidance.input] and a network that is told guidance go together".into())),
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let (train, log) = (&self.train, &self.log);
        self.times.validate()?;
        self.objective.validate()?;
        self.guidance.validate()?;
        // Of one class, so that what needs classes can be checked.
        let net = self.net_config(1)?;
        let rules = [
            (
                net.velocity_head.is_none() || self.objective.trains_velocity_head(),
                "[net] velocity_head is for the objectives of MeanFlow",
            ),
            ((0.0..1.0).contains(&train.dropout), "[train] dropout must be 0 to below 1"),
            (
                !self.guidance.is_on() || train.class_dropout > 0.0,
                "[guidance] needs [train] class_dropout above 0, or the null label is never trained",
            ),
            (
                matches!(self.objective, Objective::PixelMeanFlow(_)) == (net.output == Output::Image),
                "[objective] kind = \"pixel-mean-flow\" and [net] output = \"image\" go together",
            ),
            (train.batch_size > 0, "[train] batch_size must be at least 1"),
            (
                train.accumulate > 0 && train.batch_size.is_multiple_of(train.accumulate),
                "[train] accumulate must be at least 1 and divide batch_size",
            ),
            (train.clip.is_none_or(|clip| clip > 0.0 && clip.is_finite()), "[train] clip must be above 0"),
            (
                train.averages.values().all(Average::is_valid),
                "[train.averages] need a decay of 0 to below 1, or a half-life",
            ),
            (
                train.averages.keys().all(|name| {
                    name != MAIN && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                }),
                "[train.averages] have names of letters, digits and hyphens, other than `main`",
            ),
            (train.learning_rate > 0.0 && train.learning_rate.is_finite(), "[train] learning_rate must be above 0"),
            ((0.0..1.0).contains(&train.ema_decay), "[train] ema_decay must be 0 to below 1"),
            ((0.0..=1.0).contains(&train.class_dropout), "[train] class_dropout must be 0 to 1"),
            (
                (0.0..1.0).contains(&train.beta1) && (0.0..1.0).contains(&train.beta2),
                "[train] betas must be 0 to below 1",
            ),
            (train.weight_decay >= 0.0, "[train] weight_decay must not be negative"),
            (self.weight.p >= 0.0 && self.weight.c > 0.0, "[weight] p must not be negative, and c must be above 0"),
            (log.every > 0 && log.sample_every > 0 && log.checkpoint_every > 0, "[log] intervals must be at least 1"),
            (log.keep > 0, "[log] keep must be at least 1"),
            (log.keep_every != Some(0), "[log] keep_every must be at least 1"),
            ((1..=1024).contains(&log.samples), "[log] samples must be 1 to 1024"),
        ];
        check(rules, str::to_owned)
    }
}

impl Optimization {
    /// The same schedule over another number of steps: a shorter run must not end before its MeanFlow phase begins.
    pub fn scale_to(&mut self, steps: u64) {
        let ratio = steps as f64 / self.steps.max(1) as f64;
        let phases =
            [&mut self.warmup_steps, &mut self.cooldown_steps, &mut self.flow_matching_steps, &mut self.ramp_steps];
        for phase in phases {
            *phase = (*phase as f64 * ratio).round() as u64;
        }
        self.steps = steps;
    }

    /// Learning rate of a step: warm-up, constant, cool-down.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let part = |done: u64, of: u64| if of == 0 { 1.0 } else { (done as f64 / of as f64).min(1.0) };
        let left = part(self.steps.saturating_sub(step), self.cooldown_steps);
        let left = match self.cooldown {
            Cooldown::Linear => left,
            Cooldown::Cosine => 0.5 - 0.5 * (std::f64::consts::PI * left).cos(),
        };
        self.learning_rate * part(step + 1, self.warmup_steps) * left
    }

    /// Share of `r < t` rows at a step, rising to `final_share` after the Flow Matching phase.
    pub fn interval_share_at(&self, step: u64, final_share: f64) -> f64 {
        match step.checked_sub(self.flow_matching_steps) {
            None => 0.0,
            Some(_) if self.ramp_steps == 0 => final_share,
            Some(since) => final_share * ((since + 1) as f64 / self.ramp_steps as f64).min(1.0),
        }
    }
}
