//! How a run optimizes: the `[train]` table of the settings, and the schedules that follow from it.

use std::collections::BTreeMap;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::ema::rising_decay;
use super::muon::{MuonParams, MuonScale};
use super::precision::MatmulPrecision;
use crate::error::Error;

/// The EMA of `[train] ema_decay` or `ema`.
pub const PRIMARY_EMA: &str = "main";

/// Which rule turns gradients into steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// AdamW for every parameter, as the MeanFlow paper trains.
    #[default]
    AdamW,
    /// Muon for the matrices that [`MuonParams`] names, AdamW for the rest, as pixel MeanFlow trains (arXiv
    /// 2601.22158).
    Muon,
}

impl std::fmt::Display for OptimizerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AdamW => "AdamW",
            Self::Muon => "Muon",
        })
    }
}

impl std::str::FromStr for OptimizerKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "adamw" => Ok(Self::AdamW),
            "muon" => Ok(Self::Muon),
            _ => Err(Error::Config(format!("unknown optimizer `{name}`; there are adamw and muon"))),
        }
    }
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
pub enum EmaDecay {
    /// `ema ← d ema + (1 − d) θ` with a constant decay `d`, from the first step on (MeanFlow's 0.9999).
    Constant {
        /// The decay, 0 to below 1.
        decay: f64,
    },
    /// The decay that halves a weight's part within so many images, or within a share of those seen so far where that
    /// is less (EDM, arXiv 2206.00364; pixel MeanFlow).
    HalfLife {
        /// Images.
        half_life: f64,
        /// The share; 0.05 in EDM.
        #[serde(default = "EmaDecay::ramp")]
        ramp: f64,
    },
}

impl EmaDecay {
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

    /// Whether it averages: a decay of 0 to below 1, or a half-life of some images.
    pub fn is_valid(&self) -> bool {
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
    /// Images per step, at least 1.
    pub batch_size: usize,
    /// `"adamw"` or `"muon"`.
    pub optimizer: OptimizerKind,
    /// Which parameters Muon trains: `"hidden"`, or `"linear"` as pixel MeanFlow has it.
    pub muon_params: MuonParams,
    /// How long its steps are: `"match-rms-adamw"`, `0.2 √max(in, out)`, or `"spectral"`, `√max(1, out/in)`, the
    /// published one.
    pub muon_scale: MuonScale,
    /// Peak learning rate, above 0.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises from 0.
    pub warmup_steps: u64,
    /// Last steps, over which it falls to 0.
    pub cooldown_steps: u64,
    /// How it falls: `"linear"`, or `"cosine"`, by half a wave.
    pub cooldown: Cooldown,
    /// Bound on the Euclidean norm of all gradients together; without it there is none, as in the papers.
    pub clip: Option<f64>,
    /// In how many parts a batch runs through the network, their gradients added up: the same step in less memory. It
    /// divides `batch_size`.
    pub accumulate: usize,
    /// Whether the backward pass computes cheap intermediate results anew instead of keeping them: less memory, more
    /// time.
    pub recompute: bool,
    /// In which numbers matrices are multiplied: `"f32"`, or `"bf16"`, for GPUs that have units for it.
    pub precision: MatmulPrecision,
    /// Adam's decay of the gradient's mean, 0 to below 1 (arXiv 1412.6980).
    pub beta1: f32,
    /// Adam's decay of the squared gradient's mean, 0 to below 1.
    pub beta2: f32,
    /// Whether AdamW looks ahead by Nesterov's momentum (NAdam), as optax trains what Muon does not.
    pub nesterov: bool,
    /// Decoupled weight decay (arXiv 1711.05101), 0 or above; the paper uses none.
    pub weight_decay: f32,
    /// Decay of the EMA called `main`, 0 to below 1, which samples and exports use; it starts lower and rises to this
    /// as steps go by.
    pub ema_decay: f64,
    /// The EMA `main` instead of `ema_decay`, without its rise: `{ decay = 0.9999 }` from the first step on, as the
    /// authors of MeanFlow average, or `{ half_life = 2_000_000 }` images, as those of pixel MeanFlow do.
    pub ema: Option<EmaDecay>,
    /// More EMAs, by name, beside `main`; `meanflow export --ema NAME` takes one.
    pub averages: BTreeMap<String, EmaDecay>,
    /// First steps that train Flow Matching alone (`r = t`): the velocity must come first.
    pub flow_matching_steps: u64,
    /// Steps over which the share of `r < t` then rises to `times.interval_probability`.
    pub ramp_steps: u64,
    /// Whether the classes take turns, so that small ones are seen as often as large ones.
    pub balance_classes: bool,
    /// Share of labels, 0 to 1, replaced by the null label, and of captions by the empty one, so that the model also
    /// learns images of no named class; with guidance, these rows have `r = t`.
    pub class_dropout: f64,
    /// Share of captions, 0 to 1, that lose words, so that part of a caption is a prompt too: each of their words by a
    /// chance that is drawn uniformly for the caption.
    pub word_dropout: f64,
    /// Share of words, 0 to 1, that are told by their letter trigrams as unknown words are; in half of them a letter
    /// is doubled, left out, or changes places with the next one.
    pub misspelling: f64,
    /// Share of the features, 0 to below 1, that the U-Net drops; 0.2 on CIFAR-10 in the paper. The transformers have
    /// none.
    pub dropout: f64,
    /// Seed of everything random.
    pub seed: u64,
    /// Threads that compute on the CPU; without it as many as it has cores, or as `RAYON_NUM_THREADS` says. `--threads`
    /// goes before it. More or fewer change rounding alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

impl Default for Optimization {
    fn default() -> Self {
        Self {
            steps: 20_000,
            batch_size: 64,
            optimizer: OptimizerKind::default(),
            muon_params: MuonParams::default(),
            muon_scale: MuonScale::default(),
            learning_rate: 1e-3,
            warmup_steps: 200,
            cooldown_steps: 2_000,
            cooldown: Cooldown::Linear,
            clip: None,
            accumulate: 1,
            recompute: false,
            precision: MatmulPrecision::F32,
            beta1: 0.9,
            beta2: 0.95,
            nesterov: false,
            weight_decay: 0.0,
            ema_decay: 0.999,
            ema: None,
            averages: BTreeMap::new(),
            flow_matching_steps: 4_000,
            ramp_steps: 2_000,
            balance_classes: false,
            class_dropout: 0.1,
            word_dropout: 0.3,
            misspelling: 0.1,
            dropout: 0.0,
            seed: 0,
            threads: None,
        }
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

    /// A device that records what it computes, for the backward pass.
    pub(crate) fn autodiff_device(&self, device: &Device) -> Device {
        let tape = device.clone().autodiff();
        if self.recompute { tape.gradient_checkpointing() } else { tape }
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

    /// Decay of the EMA `main` at a step, the first being 0, with so many images each.
    pub fn ema_decay_at(&self, step: u64, batch_size: usize) -> f64 {
        match self.ema {
            None => rising_decay(self.ema_decay, step),
            Some(average) => average.decay_at(step, batch_size),
        }
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
