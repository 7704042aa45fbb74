//! Checkpoints: a folder per checkpoint, written aside and renamed, so that one is either whole or absent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device};
use serde::{Deserialize, Serialize};

use super::augment::Augmentation;
use super::config::{Logging, TrainConfig};
use super::ema::Ema;
use super::optimization::MAIN;
use super::trainer::{Trainer, optimizer};
use crate::io::{self, write_new};
use crate::net::{Net, NetConfig};

/// The small part of a checkpoint: where it stands.
#[derive(Serialize, Deserialize)]
struct State {
    step: u64,
    net: NetConfig,
    /// The mean one-step residual since the checkpoint before; none where nothing of it was trained.
    #[serde(default)]
    one_step: Option<f64>,
    /// Which meaning of `[augmentation]` the run was trained with, where it has one; 0 in checkpoints that do not say.
    #[serde(default)]
    augmentation: u32,
}

/// Which of a run's checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The newest that reads.
    #[default]
    Newest,
    /// The one before which the one-step residual was lowest.
    Best,
}

/// Writes the trainer's state to `folder/step-…`, then removes all but the newest `log.keep`, those of `log.keep_every`, and
/// with `log.keep_best` the one of the lowest one-step residual.
///
/// # Errors
/// When the disk refuses; earlier checkpoints are untouched.
pub fn save(folder: &Path, trainer: &Trainer, one_step: Option<f64>, log: &Logging) -> Result<()> {
    let target = folder.join(format!("step-{:08}", trainer.step));
    let aside = folder.join(format!(".writing-{:08}", trainer.step));
    let _ = fs::remove_dir_all(&aside);
    io::create_folder(&aside)?;
    let state =
        State { step: trainer.step, net: trainer.net.config().clone(), one_step, augmentation: Augmentation::VERSION };
    write_new(&aside.join("net.bpk"), &trainer.net.valid().into_record().into_bytes()?)?;
    write_new(&aside.join("ema.bpk"), &trainer.ema.net().clone().into_record().into_bytes()?)?;
    for (name, ema) in &trainer.averages {
        write_new(&aside.join(format!("ema-{name}.bpk")), &ema.net().clone().into_record().into_bytes()?)?;
    }
    write_new(&aside.join("optimizer.bpk"), &trainer.optimizer.into_bytes()?)?;
    write_new(&aside.join("state.json"), &serde_json::to_vec_pretty(&state)?)?;
    let _ = fs::remove_dir_all(&target);
    fs::rename(&aside, &target).with_context(|| format!("cannot rename to {}", target.display()))?;
    // The rename itself must reach the disk too.
    io::sync_folder(folder)?;
    let all = list(folder)?;
    let best = if log.keep_best { best(&all) } else { None };
    let stays = |path: &PathBuf| {
        best.as_ref() == Some(path)
            || log.keep_every.is_some_and(|every| step_of(path).is_some_and(|step| step.is_multiple_of(every)))
    };
    for old in all.into_iter().rev().skip(log.keep).filter(|path| !stays(path)) {
        fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    Ok(())
}

/// The checkpoint of the lowest one-step residual, the newer where two are equal.
fn best(all: &[PathBuf]) -> Option<PathBuf> {
    let measured = all.iter().filter_map(|path| Some((read_state(path).ok()?.one_step?, path)));
    measured.rev().min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, path)| path.clone())
}

/// The step in a checkpoint's name.
fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
}

/// Removes what a program that was killed while it wrote has left behind.
///
/// # Errors
/// When the disk refuses.
pub fn clear(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".writing-")) {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Whole checkpoints, oldest first.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The newest checkpoint that reads, or the best: a damaged one is named in a warning, and the one before it is used.
///
/// # Errors
/// When there is none that reads.
fn find<T>(
    folder: &Path,
    which: Which,
    mut read: impl FnMut(&Path) -> Result<T>,
    mut warn: impl FnMut(String),
) -> Result<T> {
    let all = list(folder)?;
    let first = match which {
        Which::Newest => None,
        Which::Best => match best(&all) {
            Some(path) => Some(path),
            None => bail!("no checkpoint in {} says how good it is", folder.display()),
        },
    };
    for path in first.into_iter().chain(all.into_iter().rev()) {
        match read(&path) {
            Ok(value) => return Ok(value),
            Err(error) => warn(format!("checkpoint {} is not usable: {error:#}", path.display())),
        }
    }
    bail!("no usable checkpoint in {}", folder.display())
}

/// Continues a run from its newest usable checkpoint.
///
/// # Errors
/// When there is none, or it is of another network than `net`.
pub fn resume(
    folder: &Path,
    config: &TrainConfig,
    net: &NetConfig,
    device: &Device,
    mut warn: impl FnMut(String),
) -> Result<Trainer> {
    let read = |path: &Path| -> Result<(Trainer, u32)> {
        let state = read_state(path)?;
        if state.net != *net {
            bail!("it is of another network ({:?}) than the settings ({net:?})", state.net);
        }
        let trained = read_net(&path.join("net.bpk"), net, &config.train.tape(device))?;
        let shadow = read_net(&path.join("ema.bpk"), net, device)?;
        let optimizer = optimizer(config, &trained).from_bytes(read_bytes(&path.join("optimizer.bpk"))?)?;
        let average = |name: &String| {
            let net = read_net(&path.join(format!("ema-{name}.bpk")), net, device)?;
            Ok((name.clone(), Ema::resume(net)))
        };
        let averages = config.train.averages.keys().map(average).collect::<Result<_>>()?;
        let trainer = Trainer::from_parts(config, [trained, shadow], averages, optimizer, state.step, device);
        Ok((trainer, state.augmentation))
    };
    let (trainer, augmentation) = find(folder, Which::Newest, read, &mut warn)?;
    if config.augmentation.is_some() && augmentation < Augmentation::VERSION {
        warn(Augmentation::CHANGED.into());
    }
    Ok(trainer)
}

/// The averaged network of a usable checkpoint, and its step; by name where there are several.
///
/// # Errors
/// When there is none.
pub fn averaged(
    folder: &Path,
    which: Which,
    name: &str,
    device: &Device,
    warn: impl FnMut(String),
) -> Result<(Net, u64)> {
    let file = if name == MAIN { "ema.bpk".to_owned() } else { format!("ema-{name}.bpk") };
    let read = |path: &Path| -> Result<(Net, u64)> {
        let state = read_state(path)?;
        Ok((read_net(&path.join(&file), &state.net, device)?, state.step))
    };
    find(folder, which, read, warn)
}

fn read_state(path: &Path) -> Result<State> {
    let file = path.join("state.json");
    serde_json::from_slice(&read_bytes(&file)?).with_context(|| format!("{} is damaged", file.display()))
}

fn read_net(path: &Path, config: &NetConfig, device: &Device) -> Result<Net> {
    config.validate()?;
    let record =
        ModuleRecord::from_bytes(read_bytes(path)?).with_context(|| format!("{} is damaged", path.display()))?;
    let net = config.init(0, device).try_load_record(record);
    net.with_context(|| format!("{} does not fit its network", path.display()))
}

fn read_bytes(path: &Path) -> Result<Bytes> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Bytes::from_bytes_vec(bytes))
}
