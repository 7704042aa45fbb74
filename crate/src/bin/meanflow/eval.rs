//! `meanflow eval`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use meanflow::Condition;
use meanflow::data::Images;
use meanflow::eval::{
    Draw, Evaluation, Extractor, Features, InceptionResize, MIN_IMAGES, Manifold, ModelId, Moments, NearestDistance,
    distance_to_nearest, frechet_distance, kernel_distance, nearest, precision_recall, quantiles, random_order, tables,
};
use meanflow::generator::{Generator, SampleOptions};
use meanflow::io;
use meanflow::latent::Vae;
use meanflow::model::{MAX_NFE, Request, Solver};

use crate::images::{captions, load_pictures, prompts};
use crate::inputs::{DataArgs, DeviceArg};
use crate::model::{Decoder, pictures, read_weights, solvers};

/// Measure models: distance to real images, precision and recall, at several numbers of network calls.
///
/// Images are compared by their features: those of Inception-v3 (the weights of pytorch-fid as safetensors; then
/// the distance is the FID), or of a classifier of the data set (`meanflow classifier`; then it is called FD, and
/// compares only with itself). Image i has the seed SEED + i and draws its class from it, uniformly; a model that takes
/// prompts is asked with the captions of the real images, in the order in which SEED draws these. Where [data.layers]
/// holds combinations out, the real images are of these, unless --split says otherwise. Runs that differ in their
/// training seed alone become one row, mean ± standard deviation; other models of one name are told apart.
#[derive(clap::Args)]
pub struct Args {
    /// Weights files
    #[arg(value_name = "WEIGHTS", required = true)]
    weights: Vec<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Features file
    #[arg(long, value_name = "FILE")]
    features: PathBuf,
    /// Images to generate. Precision and recall compare at most 5000 of them with at most 5000 real ones, drawn
    /// uniformly by SEED. The Fréchet distance takes more images than it has features and is left out where there are
    /// fewer
    #[arg(long, default_value_t = 5000)]
    count: usize,
    /// Numbers of network calls per image; those that are no whole number of a solver's steps are left out
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32, 64], value_name = "K")]
    nfe: Vec<usize>,
    /// Solvers
    #[arg(long, value_delimiter = ',', default_values_t = [Solver::MeanFlow, Solver::Euler], value_name = "NAME", value_parser = solvers())]
    solver: Vec<Solver>,
    /// How images are resized for Inception; without it as [eval] of --config says, else as TensorFlow 1 for models of
    /// latents and as pytorch-fid for others
    #[arg(long, value_enum, value_name = "NAME")]
    inception_resize: Option<InceptionResize>,
    /// Seed of the first generated image, and of which real images precision, recall and kernel distance compare
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Generated images whose distance to the nearest real one is measured, by pixels and by features; with one call
    /// and Euler's method in 32 among the ways, a table shows how far one call mixes images
    #[arg(long, default_value_t = 0, value_name = "N")]
    nearest: usize,
    #[command(flatten)]
    decoder: Decoder,
    /// File to which each result is appended as a line of JSON, for `meanflow compare`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArg,
}

/// Images at a time: a bound on memory that keeps a device busy.
const BATCH: usize = 250;
/// Images of either kind that precision and recall look at: all pairs are compared.
const MANIFOLD: usize = 5000;

/// A model, and which it is.
struct Model {
    id: ModelId,
    generator: Generator,
}

/// The real images, as far as models are compared with them.
struct Reference {
    extractor: Extractor,
    /// In a random order that the seed decides, so that the first of them are a sample.
    features: Features,
    /// What describes them, in the same order: empty where no model takes prompts.
    captions: Vec<String>,
    /// The images themselves, where the nearest are looked for.
    images: Option<Images>,
    /// Mean and covariance of either kind, or why there are none.
    moments: Result<Moments, String>,
    /// What the models' latents are decoded with, if they make latents.
    vae: Option<Vae>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    if let Some(path) = &args.out {
        io::check_extension(path, "lines of JSON", &["jsonl", "ndjson", "json"])?;
        let files = args.weights.iter().chain([&args.features]).map(PathBuf::as_path);
        io::check_not_input(path, args.data.paths().chain(files))?;
    }
    let device = args.device.open()?;
    if args.nfe.iter().any(|nfe| !(1..=MAX_NFE).contains(nfe)) {
        bail!("--nfe takes 1 to {MAX_NFE} network calls");
    }
    let models = args.weights.iter().map(|path| Model::read(path, &device)).collect::<Result<Vec<_>>>()?;
    let reference = measure_real(args, &models, &device)?;
    if let Some(path) = &args.out {
        // Whether it can be written shows before hours of measuring.
        io::append(path, b"")?;
    }
    let mut records = Vec::new();
    for (place, model) in models.iter().enumerate() {
        for &solver in &args.solver {
            for &nfe in &args.nfe {
                if solver.calls_per_step().is_none_or(|calls| !nfe.is_multiple_of(calls)) {
                    continue;
                }
                let record = measure(args, model, &reference, solver, nfe, &device)?;
                let distance = record.distance.map_or_else(
                    || format!("no {}, KID {:.5}", record.metric, record.kernel),
                    |distance| format!("{} {distance:.2}", record.metric),
                );
                say!("{} ({}), {solver}, {nfe} calls: {distance}", record.model, args.weights[place].display());
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

impl Model {
    fn read(path: &Path, device: &Device) -> Result<Self> {
        let bytes = read_weights(path)?;
        let read = || {
            let generator = Generator::from_bytes(&bytes, device)?;
            generator.verify()?;
            Ok(Self { id: ModelId::of(path, &bytes)?, generator })
        };
        read().map_err(|e: meanflow::Error| anyhow::Error::from(e)).with_context(|| path.display().to_string())
    }
}

/// The features of the real images, which all models share.
fn measure_real(args: &Args, models: &[Model], device: &Device) -> Result<Reference> {
    let shape_of = |model: &Model| match (&model.generator.info().latent, &model.generator.info().net) {
        (Some(latent), net) => (net.image_size * latent.factor, 3),
        (None, net) => (net.image_size, net.channels),
    };
    let shapes: Vec<_> = models.iter().map(shape_of).collect();
    let Some(&(size, channels)) = shapes.first() else { bail!("no models were given") };
    if let Some(other) = shapes.iter().position(|shape| *shape != (size, channels)) {
        let (first, other) = (args.weights[0].display(), args.weights[other].display());
        bail!("{first} makes images of another size or number of channels than {other}; evaluate them apart");
    }
    let config = args.data.unseen_settings()?;
    let latents = models.iter().any(|model| model.generator.info().latent.is_some());
    let usual = if latents { InceptionResize::TensorFlow1 } else { InceptionResize::PytorchFid };
    let resize = args.inception_resize.or(config.eval.inception_resize).unwrap_or(usual);
    let extractor = Extractor::open(&args.features, resize, device)?;
    if args.inception_resize.is_some() && extractor.resize().is_none() {
        bail!(
            "--inception-resize is for the features of Inception, but {} holds {}",
            args.features.display(),
            extractor.describe()
        );
    }
    extractor.suits(size, channels).with_context(|| args.features.display().to_string())?;
    let vaes = models.iter().zip(&args.weights).map(|(model, path)| {
        args.decoder.open(model.generator.info(), device).with_context(|| path.display().to_string())
    });
    let vaes = vaes.collect::<Result<Vec<_>>>()?;
    let mut data = config.data;
    (data.size, data.channels) = (size, channels);
    let split = data.split.clone();
    let images = load_pictures(&args.data.data, &data)?;
    for (count, what) in [(images.len(), "real"), (args.count, "generated")] {
        if count < MIN_IMAGES {
            bail!(
                "{count} {what} images are too few to measure anything; it takes {MIN_IMAGES} or more of either kind"
            );
        }
    }
    let resized = extractor.resize().map(|resize| format!(", images resized as {}", resize.name())).unwrap_or_default();
    let of_split = split.map(|split| format!(" of the split {split}")).unwrap_or_default();
    say!("comparing with {} real images{of_split} by {}{resized}", images.len(), extractor.describe());
    let order = random_order(&images, args.seed);
    let features = extractor.of_images(&images, &order, device)?;
    let takes_prompts = models.iter().any(|model| model.generator.info().net.text.is_some());
    let captions = if takes_prompts { captions(&images, &order) } else { Vec::new() };
    let few = [(features.rows(), "real"), (args.count, "generated")].into_iter().find(|(n, _)| *n <= features.dims);
    let moments = match few {
        None => Ok(Moments::of(&features)),
        Some((count, what)) => Err(format!(
            "{count} {what} images are too few for it in {} dimensions, where their covariance is singular; it takes \
             more than {0}",
            features.dims
        )),
    };
    if let Err(reason) = &moments {
        note!("no {}: {reason}", extractor.metric());
    }
    let images = (args.nearest > 0).then_some(images);
    Ok(Reference { extractor, features, captions, images, moments, vae: vaes.into_iter().next().flatten() })
}

fn measure(
    args: &Args,
    Model { id, generator: model }: &Model,
    reference: &Reference,
    solver: Solver,
    nfe: usize,
    device: &Device,
) -> Result<Evaluation> {
    let Reference { extractor, features: real, captions, images: real_images, moments, vae } = reference;
    let options = SampleOptions::from(solver);
    io::check_memory("the features of all images", &[args.count as u64, real.dims as u64, size_of::<f32>() as u64])?;
    let prompts = if model.info().net.text.is_some() { prompts(captions, model.info())? } else { Vec::new() };
    let (mut seconds, mut values) = (0.0, Vec::with_capacity(args.count * real.dims));
    let mut shown = Vec::new();
    for start in (0..args.count).step_by(BATCH) {
        let count = BATCH.min(args.count - start);
        let seed = args.seed.wrapping_add(start as u64);
        // Of more pictures than captions these are taken again.
        let each: Vec<Condition> =
            prompts.iter().cycle().skip(start % prompts.len().max(1)).take(count).cloned().collect();
        let began = Instant::now();
        let sampled = match each.is_empty() {
            true => model.sample(Request { seed, count, class: Condition::Any, nfe }, options)?,
            false => model.sample_each(seed, &each, nfe, options)?,
        };
        let images = settled(pictures(sampled.images, vae.as_ref(), model.info()))?;
        seconds += began.elapsed().as_secs_f64();
        if start < args.nearest {
            shown.extend(images.clone().try_into_vec_as::<f32>().map_err(device_error)?);
        }
        values.extend(extractor.features(images).try_into_vec_as::<f32>().map_err(device_error)?);
    }
    let generated = Features::new(real.dims, values);
    let kernel = kernel_distance(&generated, real, args.seed)?;
    let (some_real, some_generated) = (real.head(MANIFOLD), generated.head(MANIFOLD));
    let manifold = precision_recall(&some_real, &some_generated, device)?;
    let nearest_distance = match real_images {
        Some(images) => Some(nearest_distance(args.nearest, shown, images, &generated, real, device)?),
        None => None,
    };
    Ok(Evaluation {
        model: model.info().name.clone(),
        id: Some(id.clone()),
        seed: model.info().training.seed,
        eval_seed: Some(args.seed),
        solver: solver.to_string(),
        nfe,
        captioned: !prompts.is_empty() && captions.iter().any(|caption| !caption.is_empty()),
        images: args.count,
        real: real.rows(),
        metric: extractor.metric().into(),
        features: extractor.describe(),
        inception_resize: extractor.resize(),
        distance: moments
            .as_ref()
            .ok()
            .map(|moments| frechet_distance(&Moments::of(&generated), moments))
            .transpose()?,
        no_distance: moments.as_ref().err().cloned(),
        kernel: kernel.mean,
        kernel_std: kernel.std,
        kernel_subsets: Some([kernel.subsets, kernel.rows]),
        precision: manifold.precision,
        recall: manifold.recall,
        manifold: Manifold { draw: Draw::Uniform, counts: Some([some_real.rows(), some_generated.rows()]) },
        nearest_distance,
        seconds: seconds / args.count as f64,
    })
}

/// How far the first `count` generated images, or all, are from the nearest real one. `pixels` are theirs, in
/// `[−1, 1]`.
fn nearest_distance(
    count: usize,
    mut pixels: Vec<f32>,
    images: &Images,
    generated: &Features,
    real: &Features,
    device: &Device,
) -> Result<NearestDistance> {
    let generated = generated.head(count);
    let dims = images.channels * images.size * images.size;
    pixels.truncate(generated.rows() * dims);
    let by_pixels = distance_to_nearest(&Features::new(dims, pixels), images, device)?;
    let by_features = nearest(&generated, real, 1, None, device)?.distances;
    let [pixels, features] = [by_pixels, by_features].map(|distances| quantiles(distances, [0.5, 0.95]));
    Ok(NearestDistance { images: generated.rows(), pixels, features })
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
