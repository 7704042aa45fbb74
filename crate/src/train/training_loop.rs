//! The loop of a training run: a batch, a step, then log, checkpoint and samples where they are due.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use burn::tensor::Device;

use super::batch::Sampler;
use super::config::TrainConfig;
use super::log::{MetricAccumulator, OneStep, Record};
use super::run::{Observer, RunFolder};
use crate::learn::Trainer;

/// A run as it is trained.
pub(super) struct TrainingLoop<'a> {
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
pub(super) struct Failure {
    pub error: anyhow::Error,
    /// Whether what the trainer holds cannot be kept: it is not finite, or has just been refused by the disk.
    pub state_is_lost: bool,
}

impl<'a> TrainingLoop<'a> {
    /// The loop of a run that `trainer` has begun, or goes on with.
    pub fn new(config: &'a TrainConfig, run: &'a RunFolder, device: &'a Device, trainer: Trainer) -> Self {
        let (saved, meter) = (trainer.steps_done(), MetricAccumulator::new(trainer.optimizer_shares()));
        Self { config, run, device, trainer, saved, meter, since_saved: OneStep::default() }
    }

    /// Steps taken so far.
    pub fn steps_done(&self) -> u64 {
        self.trainer.steps_done()
    }

    /// Trains until the last step, or until `stop` is set.
    pub fn run_steps(
        &mut self,
        mut sampler: Sampler,
        stop: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<(), Failure> {
        let (settings, every) = (&self.config.train, &self.config.log);
        let captions = sampler.sample_captions(every.samples);
        while self.trainer.steps_done() < settings.steps && !self.run.is_stopped(stop.load(Ordering::Relaxed)) {
            let batch = sampler.batch(self.trainer.steps_done(), self.device).map_err(kept)?;
            self.meter.add(self.trainer.step(batch));
            let done = self.trainer.steps_done();
            observer.step(done);

            let due = |every: u64| done.is_multiple_of(every) || done == settings.steps;
            // Reading the loss waits for the device, so it happens at log lines and before anything is kept.
            if due(every.every) || due(every.sample_every) || due(every.checkpoint_every) {
                let record = self.measure().map_err(lost)?;
                self.run.append(&record).map_err(kept)?;
                self.run.check_weights(&self.trainer).map_err(lost)?;
                observer.record(&record);
                self.check(&record).map_err(lost)?;
            }
            // First what was learnt, then what shows it.
            if due(every.checkpoint_every) {
                self.save().map_err(lost)?;
            }
            if due(every.sample_every) {
                self.run.write_samples(self.config, &self.trainer, &captions, self.device).map_err(kept)?;
            }
        }
        Ok(())
    }

    /// The figures since the last time.
    fn measure(&mut self) -> Result<Record> {
        let done = self.trainer.steps_done();
        let learning_rate = self.config.train.learning_rate_at(done.saturating_sub(1));
        let record = self.meter.record(done, learning_rate, self.run.processes())?;
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
        self.run.save(&self.trainer, self.since_saved.take(), self.config)?;
        self.saved = self.trainer.steps_done();
        Ok(())
    }

    /// Keeps the steps since the newest checkpoint, where there are any and they are good.
    pub fn save_rest(&mut self) -> Result<()> {
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
