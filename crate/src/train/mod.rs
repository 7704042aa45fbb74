//! The training half: data, the loop, and a run folder in which nothing is lost. Native only.
//!
//! A run folder holds `config.toml` (every setting), `model.json` (what the weights will say about themselves),
//! `log.jsonl`, the same for TensorBoard, `samples/` (grids from fixed noise) and `checkpoints/`.

mod adamw;
mod augment;
mod batch;
mod checkpoint;
mod config;
pub mod data;
mod ema;
mod events;
mod gradients;
pub mod grid;
mod log;
mod muon;
#[cfg(all(test, feature = "wgpu"))]
mod on_a_gpu;
mod optimization;
mod parts;
pub mod playground;
mod precision;
mod report;
mod run;
mod start;
mod trainer;

pub use augment::{Augmentation, Change};
pub use batch::{Batch, Sampler};
pub use checkpoint::Which;
pub use config::{Logging, NetChoice, TrainConfig};
pub use ema::Ema;
pub use log::{Record, peak_memory};
pub use muon::{MuonParams, MuonScale, OptimizerShare};
pub use optimization::{Average, Cooldown, MAIN, Optimization, OptimizerKind};
pub use precision::MatmulPrecision;
pub use report::report;
pub use run::{Observer, Outcome, RunFolder};
pub use start::Start;
pub use trainer::{Measured, Trainer};

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use burn::tensor::Device;

use crate::flow::Objective;
use data::Images;
use log::{Meter, OneStep};

/// Trains until the configured number of steps, until `stop` is set, or until the loss is no longer finite; on one device,
/// or on several that share every batch, the first of which holds the state.
///
/// # Errors
/// Settings that do not suit the images, a non-finite loss (the last good checkpoint stays), a damaged checkpoint, or
/// a disk that refuses.
pub fn train(
    config: &TrainConfig,
    images: &Images,
    run: &RunFolder,
    devices: &[Device],
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let Some((device, helpers)) = devices.split_first() else { bail!("training needs a device") };
    let (settings, every) = (&config.train, &config.log);
    config.suits(images)?;
    if run.is_from_scratch() {
        config.check_scratch()?;
    }
    settings.precision.check(device)?;
    let mut sampler = Sampler::of_run(images, config);
    let mut trainer = run.open_trainer(config, images, device, observer)?.with_helpers(helpers);
    let shares = trainer.optimizer_shares();
    observer.notice(&OptimizerShare::describe(&shares));
    config.notices().iter().for_each(|text| observer.notice(text));
    let mut meter = Meter::new(shares);
    let mut saved = trainer.steps_done();
    let mut since_saved = OneStep::default();

    while trainer.steps_done() < settings.steps && !stop.load(Ordering::Relaxed) {
        let step = trainer.steps_done();
        let batch = sampler.batch(step, device)?;
        meter.add(trainer.step(batch));
        let done = trainer.steps_done();
        observer.step(done);

        let due = |every: u64| done.is_multiple_of(every) || done == settings.steps;
        // Reading the loss waits for the device, so it happens at log lines and before anything is kept.
        if due(every.every) || due(every.sample_every) || due(every.checkpoint_every) {
            let record = meter.record(done, settings.learning_rate_at(step))?;
            run.append(&record)?;
            since_saved.add(&record, matches!(config.objective, Objective::FlowMatching {}));
            observer.record(&record);
            if !(record.loss.is_finite() && record.residual.is_finite()) {
                bail!("the loss is {} at step {done}; the last good checkpoint is of step {saved}", record.loss);
            }
        }
        if due(every.sample_every) {
            run.write_samples(config, &trainer, device)?;
        }
        if due(every.checkpoint_every) {
            run.save(&trainer, since_saved.take(), every)?;
            saved = done;
        }
    }
    if saved < trainer.steps_done() {
        run.save(&trainer, since_saved.take(), every)?;
    }
    Ok(Outcome { steps: trainer.steps_done(), finished: trainer.steps_done() >= settings.steps })
}
