//! `meanflow sample`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use meanflow::flow::Solver;
use meanflow::generator::{Request, SampleOptions};
use meanflow::image::to_rgba;
use meanflow::{device, train::grid};

use crate::model::{Decoder, pictures, read_generator, solvers};

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
    /// Class by name, or a place between classes such as cat:0.6,dog:0.4; without it each picture draws its own
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// How noise becomes a picture: by average velocity (mean-flow, restart) or by instantaneous velocity
    #[arg(long, default_value_t = Solver::MeanFlow, value_name = "NAME", value_parser = solvers())]
    solver: Solver,
    /// Network calls per picture, 1 if not given: 1 a step, 2 for midpoint and heun, and twice as many with --guidance
    #[arg(long, value_name = "K")]
    nfe: Option<usize>,
    /// Error that dormand-prince may make in a step, 1e-4 if not given: it decides the calls, and has no --nfe
    #[arg(long)]
    tolerance: Option<f64>,
    /// Guidance towards the class; 1 is none. For models that are told guidance, and else, classifier-free, for the solvers
    /// of the instantaneous velocity
    #[arg(long, default_value_t = 1.0, value_name = "W")]
    guidance: f64,
    /// First and last guided time, for models that are told them, such as 0.4,0.65
    #[arg(long, value_name = "START,END", value_delimiter = ',', num_args = 2)]
    guidance_interval: Option<Vec<f64>>,
    #[command(flatten)]
    decoder: Decoder,
    /// Pictures in a row of the grid; near-square if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    columns: Option<u32>,
    /// Enlarge each pixel this many times
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=32))]
    scale: u32,
    /// Device, such as cpu, vulkan, wgpu or cuda:1, as compiled in; webgpu is the page's own engine on this machine's GPU
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    #[cfg(feature = "kernels")]
    if args.device.as_deref() == Some("webgpu") {
        return kernels::run(&args);
    }
    let device = device::open(args.device.as_deref())?;
    let generator = read_generator(&args.weights, &device)?;
    let vae = args.decoder.open(generator.info(), &device)?;
    let class = args.class.as_deref().map(|name| generator.info().class_of(name)).transpose()?.unwrap_or_default();
    match (args.solver, args.nfe, args.tolerance) {
        (Solver::DormandPrince, Some(_), _) => {
            bail!("dormand-prince decides its calls by --tolerance; it has no --nfe")
        }
        (solver, _, Some(_)) if solver != Solver::DormandPrince => {
            bail!("{solver} has no --tolerance; its error is decided by --nfe")
        }
        _ => {}
    }
    let request = Request { seed: args.seed, count: args.count, class, nfe: args.nfe.unwrap_or(1) };
    let tolerance = args.tolerance.unwrap_or(SampleOptions::default().tolerance);
    let interval = match args.guidance_interval.as_deref() {
        None => SampleOptions::default().interval,
        Some(&[start, end]) => [start, end],
        Some(_) => bail!("--guidance-interval takes two times"),
    };
    let options = SampleOptions { solver: args.solver, guidance: args.guidance, interval, tolerance };
    let sampled = generator.sample(request, options)?;
    let images = pictures(sampled.images, vae.as_ref());
    let [.., size] = images.dims();
    let rgba = pollster::block_on(to_rgba(images))?;
    grid::write(&args.out, &rgba, size, args.scale, args.columns)?;
    println!("{}: {} pictures, {} network calls each", args.out.display(), args.count, sampled.nfe);
    Ok(())
}

/// The page's own engine.
#[cfg(feature = "kernels")]
mod kernels {
    use anyhow::{Context, Result, bail};
    use meanflow::generator::Request;
    use meanflow::gpu::{Generator, Gpu};
    use meanflow::train::grid;

    use crate::model::read_weights;

    pub fn run(args: &super::Args) -> Result<()> {
        if args.guidance != 1.0 || args.guidance_interval.is_some() || args.tolerance.is_some() {
            bail!("on webgpu there is no guidance and no dormand-prince");
        }
        let bytes = read_weights(&args.weights)?;
        let gpu = pollster::block_on(Gpu::open())?;
        let generator = pollster::block_on(Generator::from_bytes(&bytes, &gpu))
            .with_context(|| args.weights.display().to_string())?;
        let info = generator.info();
        if info.latent.is_some() {
            bail!("the model `{}` makes latents; webgpu has no autoencoder", info.name);
        }
        let class = args.class.as_deref().map(|name| info.class_of(name)).transpose()?.unwrap_or_default();
        let request = Request { seed: args.seed, count: args.count, class, nfe: args.nfe.unwrap_or(1) };
        let rgba = pollster::block_on(generator.rgba(request, args.solver))?;
        grid::write(&args.out, &rgba, info.net.image_size, args.scale, args.columns)?;
        let (calls, name, arithmetic) = (request.nfe, gpu.name(), generator.arithmetic());
        println!(
            "{}: {} pictures, {calls} network calls each, on {name} in {arithmetic}",
            args.out.display(),
            args.count
        );
        Ok(())
    }
}
