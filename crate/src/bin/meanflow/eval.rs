//! `meanflow eval`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use meanflow::Class;
use meanflow::eval::{
    Evaluation, Extractor, Features, Moments, frechet_distance, kernel_distance, precision_recall, tables,
};
use meanflow::flow::Solver;
use meanflow::generator::{Generator, MAX_NFE, Request, SampleOptions};
use meanflow::latent::Vae;
use meanflow::{device, io};

use crate::images;
use crate::model::{Decoder, pictures, read_generator, solvers};
use crate::train::read_config;

/// Measure models: distance to real images, precision and recall, at several numbers of network calls.
///
/// What is measured are features of the images: those of Inception-v3 (the weights of pytorch-fid as safetensors; then
/// the distance is the FID), or of a classifier of the data set (`meanflow classifier`; then it is called FD, and
/// compares only with itself). Image i has the seed SEED + i and draws its class from it, uniformly.
#[derive(clap::Args)]
pub struct Args {
    /// Weights files
    #[arg(value_name = "WEIGHTS", required = true)]
    weights: Vec<PathBuf>,
    /// The real images, as for training
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Settings, a TOML file, of which [data] says how files become images; their size is the models'
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Features file
    #[arg(long, value_name = "FILE")]
    features: PathBuf,
    /// Images to generate; precision and recall look at the first 5000 of either kind
    #[arg(long, default_value_t = 5000)]
    count: usize,
    /// Numbers of network calls per image; those that are no whole number of a solver's steps are left out
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32, 64], value_name = "K")]
    nfe: Vec<usize>,
    /// Solvers
    #[arg(long, value_delimiter = ',', default_values_t = [Solver::MeanFlow, Solver::Euler], value_name = "NAME", value_parser = solvers())]
    solver: Vec<Solver>,
    /// Seed of the first image
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    decoder: Decoder,
    /// File to which each result is appended as a line of JSON, for `meanflow compare`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Device, such as cpu, vulkan, wgpu or cuda:1, as compiled in
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

/// Images at a time: a bound on memory that keeps a device busy.
const BATCH: usize = 250;
/// Images of either kind that precision and recall look at: all pairs are compared.
const MANIFOLD: usize = 5000;

/// The real images, as far as models are compared with them.
struct Reference {
    extractor: Extractor,
    features: Features,
    moments: Moments,
    /// What the models' latents are decoded with, if they make latents.
    vae: Option<Vae>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    if let Some(path) = &args.out {
        io::check_extension(path, "lines of JSON", &["jsonl", "ndjson", "json"])?;
        let inputs = [Some(&args.data), Some(&args.features), args.config.as_ref()].into_iter().flatten();
        io::check_not_input(path, inputs.chain(&args.weights).map(PathBuf::as_path))?;
    }
    let device = device::open(args.device.as_deref())?;
    if args.nfe.iter().any(|nfe| !(1..=MAX_NFE).contains(nfe)) {
        bail!("--nfe takes 1 to {MAX_NFE} network calls");
    }
    let models = args.weights.iter().map(|path| read_generator(path, &device)).collect::<Result<Vec<_>>>()?;
    let reference = measure_real(args, &models, &device)?;
    if let Some(path) = &args.out {
        // Whether it can be written shows before hours of measuring.
        io::append(path, b"")?;
    }
    let mut records = Vec::new();
    for model in &models {
        for &solver in &args.solver {
            for &nfe in &args.nfe {
                if solver.calls_per_step().is_none_or(|calls| !nfe.is_multiple_of(calls)) {
                    continue;
                }
                let record = measure(args, model, &reference, solver, nfe, &device)?;
                say!("{}, {solver}, {nfe} calls: {} {:.2}", record.model, record.metric, record.distance);
                if let Some(path) = &args.out {
                    io::append(path, format!("{}\n", serde_json::to_string(&record)?).as_bytes())?;
                }
                records.push(record);
            }
        }
    }
    say!("\n{}", tables(&records));
    Ok(())
}

/// The features of the real images, which all models share.
fn measure_real(args: &Args, models: &[Generator], device: &Device) -> Result<Reference> {
    let extractor = Extractor::open(&args.features, device)?;
    let shape_of = |model: &Generator| match &model.info().latent {
        Some(latent) => (model.info().net.image_size * latent.factor, 3),
        None => (model.info().net.image_size, model.info().net.channels),
    };
    let shapes: Vec<_> = models.iter().map(shape_of).collect();
    let Some(&(size, channels)) = shapes.first() else { bail!("no models were given") };
    if let Some(other) = shapes.iter().position(|shape| *shape != (size, channels)) {
        let (first, other) = (args.weights[0].display(), args.weights[other].display());
        bail!("{first} makes images of another size or number of channels than {other}; evaluate them apart");
    }
    extractor.suits(size, channels).with_context(|| args.features.display().to_string())?;
    let mut config = read_config(args.config.as_deref())?.data;
    (config.size, config.channels) = (size, channels);
    let images = images::load(&args.data, &config)?;
    say!("comparing with {} real images by {}", images.len(), extractor.describe());
    let features = extractor.of_images(&images, device)?;
    for (count, what) in [(features.rows(), "real"), (args.count, "generated")] {
        if count <= features.dims {
            bail!(
                "{count} {what} images are too few for {} in {} dimensions: their covariance would be singular; it takes \
                 more than {1}",
                extractor.metric(),
                features.dims
            );
        }
    }
    let vaes = models.iter().map(|model| args.decoder.open(model.info(), device)).collect::<Result<Vec<_>>>()?;
    let moments = Moments::of(&features);
    Ok(Reference { extractor, features, moments, vae: vaes.into_iter().next().flatten() })
}

fn measure(
    args: &Args,
    model: &Generator,
    reference: &Reference,
    solver: Solver,
    nfe: usize,
    device: &Device,
) -> Result<Evaluation> {
    let Reference { extractor, features: real, moments, vae } = reference;
    let options = SampleOptions { solver, ..SampleOptions::default() };
    io::check_memory("the features of all images", &[args.count as u64, real.dims as u64, size_of::<f32>() as u64])?;
    let (mut seconds, mut values) = (0.0, Vec::with_capacity(args.count * real.dims));
    for start in (0..args.count).step_by(BATCH) {
        let count = BATCH.min(args.count - start);
        let request = Request { seed: args.seed.wrapping_add(start as u64), count, class: Class::Any, nfe };
        let began = Instant::now();
        let images = settled(pictures(model.sample(request, options)?.images, vae.as_ref(), model.info()))?;
        seconds += began.elapsed().as_secs_f64();
        values.extend(extractor.features(images).try_into_vec_as::<f32>().map_err(device_error)?);
    }
    let generated = Features::new(real.dims, values);
    let kernel = kernel_distance(&generated, real, args.seed, device)?;
    let manifold = precision_recall(&real.head(MANIFOLD), &generated.head(MANIFOLD), device)?;
    Ok(Evaluation {
        model: model.info().name.clone(),
        seed: model.info().training.seed,
        solver: solver.to_string(),
        nfe,
        images: args.count,
        real: real.rows(),
        metric: extractor.metric().into(),
        features: extractor.describe(),
        distance: frechet_distance(&Moments::of(&generated), moments),
        kernel: kernel.mean,
        kernel_std: kernel.std,
        precision: manifold.precision,
        recall: manifold.recall,
        seconds: seconds / args.count as f64,
    })
}

/// The images as the page shows them, in whole steps of 1/255, once the device is done with them.
fn settled(images: Tensor<4>) -> Result<Tensor<4>> {
    let (shape, device) = (images.shape(), images.device());
    let values = images.try_into_vec_as::<f32>().map_err(device_error)?;
    let seen = |x: f32| (127.5 * x + 127.5).round().clamp(0.0, 255.0) / 127.5 - 1.0;
    let values: Vec<f32> = values.into_iter().map(seen).collect();
    Ok(Tensor::from_data(burn::tensor::TensorData::new(values, shape), &device))
}

fn device_error(error: impl std::fmt::Display) -> meanflow::Error {
    meanflow::Error::Device(error.to_string())
}
