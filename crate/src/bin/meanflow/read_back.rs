//! `meanflow read-back`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use meanflow::data::Images;
use meanflow::eval::Classifier;
use meanflow::generator::SampleOptions;
use meanflow::model::Solver;
use meanflow::{Class, device, io};
use serde::Serialize;

use crate::images::load_pictures;
use crate::model::read_picture_model;
use crate::train::read_config;

/// How often a model draws what its prompts say: a classifier names what it sees in pictures of the captions of a set.
///
/// Beside it stands how often the classifier is right about the set's own pictures. With [data.layers] the set is by
/// default of the combinations that training never showed.
#[derive(clap::Args)]
pub struct Args {
    /// Weights file of a model that takes prompts
    #[arg(value_name = "WEIGHTS")]
    weights: PathBuf,
    /// Images with captions and classes, as for training
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Settings, a TOML file, of which [data] says how files become images; their size is the model's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Classifier of the images' classes, as meanflow classifier writes it
    #[arg(long, value_name = "FILE")]
    classifier: PathBuf,
    /// With [data.layers]: the folder whose parts are the classes
    #[arg(long, value_name = "FOLDER")]
    layer: Option<String>,
    /// The split that captions are taken from; with [data.layers.held_out], test if not given
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// How many pictures
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Seed of the first picture
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// JSON file to write as well
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Device, such as cpu, vulkan, wgpu or cuda:1, as compiled in
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

/// The ways that pictures are drawn: by so many calls, or by Euler's method in so many.
const WAYS: [(&str, Solver, usize); 3] =
    [("1 call", Solver::MeanFlow, 1), ("4 calls", Solver::MeanFlow, 4), ("Euler, 32 calls", Solver::Euler, 32)];

/// Pictures of a call.
const BATCH: usize = 64;

/// The share of pictures that are named rightly.
#[derive(Serialize)]
struct Row {
    pictures: String,
    right: f64,
}

/// What was measured.
#[derive(Serialize)]
struct Results {
    model: String,
    classifier: String,
    count: usize,
    rows: Vec<Row>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let device = device::open(args.device.as_deref())?;
    let model = read_picture_model(&args.weights, &device)?;
    let classifier = || Classifier::from_bytes(&io::read_whole(&args.classifier)?, &device);
    let classifier = classifier().with_context(|| args.classifier.display().to_string())?;
    let mut config = read_config(args.config.as_deref())?.data;
    let net = &model.info().net;
    (config.size, config.channels) = (net.image_size, net.channels);
    if let Some(layer) = &args.layer {
        config.set_class_layer(layer)?;
    }
    if let Some(layers) = &mut config.layers {
        layers.count = args.count as usize;
        // Others than training draws.
        layers.seed = layers.seed.wrapping_add(1);
    }
    config.split = args.split.clone().or_else(|| config.holds_out().then(|| "test".into())).or(config.split.take());
    let mut images = load_pictures(&args.data, &config)?;
    images.truncate(args.count as usize);
    let wanted = classes_of(&images, &classifier)?;
    // Its classes say what is right, its captions what is drawn.
    let captions = images.clone().captioned(1).captions;
    let prompts = captions
        .iter()
        .map(|caption| model.info().prompt(meanflow::data::caption_lines(caption).next().unwrap_or_default()));
    let prompts: Vec<Class> = prompts.collect::<Result<_, _>>()?;

    let mut rows = Vec::new();
    let mut say_row = |pictures: &str, right: usize| {
        let right = right as f64 / wanted.len() as f64;
        say!("{pictures:<20} {:5.1} % named rightly", 100.0 * right);
        rows.push(Row { pictures: pictures.into(), right });
    };
    say!("{} pictures by {}", wanted.len(), classifier.info().describe());
    let all: Vec<usize> = (0..images.len()).collect();
    let values = images.channels * images.size * images.size;
    let real: Vec<f32> = images.pixels.iter().map(|&byte| meanflow::model::from_byte(byte)).collect();
    say_row(
        "the set's own",
        right(&classifier, &all, &wanted, &device, |part| {
            Ok(part.iter().flat_map(|&row| real[row * values..(row + 1) * values].iter().copied()).collect())
        })?,
    );
    for (name, solver, nfe) in WAYS {
        let options = SampleOptions { solver, ..SampleOptions::default() };
        let count = right(&classifier, &all, &wanted, &device, |part| {
            let each: Vec<Class> = part.iter().map(|&row| prompts[row].clone()).collect();
            let drawn = model.sample_each(args.seed.wrapping_add(part[0] as u64), &each, nfe, options)?.images;
            Ok(drawn.try_into_vec_as::<f32>().map_err(|e| meanflow::Error::Device(e.to_string()))?)
        })?;
        say_row(name, count);
    }
    if let Some(out) = &args.out {
        let (model, classifier) = (model.info().name.clone(), classifier.info().describe());
        let results = Results { model, classifier, count: wanted.len(), rows };
        io::write_atomic(out, serde_json::to_vec_pretty(&results)?)?;
    }
    Ok(())
}

/// The classifier's index of each image's class.
fn classes_of(images: &Images, classifier: &Classifier) -> Result<Vec<usize>> {
    let known = &classifier.info().classes;
    let index = images.classes.iter().map(|class| {
        let found = known.iter().position(|name| name == class);
        found.with_context(|| format!("the classifier does not know the class `{class}`"))
    });
    let index: Vec<usize> = index.collect::<Result<_>>()?;
    if index.is_empty() {
        bail!("the images have no classes; with [data.layers], --layer says which folder's parts they are");
    }
    Ok(images.labels.iter().map(|&label| index[label as usize]).collect())
}

/// How many of the pictures, `[pictures · channels · size · size]` of each part, are named rightly.
fn right(
    classifier: &Classifier,
    rows: &[usize],
    wanted: &[usize],
    device: &burn::tensor::Device,
    mut pictures: impl FnMut(&[usize]) -> Result<Vec<f32>>,
) -> Result<usize> {
    let mut count = 0;
    for part in rows.chunks(BATCH) {
        let named = classifier.named(pictures(part)?, device)?;
        count += part.iter().zip(named).filter(|(row, named)| wanted[**row] == *named).count();
    }
    Ok(count)
}
