//! `meanflow sample`.

mod single;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use meanflow::data::normalize_text;
use meanflow::generator::SampleOptions;
use meanflow::generator::to_rgba;
use meanflow::io::grid;
use meanflow::model::text::words;
use meanflow::model::weights::ModelInfo;
use meanflow::model::{Condition, Request, Solver};
use meanflow::{device, io};

use crate::model::{Decoder, pictures, read_generator, solvers};

/// Generate pictures from a weights file: a grid in one PNG, or single pictures for other programs.
#[derive(clap::Args)]
pub struct Args {
    /// Weights file
    #[arg(value_name = "WEIGHTS")]
    weights: PathBuf,
    /// PNG file to write: a grid, or the bare picture when --count is 1. With --format, a folder
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Any number of single pictures in the folder --out, which must be new or empty, instead of a grid
    #[arg(long, value_enum, conflicts_with = "columns")]
    format: Option<Format>,
    /// How many pictures
    #[arg(long, default_value_t = 64)]
    count: usize,
    /// Seed of the first picture; the next have the next seeds
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Class by name, or a place between classes such as cat:0.6,dog:0.4; without it each picture draws its own
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// What the pictures show, in words; given several times, or as @FILE with one a line, the prompts take turns
    #[arg(long, value_name = "TEXT", conflicts_with = "class")]
    prompt: Vec<String>,
    /// How noise becomes a picture: by average velocity (mean-flow, restart) or by instantaneous velocity
    #[arg(long, default_value_t = Solver::MeanFlow, value_name = "NAME", value_parser = solvers())]
    solver: Solver,
    /// Network calls per picture, 1 if not given: 1 a step, 2 for midpoint and heun, and twice as many with --guidance
    #[arg(long, value_name = "K")]
    nfe: Option<usize>,
    /// Error that dormand-prince may make in a step, 1e-4 if not given: it decides the calls, and has no --nfe
    #[arg(long)]
    tolerance: Option<f64>,
    /// Guidance towards the class; 1 is none. For models that are told guidance, and else, classifier-free, for the
    /// solvers of the instantaneous velocity
    #[arg(long, default_value_t = 1.0, value_name = "W")]
    guidance: f64,
    /// First and last guided time, for models that are told them, such as 0.4,0.65
    #[arg(long, value_name = "START,END", value_parser = interval)]
    guidance_interval: Option<[f64; 2]>,
    #[command(flatten)]
    decoder: Decoder,
    /// Pictures in a row of the grid; near-square if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    columns: Option<u32>,
    /// Enlarge each pixel this many times
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=32))]
    scale: u32,
    /// Device, such as cpu, vulkan, wgpu or cuda:1, as compiled in; webgpu is the page's own engine on this machine's
    /// GPU
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

/// Single pictures.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A PNG file each, named by its seed
    Png,
    /// One array of bytes, arr_0 of [pictures, size, size, channels] in samples.npz, as the evaluators of ADM take it
    Npz,
}

/// Pictures of a network call, at most: any number of them takes the memory of so many.
const BATCH: usize = 256;

/// Pictures of one command, at most: a mistyped number must not run until the disk is full.
const MAX_PICTURES: usize = 100_000_000;

/// What is drawn from: RGBA bytes of `count` pictures from a seed on, and the network calls that each took.
type Draw<'a> = dyn FnMut(u64, usize) -> Result<(Vec<u8>, usize)> + 'a;

impl Args {
    /// Refuses a place that does not fit, and an interval of nothing, before anything is opened.
    fn check(&self) -> Result<()> {
        if self.guidance_interval.is_some() && self.guidance == 1.0 {
            bail!("--guidance-interval says when guidance holds, and --guidance 1 is none: give --guidance too");
        }
        match self.format {
            None if self.out.is_dir()
                || self.out.extension().is_none() && (!self.out.exists() || self.out.is_file()) =>
            {
                bail!(
                    "{}: a grid is a PNG file, whose name ends in .png; --format png writes single pictures into a folder",
                    self.out.display()
                )
            }
            None => io::check_extension(&self.out, "PNG", &["png"])?,
            Some(_) if self.out.is_file() => bail!("{} is a file; --format writes into a folder", self.out.display()),
            Some(_) => {}
        }
        let inputs = [Some(self.weights.as_path()), self.decoder.path()];
        Ok(io::check_not_input(&self.out, inputs.into_iter().flatten())?)
    }

    /// Draws the pictures, of so many pixels along an edge and so many channels, and writes them; returns the network
    /// calls of each.
    fn write(&self, size: usize, channels: usize, draw: &mut Draw) -> Result<usize> {
        if self.count == 0 {
            bail!("0 pictures were asked for");
        }
        if self.format.is_some() && self.count > MAX_PICTURES {
            bail!("{} pictures were asked for; more than {MAX_PICTURES} would fill any disk", self.count);
        }
        let starts = (0..self.count).step_by(BATCH);
        let mut calls = 0;
        let mut parts = starts.map(|start| {
            let (rgba, nfe) = draw(self.seed.wrapping_add(start as u64), BATCH.min(self.count - start))?;
            calls = nfe;
            Ok(rgba)
        });
        let single = single::Pictures { size, channels, scale: self.scale, seed: self.seed, count: self.count };
        match self.format {
            None => {
                grid::check(self.count, size, self.scale, self.columns)?;
                let rgba = parts.collect::<Result<Vec<_>>>()?.concat();
                grid::write(&self.out, &rgba, size, self.scale, self.columns)?;
            }
            Some(Format::Png) => single.write_png(&self.out, &mut parts)?,
            Some(Format::Npz) => single.write_npz(&self.out, &mut parts)?,
        }
        Ok(calls)
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    args.check()?;
    if args.device.as_deref() == Some("webgpu") {
        return webgpu::run(&args);
    }
    let device = device::open(args.device.as_deref())?;
    let generator = read_generator(&args.weights, &device)?;
    let vae = args.decoder.open(generator.info(), &device)?;
    let classes = classes(&args, generator.info())?;
    match (args.solver, args.nfe, args.tolerance) {
        (Solver::DormandPrince, Some(_), _) => {
            bail!("dormand-prince decides its calls by --tolerance; it has no --nfe")
        }
        (solver, _, Some(_)) if solver != Solver::DormandPrince => {
            bail!("{solver} has no --tolerance; its error is decided by --nfe")
        }
        _ => {}
    }
    let tolerance = args.tolerance.unwrap_or(SampleOptions::default().tolerance);
    let interval = args.guidance_interval.unwrap_or(SampleOptions::default().interval);
    let options = SampleOptions { solver: args.solver, guidance: args.guidance, interval, tolerance };
    let info = generator.info();
    let (size, channels) = match &info.latent {
        Some(latent) => (info.net.image_size * latent.factor, 3),
        None => (info.net.image_size, info.net.channels),
    };
    let nfe = args.nfe.unwrap_or(1);
    let calls = args.write(size, channels, &mut |seed, count| {
        let sampled = match &classes[..] {
            [class] => generator.sample(Request { seed, count, class: class.clone(), nfe }, options)?,
            classes => {
                let first = seed.wrapping_sub(args.seed) as usize;
                let each: Vec<Condition> =
                    classes.iter().cycle().skip(first % classes.len()).take(count).cloned().collect();
                generator.sample_each(seed, &each, nfe, options)?
            }
        };
        Ok((pollster::block_on(to_rgba(pictures(sampled.images, vae.as_ref(), info)))?, sampled.nfe))
    })?;
    say!("{}: {} pictures, {calls} network calls each", args.out.display(), args.count);
    Ok(())
}

/// What is asked for: a class, no named one, or prompts.
fn classes(args: &Args, info: &ModelInfo) -> Result<Vec<Condition>> {
    if args.prompt.is_empty() {
        return Ok(vec![args.class.as_deref().map(|name| info.class_of(name)).transpose()?.unwrap_or_default()]);
    }
    let mut prompts = Vec::new();
    for given in &args.prompt {
        match given.strip_prefix('@') {
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
                prompts.extend(text.lines().filter(|line| !line.trim().is_empty()).map(normalize_text));
            }
            None => prompts.push(normalize_text(given)),
        }
    }
    if prompts.is_empty() {
        bail!("--prompt names files without a line");
    }
    if let Some(tokenizer) = info.tokenizer()? {
        let unknown: BTreeSet<&str> = prompts.iter().flat_map(|prompt| tokenizer.unknown(prompt)).collect();
        if !unknown.is_empty() {
            let words: Vec<&str> = unknown.into_iter().collect();
            note!("words that the model does not know, taken by their letters: {}", io::name(&words.join(", ")));
        }
        let most = tokenizer.config().tokens;
        if prompts.iter().any(|prompt| words(prompt).count() > most) {
            note!("the model reads the first {most} words of a prompt");
        }
    }
    Ok(prompts.iter().map(|prompt| info.prompt(prompt)).collect::<Result<_, _>>()?)
}

/// Two times, such as `0.4,0.65`.
fn interval(text: &str) -> Result<[f64; 2], String> {
    let times: Vec<f64> = text.split(',').map_while(|time| time.trim().parse().ok()).collect();
    match (times.as_slice(), text.split(',').count()) {
        (&[start, end], 2) => Ok([start, end]),
        _ => Err("it takes two times with a comma between them, such as 0.4,0.65".into()),
    }
}

/// The page's own engine.
mod webgpu {
    use anyhow::{Context, Result, bail};
    use meanflow::infer::webgpu::{Gpu, GpuGenerator};
    use meanflow::model::Request;

    use crate::model::read_weights;

    pub fn run(args: &super::Args) -> Result<()> {
        if args.guidance != 1.0 || args.guidance_interval.is_some() || args.tolerance.is_some() {
            bail!("on webgpu there is no guidance and no dormand-prince");
        }
        let bytes = read_weights(&args.weights)?;
        let gpu = pollster::block_on(Gpu::open())?;
        let generator = pollster::block_on(GpuGenerator::from_bytes(&bytes, &gpu))
            .with_context(|| args.weights.display().to_string())?;
        let info = generator.info();
        if info.latent.is_some() {
            bail!("the model `{}` makes latents; webgpu has no autoencoder", info.name);
        }
        let classes = super::classes(args, info)?;
        let [class] = &classes[..] else { bail!("on webgpu all pictures have one prompt") };
        let (net, nfe) = (&info.net, args.nfe.unwrap_or(1));
        let calls = args.write(net.image_size, net.channels, &mut |seed, count| {
            let request = Request { seed, count, class: class.clone(), nfe };
            Ok((pollster::block_on(generator.rgba(request, args.solver, meanflow::model::NO_PAUSE))?, nfe))
        })?;
        let (name, arithmetic) = (gpu.name(), generator.arithmetic());
        say!("{}: {} pictures, {calls} network calls each, on {name} in {arithmetic}", args.out.display(), args.count);
        Ok(())
    }
}
