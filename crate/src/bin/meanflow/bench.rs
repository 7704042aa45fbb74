//! `meanflow bench-train`: images per second of a training step, with and without the tangent.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use burn::tensor::Device;
use meanflow::data::Images;
use meanflow::io;
use meanflow::model::weights::{FORMAT_VERSION, ModelInfo, Precision, TrainingInfo};
use meanflow::train::{Sampler, TrainConfig, Trainer, peak_memory};

use crate::inputs::DeviceArg;
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
    /// Print a line of JSON for each
    #[arg(long)]
    json: bool,
    /// Time only steps with so large a share of rows r < t
    #[arg(long)]
    share: Option<f64>,
    /// Also write the network before the first step, for another program to time the same
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Several devices of the kind that --device names, by their indices
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    devices: Vec<usize>,
    #[command(flatten)]
    device: DeviceArg,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    if let Some(file) = &args.weights {
        io::check_extension(file, "a safetensors file", &["safetensors"])?;
        io::check_not_input(file, args.configs.iter().map(PathBuf::as_path))?;
    }
    for path in &args.configs {
        let config = read_config(Some(path))?;
        let devices = meanflow::train::open_all(args.device.name(), &args.devices, config.train.batch_size)?;
        if let Some(file) = &args.weights {
            let bytes = untrained(&config, &devices[0])?;
            io::write_atomic(file, bytes)?;
        }
        let share = args.share.unwrap_or(config.times.interval_probability);
        let speed = images_per_second(&config, share, args.steps, &devices)?;
        if args.json {
            let [slowest, median, fastest] = speed;
            let line = serde_json::json!({
                "images_per_second": median, "slowest": slowest, "fastest": fastest, "peak_memory": peak_memory(),
            });
            say!("{line}");
            continue;
        }
        let plain = images_per_second(&config, 0.0, args.steps, &devices)?[1];
        say!(
            "{}: train {:.1} img/s with {:.0} % of rows r < t; Flow Matching alone {plain:.1} img/s; ratio {:.2}",
            config.name,
            speed[1],
            100.0 * share,
            speed[1] / plain,
        );
    }
    Ok(())
}

/// Of single steps: the slowest, the median and the fastest.
fn images_per_second(config: &TrainConfig, share: f64, steps: u64, devices: &[Device]) -> Result<[f64; 3]> {
    let (device, helpers) = devices.split_first().context("timing needs a device")?;
    let mut config = config.clone();
    config.train.flow_matching_steps = 0;
    config.train.ramp_steps = 0;
    config.times.interval_probability = share;
    let images = Images::random(&config.data, 64);
    let mut trainer = Trainer::new(&config, &config.net_config(0)?, device).with_helpers(helpers);
    let mut sampler = Sampler::new(&images, &config.train, false);
    let mut speeds = Vec::new();
    // The first steps warm caches, pools and autotune.
    for step in 0..steps + 2 {
        let began = Instant::now();
        let loss = trainer.step(sampler.batch(step, device)?).loss;
        loss.try_into_scalar::<f32>().map_err(|e| anyhow!("{e}"))?;
        device.sync().ok();
        if step >= 2 {
            speeds.push(config.train.batch_size as f64 / began.elapsed().as_secs_f64());
        }
    }
    speeds.sort_by(f64::total_cmp);
    let at = |i: usize| speeds.get(i).copied().context("--steps must be at least 1");
    Ok([at(0)?, at(speeds.len() / 2)?, at(speeds.len().saturating_sub(1))?])
}

/// The weights file of a network that has taken no step.
fn untrained(config: &TrainConfig, device: &Device) -> Result<Vec<u8>> {
    let net = config.net_config(0)?;
    let info = ModelInfo {
        format_version: FORMAT_VERSION,
        name: config.name.clone(),
        net: net.clone(),
        classes: Vec::new(),
        vocabulary: Vec::new(),
        latent: None,
        check: None,
        data: config.card.clone(),
        training: TrainingInfo::default(),
    };
    Ok(meanflow::net::encode(&net.init(config.train.seed, device), &info, Precision::F32)?)
}
