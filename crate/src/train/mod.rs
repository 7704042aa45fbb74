//! The training half: data, the loop, and a run folder in which nothing is lost. Native only; the step itself is in
//! [`learn`](crate::learn).
//!
//! A run folder holds `config.toml` (every setting), `model.json` (what the weights will say about themselves),
//! `data.json` (what the images were), `log.jsonl`, the same for TensorBoard, `samples/` (grids from fixed noise),
//! `checkpoints/`, and `run.lock`, by which one process at a time writes to it.

mod augment;
mod batch;
mod checkpoint;
mod config;
mod devices;
pub mod distributed;
mod events;
#[cfg(all(test, feature = "wgpu"))]
mod gpu_parity_tests;
mod lock;
mod log;
mod manifest;
mod memory;
pub mod playground;
mod pretrained;
mod report;
mod resume;
mod run;
mod training_loop;

pub use crate::learn::{
    AdamW, Batch, Cooldown, Ema, EmaDecay, MatmulPrecision, Muon, MuonParams, MuonScale, Optimization, OptimizerKind,
    OptimizerShare, PRIMARY_EMA, StepStats, Trainer, TrainerConfig,
};
pub use augment::{Augmentation, Change};
pub use batch::Sampler;
pub use checkpoint::CheckpointSelector;
pub use config::{EvalConfig, Logging, NetOverrides, TrainConfig};
pub use devices::{open_all, set_threads};
pub use log::{Record, peak_memory};
pub use pretrained::Pretrained;
pub use report::report;
pub use run::{Claim, Observer, Outcome, RunFolder};

use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};
use burn::tensor::Device;

use crate::data::Images;
use training_loop::TrainingLoop;

/// Trains until the configured number of steps, until `stop` is set, or until the loss is no longer finite; on one
/// device, or on several that share every batch, the first of which holds the state.
///
/// # Errors
/// Settings that do not suit the images or the run, a run that another process trains, other data than before, a
/// non-finite loss (the last good checkpoint stays), a damaged checkpoint, or a disk that refuses. What was learnt
/// until an error that is not of the network or of the checkpoint itself is kept in one more checkpoint. Where several
/// processes share the run, an error of one is not known to the others: it must end them all, and the newest checkpoint
/// is what is kept.
pub fn train(
    config: &TrainConfig,
    images: &Images,
    run: &RunFolder,
    devices: &[Device],
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let Some((device, helpers)) = devices.split_first() else { bail!("training needs a device") };
    config.check_compatible(images)?;
    if run.is_from_scratch() {
        config.check_scratch()?;
    }
    config.train.precision.check(device)?;
    let lock = if run.writes() { Some(run.lock()?) } else { None };
    if let Some(reason) = lock.as_ref().and_then(|lock| lock.missing.as_ref()) {
        observer.notice(&format!("this folder cannot be locked ({reason}): let no other process write to it"));
    }
    let mut trainer = run.open_trainer(config, images, device, observer)?.with_helpers(helpers);
    let mut sampler = Sampler::of_run(images, config);
    if let Some(processes) = run.processes.clone() {
        sampler = sampler.for_process(&*processes, config.objective.group())?;
        trainer = trainer.with_processes(processes);
    }
    observer.notice(&OptimizerShare::describe(&trainer.optimizer_shares()));
    config.notices().iter().for_each(|text| observer.notice(text));
    let mut training = TrainingLoop::new(config, run, device, trainer);
    let ended = training.run_steps(sampler, stop, observer);
    let rest = match &ended {
        Err(failure) if failure.state_is_lost => Ok(()),
        // The other processes know nothing of it, and take no part in a checkpoint.
        Err(_) if run.processes.is_some() => Ok(()),
        _ => training.save_rest(),
    };
    match (ended, rest) {
        (Ok(()), Ok(())) => {}
        (Ok(()), Err(error)) => return Err(error),
        (Err(failure), Ok(())) => return Err(failure.error),
        (Err(failure), Err(error)) => {
            return Err(failure.error.context(format!("and no checkpoint could be written after it: {error:#}")));
        }
    }
    let steps = training.steps_done();
    Ok(Outcome { steps, finished: steps >= config.train.steps })
}
