//! All settings of a training run: one TOML file, written back complete into the run folder.

use serde::{Deserialize, Serialize};

use super::augment::Augmentation;
use crate::data::{DataConfig, Images};
use crate::error::{Error, check};
use crate::eval::{InceptionResize, xxh64};
use crate::flow::{AdaptiveWeight, Guidance, ObjectiveConfig, TimesConfig};
use crate::learn::{EmaDecay, Optimization, OptimizerKind, PRIMARY_EMA, TrainerConfig, muon};
use crate::model::text::{TextConditioning, TextConfig};
use crate::model::weights::DataInfo;
use crate::model::{Architecture, GuidanceInputs, NetConfig, Output, TimeInputs, UnetConfig};

/// Steps beyond which nobody trains, and sums of steps stay numbers.
const MAX_STEPS: u64 = 1_000_000_000_000_000;

/// Settings of a run. Every field has a default, so a file names only what it changes.
///
/// What table 1 of the MeanFlow paper varies is here: (a) the share of `r < t`, `[times] interval_probability`; (b) the
/// tangent, `[objective] direction`; (c) the times the network is told, `[net] times`; (d) their distribution,
/// `[times]` `mean`, `std` and `uniform`; (e) the power of the weight, `[weight] p`; (f) guidance, `[guidance] omega`,
/// with `kappa` and the interval of times beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Short name of the model, stored in its weights.
    pub name: String,
    /// How files become training images.
    pub data: DataConfig,
    /// How images are changed at random, with the network told how; not at all without it. For the preset `unet`.
    pub augmentation: Option<Augmentation>,
    /// Where the images come from and their licence, stored in the weights.
    pub card: DataInfo,
    /// The size of the network.
    pub net: NetOverrides,
    /// What is trained.
    pub objective: ObjectiveConfig,
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
    /// How `meanflow eval` measures models of these settings.
    pub eval: EvalConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            name: "meanflow".into(),
            data: DataConfig::default(),
            augmentation: None,
            card: DataInfo::default(),
            net: NetOverrides::default(),
            objective: ObjectiveConfig::default(),
            guidance: Guidance::default(),
            times: TimesConfig::default(),
            weight: AdaptiveWeight::default(),
            train: Optimization::default(),
            log: Logging::default(),
            eval: EvalConfig::default(),
        }
    }
}

/// A preset, any of whose sizes may be replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetOverrides {
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
    /// Which times the network is told: `"t,h"`, `"t,r"`, `"t,r,h"`, `"h"`, or `"t"` for Flow Matching and with
    /// `decoder_depth`.
    pub times: Option<TimeInputs>,
    /// What the network gives: `"velocity"` or `"image"`.
    pub output: Option<Output>,
    /// What it is told of guidance: `"none"`, `"scale"` or `"scale-and-interval"`.
    pub guidance: Option<GuidanceInputs>,
    /// Blocks of the auxiliary head for the instantaneous velocity; without it there is no such head.
    pub velocity_head: Option<usize>,
    /// Last blocks that are told `r` in place of `t`, for decoupled MeanFlow; without it every block is told the same.
    pub decoder_depth: Option<usize>,
    /// Hidden features of the MLP in the transformers of improved and pixel MeanFlow; without it those of the published
    /// network of this kind and width.
    pub hidden: Option<usize>,
    /// Standard deviation of the noise at `t = 1`, above 0 and at most 100: 1, but for the larger presets of pixel
    /// MeanFlow (arXiv 2601.22158).
    pub noise_scale: Option<f64>,
    /// Levels and attention of the U-Net.
    pub unet: Option<UnetConfig>,
    /// Conditioning on the captions of the images, in place of their classes.
    pub text: Option<TextOverrides>,
}

/// How a network is conditioned on captions: the `[net.text]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextOverrides {
    /// How it is told the words: `"keys-values"`, `"in-context"` or `"adaln"`.
    pub conditioning: TextConditioning,
    /// Most words of a prompt, 1 to 64.
    pub tokens: usize,
    /// Rows that the letter trigrams of unknown words are hashed to.
    pub buckets: usize,
    /// In how many captions a word must occur to have a row of its own.
    pub min_count: usize,
}

impl Default for TextOverrides {
    fn default() -> Self {
        Self { conditioning: TextConditioning::default(), tokens: 16, buckets: 2048, min_count: 1 }
    }
}

impl Default for NetOverrides {
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
            decoder_depth: None,
            hidden: None,
            noise_scale: None,
            unet: None,
            text: None,
        }
    }
}

impl NetOverrides {
    /// The network for images of so many pixels, channels and classes.
    fn config(&self, image_size: usize, channels: usize, classes: usize) -> Result<NetConfig, Error> {
        let mut net = NetConfig::named(&self.preset, image_size, channels, classes)?;
        let replace = |field: &mut usize, value: Option<usize>| *field = value.unwrap_or(*field);
        replace(&mut net.patch, self.patch);
        replace(&mut net.width, self.width);
        replace(&mut net.depth, self.depth);
        replace(&mut net.heads, self.heads);
        net.decoder_depth = self.decoder_depth;
        net.times = self.times.unwrap_or(if net.decoder_depth.is_some() { TimeInputs::T } else { net.times });
        net.output = self.output.unwrap_or(net.output);
        net.guidance = self.guidance.unwrap_or(net.guidance);
        net.velocity_head = self.velocity_head;
        net.noise_scale = self.noise_scale.unwrap_or(net.noise_scale);
        match (&mut net.architecture, &self.unet) {
            (Architecture::InContext(parts), None) => {
                parts.hidden = self.hidden.unwrap_or_else(|| parts.published_hidden(net.width));
            }
            (_, None) if self.hidden.is_some() => {
                return Err(Error::Config("[net] hidden is for the presets of improved and pixel MeanFlow".into()));
            }
            (Architecture::Unet(parts), Some(choice)) => *parts = choice.clone(),
            (_, Some(_)) => return Err(Error::Config("[net.unet] is for the preset `unet`".into())),
            _ => {}
        }
        if let Some(TextOverrides { conditioning, tokens, buckets, .. }) = self.text {
            // The vocabulary is that of the images.
            net.text = Some(TextConfig { vocabulary: 0, buckets, tokens, conditioning });
        }
        net.validate().map(|()| net)
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
    /// Whether the best checkpoint is kept too: the one before which the one-step residual was lowest, which is that of
    /// the rows with `r < t`, and of all rows for Flow Matching.
    pub keep_best: bool,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            every: 50,
            sample_every: 500,
            samples: 64,
            checkpoint_every: 500,
            keep: 2,
            keep_every: None,
            keep_best: false,
        }
    }
}

/// How `meanflow eval` measures models of these settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// How images are resized for Inception: `"pytorch-fid"`, `"tensorflow1"` or `"pmf"`, as [`InceptionResize`] says.
    /// Without it as pytorch-fid, and as TensorFlow 1 for models of latents, whose papers measure so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inception_resize: Option<InceptionResize>,
}

impl From<&TrainConfig> for TrainerConfig {
    fn from(config: &TrainConfig) -> Self {
        let TrainConfig { objective, guidance, times, weight, train, .. } = config.clone();
        Self { objective, guidance, times, weight, train }
    }
}

impl TrainConfig {
    /// Reads a TOML file's text.
    ///
    /// # Errors
    /// What is wrong with it and where: syntax, an unknown key, a value out of range, or an objective that would be
    /// another.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let config = Self::of_run(text)?;
        config.check_objective().map(|()| config)
    }

    /// Reads the settings of a run that was begun, perhaps by a program that refused less.
    ///
    /// # Errors
    /// Syntax, an unknown key, or a value out of range.
    pub(super) fn of_run(text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text).map_err(|e| Error::Config(e.to_string()))?;
        config.validate().map(|()| config)
    }

    /// The same schedule over another number of steps, that of the objective too.
    pub fn scale_to(&mut self, steps: u64) {
        self.objective.scale_by(steps as f64 / self.train.steps.max(1) as f64);
        self.train.scale_to(steps);
    }

    /// Checks that the batches train what the objective says, and not Flow Matching in its place.
    ///
    /// # Errors
    /// Which settings keep it from that.
    pub fn check_objective(&self) -> Result<(), Error> {
        // With guidance, rows whose label is dropped have r = t.
        let labelled = if self.guidance.is_on() { 1.0 - self.train.class_dropout } else { 1.0 };
        self.objective.check_batch(&self.times, self.train.batch_size, labelled)
    }

    /// Checks that a network can learn from random weights.
    ///
    /// # Errors
    /// Why not.
    pub fn check_scratch(&self) -> Result<(), Error> {
        self.objective.check_scratch(self.train.interval_share_at(0, self.times.interval_probability))
    }

    /// What a person should know before a run begins: settings that change nothing, or make it another run than its
    /// objective says.
    pub fn notices(&self) -> Vec<String> {
        let Optimization { steps, flow_matching_steps, dropout, .. } = self.train;
        let most = self.times.interval_probability;
        let mut notices = Vec::new();
        if self.objective.trains_intervals() {
            let share = self.train.interval_share_at(steps.saturating_sub(1), most);
            if share == 0.0 {
                notices.push(format!(
                    "all {steps} steps train Flow Matching alone: [train] flow_matching_steps is {flow_matching_steps}"
                ));
            } else if share < most {
                notices.push(format!(
                    "the share of r < t ends at {share:.3}, not at {most}: [train] flow_matching_steps and ramp_steps \
                     are longer than the {steps} steps"
                ));
            }
            notices.extend(self.objective.notices([flow_matching_steps, steps.saturating_sub(1)], self.weight.p));
        }
        if dropout > 0.0 && self.net.preset != "unet" {
            notices.push("[train] dropout does nothing: it is of the preset `unet`; the transformers have none".into());
        }
        notices
    }

    /// The tables that have a setting of this name; the empty one stands for the top of the file.
    pub fn tables_with(name: &str) -> Vec<&'static str> {
        const TABLES: [&str; 9] = ["", "data", "augmentation", "net", "guidance", "times", "weight", "train", "log"];
        // serde lists the names that it knows when it meets one that it does not.
        let knows = |table: &&str| {
            let head = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
            let error = toml::from_str::<Self>(&format!("{head}\"?\" = 0")).err();
            error.is_some_and(|error| error.message().split('`').any(|known| known == name))
        };
        let is_table = TABLES.contains(&name) || name == "objective" || name == "?";
        if is_table { Vec::new() } else { TABLES.into_iter().filter(knows).collect() }
    }

    /// The complete settings as TOML.
    ///
    /// # Errors
    /// When a number is too large for TOML's 64-bit integers.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string_pretty(self).map_err(|e| Error::Config(e.to_string()))
    }

    /// XXH64 of all that decides what is trained but the seed, of the average that is taken of its weights, and of a
    /// digest of the training set: equal for runs that differ in the seed alone.
    ///
    /// # Errors
    /// As [`Self::to_toml`].
    pub fn fingerprint(&self, average: &str, data: &str) -> Result<String, Error> {
        let train = Optimization { seed: 0, ..self.train.clone() };
        let settled = Self { train, log: Logging::default(), eval: EvalConfig::default(), ..self.clone() };
        Ok(xxh64(format!("{average}\n{data}\n{}", settled.to_toml()?).as_bytes()))
    }

    /// The network for a data set of `classes` classes.
    ///
    /// # Errors
    /// An unknown preset, or sizes that do not fit together.
    pub fn net_config(&self, classes: usize) -> Result<NetConfig, Error> {
        let mut net = self.net.config(self.data.size, self.data.planes(), classes)?;
        if let (Some(_), Architecture::Unet(parts)) = (&self.augmentation, &mut net.architecture) {
            parts.augmentation = true;
        }
        Ok(net)
    }

    /// The network for these images.
    ///
    /// # Errors
    /// As [`Self::net_config`].
    pub fn net_for(&self, images: &Images) -> Result<NetConfig, Error> {
        let mut net = self.net_config(images.classes.len())?;
        if let Some(text) = &mut net.text {
            text.vocabulary = images.vocabulary.len();
        }
        net.validate().map(|()| net)
    }

    /// The images as a network of these settings is trained on them: with their captions prepared, where it is
    /// conditioned on text.
    pub fn prepare(&self, images: Images) -> Images {
        match &self.net.text {
            Some(text) => images.captioned(text.min_count),
            None => images,
        }
    }

    /// Checks what depends on the images.
    ///
    /// # Errors
    /// Guidance without classes, a network that is told guidance without any to learn from, or the reverse, latents
    /// that are to be changed like images, images that are to be normalized like latents, and an optimizer that would
    /// train nothing of the network.
    pub fn check_compatible(&self, images: &Images) -> Result<(), Error> {
        self.check_objective()?;
        if self.augmentation.is_some() && images.latents.is_some() {
            return Err(Error::Config(
                "[augmentation] is for images; latents can only be mirrored, by [data] flip".into(),
            ));
        }
        if self.data.normalization.is_some() && images.latents.is_none() {
            return Err(Error::Config(
                "[data] normalization is for latents, but the data are pictures; encode them with meanflow encode, or \
                 leave it out"
                    .into(),
            ));
        }
        if self.net.text.is_some() && images.vocabulary.is_empty() {
            return Err(Error::Config("[net.text] is learnt from captions, but the images have none".into()));
        }
        if self.guidance.is_on() && self.net.text.is_none() && images.classes.is_empty() {
            return Err(Error::Config("[guidance] leads towards a class, but the images have no classes".into()));
        }
        let net = self.net_for(images)?;
        let train = &self.train;
        net.check_training(
            train.batch_size as u64,
            (train.batch_size / train.accumulate.max(1)) as u64,
            train.averages.len() as u64,
        )?;
        if self.train.optimizer != OptimizerKind::AdamW {
            // Nothing of this network is computed.
            muon::check(&self.train, &net.params())?;
        }
        let takes_guidance = net.guidance != GuidanceInputs::None;
        match takes_guidance == self.guidance.input.is_some() {
            true => Ok(()),
            false => Err(Error::Config("[guidance.input] and a network that is told guidance go together".into())),
        }
    }

    /// Refuses infinity and what is no number, wherever it stands, and numbers that a settings file cannot hold.
    fn check_numbers(&self) -> Result<(), Error> {
        fn wrong(value: &toml::Value) -> Option<String> {
            let at = |key: &str, value| wrong(value).map(|rest| format!("{key} {rest}"));
            match value {
                toml::Value::Float(x) if !x.is_finite() => Some(format!("is {x}; it must be a finite number")),
                toml::Value::Array(items) => items.iter().find_map(wrong),
                toml::Value::Table(table) => table.iter().find_map(|(key, value)| match value {
                    toml::Value::Table(_) => at(&format!("[{key}]"), value),
                    _ => at(key, value),
                }),
                _ => None,
            }
        }
        let values = toml::Value::try_from(self)
            .map_err(|e| Error::Config(format!("the settings hold a number that is too large ({e})")))?;
        wrong(&values).map_or(Ok(()), |reason| Err(Error::Config(reason)))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let (train, log) = (&self.train, &self.log);
        // Before the numbers that no settings file holds, which are not named.
        check([(train.steps <= MAX_STEPS, "[train] steps must be at most 1000000000000000")], str::to_owned)?;
        self.check_numbers()?;
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
            (
                self.augmentation.is_none() || matches!(net.architecture, Architecture::Unet(_)),
                "[augmentation] needs the preset `unet`: another network is not told how images were changed, and would \
                 learn to change them",
            ),
            (
                self.augmentation.as_ref().is_none_or(|changes| (0.0..=1.0).contains(&changes.probability)),
                "[augmentation] probability must be 0 to 1",
            ),
            ((0.0..1.0).contains(&train.dropout), "[train] dropout must be 0 to below 1"),
            (
                !self.guidance.is_on() || train.class_dropout > 0.0,
                "[guidance] needs [train] class_dropout above 0, or the null label is never trained",
            ),
        ];
        check(rules, str::to_owned)?;
        self.objective.check_network(&net)?;
        let rules = [
            (
                self.objective.average().is_none_or(|name| train.averages.contains_key(name)),
                "[objective] average must name one of [train.averages]",
            ),
            (train.batch_size > 0, "[train] batch_size must be at least 1"),
            (train.threads.is_none_or(|count| (1..=1024).contains(&count)), "[train] threads must be 1 to 1024"),
            (
                train.accumulate > 0 && train.batch_size.is_multiple_of(train.accumulate),
                "[train] accumulate must be at least 1 and divide batch_size",
            ),
            (train.clip.is_none_or(|clip| clip > 0.0 && clip.is_finite()), "[train] clip must be above 0"),
            (
                train.averages.values().chain(&train.ema).all(EmaDecay::is_valid),
                "[train] ema and [train.averages] need a decay of 0 to below 1, or a half-life",
            ),
            (
                train.averages.keys().all(|name| {
                    name != PRIMARY_EMA
                        && !name.is_empty()
                        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                }),
                "[train.averages] have names of letters, digits and hyphens, other than `main`",
            ),
            (train.learning_rate > 0.0 && train.learning_rate.is_finite(), "[train] learning_rate must be above 0"),
            ((0.0..1.0).contains(&train.ema_decay), "[train] ema_decay must be 0 to below 1"),
            ((0.0..=1.0).contains(&train.class_dropout), "[train] class_dropout must be 0 to 1"),
            ((0.0..=1.0).contains(&train.word_dropout), "[train] word_dropout must be 0 to 1"),
            ((0.0..=1.0).contains(&train.misspelling), "[train] misspelling must be 0 to 1"),
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
