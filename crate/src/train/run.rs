//! The run folder: settings, description, data, log, samples, checkpoints; and what else may be in the place of one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;

use super::checkpoint::{self, CheckpointSelector};
use super::config::TrainConfig;
use super::distributed::{self, ProcessGroup};
use super::events;
use super::lock::{LOCK_FILE, RunLock};
use super::log::Record;
use super::manifest::DataManifest;
use super::pretrained::{Pretrained, same_latent_space};
use super::report;
use crate::data::Images;
use crate::generator::{Generator, SampleOptions, to_rgba};
use crate::io;
use crate::io::grid;
use crate::learn::{PRIMARY_EMA, Trainer};
use crate::model::weights::{DataInfo, FORMAT_VERSION, ModelInfo, TrainingInfo};
use crate::model::{Condition, Request};
use crate::net::Net;

/// Every setting of the run.
const CONFIG: &str = "config.toml";
/// What the weights will say about themselves.
const MODEL: &str = "model.json";
/// What the images were.
const DATA: &str = "data.json";
/// The pixels of a set that is streamed.
const STREAMED: &str = "data";
/// What the pictures of the sample grids are asked with, a line each.
pub(super) const SAMPLE_CAPTIONS: &str = "samples/captions.txt";
const CHECKPOINTS: &str = "checkpoints";
/// A line for every so many steps.
const LOG: &str = "log.jsonl";
/// Bytes of a line of the log, at most.
const MAX_RECORD: u64 = 1 << 16;

/// Hears how training goes; `()` does not listen.
pub trait Observer {
    /// A step is done.
    fn step(&mut self, _done: u64) {}
    /// A line was logged.
    fn record(&mut self, _record: &Record) {}
    /// Something a person should know.
    fn notice(&mut self, _text: &str) {}
}

impl Observer for () {}

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
    start: RunStart,
    /// Held where it was taken before there was a run; otherwise [`train`](super::train) takes it.
    lock: Option<Arc<RunLock>>,
    /// Whether it may go on with data that is not what it was begun with.
    data_may_change: bool,
    /// The names that its classes have from now on, where that was settled.
    classes: Option<Vec<String>>,
    /// The processes that share the run, where there are several: the first writes it, the others read it.
    pub(super) processes: Option<Arc<dyn ProcessGroup>>,
}

/// What a run begins with.
#[derive(Clone, Debug)]
enum RunStart {
    /// Random weights.
    Scratch,
    /// Weights of another run, or of another program.
    Pretrained(Box<Pretrained>),
    /// Its newest checkpoint.
    Resume,
}

/// A place for a run that no other process can take or write to. Until a run is begun or continued in it, dropping it
/// leaves everything as it was.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    lock: Option<Arc<RunLock>>,
    /// Whether the folder was not there before.
    created: bool,
    /// Whether its lock file was not.
    new_lock: bool,
    /// Where the run that was in the folder lies now.
    aside: Option<PathBuf>,
    processes: Option<Arc<dyn ProcessGroup>>,
}

impl Claim {
    /// Locks the folder at `path`, which is made where there is none.
    ///
    /// # Errors
    /// When another process writes to it, when it holds something that is no run, or the disk refuses.
    pub fn new(path: &Path) -> Result<Self> {
        // Through a link to the folder itself, so that it is what is moved aside, not the link.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        refuse_foreign(&path)?;
        let (created, new_lock) = (!path.exists(), !RunLock::is_in(&path));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let lock = match RunLock::acquire(&path) {
            Ok(lock) => Arc::new(lock),
            Err(error) => {
                if created {
                    let _ = fs::remove_dir(&path);
                }
                return Err(error);
            }
        };
        // Another process may have begun a run between the look and the lock.
        refuse_foreign(&path)?;
        Ok(Self { path, lock: Some(lock), created, new_lock, aside: None, processes: None })
    }

    /// As [`new`](Self::new), for one of several processes that share the run: the first claims the folder, which the
    /// others look at.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn shared(path: &Path, processes: Arc<dyn ProcessGroup>) -> Result<Self> {
        let mut claim = match processes.rank() {
            0 => Self::new(path)?,
            _ => Self { path: path.into(), lock: None, created: false, new_lock: false, aside: None, processes: None },
        };
        claim.processes = Some(processes);
        Ok(claim)
    }

    /// Waits until all processes of the run have looked at the folder: from here on the first may change it.
    pub fn wait_for_all(&self) {
        if let Some(processes) = &self.processes {
            distributed::barrier(&**processes);
        }
    }

    /// Whether this process writes to the folder.
    pub fn writes(&self) -> bool {
        distributed::writes(self.processes.as_deref())
    }

    /// Whether a run was begun in it.
    pub fn holds_run(&self) -> bool {
        self.path.join(CONFIG).exists()
    }

    /// Whether the run in it has come to a checkpoint.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn has_checkpoint(&self) -> Result<bool> {
        checkpoint::any(&self.path.join(CHECKPOINTS))
    }

    /// Moves the run in the folder aside; returns where it lies then.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn set_aside(&mut self) -> Result<PathBuf> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(name) = name else { bail!("{} cannot be moved aside: it has no name", self.path.display()) };
        let candidates = (1..).map(|i| self.path.with_file_name(format!("{name}.old-{i}")));
        let aside = candidates.into_iter().find(|path| path.symlink_metadata().is_err()).unwrap_or_default();
        io::rename(&self.path, &aside)?;
        // The old folder's lock went with it.
        fs::create_dir(&self.path).with_context(|| format!("cannot create {}", self.path.display()))?;
        self.lock = Some(Arc::new(RunLock::acquire(&self.path)?));
        (self.created, self.new_lock, self.aside) = (true, true, Some(aside.clone()));
        Ok(aside)
    }

    /// A new run, with its settings written down.
    ///
    /// # Errors
    /// When there is a run already, or the disk refuses.
    pub fn create(mut self, config: &TrainConfig) -> Result<RunFolder> {
        if self.writes() && self.holds_run() {
            bail!(
                "{} already holds a run; continue it with --resume, move it aside with --overwrite, or choose another folder",
                self.path.display()
            );
        }
        let run = self.folder(RunStart::Scratch);
        if !self.writes() {
            return Ok(run);
        }
        run.write(CONFIG, config.to_toml()?.as_bytes())?;
        for folder in [run.checkpoints(), run.samples()] {
            io::create_folder(&folder)?;
        }
        // The folder's own name must reach the disk too, or checkpoints are found by nobody.
        io::sync_folder(&self.path)?;
        if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            io::sync_folder(parent)?;
        }
        self.begun();
        Ok(run)
    }

    /// The run in the folder, to continue: from its newest checkpoint, or from its beginning where it never came to
    /// one.
    ///
    /// # Errors
    /// When there is no run, or the disk refuses.
    pub fn resume(mut self) -> Result<RunFolder> {
        if !self.holds_run() {
            bail!("{} holds no run", self.path.display());
        }
        let start = if self.has_checkpoint()? { RunStart::Resume } else { RunStart::Scratch };
        let run = self.folder(start);
        self.begun();
        Ok(run)
    }

    /// The settings of the run in the folder.
    ///
    /// # Errors
    /// When there are none, or they do not read.
    pub fn read_config(&self) -> Result<TrainConfig> {
        RunFolder::open(&self.path).map(|(_, config)| config)
    }

    fn folder(&self, start: RunStart) -> RunFolder {
        let (lock, processes) = (self.lock.clone(), self.processes.clone());
        RunFolder { path: self.path.clone(), start, lock, data_may_change: false, classes: None, processes }
    }

    fn begun(&mut self) {
        (self.created, self.new_lock, self.aside) = (false, false, None);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.new_lock {
            let _ = fs::remove_file(self.path.join(LOCK_FILE));
        }
        if self.created {
            let _ = fs::remove_dir_all(self.path.join(STREAMED));
            let _ = fs::remove_dir(&self.path);
        }
        if let Some(aside) = &self.aside {
            let _ = fs::rename(aside, &self.path);
        }
    }
}

/// Refuses a folder with files in it that no run of ours has made.
fn refuse_foreign(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let entries =
        fs::read_dir(path).with_context(|| format!("cannot read {}, which is to be a folder", path.display()))?;
    let has = |name: &str| path.join(name).exists();
    if has(CONFIG) && (has(CHECKPOINTS) || has(MODEL)) {
        return Ok(());
    }
    let was_locked = RunLock::is_in(path);
    if was_locked && has(CHECKPOINTS) && !has(CONFIG) {
        bail!(
            "{} holds a run whose {CONFIG} is missing: put it back (each checkpoint's state.json has it under \
             `settings`), or choose another folder",
            path.display()
        );
    }
    // What there is of a run that was ended before it began.
    let is_of_start = |name: &OsStr| {
        was_locked && (io::is_temporary(name) || [LOCK_FILE, STREAMED, CONFIG].iter().any(|own| name == *own))
    };
    match entries.flatten().find(|entry| !is_of_start(&entry.file_name())) {
        Some(entry) => bail!(
            "{} is not empty and holds no run of meanflow (there is `{}` in it); choose another folder",
            path.display(),
            entry.file_name().to_string_lossy()
        ),
        _ => Ok(()),
    }
}

impl RunFolder {
    /// A new run in `path`, with its settings written down.
    ///
    /// # Errors
    /// When the folder already holds a run, or anything else, or cannot be written.
    pub fn create(path: &Path, config: &TrainConfig) -> Result<Self> {
        let run = Claim::new(path)?.create(config)?;
        Ok(Self { lock: None, ..run })
    }

    /// An existing run, to continue or to export.
    ///
    /// # Errors
    /// When there is none, or its settings do not read.
    pub fn open(path: &Path) -> Result<(Self, TrainConfig)> {
        let file = path.join(CONFIG);
        let text = fs::read_to_string(&file)
            .with_context(|| format!("{} holds no run: cannot read {}", path.display(), file.display()))?;
        let config = TrainConfig::of_run(&text).with_context(|| format!("in {}", file.display()))?;
        let (path, start) = (path.into(), RunStart::Resume);
        Ok((Self { path, start, lock: None, data_may_change: false, classes: None, processes: None }, config))
    }

    /// Begins with trained weights instead of random ones.
    pub fn beginning_with(self, start: Pretrained) -> Self {
        Self { start: RunStart::Pretrained(Box::new(start)), ..self }
    }

    /// Goes on even where the data is not what the run was begun with.
    pub fn with_changed_data(self) -> Self {
        Self { data_may_change: true, ..self }
    }

    /// The newest checkpoint with its step, usable or not; none before the first.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn newest_checkpoint(&self) -> Result<Option<(u64, PathBuf)>> {
        checkpoint::newest(&self.checkpoints())
    }

    /// The newest sample grid with its step.
    pub fn newest_samples(&self) -> Option<(u64, PathBuf)> {
        let grid = report::grids(&self.path).ok()?.pop()?;
        Some((report::step_of(&grid), grid))
    }

    /// The newest line of the log.
    pub fn last_record(&self) -> Option<serde_json::Value> {
        let mut file = File::open(self.path.join(LOG)).ok()?;
        let end = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(end.saturating_sub(MAX_RECORD))).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_RECORD).read_to_end(&mut bytes).ok()?;
        // The last line may be in the making.
        String::from_utf8_lossy(&bytes).lines().rev().find_map(|line| serde_json::from_str(line).ok())
    }

    /// Whether a process trains it now.
    pub fn is_training(&self) -> bool {
        RunLock::is_held(&self.path)
    }

    /// The place for the pixels of a set that is streamed.
    pub fn streamed(path: &Path) -> PathBuf {
        path.join(STREAMED)
    }

    /// Whether it begins with random weights.
    pub(super) fn is_from_scratch(&self) -> bool {
        matches!(self.start, RunStart::Scratch)
    }

    /// The processes that share the run, where there are several.
    pub(super) fn processes(&self) -> Option<&dyn ProcessGroup> {
        self.processes.as_deref()
    }

    /// Whether this process writes to the folder.
    pub(super) fn writes(&self) -> bool {
        distributed::writes(self.processes())
    }

    /// Whether this process was told to stop, or any other of the run.
    pub(super) fn is_stopped(&self, stopped: bool) -> bool {
        self.processes().map_or(stopped, |processes| distributed::any(processes, stopped))
    }

    /// Checks that all processes of the run have the same weights.
    pub(super) fn check_weights(&self, trainer: &Trainer) -> Result<()> {
        let Some(processes) = self.processes() else { return Ok(()) };
        distributed::check_weights(processes, trainer.net(), trainer.steps_done())
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    fn samples(&self) -> PathBuf {
        self.path.join("samples")
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        Ok(io::write_atomic(&self.path.join(name), bytes)?)
    }

    /// The lock of this run, for as long as it is trained.
    ///
    /// # Errors
    /// When another process holds it.
    pub(super) fn lock(&self) -> Result<Arc<RunLock>> {
        match &self.lock {
            Some(lock) => Ok(lock.clone()),
            None => RunLock::acquire(&self.path).map(Arc::new),
        }
    }

    /// A fresh trainer, or the newest checkpoint's; then writes down settings, data, and what the weights will say
    /// about themselves. What is refused changes nothing.
    pub(super) fn open_trainer(
        &self,
        config: &TrainConfig,
        images: &Images,
        device: &Device,
        observer: &mut dyn super::Observer,
    ) -> Result<Trainer> {
        let data = DataManifest::of(images)?;
        if let Some(processes) = self.processes() {
            distributed::check_same(processes, config, &data)?;
        }
        let net = config.net_for(images)?;
        let (trainer, init) = match &self.start {
            RunStart::Scratch => {
                if let Some(init) = self.read_info().ok().and_then(|info| info.training.init) {
                    bail!(
                        "{} begins with other weights ({init}); give them with --init once more",
                        self.path.display()
                    );
                }
                (Trainer::new(config, &net, device), None)
            }
            RunStart::Pretrained(start) => {
                start.notices().iter().for_each(|text| observer.notice(text));
                (Trainer::beginning_with(config, start.net(), device), Some(start.description()))
            }
            RunStart::Resume => {
                let before = self.read_info()?;
                same_latent_space(before.latent.as_ref(), images)
                    .with_context(|| format!("cannot go on with {}", self.path.display()))?;
                self.check_data(&before, &data, images)?;
                let (_, settings) = Self::open(&self.path)?;
                let folder = self.checkpoints();
                let trainer =
                    checkpoint::resume(&folder, config, &settings, &net, device, |text| observer.notice(&text))?;
                (trainer, before.training.init)
            }
        };
        // Until all have read what there is, nothing of it changes.
        self.check_weights(&trainer)?;
        if !self.writes() {
            return Ok(trainer);
        }
        let info = ModelInfo {
            format_version: FORMAT_VERSION,
            name: config.name.clone(),
            net,
            classes: images.classes.clone(),
            vocabulary: images.vocabulary.clone(),
            latent: images.latents.as_ref().map(|latents| latents.info().space.clone()),
            check: None,
            data: DataInfo { images: images.len(), ..config.card.clone() },
            training: TrainingInfo {
                step: 0,
                batch_size: config.train.batch_size,
                seed: config.train.seed,
                program: concat!("meanflow ", env!("CARGO_PKG_VERSION")).into(),
                init,
                settings: None,
            },
        };
        fs::create_dir_all(self.checkpoints())
            .with_context(|| format!("cannot create {}", self.checkpoints().display()))?;
        if let Some(stored) = &images.stored {
            stored.keep()?;
        }
        checkpoint::clear(&self.checkpoints())?;
        self.rewind_log(trainer.steps_done())?;
        events::rewind(&self.path, trainer.steps_done())?;
        self.write(CONFIG, config.to_toml()?.as_bytes())?;
        self.write(MODEL, &serde_json::to_vec_pretty(&info)?)?;
        self.write(DATA, &serde_json::to_vec_pretty(&data)?)?;
        if let RunStart::Resume = &self.start {
            observer.notice(&format!("continuing at step {}", trainer.steps_done()));
        }
        Ok(trainer)
    }

    /// Refuses other data than the run was trained on, unless that was allowed; the names of the classes, which the
    /// labels that the network knows stand for, in any case.
    fn check_data(&self, before: &ModelInfo, now: &DataManifest, images: &Images) -> Result<()> {
        let differences = match self.read_manifest()? {
            Some(then) => then.differences(now),
            // A run of an older version says how many images there were.
            None if before.data.images != images.len() => {
                vec![format!("{} images then, {} now", before.data.images, images.len())]
            }
            None => Vec::new(),
        };
        let path = self.path.display();
        if *self.classes.as_ref().unwrap_or(&before.classes) != images.classes {
            bail!(
                "{path} was trained on the classes {}, and the images have {}{}; to add classes to a trained network, \
                 begin another run with its weights (`meanflow export`, then `train --init`)",
                in_words(&before.classes),
                in_words(&images.classes),
                if differences.is_empty() { String::new() } else { format!(" ({})", differences.join(", ")) }
            );
        }
        if !differences.is_empty() && !self.data_may_change {
            bail!("{path} was trained on other data: {}; --data-changed goes on with it", differences.join(", "));
        }
        Ok(())
    }

    /// Gives the classes of a set the labels, and the words of its captions the rows, that the run knows them by. With
    /// `may_rename` a class of another name takes the place of one that is gone, and one without images keeps its own.
    /// Returns which were renamed, as old and new name. Where there are more classes than before, or others, nothing is
    /// changed, and training refuses them.
    ///
    /// # Errors
    /// When the description of the run does not read.
    pub fn keep_classes(&mut self, images: &mut Images, may_rename: bool) -> Result<Vec<[String; 2]>> {
        if !matches!(self.start, RunStart::Resume) {
            return Ok(Vec::new());
        }
        let ModelInfo { mut classes, vocabulary, .. } = self.read_info()?;
        images.vocabulary = vocabulary;
        let gone: Vec<usize> = (0..classes.len()).filter(|&i| !images.classes.contains(&classes[i])).collect();
        let new: Vec<&String> = images.classes.iter().filter(|class| !classes.contains(class)).collect();
        let fits = new.len() <= gone.len() && !images.classes.is_empty();
        if !fits || !(may_rename || gone.is_empty()) {
            return Ok(Vec::new());
        }
        let renamed: Vec<[String; 2]> =
            gone.iter().zip(&new).map(|(&old, &new)| [classes[old].clone(), new.clone()]).collect();
        for (&place, [_, new]) in gone.iter().zip(&renamed) {
            classes[place].clone_from(new);
        }
        let place = |class: &String| classes.iter().position(|known| known == class).unwrap_or_default() as u32;
        let places: Vec<u32> = images.classes.iter().map(place).collect();
        for label in &mut images.labels {
            *label = places[*label as usize];
        }
        images.classes.clone_from(&classes);
        self.classes = Some(classes);
        Ok(renamed)
    }

    fn read_manifest(&self) -> Result<Option<DataManifest>> {
        let file = self.path.join(DATA);
        match fs::read(&file) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display())).map(Some)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    pub(super) fn append(&self, record: &Record) -> Result<()> {
        if !self.writes() {
            return Ok(());
        }
        let file = self.path.join(LOG);
        let line = serde_json::to_string(record)? + "\n";
        io::append(&file, line.as_bytes())?;
        events::append(&self.path, record)
    }

    /// Takes the lines of steps that will be taken again out of the log, and one that was cut off.
    fn rewind_log(&self, step: u64) -> Result<()> {
        let file = self.path.join(LOG);
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
            false => self.write(LOG, kept.as_bytes()),
        }
    }

    pub(super) fn save(&self, trainer: &Trainer, one_step: Option<f64>, config: &TrainConfig) -> Result<()> {
        if !self.writes() {
            return Ok(());
        }
        checkpoint::save(&self.checkpoints(), trainer, one_step, config)
    }

    /// A grid of samples of the averaged network, from the same noise every time, as its objective samples.
    pub(super) fn write_samples(
        &self,
        config: &TrainConfig,
        trainer: &Trainer,
        captions: &[String],
        device: &Device,
    ) -> Result<()> {
        if !self.writes() {
            return Ok(());
        }
        let info = self.read_info()?;
        let size = info.net.image_size;
        let generator = Generator::new(trainer.averaged().clone(), info, device);
        let (solver, nfe) = config.objective.sampling();
        let options = SampleOptions::from(solver);
        let prompts: Vec<Condition> =
            captions.iter().map(|text| generator.info().prompt(text)).collect::<Result<_, _>>()?;
        let sampled = match prompts.is_empty() {
            true => {
                generator.sample(Request { seed: 0, count: config.log.samples, class: Condition::Any, nfe }, options)?
            }
            false => generator.sample_each(0, &prompts, nfe, options)?,
        };
        let images = match generator.info().latent {
            // Without an autoencoder at hand a grid shows three channels of the latents as colours.
            Some(_) => sampled.images.narrow(1, 0, 3),
            None => sampled.images,
        };
        let rgba = pollster::block_on(to_rgba(images))?;
        // Somebody may have removed the folder to start looking afresh.
        fs::create_dir_all(self.samples()).with_context(|| format!("cannot create {}", self.samples().display()))?;
        if !captions.is_empty() {
            self.write(SAMPLE_CAPTIONS, (captions.join("\n") + "\n").as_bytes())?;
        }
        let file = self.samples().join(format!("step-{:08}.png", trainer.steps_done()));
        grid::write(&file, &rgba, size, 2, None)?;
        events::append_picture(&self.path, trainer.steps_done(), &file)
    }

    fn read_info(&self) -> Result<ModelInfo> {
        let file = self.path.join(MODEL);
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))
    }

    /// The averaged network of the newest or best checkpoint as it is used, without an auxiliary head, and its
    /// description.
    ///
    /// # Errors
    /// When the run has no usable checkpoint, or no average of this name.
    pub fn averaged(
        &self,
        which: CheckpointSelector,
        name: &str,
        device: &Device,
        warn: impl FnMut(String),
    ) -> Result<(Net, ModelInfo)> {
        let mut info = self.read_info()?;
        let (_, config) = Self::open(&self.path)?;
        let averages = &config.train.averages;
        if name != PRIMARY_EMA && !averages.contains_key(name) {
            let known: Vec<&str> = [PRIMARY_EMA].into_iter().chain(averages.keys().map(String::as_str)).collect();
            bail!("{} has no average `{name}`; there are {}", self.path.display(), known.join(", "));
        }
        let (net, step, trained) = checkpoint::averaged(&self.checkpoints(), which, name, device, warn)?;
        let net = net.without_velocity_head();
        (info.training.step, info.net) = (step, net.config().clone());
        // The settings of the run may have changed since.
        let data = self.read_manifest()?;
        let data = data.as_ref().map_or("", DataManifest::content);
        info.training.settings = Some(trained.unwrap_or(config).fingerprint(name, data)?);
        Ok((net, info))
    }
}

/// Names in a row, the first of many.
fn in_words(names: &[String]) -> String {
    const MAX_NAMES: usize = 8;
    match names.len() {
        0 => "none".into(),
        count if count > MAX_NAMES => format!("{} and {} more", names[..MAX_NAMES].join(", "), count - MAX_NAMES),
        _ => names.join(", "),
    }
}
