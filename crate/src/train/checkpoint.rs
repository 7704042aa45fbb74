//! Checkpoints: a folder per checkpoint, written aside and renamed, so that one is either whole or absent. Its
//! `state.json` holds the digest of every file in it, its own too: what a disk has damaged is named instead of trained
//! on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device};
use serde::{Deserialize, Serialize};

use super::augment::Augmentation;
use super::config::{Logging, TrainConfig};
use super::resume;
use crate::data::sha256;
use crate::io;
use crate::learn::muon::optimizer;
use crate::learn::{Ema, OptimizerKind, PRIMARY_EMA, Trainer};
use crate::model::{Architecture, NetConfig};
use crate::net::Net;

/// The small part of a checkpoint: where it stands.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    step: u64,
    net: NetConfig,
    /// The mean one-step residual since the checkpoint before; none where nothing of it was trained.
    #[serde(default)]
    one_step: Option<f64>,
    /// Which meaning of `[augmentation]` the run was trained with, where it has one; 0 in checkpoints that do not say.
    #[serde(default)]
    augmentation: u32,
    /// The settings that it was trained with, as TOML; checkpoints that do not say are older.
    #[serde(default)]
    settings: Option<String>,
    /// The other files; checkpoints that do not say are older, and believed.
    #[serde(default)]
    files: BTreeMap<String, FileDigest>,
    /// The SHA-256 of this file with zeros in its own place.
    #[serde(default)]
    checksum: Option<String>,
}

/// What a file must hold.
#[derive(Serialize, Deserialize)]
struct FileDigest {
    bytes: u64,
    /// As `sha256sum` prints it.
    sha256: String,
}

/// Where a checksum will stand.
const NO_CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl State {
    /// As `state.json` holds it.
    fn to_json(&self) -> Result<String> {
        let state = serde_json::to_string_pretty(self)? + "\n";
        Ok(state.replacen(NO_CHECKSUM, &sha256(state.as_bytes()), 1))
    }

    /// Reads the state of a checkpoint.
    fn read(checkpoint: &Path) -> Result<Self> {
        let file = checkpoint.join(STATE);
        let damaged = || format!("{} is damaged", file.display());
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let state: Self = serde_json::from_str(&text).with_context(damaged)?;
        match &state.checksum {
            Some(checksum) if sha256(text.replacen(checksum, NO_CHECKSUM, 1).as_bytes()) != *checksum => {
                bail!("{}: its checksum is not that of its content", damaged())
            }
            None if !state.files.is_empty() => bail!("{}: its checksum is missing", damaged()),
            _ => Ok(state),
        }
    }

    /// The content of one of the checkpoint's files, which is what was written.
    fn read_file(&self, checkpoint: &Path, name: &str) -> Result<Bytes> {
        let path = checkpoint.join(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        match self.files.get(name) {
            Some(file) if file.bytes != bytes.len() as u64 => {
                bail!("{} is damaged: it has {} bytes instead of {}", path.display(), bytes.len(), file.bytes)
            }
            Some(file) if file.sha256 != sha256(&bytes) => {
                bail!("{} is damaged: its SHA-256 is not the one in state.json", path.display())
            }
            None if !self.files.is_empty() => bail!("{} is not one of the checkpoint's files", path.display()),
            _ => Ok(Bytes::from_bytes_vec(bytes)),
        }
    }

    fn read_net(&self, checkpoint: &Path, name: &str, device: &Device) -> Result<Net> {
        let path = checkpoint.join(name);
        self.net.validate()?;
        let record = ModuleRecord::from_bytes(self.read_file(checkpoint, name)?);
        let record = record.with_context(|| format!("{} is damaged", path.display()))?;
        let net = self.net.init(0, device).try_load_record(record);
        net.with_context(|| format!("{} does not fit its network", path.display()))
    }
}

/// The description of a checkpoint, the network in training, and the optimizer's state.
const STATE: &str = "state.json";
const NET: &str = "net.bpk";
const OPTIMIZER: &str = "optimizer.bpk";

/// The file of an average.
fn average_file(name: &str) -> String {
    if name == PRIMARY_EMA { "ema.bpk".into() } else { format!("ema-{name}.bpk") }
}

/// Which of a run's checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckpointSelector {
    /// The newest that reads.
    #[default]
    Newest,
    /// The one before which the one-step residual was lowest.
    Best,
}

/// Writes the trainer's state, and the settings it is trained with, to `folder/step-…`; then removes all but the newest
/// `log.keep`, those of `log.keep_every`, and with `log.keep_best` the one of the lowest one-step residual.
///
/// # Errors
/// When the disk refuses; earlier checkpoints are untouched.
pub fn save(folder: &Path, trainer: &Trainer, one_step: Option<f64>, config: &TrainConfig) -> Result<()> {
    let [target, aside, replaced] =
        ["step", WRITING, REPLACED].map(|name| folder.join(format!("{name}-{:08}", trainer.step)));
    let _ = fs::remove_dir_all(&aside);
    io::create_folder(&aside)?;
    let mut files = BTreeMap::new();
    let mut write = |name: String, bytes: &[u8]| {
        files.insert(name.clone(), FileDigest { bytes: bytes.len() as u64, sha256: sha256(bytes) });
        io::write_new(&aside.join(name), bytes)
    };
    write(NET.into(), &trainer.net.valid().into_record().into_bytes()?)?;
    write(average_file(PRIMARY_EMA), &trainer.ema.net().clone().into_record().into_bytes()?)?;
    for (name, ema) in &trainer.averages {
        write(average_file(name), &ema.net().clone().into_record().into_bytes()?)?;
    }
    write(OPTIMIZER.into(), &trainer.optimizer.into_bytes()?)?;
    let state = State {
        step: trainer.step,
        net: trainer.net.config().clone(),
        one_step,
        augmentation: Augmentation::VERSION,
        settings: Some(config.to_toml()?),
        files,
        checksum: Some(NO_CHECKSUM.into()),
    };
    io::write_new(&aside.join(STATE), state.to_json()?.as_bytes())?;
    io::sync_folder(&aside)?;
    // Of the same step there can be one that is damaged.
    let replaces = target.exists();
    if replaces {
        io::rename(&target, &replaced)?;
    }
    io::rename(&aside, &target)?;
    io::sync_folder(folder)?;
    if replaces {
        io::remove_folder(&replaced)?;
    }
    prune(folder, trainer.step, &config.log)
}

/// Removes the checkpoints that need not stay, of those up to `step`: one that is newer was damaged, and the run will
/// come by there again.
fn prune(folder: &Path, step: u64, log: &Logging) -> Result<()> {
    let all: Vec<_> = list(folder)?.into_iter().filter(|checkpoint| checkpoint.0 <= step).collect();
    let best = if log.keep_best { best(&all) } else { None };
    let stays = |(step, path): &(u64, PathBuf)| {
        best.as_ref() == Some(path) || log.keep_every.is_some_and(|every| step.is_multiple_of(every))
    };
    for (step, old) in all.into_iter().rev().skip(log.keep).filter(|checkpoint| !stays(checkpoint)) {
        // Under its own name a half of it could be left.
        let aside = folder.join(format!("{REPLACED}-{step:08}"));
        io::rename(&old, &aside)?;
        io::remove_folder(&aside)?;
    }
    Ok(())
}

/// The checkpoint of the lowest one-step residual, the newer where two are equal.
fn best(all: &[(u64, PathBuf)]) -> Option<PathBuf> {
    let measured = all.iter().filter_map(|(_, path)| Some((State::read(path).ok()?.one_step?, path)));
    measured.rev().min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, path)| path.clone())
}

/// What a checkpoint is called while it is written.
const WRITING: &str = ".writing";
/// What one is called while another of the same step takes its place.
const REPLACED: &str = ".replaced";

/// The number in the name of a checkpoint, or of one in the making: digits alone, so `step-5-copy` is none.
fn step_in(path: &Path, kind: &str) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_prefix(kind)?.strip_prefix('-')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Removes what a program that was killed while it wrote has left behind.
///
/// # Errors
/// When the disk refuses.
pub fn clear(folder: &Path) -> Result<()> {
    for path in entries(folder)? {
        if [WRITING, REPLACED].iter().any(|kind| step_in(&path, kind).is_some()) {
            io::remove_folder(&path)?;
        }
    }
    Ok(())
}

/// Whether there is any checkpoint, usable or not.
///
/// # Errors
/// When the disk refuses.
pub fn any(folder: &Path) -> Result<bool> {
    Ok(folder.exists() && !list(folder)?.is_empty())
}

/// The newest checkpoint with its step, usable or not.
///
/// # Errors
/// When the disk refuses.
pub fn newest(folder: &Path) -> Result<Option<(u64, PathBuf)>> {
    if folder.exists() { Ok(list(folder)?.pop()) } else { Ok(None) }
}

/// Checkpoints with their steps, oldest first, damaged ones too. Other folders are somebody else's.
fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let steps = entries(folder)?.into_iter().filter_map(|path| Some((step_in(&path, "step")?, path)));
    let is_ours =
        |path: &Path| [STATE, NET, &average_file(PRIMARY_EMA), OPTIMIZER].iter().any(|file| path.join(file).exists());
    let mut found: Vec<_> = steps.filter(|(_, path)| is_ours(path)).collect();
    found.sort();
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read {}", folder.display());
    let entries = fs::read_dir(folder).with_context(unreadable)?;
    entries.map(|entry| Ok(entry.with_context(unreadable)?.path())).collect()
}

/// The newest checkpoint that reads, or the best: a damaged one is named in a warning, and the one before it is used.
///
/// # Errors
/// When there is none that reads.
fn find<T>(
    folder: &Path,
    which: CheckpointSelector,
    mut read: impl FnMut(&Path, State) -> Result<T>,
    mut warn: impl FnMut(String),
) -> Result<T> {
    let all = list(folder)?;
    let first = match which {
        CheckpointSelector::Newest => None,
        CheckpointSelector::Best => match best(&all) {
            Some(path) => Some(path),
            None => bail!("no checkpoint in {} says how good it is", folder.display()),
        },
    };
    for path in first.into_iter().chain(all.into_iter().rev().map(|(_, path)| path)) {
        match State::read(&path).and_then(|state| read(&path, state)) {
            Ok(value) => return Ok(value),
            Err(error) => warn(format!("checkpoint {} is not usable: {error:#}", path.display())),
        }
    }
    bail!("no usable checkpoint in {}", folder.display())
}

/// Continues a run from its newest usable checkpoint. `before` are the settings that it was begun with, for checkpoints
/// that do not hold theirs.
///
/// # Errors
/// When there is none, or it is of another network than `net`, or of settings that a run keeps to its end.
pub fn resume(
    folder: &Path,
    config: &TrainConfig,
    before: &TrainConfig,
    net: &NetConfig,
    device: &Device,
    mut notice: impl FnMut(String),
) -> Result<Trainer> {
    let mut begun = Vec::new();
    let read = |path: &Path, state: State| -> Result<Result<(Trainer, State)>> {
        let trained = match &state.settings {
            Some(text) => TrainConfig::of_run(text).context("its settings are of another version")?,
            None => before.clone(),
        };
        // What is refused here would be with any other checkpoint too.
        if let Err(refusal) = resume::check(&trained, config) {
            return Ok(Err(refusal));
        }
        if state.net != *net {
            let mismatch =
                format!("{} is of another network ({:?}) than the settings ({net:?})", path.display(), state.net);
            return Ok(Err(anyhow::anyhow!(mismatch)));
        }
        let live = state.read_net(path, NET, &config.train.autodiff_device(device))?;
        let shadow = state.read_net(path, &average_file(PRIMARY_EMA), device)?;
        let optimizer = optimizer(&config.train, &live).from_bytes(state.read_file(path, OPTIMIZER)?)?;
        begun.clear();
        let mut averages = BTreeMap::new();
        for name in config.train.averages.keys() {
            let file = average_file(name);
            let ema = match trained.train.averages.contains_key(name) {
                true => Ema::resume(state.read_net(path, &file, device)?),
                // It is new in the settings.
                false => {
                    begun.push(name.clone());
                    Ema::new(&live)
                }
            };
            averages.insert(name.clone(), ema);
        }
        let trainer = Trainer::from_parts(config, [live, shadow], averages, optimizer, state.step, device);
        Ok(Ok((trainer, state)))
    };
    let (trainer, state) = find(folder, CheckpointSelector::Newest, read, &mut notice)??;
    if config.augmentation.is_some() && state.augmentation < Augmentation::VERSION {
        notice(Augmentation::CHANGED.into());
    }
    let muon = config.train.optimizer == OptimizerKind::Muon;
    if muon && state.files.is_empty() && state.net.architecture != Architecture::Dit {
        notice(format!(
            "an earlier version left the matrices of this network to AdamW; Muon trains them from step {} on, and its \
             momentum begins at 0",
            trainer.step
        ));
    }
    for name in begun {
        notice(format!("the average `{name}` is new: it begins with the weights of step {}", trainer.step));
    }
    Ok(trainer)
}

/// The averaged network of a usable checkpoint, its step, and the settings that it was trained with where it says them;
/// by name where there are several.
///
/// # Errors
/// When there is none.
pub fn averaged(
    folder: &Path,
    which: CheckpointSelector,
    name: &str,
    device: &Device,
    warn: impl FnMut(String),
) -> Result<(Net, u64, Option<TrainConfig>)> {
    let read = |path: &Path, state: State| {
        let settings = state.settings.as_deref().map(TrainConfig::of_run).transpose()?;
        Ok((state.read_net(path, &average_file(name), device)?, state.step, settings))
    };
    find(folder, which, read, warn)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::data::{DataConfig, Images};
    use crate::train::{NetOverrides, Sampler};

    /// Settings with one checkpoint kept.
    fn config() -> TrainConfig {
        let net = NetOverrides { width: Some(16), depth: Some(1), heads: Some(2), ..NetOverrides::default() };
        let data = DataConfig { size: 8, channels: 3, ..DataConfig::default() };
        let mut config = TrainConfig { net, data, ..TrainConfig::default() };
        config.train.batch_size = 2;
        config.log.keep = 1;
        config
    }

    fn trainer(steps: u64) -> Trainer {
        let (config, device) = (config(), Device::flex());
        let images = Images::random(&config.data, 8);
        let mut sampler = Sampler::new(&images, &config.train, false);
        let mut trainer = Trainer::new(&config, &config.net_config(0).expect("a network"), &device);
        for step in 0..steps {
            trainer.step(sampler.batch(step, &device).expect("pictures"));
        }
        trainer
    }

    /// A name that reaches the disk before the content, or content that has no name there yet, is a checkpoint lost in
    /// a power cut.
    #[test]
    fn content_is_on_the_disk_before_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoints = folder.path().join("checkpoints");
        fs::create_dir(&checkpoints).expect("a folder");
        io::recorded_calls();
        save(&checkpoints, &trainer(1), None, &config()).expect("it saves");
        let files = ["net.bpk", "ema.bpk", "optimizer.bpk", "state.json"];
        let written = files.iter().flat_map(|file| [format!("write {file}"), format!("sync {file}")]);
        let expected: Vec<String> = std::iter::once("create .writing-00000001".into())
            .chain(written)
            .chain(["sync .writing-00000001", "rename step-00000001", "sync checkpoints"].map(String::from))
            .collect();
        assert_eq!(io::recorded_calls(), expected);
    }

    #[test]
    fn checkpoints_are_sorted_as_numbers_and_other_folders_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let here = |name: &str| folder.path().join(name);
        let foreign = ["step-final", "step-5-copy", "step-", "step-00000003", "epoch-1"];
        for name in foreign {
            fs::create_dir(here(name)).expect("a folder");
        }
        // What is called like a checkpoint and holds none is somebody else's too.
        for name in ["step-99999999", "step-100000000", "step-00000002"] {
            fs::create_dir(here(name)).expect("a folder");
            fs::write(here(name).join("state.json"), "{}").expect("it writes");
        }
        let steps: Vec<u64> = list(folder.path()).expect("it reads").into_iter().map(|(step, _)| step).collect();
        assert_eq!(steps, [2, 99_999_999, 100_000_000]);
        prune(folder.path(), 100_000_000, &Logging { keep: 1, ..Logging::default() }).expect("it prunes");
        assert!(foreign.iter().all(|name| here(name).exists()));
        assert!(here("step-100000000").exists() && !here("step-99999999").exists());
    }

    /// What was half removed, or lost its description, is named where a run goes on, and goes as any other.
    #[test]
    fn checkpoints_without_their_description_are_damaged_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        save(folder.path(), &trainer(2), None, &config()).expect("it saves");
        for step in [1, 3] {
            let half = folder.path().join(format!("step-{step:08}"));
            fs::create_dir(&half).expect("a folder");
            fs::write(half.join("ema.bpk"), "half").expect("it writes");
        }
        let mut warnings = Vec::new();
        let warn = |text| warnings.push(text);
        let (_, step, _) =
            averaged(folder.path(), CheckpointSelector::Newest, PRIMARY_EMA, &Device::flex(), warn).expect("it reads");
        assert!(step == 2 && warnings.len() == 1 && warnings[0].contains("step-00000003"), "{warnings:?}");
        save(folder.path(), &trainer(4), None, &config()).expect("it saves");
        let steps: Vec<u64> = list(folder.path()).expect("it reads").into_iter().map(|(step, _)| step).collect();
        assert_eq!(steps, [4]);
    }

    /// With one checkpoint kept, the damaged one of a later step must not be taken for the newest.
    #[test]
    fn what_is_written_is_not_removed_for_a_damaged_one_of_a_later_step() {
        let folder = tempfile::tempdir().expect("a folder");
        save(folder.path(), &trainer(2), None, &config()).expect("it saves");
        let damaged = folder.path().join("step-00000009");
        fs::create_dir(&damaged).expect("a folder");
        fs::write(damaged.join("state.json"), "{").expect("it writes");
        save(folder.path(), &trainer(3), None, &config()).expect("it saves");
        let (_, step, _) = averaged(folder.path(), CheckpointSelector::Newest, PRIMARY_EMA, &Device::flex(), |_| {})
            .expect("it reads");
        assert_eq!(step, 3);
    }
}
