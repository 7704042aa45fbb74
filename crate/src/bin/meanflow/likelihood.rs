//! `meanflow likelihood`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use meanflow::data::Images;
use meanflow::eval::random_order;
use meanflow::flow::{Divergence, Integrator, TOLERANCES, bits_per_dimension, dequantise};
use meanflow::generator::Generator;
use meanflow::model::from_byte;
use meanflow::{Error, device};

use crate::images::load_pictures;
use crate::model::read_picture_model;
use crate::train::read_config;

/// Print how many bits per dimension a model needs for images, by the flow of its instantaneous velocity.
///
/// The bytes are dequantised, so this is an upper bound. Images of a model with classes must have its classes.
#[derive(clap::Args)]
pub struct Args {
    /// Weights file
    #[arg(value_name = "WEIGHTS")]
    weights: PathBuf,
    /// The images, as for training
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Settings, a TOML file, of which [data] says how files become images; their size is the model's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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
    /// Device, such as cpu, vulkan, wgpu or cuda:1, as compiled in
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

/// Images at a time: a bound on memory that keeps a device busy.
const BATCH: usize = 32;

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let device = device::open(args.device.as_deref())?;
    let generator = read_picture_model(&args.weights, &device)?;
    let images = read_images(args, &generator)?;
    let classes = classes_of(&images, &generator)?;
    let count = args.count.min(images.len());
    let mut bits: Vec<f64> = Vec::with_capacity(count);
    for (batch, rows) in random_order(&images, args.seed)[..count].chunks(BATCH).enumerate() {
        let seed = args.seed.wrapping_add((batch * BATCH) as u64);
        let x = dequantise(tensor(&images, rows, &device), seed);
        let values = images.channels * images.size * images.size;
        let divergence = match args.probes {
            0 => Divergence::Exact,
            probes => Divergence::Hutchinson { probes, seed },
        };
        let classes = classes.as_ref().map(|classes| rows.iter().map(|&row| classes[row]).collect::<Vec<_>>());
        let density =
            generator.density(x, classes.as_deref(), divergence, Integrator::Adaptive { tolerance: args.tolerance })?;
        let each = bits_per_dimension(density.log_density, values).try_into_vec_as::<f32>();
        bits.extend(each.map_err(|e| Error::Device(e.to_string()))?.into_iter().map(f64::from));
    }
    let mean = bits.iter().sum::<f64>() / count as f64;
    let variance = bits.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / count as f64;
    let drawn = match count < images.len() {
        true => format!(" drawn uniformly by seed {} of {}", args.seed, images.len()),
        false => String::new(),
    };
    say!(
        "{mean:.4} bits per dimension over {count} images{drawn}, with standard error {:.4}",
        (variance / count as f64).sqrt()
    );
    Ok(())
}

fn read_images(args: &Args, generator: &Generator) -> Result<Images> {
    if args.count == 0 {
        bail!("0 images were asked for");
    }
    let mut config = read_config(args.config.as_deref())?;
    let net = &generator.info().net;
    (config.data.size, config.data.channels) = (net.image_size, net.channels);
    load_pictures(&args.data, &config.data)
}

/// The model's index of each image's class; nothing for a model without classes.
fn classes_of(images: &Images, generator: &Generator) -> Result<Option<Vec<usize>>> {
    let info = generator.info();
    if info.classes.is_empty() {
        return Ok(None);
    }
    if images.classes.is_empty() {
        bail!("the model has classes ({}), but the images have none", info.classes.join(", "));
    }
    let index = images.classes.iter().map(|name| info.class_index(name)).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(images.labels.iter().map(|&label| index[label as usize]).collect()))
}

/// Some images in `[−1, 1]`, `[rows, channels, size, size]`.
fn tensor(images: &Images, rows: &[usize], device: &Device) -> Tensor<4> {
    let values = images.channels * images.size * images.size;
    let pixels = rows.iter().flat_map(|row| &images.pixels[row * values..(row + 1) * values]);
    let shape = [rows.len(), images.channels, images.size, images.size];
    Tensor::from_data(TensorData::new(pixels.map(|&b| from_byte(b)).collect::<Vec<f32>>(), shape), device)
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(tolerance) if TOLERANCES.contains(&tolerance) => Ok(tolerance),
        _ => Err("it must be 1e-6 to 0.1".into()),
    }
}
