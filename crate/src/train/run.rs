//! The run folder: settings, description, log, samples, checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;

use super::checkpoint::{self, Which};
use super::config::{Logging, TrainConfig};
use super::data::Images;
use super::events;
use super::grid;
use super::log::Record;
use super::optimization::MAIN;
use super::start::{Start, same_latent_space};
use super::trainer::Trainer;
use crate::class::Class;
use crate::flow::{Objective, Solver};
use crate::generator::{Generator, Request, SampleOptions};
use crate::image::to_rgba;
use crate::io;
use crate::net::Net;
use crate::weights::{DataInfo, FORMAT_VERSION, ModelInfo, TrainingInfo};

/// Hears how training goes.
pub trait Observer {
    /// A step is done.
    fn step(&mut self, done: u64);
    /// A line was logged.
    fn record(&mut self, record: &Record);
    /// Something a person should know.
    fn notice(&mut self, text: &str);
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Steps done in all.
    pub steps: u64,
    /// Whether all configured steps were taken, rather than stopped before.
    pub finished: bool,
}

/// A folder that holds one training run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    begins: Begins,
}

/// What a run begins with.
#[derive(Clone, Debug)]
enum Begins {
    /// Random weights.
    Afresh,
    /// Weights of another run, or of another program.
    With(Box<Start>),
    /// Its newest checkpoint.
    Again,
}

impl RunFolder {
    /// A new run in `path`, with its settings written down.
    ///
    /// # Errors
    /// When the folder already holds a run, or cannot be written.
    pub fn create(path: &Path, config: &TrainConfig) -> Result<Self> {
        if path.join("config.toml").exists() {
            bail!("{} already holds a run; continue it with --resume, or choose another folder", path.display());
        }
        let run = Self { path: path.into(), begins: Begins::Afresh };
        for folder in [run.checkpoints(), run.samples()] {
            io::create_folder(&folder)?;
        }
        run.write("config.toml", config.to_toml()?.as_bytes())?;
        Ok(run)
    }

    /// An existing run, to continue or to export.
    ///
    /// # Errors
    /// When there is none, or its settings do not read.
    pub fn open(path: &Path) -> Result<(Self, TrainConfig)> {
        let file = path.join("config.toml");
        let text = fs::read_to_string(&file)
            .with_context(|| format!("{} holds no run: cannot read {}", path.display(), file.display()))?;
        let config = TrainConfig::of_run(&text).with_context(|| format!("in {}", file.display()))?;
        Ok((Self { path: path.into(), begins: Begins::Again }, config))
    }

    /// Begins with trained weights instead of random ones.
    pub fn beginning_with(self, start: Start) -> Self {
        Self { begins: Begins::With(Box::new(start)), ..self }
    }

    /// Whether it begins with random weights.
    pub(super) fn is_from_scratch(&self) -> bool {
        matches!(self.begins, Begins::Afresh)
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    fn samples(&self) -> PathBuf {
        self.path.join("samples")
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        Ok(io::write_atomic(&self.path.join(name), bytes)?)
    }

    /// A fresh trainer, or the newest checkpoint's; writes down what the weights will say about themselves.
    pub(super) fn open_trainer(
        &self,
        config: &TrainConfig,
        images: &Images,
        device: &Device,
        observer: &mut dyn super::Observer,
    ) -> Result<Trainer> {
        let net = config.net_config(images.classes.len())?;
        if let Begins::Again = &self.begins {
            let before = self.read_info()?.latent;
            same_latent_space(before.as_ref(), images)
                .with_context(|| format!("cannot go on with {}", self.path.display()))?;
        }
        let info = ModelInfo {
            format_version: FORMAT_VERSION,
            name: config.name.clone(),
            net: net.clone(),
            classes: images.classes.clone(),
            latent: images.latents.as_ref().map(|latents| latents.info().space.clone()),
            check: None,
            data: DataInfo { images: images.len(), ..config.card.clone() },
            training: TrainingInfo {
                step: 0,
                batch_size: config.train.batch_size,
                seed: config.train.seed,
                program: concat!("meanflow ", env!("CARGO_PKG_VERSION")).into(),
                init: match &self.begins {
                    Begins::Afresh => None,
                    Begins::With(start) => Some(start.description()),
                    Begins::Again => self.read_info()?.training.init,
                },
            },
        };
        self.write("model.json", &serde_json::to_vec_pretty(&info)?)?;
        match &self.begins {
            Begins::Afresh => return Ok(Trainer::new(config, &net, device)),
            Begins::With(start) => return Ok(Trainer::beginning_with(config, start.net(), device)),
            Begins::Again => {}
        }
        checkpoint::clear(&self.checkpoints())?;
        let trainer = checkpoint::resume(&self.checkpoints(), config, &net, device, |text| observer.notice(&text))?;
        self.rewind_log(trainer.steps_done())?;
        events::rewind(&self.path, trainer.steps_done())?;
        observer.notice(&format!("continuing at step {}", trainer.steps_done()));
        Ok(trainer)
    }

    pub(super) fn append(&self, record: &Record) -> Result<()> {
        let file = self.path.join("log.jsonl");
        let line = serde_json::to_string(record)? + "\n";
        io::append(&file, line.as_bytes())?;
        events::append(&self.path, record)
    }

    /// Takes the lines of steps that will be taken again out of the log, and one that was cut off.
    fn rewind_log(&self, step: u64) -> Result<()> {
        let file = self.path.join("log.jsonl");
        if !file.exists() {
            return Ok(());
        }
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let taken = |line: &&str| {
            let record: Option<serde_json::Value> = serde_json::from_str(line).ok();
            record.and_then(|record| record.get("step")?.as_u64()).is_some_and(|taken| taken <= step)
        };
        let kept: String = text.lines().filter(taken).flat_map(|line| [line, "\n"]).collect();
        match kept == text {
            true => Ok(()),
            false => self.write("log.jsonl", kept.as_bytes()),
        }
    }

    pub(super) fn save(&self, trainer: &Trainer, one_step: Option<f64>, log: &Logging) -> Result<()> {
        checkpoint::save(&self.checkpoints(), trainer, one_step, log)
    }

    /// A grid of samples of the averaged network, from the same noise every time: in one step, or as many as Flow
    /// Matching needs, whose one step is a blur.
    pub(super) fn write_samples(&self, config: &TrainConfig, trainer: &Trainer, device: &Device) -> Result<()> {
        let info = self.read_info()?;
        let size = info.net.image_size;
        let generator = Generator::new(trainer.averaged().clone(), info, device);
        let (solver, nfe) = match config.objective {
            Objective::FlowMatching {} => (Solver::Heun, 32),
            _ => (Solver::MeanFlow, 1),
        };
        let request = Request { seed: 0, count: config.log.samples, class: Class::Any, nfe };
        let sampled = generator.sample(request, SampleOptions { solver, ..SampleOptions::default() })?;
        let images = match generator.info().latent {
            // Without an autoencoder at hand a grid shows three channels of the latents as colours.
            Some(_) => sampled.images.narrow(1, 0, 3),
            None => sampled.images,
        };
        let rgba = pollster::block_on(to_rgba(images))?;
        let file = self.samples().join(format!("step-{:08}.png", trainer.steps_done()));
        grid::write(&file, &rgba, size, 2, None)?;
        events::append_picture(&self.path, trainer.steps_done(), &file)
    }

    fn read_info(&self) -> Result<ModelInfo> {
        let file = self.path.join("model.json");
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))
    }

    /// The averaged network of the newest or best checkpoint as it is used, without an auxiliary head, and its description.
    ///
    /// # Errors
    /// When the run has no usable checkpoint, or no average of this name.
    pub fn averaged(
        &self,
        which: Which,
        name: &str,
        device: &Device,
        warn: impl FnMut(String),
    ) -> Result<(Net, ModelInfo)> {
        let mut info = self.read_info()?;
        let (_, config) = Self::open(&self.path)?;
        let averages = &config.train.averages;
        if name != MAIN && !averages.contains_key(name) {
            let known: Vec<&str> = [MAIN].into_iter().chain(averages.keys().map(String::as_str)).collect();
            bail!("{} has no average `{name}`; there are {}", self.path.display(), known.join(", "));
        }
        let (net, step) = checkpoint::averaged(&self.checkpoints(), which, name, device, warn)?;
        let net = net.without_velocity_head();
        (info.training.step, info.net) = (step, net.config().clone());
        Ok((net, info))
    }
}
