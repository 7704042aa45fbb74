//! `meanflow neighbours`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use burn::tensor::Tensor;
use meanflow::Condition;
use meanflow::eval::{Features, nearest, quantiles, random_order};
use meanflow::generator::to_rgba;
use meanflow::io::grid;
use meanflow::model::Request;
use meanflow::{Error, io};

use crate::inputs::ModelOnData;

/// Show generated images, each with the training images nearest to it: what was invented, and what was remembered.
///
/// Nearest is meant in pixels. Says how many of the images are nearer to a training image than half of the training
/// images are to their own nearest: a model that only generalises has few of them, one that copies has all. --data and
/// --split name the images that the model was trained on. A model that takes prompts is asked with the empty one: with
/// captions of training images it should come near these.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    subject: ModelOnData,
    /// PNG file to write: a row for each image, its neighbours after it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How many images to show
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=256))]
    count: u16,
    /// How many neighbours of each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=32))]
    nearest: u16,
    /// How many images to count, the shown ones among them
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4096))]
    over: u16,
    /// Seed of the first image, and of which training images are compared with all
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Enlarge each pixel this many times
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=32))]
    scale: u32,
}

/// Training images, drawn at random, whose own nearest are looked for among all.
const COMPARED: usize = 2000;

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    io::check_extension(&args.out, "PNG", &["png"])?;
    io::check_not_input(&args.out, args.subject.paths())?;
    let (device, model) = args.subject.open()?;
    let net = model.info().net.clone();
    let images = args.subject.load(args.subject.data.settings()?.data, &model)?;
    if images.len() < 2 {
        bail!("neighbours need two or more training images");
    }
    let dims = net.channels * net.image_size * net.image_size;
    let all: Vec<usize> = (0..images.len()).collect();
    let training = Features::new(dims, images.values(&all));
    let over = usize::from(args.over.max(args.count));
    let generated = model.images(Request { seed: args.seed, count: over, class: Condition::Any, nfe: 1 })?;
    let values = generated.try_into_vec_as::<f32>().map_err(|e| Error::Device(e.to_string()))?;
    let generated = Features::new(dims, values);

    let found = nearest(&generated, &training, args.nearest.into(), None, &device)?;
    let mut drawn = random_order(&images, args.seed);
    drawn.truncate(COMPARED);
    let part = Features::new(dims, drawn.iter().flat_map(|&row| training.row(row)).copied().collect());
    let median = |distances: Vec<f32>| quantiles(distances, [0.5])[0];
    let among = median(nearest(&part, &training, 1, Some(&drawn), &device)?.distances);
    let nearer = found.distances.iter().filter(|&&distance| f64::from(distance) < among).count();

    let mut shown = Vec::new();
    for (row, neighbours) in found.rows.iter().take(args.count.into()).enumerate() {
        shown.extend_from_slice(generated.row(row));
        neighbours.iter().for_each(|&neighbour| shown.extend_from_slice(training.row(neighbour)));
    }
    let columns = 1 + u32::from(args.nearest).min(images.len() as u32);
    let shape = [shown.len() / dims, net.channels, net.image_size, net.image_size];
    let pictures = Tensor::from_data(burn::tensor::TensorData::new(shown, shape), &device);
    let rgba = pollster::block_on(to_rgba(pictures))?;
    grid::write(&args.out, &rgba, net.image_size, args.scale, Some(columns))?;
    say!(
        "{}: {} images, each before its {} nearest of {} training images, by pixels",
        args.out.display(),
        args.count,
        columns - 1,
        images.len()
    );
    say!(
        "median distance to the nearest training image {:.2}, of {} training images to their own nearest {among:.2}; \
         {:.0} % of {over} images are nearer than that",
        median(found.distances.clone()),
        drawn.len(),
        100.0 * nearer as f64 / over as f64
    );
    Ok(())
}
