//! Draws pictures with a weights file, each in one network call, and writes them as a grid.
//!
//! ```sh
//! cargo run --release --example sample -- model.safetensors grid.png
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use meanflow::generator::Generator;
use meanflow::generator::to_rgba;
use meanflow::io::grid;
use meanflow::model::Request;
use meanflow::{Condition, device, io};

/// Writes the pictures of the seeds 0 to `count − 1`, of any classes.
pub fn sample(weights: &Path, out: &Path, count: usize) -> Result<()> {
    let generator = Generator::from_bytes(&io::read_whole(weights)?, &device::open(None)?)?;
    let images = generator.images(Request { seed: 0, count, class: Condition::Any, nfe: 1 })?;
    let rgba = pollster::block_on(to_rgba(images))?;
    // Every pixel four times as wide, in a grid that is near-square.
    grid::write(out, &rgba, generator.info().net.image_size, 4, None)
}

#[allow(dead_code, reason = "the tests have this file as a module")]
fn main() -> Result<()> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let (weights, out) = paths.next().zip(paths.next()).context("sample MODEL.safetensors GRID.png")?;
    sample(&weights, &out, 64)
}
