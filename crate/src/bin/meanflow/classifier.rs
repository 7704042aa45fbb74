//! `meanflow classifier`.

use std::path::PathBuf;

use anyhow::Result;
use meanflow::eval::{ClassColumn, train_classifier};
use meanflow::io;

use crate::images;
use crate::inputs::{ColumnArgs, DataArgs, DeviceArg};

/// Train a small classifier on images with classes: its features are what `meanflow eval` measures models of them by.
///
/// Given several layers or columns, it names them all: what `meanflow read-back` measures models with words by.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Images that it is not trained on, to count how many it names rightly
    #[arg(long, value_name = "PATH")]
    test: Option<PathBuf>,
    /// What the images are, for the file; the name of --data if not given
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Features file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Passes over the images
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    epochs: u64,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArg,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    io::check_extension(&args.out, "a safetensors file", &["safetensors"])?;
    io::check_not_input(&args.out, args.data.paths().chain(args.test.as_deref()))?;
    let device = args.device.open()?;
    let mut settings = args.columns.settings(&args.data.settings()?.data)?;
    let data = &args.data.data;
    let (images, labels) = images::load_columns(data, &settings)?;
    settings.iter_mut().for_each(|config| config.channels = images.channels);
    let held_out = args.test.as_ref().map(|path| images::load_columns(path, &settings)).transpose()?;
    let folder = || data.file_name().unwrap_or(data.as_os_str()).to_string_lossy().into_owned();
    let name = args.name.clone().unwrap_or_else(folder);
    let mut report = |step, steps, loss| say!("step {step} of {steps} · cross-entropy {loss:.3}");
    let mut classifier = train_classifier(&images, &labels, &name, args.epochs, args.seed, &device, &mut report)?;
    if let Some((images, labels)) = &held_out {
        classifier.validate(images, labels, &device)?;
        for ClassColumn { name, accuracy, .. } in &classifier.info().columns {
            let of = name.as_ref().filter(|_| labels.len() > 1).map(|name| format!("{name}: ")).unwrap_or_default();
            let percent = 100.0 * accuracy.unwrap_or_default();
            say!("{of}{percent:.1} % of {} held-out images are named rightly", images.len());
        }
    }
    let bytes = classifier.to_bytes()?;
    io::write_atomic(&args.out, bytes)?;
    say!("{}: {}", args.out.display(), classifier.info().describe());
    Ok(())
}
