//! Trains on a folder of pictures, whose folders are the classes, and writes a weights file that the page, the program
//! and [`sample.rs`](sample.rs) read.
//!
//! ```sh
//! cargo run --release --example train_folder -- my-images model.safetensors
//! ```

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use meanflow::data::{self, DataConfig};
use meanflow::generator::Generator;
use meanflow::model::weights::Precision;
use meanflow::train::{CheckpointSelector, Observer, PRIMARY_EMA, Record, RunFolder, TrainConfig, train};
use meanflow::{device, io};

/// Prints what a run says.
struct Printer;

impl Observer for Printer {
    fn record(&mut self, record: &Record) {
        self.notice(&format!("step {}: residual {:.3}", record.step, record.residual));
    }

    fn notice(&mut self, text: &str) {
        let _ = writeln!(stderr(), "{text}");
    }
}

/// Trains on the pictures in `folder`, in a run folder beside `out`, and writes the averaged weights.
pub fn train_folder(folder: &Path, out: &Path, mut config: TrainConfig) -> Result<()> {
    let device = device::open(None)?;
    let images = data::load(folder, &config.data)?;
    config.data.channels = images.channels;
    let run = RunFolder::create(&out.with_extension("run"), &config)?;
    // Set, the flag ends the run after its step, with a checkpoint.
    train(&config, &images, &run, std::slice::from_ref(&device), &AtomicBool::new(false), &mut Printer)?;

    let (net, info) = run.averaged(CheckpointSelector::Newest, PRIMARY_EMA, &device, |text| Printer.notice(&text))?;
    let bytes = Generator::new(net, info, &device).to_bytes(Precision::F16)?;
    Ok(io::write_atomic(out, &bytes)?)
}

#[allow(dead_code, reason = "the tests have this file as a module")]
fn main() -> Result<()> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let (folder, out) = paths.next().zip(paths.next()).context("train_folder FOLDER OUT.safetensors")?;
    let mut config = TrainConfig { data: DataConfig { size: 32, ..DataConfig::default() }, ..TrainConfig::default() };
    config.scale_to(2_000);
    train_folder(&folder, &out, config)
}
