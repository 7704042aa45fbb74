//! `meanflow train --dry-run`: whether a run would work, and how long it would take.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use burn::tensor::Device;
use meanflow::data::Images;
use meanflow::train::{OptimizerShare, Sampler, TrainConfig, Trainer, peak_memory};

/// Steps that are timed, after one that warms caches and pools.
const STEPS: u64 = 3;

/// Steps whose costs are added up, at most.
const PARTS: u64 = 100_000;

/// Images that the steps of a rehearsal draw at most.
pub fn images(config: &TrainConfig) -> usize {
    config.train.batch_size.saturating_mul(STEPS as usize + 1)
}

/// Takes a few real steps of both phases and says what the whole run would take. Nothing is written.
pub fn rehearse(config: &TrainConfig, images: &Images, devices: &[Device]) -> Result<()> {
    let Some((device, helpers)) = devices.split_first() else { bail!("training needs a device") };
    config.train.precision.check(device)?;
    let phase = |share: f64| -> Result<Duration> {
        let mut config = config.clone();
        (config.train.flow_matching_steps, config.train.ramp_steps) = (0, 0);
        config.times.interval_probability = share;
        let mut sampler = Sampler::of_run(images, &config);
        let mut trainer = Trainer::new(&config, &config.net_for(images)?, device).with_helpers(helpers);
        let mut began = Instant::now();
        for step in 0..=STEPS {
            let loss = trainer.step(sampler.batch(step, device)?).loss;
            let loss = loss.try_into_scalar::<f32>().map_err(|e| meanflow::Error::Device(e.to_string()))?;
            if !loss.is_finite() {
                bail!("the loss is {loss} at step {step}");
            }
            if step == 0 {
                began = Instant::now();
            }
        }
        Ok(began.elapsed() / STEPS as u32)
    };
    let train = &config.train;
    let specs = config.net_for(images)?.init(train.seed, device).param_specs();
    say!("{}", OptimizerShare::describe(&OptimizerShare::of(train, &specs)));
    config.notices().iter().for_each(|text| say!("{text}"));
    let (plain, full) = (phase(0.0)?, phase(config.times.interval_probability)?);
    // The share of `r < t` rows decides what a step costs, and it rises from 0.
    let cost = |step: u64| match config.times.interval_probability {
        0.0 => plain.as_secs_f64(),
        most => {
            let part = train.interval_share_at(step, most) / most;
            plain.as_secs_f64() * (1.0 - part) + full.as_secs_f64() * part
        }
    };
    // Of many steps some stand for those around them.
    let part = train.steps.div_ceil(PARTS).max(1);
    let total: f64 =
        (0..train.steps.div_ceil(part)).map(|i| cost(part * i) * part.min(train.steps - part * i) as f64).sum();
    say!("a step: {:.3} s of Flow Matching, {:.3} s with all its r < t rows", plain.as_secs_f64(), full.as_secs_f64());
    say!("{} steps of {} images: {}", train.steps, train.batch_size, in_words(total));
    if let Some(bytes) = peak_memory() {
        say!("memory so far, at most: {:.1} GB", bytes as f64 / 1e9);
    }
    say!("no run was begun; the same command without --dry-run begins it");
    Ok(())
}

/// Seconds in the unit that people read.
fn in_words(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("about {s:.0} seconds"),
        s if s < 7200.0 => format!("about {:.0} minutes", s / 60.0),
        s if s < 172_800.0 => format!("about {:.1} hours", s / 3600.0),
        s => format!("about {:.1} days", s / 86_400.0),
    }
}
