//! `meanflow train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use meanflow::train::distributed::{self, ProcessGroup};
use meanflow::train::{Claim, Observer as _, OptimizerKind, Pretrained, RunFolder, TrainConfig, train};
use meanflow::{data, io};

use crate::dashboard::Dashboard;
use crate::dry_run;
use crate::inputs::DeviceArg;

/// Train a generator on a folder, archive or data set of images.
///
/// DATA may be a folder of images (sub-folders are classes), the same in .tar (also .gz, .zst, .xz or .bz2) or .zip,
/// WebDataset's shards as a folder or as train-{000000..000009}.tar, MNIST-style IDX files, CIFAR files, Parquet or
/// Arrow files as the Hugging Face hub ships them, or NumPy's .npz. Labels and captions may also lie beside the images:
/// dataset.json, metadata.csv or .jsonl, labels.csv, and .cls, .json and .txt files. Of splits the training one is
/// taken. OUT receives the settings, a log, sample grids and checkpoints. Ctrl-C stops cleanly with a checkpoint;
/// --resume goes on from it, and begins where there is none yet, so that the same command can be given again and again.
#[derive(clap::Args)]
pub struct Args {
    /// The training images
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Folder of the run: a new one, an empty one, or one that holds a run
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Settings, a TOML file; the complete settings of a run are in its config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    device: DeviceArg,
    /// Several devices of the kind that --device names, by their indices, such as 0,1: they share every batch. Without
    /// it the CPU shares it among up to 4 threads, which changes rounding alone; with 0 it does not
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    devices: Vec<usize>,
    /// Keep the images in a file in OUT instead of in memory: for sets that are larger than it
    #[arg(long)]
    stream: bool,
    /// Go on from the newest checkpoint in OUT; where there is none yet, begin. What was learnt stays bound to the
    /// seed, the data and the network that it began with
    #[arg(long)]
    resume: bool,
    /// With --resume: go on though the images are not those that the run was begun with
    #[arg(long, requires = "resume")]
    data_changed: bool,
    /// Move the run that is in OUT aside, to OUT.old-1 or the next number, and begin a new one
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Weights to begin with instead of random ones, of the same network: of an export, or of `meanflow import`.
    /// Classes and words are taken by their names, there may be others now; a network without a decoder becomes one
    /// with it where the settings have [net] decoder_depth
    #[arg(long, value_name = "FILE.safetensors")]
    init: Option<PathBuf>,
    /// Only check the data and the settings, take a few steps, and say how long the whole run would take
    #[arg(long, conflicts_with_all = ["resume", "overwrite"])]
    dry_run: bool,
}

/// Settings that go before those of the file.
#[derive(clap::Args)]
struct Settings {
    /// Optimizer steps in all; the phases of a new run are scaled with it
    #[arg(long)]
    steps: Option<u64>,
    /// What turns gradients into steps, adamw or muon
    #[arg(long, value_name = "NAME")]
    optimizer: Option<OptimizerKind>,
    /// Seed of everything random
    #[arg(long)]
    seed: Option<u64>,
    /// Edge of the square training images, in pixels
    #[arg(long, value_name = "PIXELS", aliases = ["image-size", "img-size", "resolution"])]
    size: Option<usize>,
    /// Channels: 4 = RGBA, 3 = RGB, 1 = grey
    #[arg(long, value_name = "N")]
    channels: Option<usize>,
    /// Images per step
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Peak learning rate
    #[arg(long, value_name = "RATE", alias = "learning-rate")]
    lr: Option<f64>,
}

impl Settings {
    /// The settings with these in their place. `phases` is whether they are scaled with the number of steps: a run that
    /// goes on keeps those that it has been through.
    fn apply(&self, config: &mut TrainConfig, phases: bool) -> Result<()> {
        match self.steps {
            Some(steps) if phases => config.scale_to(steps),
            Some(steps) => config.train.steps = steps,
            None => {}
        }
        fn replace<T: Copy>(setting: &mut T, flag: Option<T>) {
            *setting = flag.unwrap_or(*setting);
        }
        replace(&mut config.train.optimizer, self.optimizer);
        replace(&mut config.train.seed, self.seed);
        replace(&mut config.data.size, self.size);
        replace(&mut config.data.channels, self.channels);
        replace(&mut config.train.batch_size, self.batch_size);
        replace(&mut config.train.learning_rate, self.lr);
        Ok(config.validate()?)
    }
}

/// Runs the command, with so many threads where that is given.
pub fn run(args: Args, threads: Option<usize>) -> Result<()> {
    if args.dry_run {
        return dry_run(&args, threads);
    }
    let Some(processes) = distributed::join()? else { return run_in(args, threads, None) };
    let rank = processes.rank();
    run_in(args, threads, Some(processes.clone())).or_else(|error| {
        note!("error: rank {rank}: {error:#}");
        // The others wait for this process.
        processes.abort()
    })
}

/// Trains, as one of several processes where a launcher has started them.
fn run_in(args: Args, threads: Option<usize>, processes: Option<Arc<dyn ProcessGroup>>) -> Result<()> {
    if processes.is_some() && args.stream {
        bail!("--stream keeps the images in a file that one process writes; several processes load them into memory");
    }
    let count = processes.as_ref().map_or(1, |processes| processes.size());
    let mut claim = match processes {
        Some(processes) => Claim::shared(&args.out, processes)?,
        None => Claim::new(&args.out)?,
    };
    let writes = claim.writes();
    let goes_on = args.resume && claim.holds_run();
    let mut config = read_settings(&args, &claim)?;
    config.train.threads = threads.or(config.train.threads);
    let devices = open_devices(&args, &config, count)?;
    let begins = !(goes_on && claim.has_checkpoint()?);
    claim.wait_for_all();
    let aside = if writes && args.overwrite && claim.holds_run() { Some(claim.set_aside()?) } else { None };
    if writes && claim.holds_run() && !goes_on {
        // Before the data is read, which can take long.
        return claim.create(&config).map(drop);
    }
    let mut images = match args.stream {
        true => data::load_stored(&args.data, &config.data, &RunFolder::streamed(&args.out))?,
        false => data::load(&args.data, &config.data)?,
    };
    images = config.prepare(images);
    config.data.channels = images.channels;
    check(&args, &config, &images, begins && args.init.is_none())?;
    let start = match &args.init {
        Some(file) if begins => Some(Pretrained::read(file, &config, &images, &devices[0])?),
        _ => None,
    };
    let mut run = if goes_on { claim.resume()? } else { claim.create(&config)? };
    if let Some(start) = start {
        run = run.beginning_with(start);
    }
    let mut dashboard = if writes { Dashboard::new(config.train.steps) } else { Dashboard::silent() };
    if let Some(aside) = aside {
        dashboard.notice(&format!("the run that was there lies in {}", aside.display()));
    }
    if args.resume && begins {
        dashboard.notice(&format!("{} has no checkpoint yet: beginning", args.out.display()));
    }
    for [old, new] in run.keep_classes(&mut images, args.data_changed)? {
        dashboard.notice(&format!("the class `{new}` takes the place of `{old}`"));
    }
    if args.data_changed {
        run = run.with_changed_data();
    }
    dashboard.notice(&summary(&images, &config, &args.out)?);
    if count > 1 {
        dashboard.notice(&format!("{count} processes share every batch of {} images", config.train.batch_size));
    }

    let stop = stop_on_ctrl_c()?;
    let outcome = train(&config, &images, &run, &devices, &stop, &mut dashboard);
    dashboard.finish(outcome.as_ref().is_ok_and(|outcome| outcome.finished));
    let (outcome, out) = (outcome?, args.out.display());
    if !writes {
        return Ok(());
    }
    match outcome.finished {
        true => say!("done: {} steps; next: meanflow export {out} --out model.safetensors", outcome.steps),
        false => say!("stopped after {} steps with a checkpoint; go on with --resume", outcome.steps),
    }
    Ok(())
}

/// Refuses settings that do not suit the images, or with which a run from scratch could not learn, and names their
/// file.
fn check(args: &Args, config: &TrainConfig, images: &data::Images, scratch: bool) -> Result<()> {
    let checked = config.check_compatible(images).and_then(|()| if scratch { config.check_scratch() } else { Ok(()) });
    let file = args.config.clone().or_else(|| args.resume.then(|| args.out.join("config.toml")));
    match file {
        Some(file) => checked.with_context(|| format!("in {}", file.display())),
        None => Ok(checked?),
    }
}

/// Whether a run would work, and how long it would take; nothing is written.
fn dry_run(args: &Args, threads: Option<usize>) -> Result<()> {
    let mut config = read_config(args.config.as_deref())?;
    args.settings.apply(&mut config, true)?;
    config.train.threads = threads.or(config.train.threads);
    let devices = open_devices(args, &config, 1)?;
    let most = dry_run::images(&config);
    let mut images = match args.stream {
        // As many as the rehearsal draws: a set that is streamed is larger than memory.
        true => data::load_sample(&args.data, &config.data, most)?,
        false => data::load(&args.data, &config.data)?,
    };
    images = config.prepare(images);
    config.data.channels = images.channels;
    check(args, &config, &images, args.init.is_none())?;
    if let Some(file) = &args.init {
        let start = Pretrained::read(file, &config, &images, &devices[0])?;
        start.notices().iter().for_each(|text| note!("{text}"));
    }
    say!("{}", summary(&images, &config, &args.out)?);
    if args.stream {
        images.truncate(most);
    }
    dry_run::rehearse(&config, &images, &devices)
}

/// The settings of a run: of the file and the flags, and where it goes on, of its folder and the flags.
fn read_settings(args: &Args, claim: &Claim) -> Result<TrainConfig> {
    let given = |phases: bool| -> Result<TrainConfig> {
        let mut config = read_config(args.config.as_deref())?;
        args.settings.apply(&mut config, phases)?;
        config.check_objective()?;
        Ok(config)
    };
    if !(args.resume && claim.holds_run()) {
        return given(true);
    }
    let mut run = claim.read_config()?;
    if args.config.is_none() {
        args.settings.apply(&mut run, false)?;
        return Ok(run);
    }
    if !claim.has_checkpoint()? {
        return given(true);
    }
    let mut config = given(args.settings.steps.is_none())?;
    if args.settings.steps.is_some() {
        let (phases, of_run) = (&mut config.train, &run.train);
        phases.warmup_steps = of_run.warmup_steps;
        phases.cooldown_steps = of_run.cooldown_steps;
        phases.flow_matching_steps = of_run.flow_matching_steps;
        phases.ramp_steps = of_run.ramp_steps;
        if std::mem::discriminant(&config.objective) == std::mem::discriminant(&run.objective) {
            config.objective = run.objective;
        }
    }
    Ok(config)
}

/// The devices that a run computes on, once it is settled with how many threads; one of so many processes that share
/// every batch.
fn open_devices(args: &Args, config: &TrainConfig, processes: usize) -> Result<Vec<Device>> {
    if let Some(threads) = config.train.threads {
        meanflow::train::set_threads(threads)?;
    }
    let rows = config.train.batch_size / config.train.accumulate / processes;
    Ok(meanflow::train::open_all(args.device.name(), &args.devices, rows)?)
}

/// The settings in a file, or the defaults.
pub(crate) fn read_config(path: Option<&Path>) -> Result<TrainConfig> {
    let Some(path) = path else { return Ok(TrainConfig::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    TrainConfig::from_toml(&text).with_context(|| format!("in {}", path.display()))
}

/// What is trained on what.
fn summary(images: &data::Images, config: &TrainConfig, out: &Path) -> Result<String> {
    let net = config.net_for(images)?;
    let parameters = net.parameters() as f64 / 1e6;
    let space = images.latents.as_ref().map(|latents| format!("\n{}", latents.info().space)).unwrap_or_default();
    Ok(format!("{}{space}\na network of {parameters:.2} M parameters; writing to {}", images.summary(), out.display()))
}

/// The first Ctrl-C asks the loop to stop after its step; the second ends the program.
fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    io::system::on_end(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        note!("stopping after this step; once more to quit at once");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
