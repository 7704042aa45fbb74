//! `meanflow bench-sample`: pictures per second of one network call each.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use meanflow::Condition;
use meanflow::model::Request;

use crate::inputs::DeviceArg;
use crate::model::read_generator;

/// Time the generation of pictures in one network call each.
#[derive(clap::Args)]
pub struct Args {
    /// Weights file
    #[arg(value_name = "WEIGHTS")]
    weights: PathBuf,
    /// Pictures of a network call
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Timed calls
    #[arg(long, default_value_t = 9)]
    calls: usize,
    #[command(flatten)]
    device: DeviceArg,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let device = args.device.open()?;
    let generator = read_generator(&args.weights, &device)?;
    let mut speeds = Vec::new();
    // The first calls warm caches and autotune.
    for call in 0..args.calls + 3 {
        let began = Instant::now();
        let request = Request { seed: call as u64, count: args.batch, class: Condition::Any, nfe: 1 };
        generator.images(request)?.try_into_vec_as::<f32>().map_err(|e| anyhow!("{e}"))?;
        if call >= 3 {
            speeds.push(args.batch as f64 / began.elapsed().as_secs_f64());
        }
    }
    speeds.sort_by(f64::total_cmp);
    let median = speeds.get(speeds.len() / 2).context("--calls must be at least 1")?;
    say!("{}", serde_json::json!({ "images_per_second": median }));
    Ok(())
}
