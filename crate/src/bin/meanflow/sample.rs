//! `meanflow sample`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use meanflow::generator::{Generator, Request};
use meanflow::{device, train::grid};

/// Generate pictures from a weights file into one PNG.
#[derive(clap::Args)]
pub struct Args {
    /// Weights file
    #[arg(value_name = "WEIGHTS")]
    weights: PathBuf,
    /// PNG file to write: a grid, or the bare picture when --count is 1
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How many pictures
    #[arg(long, default_value_t = 64)]
    count: usize,
    /// Seed of the first picture; the next have the next seeds
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Class by name; without it each picture draws its own
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Network calls per picture
    #[arg(long, default_value_t = 1, value_name = "K")]
    nfe: usize,
    /// Enlarge each pixel this many times
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=32))]
    scale: u32,
    /// Device, such as cpu, vulkan, wgpu or cuda:1, as compiled in
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let device = device::open(args.device.as_deref())?;
    let bytes = std::fs::read(&args.weights).with_context(|| format!("cannot read {}", args.weights.display()))?;
    let generator = Generator::from_bytes(&bytes, &device).with_context(|| args.weights.display().to_string())?;
    let class = args.class.map(|name| generator.info().class_index(&name)).transpose()?;
    let request = Request { seed: args.seed, count: args.count, class, nfe: args.nfe };
    let rgba = pollster::block_on(generator.rgba(request))?;
    grid::write(&args.out, &rgba, generator.info().net.image_size, args.scale)
}
