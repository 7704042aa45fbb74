//! The training half: data, the loop, and a run folder in which nothing is lost. Native only.
//!
//! A run folder holds `config.toml` (every setting), `model.json` (what the weights will say about themselves),
//! `data.json` (what the images were), `log.jsonl`, the same for TensorBoard, `samples/` (grids from fixed noise),
//! `checkpoints/`, and `run.lock`, by which one process at a time writes to it.

mod adamw;
mod augment;
mod batch;
mod checkpoint;
mod config;
pub mod data;
mod ema;
mod events;
#[cfg(all(test, feature = "wgpu"))]
mod gpu_parity_tests;
mod gradients;
pub mod grid;
mod lock;
mod log;
mod manifest;
mod micro_batch;
mod muon;
mod optimization;
pub mod playground;
mod precision;
mod pretrained;
mod report;
mod resume;
mod run;
mod trainer;

pub use adamw::AdamW;
pub use augment::{Augmentation, Change};
pub use batch::{Batch, Sampler};
pub use checkpoint::CheckpointSelector;
pub use config::{EvalConfig, Logging, NetOverrides, TrainConfig};
pub use ema::Ema;
pub use log::{Record, peak_memory};
pub use muon::{Muon, MuonParams, MuonScale, OptimizerShare};
pub use optimization::{Cooldown, EmaDecay, Optimization, OptimizerKind, PRIMARY_EMA};
pub use precision::MatmulPrecision;
pub use pretrained::Pretrained;
pub use report::report;
pub use run::{Claim, Observer, Outcome, RunFolder};
pub use trainer::{StepStats, Trainer};

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use burn::tensor::Device;

use data::Images;
use log::{MetricAccumulator, OneStep};

/// Trains until the configured number of steps, until `stop` is set, or until the loss is no longer finite; on one
/// device, or on several that share every batch, the first of which holds the state.
///
/// # Errors
/// Settings that do not suit the images or the run, a run that another process trains, other data than before, a
/// non-finite loss (the last good checkpoint stays), a damaged checkpoint, or a disk that refuses. What was learnt
/// until an error that is not of the network or of the checkpoint itself is kept in one more checkpoint.
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
    let lock = run.lock()?;
    if let Some(reason) = &lock.missing {
        observer.notice(&format!("this folder cannot be locked ({reason}): let no other process write to it"));
    }
    let trainer = run.open_trainer(config, images, device, observer)?.with_helpers(helpers);
    let shares = trainer.optimizer_shares();
    observer.notice(&OptimizerShare::describe(&shares));
    config.notices().iter().for_each(|text| observer.notice(text));
    let (saved, meter) = (trainer.steps_done(), MetricAccumulator::new(shares));
    let mut training = TrainingLoop { config, run, device, trainer, saved, meter, since_saved: OneStep::default() };
    let ended = training.run_steps(Sampler::of_run(images, config), stop, observer);
    let rest = match &ended {
        Err(failure) if failure.state_is_lost => Ok(()),
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
    let steps = training.trainer.steps_done();
    Ok(Outcome { steps, finished: steps >= config.train.steps })
}

/// A run as it is trained.
struct TrainingLoop<'a> {
    config: &'a TrainConfig,
    run: &'a RunFolder,
    device: &'a Device,
    trainer: Trainer,
    /// The step of the newest checkpoint.
    saved: u64,
    meter: MetricAccumulator,
    since_saved: OneStep,
}

/// Why training ended before its time.
struct Failure {
    error: anyhow::Error,
    /// Whether what the trainer holds cannot be kept: it is not finite, or has just been refused by the disk.
    state_is_lost: bool,
}

impl TrainingLoop<'_> {
    fn run_steps(
        &mut self,
        mut sampler: Sampler,
        stop: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<(), Failure> {
        let (settings, every) = (&self.config.train, &self.config.log);
        while self.trainer.steps_done() < settings.steps && !stop.load(Ordering::Relaxed) {
            let batch = sampler.batch(self.trainer.steps_done(), self.device).map_err(kept)?;
            self.meter.add(self.trainer.step(batch));
            let done = self.trainer.steps_done();
            observer.step(done);

            let due = |every: u64| done.is_multiple_of(every) || done == settings.steps;
            // Reading the loss waits for the device, so it happens at log lines and before anything is kept.
            if due(every.every) || due(every.sample_every) || due(every.checkpoint_every) {
                let record = self.measure().map_err(lost)?;
                self.run.append(&record).map_err(kept)?;
                observer.record(&record);
                self.check(&record).map_err(lost)?;
            }
            // First what was learnt, then what shows it.
            if due(every.checkpoint_every) {
                self.save().map_err(lost)?;
            }
            if due(every.sample_every) {
                self.run.write_samples(self.config, &self.trainer, self.device).map_err(kept)?;
            }
        }
        Ok(())
    }

    /// The figures since the last time.
    fn measure(&mut self) -> Result<Record> {
        let done = self.trainer.steps_done();
        let record = self.meter.record(done, self.config.train.learning_rate_at(done.saturating_sub(1)))?;
        self.since_saved.add(&record, !self.config.objective.trains_intervals());
        Ok(record)
    }

    /// Checks that what was learnt can be kept.
    ///
    /// # Errors
    /// When the loss is not finite.
    fn check(&self, record: &Record) -> Result<()> {
        match record.loss.is_finite() && record.residual.is_finite() {
            true => Ok(()),
            false => {
                let (loss, step, saved) = (record.loss, record.step, self.saved);
                bail!("the loss is {loss} at step {step}; the last good checkpoint is of step {saved}")
            }
        }
    }

    fn save(&mut self) -> Result<()> {
        self.run.save(&self.trainer, self.since_saved.take(), &self.config.log)?;
        self.saved = self.trainer.steps_done();
        Ok(())
    }

    /// Keeps the steps since the newest checkpoint, where there are any and they are good.
    fn save_rest(&mut self) -> Result<()> {
        if self.saved == self.trainer.steps_done() {
            return Ok(());
        }
        if self.meter.has_steps() {
            let record = self.measure()?;
            self.check(&record)?;
        }
        self.save()
    }
}

/// A failure after which what was learnt is kept.
fn kept(error: impl Into<anyhow::Error>) -> Failure {
    Failure { error: error.into(), state_is_lost: false }
}

/// A failure after which there is nothing to keep.
fn lost(error: anyhow::Error) -> Failure {
    Failure { error, state_is_lost: true }
}
