//! `meanflow train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use meanflow::device;
use meanflow::train::{Observer as _, OptimizerKind, RunFolder, Start, TrainConfig, data, train};

use crate::dashboard::Dashboard;
use crate::rehearse::rehearse;

/// Train a generator on a folder, archive or data set of images.
///
/// DATA may be a folder of images (sub-folders are classes), the same in .tar (also .gz, .zst, .xz or .bz2) or .zip,
/// WebDataset's shards as a folder or as train-{000000..000009}.tar, MNIST-style IDX files, CIFAR files, Parquet or
/// Arrow files as the Hugging Face hub ships them, or NumPy's .npz. Labels and captions may also lie beside the images:
/// dataset.json, metadata.csv or .jsonl, labels.csv, and .cls, .json and .txt files. Of splits the training one is
/// taken. OUT receives the settings, a log, sample grids and checkpoints. Ctrl-C stops cleanly with a checkpoint;
/// --resume goes on from it.
#[derive(clap::Args)]
pub struct Args {
    /// The training images
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Folder of the run
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Settings, a TOML file; the complete settings of a run are in its config.toml
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Optimizer steps in all, instead of the configured number; the phases of a new run are scaled with it
    #[arg(long)]
    steps: Option<u64>,
    /// What turns gradients into steps, adamw or muon, instead of the configured one
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    optimizer: Option<OptimizerKind>,
    /// Seed of everything random, instead of the configured one
    #[arg(long, conflicts_with = "resume")]
    seed: Option<u64>,
    /// Device, such as cpu, vulkan, wgpu or cuda:1, as compiled in
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Several devices of the kind that --device names, by their indices, such as 0,1: they share every batch. Without it
    /// the CPU shares it among up to 4 cores, which changes rounding alone; with 0 it does not
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    devices: Vec<usize>,
    /// Keep the images in a file in OUT instead of in memory: for sets that are larger than it
    #[arg(long)]
    stream: bool,
    /// Go on from the newest checkpoint in OUT
    #[arg(long)]
    resume: bool,
    /// Weights to begin with instead of random ones, of the same network: of an export, or of `meanflow import`. A
    /// network without a decoder becomes one with it where the settings have [net] decoder_depth
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "resume")]
    init: Option<PathBuf>,
    /// Only check the data and the settings, take a few steps, and say how long the whole run would take
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let (resumed, mut config) = match args.resume {
        true => {
            let (run, config) = RunFolder::open(&args.out)?;
            (Some(run), config)
        }
        false => (None, read_config(args.config.as_deref())?),
    };
    match args.steps {
        // A run that goes on keeps the phases it has been through.
        Some(steps) if args.resume => config.train.steps = steps,
        Some(steps) => config.scale_to(steps),
        None => {}
    }
    config.validate()?;
    let rows = config.train.batch_size / config.train.accumulate;
    let devices = device::open_all(args.device.as_deref(), &args.devices, rows)?;
    config.train.seed = args.seed.unwrap_or(config.train.seed);
    config.train.optimizer = args.optimizer.unwrap_or(config.train.optimizer);

    let images = match args.stream {
        true => data::load_stored(&args.data, &config.data, &args.out.join("data"))?,
        false => data::load(&args.data, &config.data)?,
    };
    config.data.channels = images.channels;
    check(&args, &config, &images)?;
    let start = args.init.as_deref().map(|file| Start::read(file, &config, &images, &devices[0])).transpose()?;
    if args.dry_run {
        say!("{}", summary(&images, &config, &args.out)?);
        return rehearse(&config, &images, &devices);
    }
    let run = match (resumed, start) {
        (Some(run), _) => run,
        (None, Some(start)) => RunFolder::create(&args.out, &config)?.beginning_with(start),
        (None, None) => RunFolder::create(&args.out, &config)?,
    };
    let mut dashboard = Dashboard::new(config.train.steps);
    dashboard.notice(&summary(&images, &config, &args.out)?);

    let stop = stop_on_ctrl_c()?;
    let outcome = train(&config, &images, &run, &devices, &stop, &mut dashboard)?;
    dashboard.finish();
    let out = args.out.display();
    match outcome.finished {
        true => say!("done: {} steps; next: meanflow export {out} --out model.safetensors", outcome.steps),
        false => say!("stopped after {} steps with a checkpoint; go on with --resume", outcome.steps),
    }
    Ok(())
}

/// Refuses settings that do not suit the images, or with which the run could not learn, and names their file.
fn check(args: &Args, config: &TrainConfig, images: &data::Images) -> Result<()> {
    let scratch = !args.resume && args.init.is_none();
    let checked = config.suits(images).and_then(|()| if scratch { config.check_scratch() } else { Ok(()) });
    let file = if args.resume { Some(args.out.join("config.toml")) } else { args.config.clone() };
    match file {
        Some(file) => checked.with_context(|| format!("in {}", file.display())),
        None => Ok(checked?),
    }
}

/// The settings in a file, or the defaults.
pub(crate) fn read_config(path: Option<&Path>) -> Result<TrainConfig> {
    let Some(path) = path else { return Ok(TrainConfig::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    TrainConfig::from_toml(&text).with_context(|| format!("in {}", path.display()))
}

fn summary(images: &data::Images, config: &TrainConfig, out: &Path) -> Result<String> {
    let net = config.net_config(images.classes.len())?;
    let parameters = net.parameters() as f64 / 1e6;
    let space = images.latents.as_ref().map(|latents| format!("\n{}", latents.info().space)).unwrap_or_default();
    Ok(format!("{}{space}\na network of {parameters:.2} M parameters; writing to {}", images.summary(), out.display()))
}

/// The first Ctrl-C asks the loop to stop after its step; the second ends the program.
fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        note!("stopping after this step; once more to quit at once");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
