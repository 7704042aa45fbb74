//! `meanflow bench-train`: images per second of a training step, with and without the tangent.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use meanflow::device;
use meanflow::train::data::Images;
use meanflow::train::{Sampler, TrainConfig, Trainer};

use crate::train::read_config;

/// Time training steps of the given settings on random pixels.
#[derive(clap::Args)]
pub struct Args {
    /// Settings, TOML files
    #[arg(value_name = "FILE", required = true)]
    configs: Vec<PathBuf>,
    /// Timed steps
    #[arg(long, default_value_t = 5)]
    steps: u64,
    /// Device, such as cpu, vulkan, wgpu or cuda:1, as compiled in
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    for path in &args.configs {
        let config = read_config(Some(path))?;
        let plain = images_per_second(&config, 0.0, args)?;
        let mixed = images_per_second(&config, config.times.interval_probability, args)?;
        println!(
            "{}: train {mixed:.1} img/s with {:.0} % of rows r < t; Flow Matching alone {plain:.1} img/s; ratio {:.2}",
            config.name,
            100.0 * config.times.interval_probability,
            mixed / plain,
        );
    }
    Ok(())
}

fn images_per_second(config: &TrainConfig, interval_share: f64, args: &Args) -> Result<f64> {
    let mut config = config.clone();
    config.train.flow_matching_steps = 0;
    config.train.ramp_steps = 0;
    config.times.interval_probability = interval_share;
    let device = device::open(args.device.as_deref())?;
    let images = Images::random(&config.data, 64);
    let mut trainer = Trainer::new(&config, &config.net_config(0)?, &device);
    let mut sampler = Sampler::new(&images, &config.train, false);
    let mut started = Instant::now();
    for step in 0..args.steps + 1 {
        if step == 1 {
            device.sync().ok();
            started = Instant::now(); // the first step warms caches, pools and autotune
        }
        trainer.step(sampler.batch(step, &device)?);
    }
    device.sync().ok();
    Ok((args.steps * config.train.batch_size as u64) as f64 / started.elapsed().as_secs_f64())
}
