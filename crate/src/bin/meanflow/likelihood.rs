//! `meanflow likelihood`.

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use meanflow::data::Images;
use meanflow::eval::random_order;
use meanflow::flow::{Divergence, Integrator, TOLERANCES, bits_per_dimension, dequantise};
use meanflow::generator::Generator;
use meanflow::{Condition, Error};

use crate::images::{captions, prompts};
use crate::inputs::ModelOnData;

/// Print how many bits per dimension a model needs for images, by the flow of its instantaneous velocity.
///
/// The bytes are dequantised, so this is an upper bound. Images of a model with classes must have its classes; a model
/// that takes prompts is told the caption of each. Where [data.layers] holds combinations out, the images are of these,
/// unless --split says otherwise.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    subject: ModelOnData,
    /// So many images, drawn uniformly by the seed
    #[arg(long, default_value_t = 64)]
    count: usize,
    /// Random signs that estimate the divergence; 0 computes it exactly, in one pass per value of an image
    #[arg(long, default_value_t = 1, value_name = "P")]
    probes: usize,
    /// Error that Dormand-Prince may make in a step
    #[arg(long, default_value_t = 1e-4, value_parser = tolerance)]
    tolerance: f64,
    /// Seed of the signs, of the dequantisation and of which images are drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Images at a time: a bound on memory that keeps a device busy.
const BATCH: usize = 32;

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    if args.count == 0 {
        bail!("0 images were asked for");
    }
    let (device, generator) = args.subject.open()?;
    let images = args.subject.load(args.subject.data.unseen_settings()?.data, &generator)?;
    let count = args.count.min(images.len());
    let drawn = &random_order(&images, args.seed)[..count];
    let classes = classes_of(&images, drawn, &generator)?;
    let mut bits: Vec<f64> = Vec::with_capacity(count);
    for (batch, rows) in drawn.chunks(BATCH).enumerate() {
        let seed = args.seed.wrapping_add((batch * BATCH) as u64);
        let x = dequantise(tensor(&images, rows, &device), seed);
        let values = images.channels * images.size * images.size;
        let divergence = match args.probes {
            0 => Divergence::Exact,
            probes => Divergence::Hutchinson { probes, seed },
        };
        let classes = classes.as_ref().map(|classes| &classes[batch * BATCH..][..rows.len()]);
        let density = generator.density(x, classes, divergence, Integrator::Adaptive { tolerance: args.tolerance })?;
        let each = bits_per_dimension(density.log_density, values).try_into_vec_as::<f32>();
        bits.extend(each.map_err(|e| Error::Device(e.to_string()))?.into_iter().map(f64::from));
    }
    let mean = bits.iter().sum::<f64>() / count as f64;
    let variance = bits.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / count as f64;
    let share = match count < images.len() {
        true => format!(" drawn uniformly by seed {} of {}", args.seed, images.len()),
        false => String::new(),
    };
    say!(
        "{mean:.4} bits per dimension over {count} images{share}, with standard error {:.4}",
        (variance / count as f64).sqrt()
    );
    Ok(())
}

/// What the model is told of these images: the class of each, or its caption; nothing for a model of neither.
fn classes_of(images: &Images, rows: &[usize], generator: &Generator) -> Result<Option<Vec<Condition>>> {
    let info = generator.info();
    if info.net.text.is_some() {
        return prompts(&captions(images, rows), info).map(Some);
    }
    if info.classes.is_empty() {
        return Ok(None);
    }
    if images.classes.is_empty() {
        bail!("the model has classes ({}), but the images have none", info.classes.join(", "));
    }
    let index = images.classes.iter().map(|name| info.class_index(name)).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(rows.iter().map(|&row| Condition::One(index[images.labels[row] as usize])).collect()))
}

/// Some images in `[−1, 1]`, `[rows, channels, size, size]`.
fn tensor(images: &Images, rows: &[usize], device: &Device) -> Tensor<4> {
    let shape = [rows.len(), images.channels, images.size, images.size];
    Tensor::from_data(TensorData::new(images.values(rows), shape), device)
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(tolerance) if TOLERANCES.contains(&tolerance) => Ok(tolerance),
        _ => Err("it must be 1e-6 to 0.1".into()),
    }
}
