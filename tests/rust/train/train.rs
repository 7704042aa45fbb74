//! Training: it learns, it is deterministic, it resumes, it stops in time, and it keeps what was good.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::backend::Flex;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use meanflow::data::{DataConfig, Images};
use meanflow::model::weights::Precision;
use meanflow::net::encode;
use meanflow::train::{
    CheckpointSelector, Ema, NetOverrides, Observer, Outcome, PRIMARY_EMA, Pretrained, Record, RunFolder, Sampler,
    TrainConfig, Trainer, train,
};

use crate::support::{assert_close, autodiff_device, device, randomise, relative_error, tiny_config, values};

/// Hears everything; asks to stop after a step of its choice.
#[derive(Default)]
pub struct Listener {
    pub records: Vec<Record>,
    pub notices: Vec<String>,
    pub stop: AtomicBool,
    pub stop_after: Option<u64>,
}

struct Shared<'a>(&'a AtomicBool, &'a mut Vec<Record>, &'a mut Vec<String>, Option<u64>);

impl Observer for Shared<'_> {
    fn step(&mut self, done: u64) {
        if self.3 == Some(done) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn record(&mut self, record: &Record) {
        self.1.push(record.clone());
    }

    fn notice(&mut self, text: &str) {
        self.2.push(text.into());
    }
}

impl Listener {
    pub fn train(&mut self, config: &TrainConfig, images: &Images, run: &RunFolder) -> anyhow::Result<Outcome> {
        let mut shared = Shared(&self.stop, &mut self.records, &mut self.notices, self.stop_after);
        train(config, images, run, &[device()], &self.stop, &mut shared)
    }
}

/// Two classes of flat 8 × 8 pictures: dark and light.
pub fn images() -> Images {
    let (size, count) = (8, 10);
    let pixel = |i: usize| (if i < count / 2 { 30 } else { 220 }) + i as u8;
    Images {
        size,
        channels: 3,
        pixels: (0..count).flat_map(|i| vec![pixel(i); 3 * size * size]).collect(),
        labels: (0..count).map(|i| u32::from(i >= count / 2)).collect(),
        classes: vec!["dark".into(), "light".into()],
        names: (0..count).map(|i| i.to_string()).collect(),
        ..Images::default()
    }
}

pub fn config(steps: u64) -> TrainConfig {
    let mut config = TrainConfig {
        net: NetOverrides {
            preset: "browser-s".into(),
            patch: Some(4),
            width: Some(16),
            depth: Some(2),
            heads: Some(2),
            ..NetOverrides::default()
        },
        data: DataConfig { size: 8, channels: 3, ..DataConfig::default() },
        ..TrainConfig::default()
    };
    config.train.steps = steps;
    config.train.batch_size = 8;
    config.train.learning_rate = 5e-3;
    config.train.warmup_steps = 5;
    config.train.cooldown_steps = 0;
    config.train.flow_matching_steps = steps / 4;
    config.train.ramp_steps = steps / 4;
    config.train.ema_decay = 0.95;
    config.log.every = 10;
    config.log.checkpoint_every = 10;
    config.log.sample_every = 1000;
    config.log.samples = 4;
    config
}

/// The exported bytes of a run.
pub fn weights(run: &RunFolder) -> Vec<u8> {
    let (net, info) = run
        .averaged(CheckpointSelector::Newest, PRIMARY_EMA, &device(), |text| panic!("{text}"))
        .expect("a checkpoint");
    encode(&net, &info, Precision::F32).expect("it encodes")
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// From noise to the two kinds of pictures in one step, by class: dark and light must come out apart.
/// With a learning rate that first learns and then destroys, the best checkpoint is an early one.
#[test]
fn the_best_checkpoint_outlives_newer_ones() {
    let place = tempfile::tempdir().expect("a folder");
    let mut config = config(60);
    (config.log.every, config.log.checkpoint_every, config.log.keep, config.log.keep_best) = (5, 10, 1, true);
    (config.train.flow_matching_steps, config.train.ramp_steps, config.train.cooldown_steps) = (0, 0, 0);
    let run = RunFolder::create(&place.path().join("run"), &config).expect("a folder");
    let mut listener = Listener::default();
    listener.train(&config, &images(), &run).expect("it trains");
    let line =
        |record: &Record| (record.step, record.residual_interval.expect("rows with r < t"), record.rows[0] as f64);
    let lines: Vec<_> = listener.records.iter().map(line).collect();
    let mean = |pair: &[(u64, f64, f64)]| {
        let rows: f64 = pair.iter().map(|line| line.2).sum();
        (pair[1].0, pair.iter().map(|line| line.1 * line.2).sum::<f64>() / rows)
    };
    let means: Vec<_> = lines.chunks_exact(2).map(mean).collect();
    let best = means.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("checkpoints").0;
    let step = |which| {
        run.averaged(which, PRIMARY_EMA, &device(), |text| panic!("{text}")).expect("a checkpoint").1.training.step
    };
    assert_eq!((step(CheckpointSelector::Best), step(CheckpointSelector::Newest)), (best, 60));
    let kept = std::fs::read_dir(place.path().join("run/checkpoints")).expect("a folder").count();
    assert_eq!(kept, if best == 60 { 1 } else { 2 });
}

#[test]
fn one_step_samples_have_the_colour_of_their_class() {
    let dir = folder();
    let config = config(600);
    let run = RunFolder::create(dir.path(), &config).expect("a new run");
    let mut listener = Listener::default();
    let outcome = listener.train(&config, &images(), &run).expect("it trains");
    assert_eq!(outcome, Outcome { steps: 600, finished: true });

    let (first, last) = (&listener.records[0], &listener.records[listener.records.len() - 1]);
    assert!(last.residual_instant < first.residual_instant, "Flow Matching error did not fall");
    assert!(first.residual_interval.is_none() && last.residual_interval.is_some(), "the ramp did not happen");

    let (net, info) = run
        .averaged(CheckpointSelector::Newest, PRIMARY_EMA, &device(), |text| panic!("{text}"))
        .expect("a checkpoint");
    let generator = meanflow::Generator::new(net, info, &device());
    let mean = |class| {
        let request = meanflow::model::Request { seed: 0, count: 16, class: Some(class).into(), nfe: 1 };
        let pictures = values(generator.images(request).expect("fair"));
        f64::from(pictures.iter().sum::<f32>()) / pictures.len() as f64
    };
    // Data means: 32 and 227 of 255, that is −0.75 and 0.78.
    let (dark, light) = (mean(0), mean(1));
    assert!((dark + 0.75).abs() < 0.25 && (light - 0.78).abs() < 0.25, "dark {dark:.2}, light {light:.2}");
}

#[test]
fn a_seed_decides_the_run_and_a_resumed_run_equals_an_uninterrupted_one() {
    let (images, config) = (images(), config(40));
    let whole = |seed| {
        let dir = folder();
        let mut config = config.clone();
        config.train.seed = seed;
        let run = RunFolder::create(dir.path(), &config).expect("a new run");
        Listener::default().train(&config, &images, &run).expect("it trains");
        weights(&run)
    };
    let straight = whole(1);
    assert!(straight != whole(2), "another seed, the same weights");

    let dir = folder();
    let mut config = config.clone();
    config.train.seed = 1;
    let run = RunFolder::create(dir.path(), &config).expect("a new run");
    // Stopped between two regular checkpoints: the stop itself must write one.
    let mut listener = Listener { stop_after: Some(17), ..Listener::default() };
    let outcome = listener.train(&config, &images, &run).expect("it stops");
    assert_eq!(outcome, Outcome { steps: 17, finished: false });
    let (run, reread) = RunFolder::open(dir.path()).expect("the run");
    assert_eq!(reread, config);
    Listener::default().train(&config, &images, &run).expect("it resumes");
    assert!(weights(&run) == straight, "resumed and uninterrupted weights differ");
}

#[test]
fn a_run_begins_with_the_weights_of_another() {
    let (dir, images) = (folder(), images());
    let train =
        |run: &RunFolder, config: &TrainConfig| Listener::default().train(config, &images, run).expect("it trains");
    let first = RunFolder::create(&dir.path().join("first"), &config(20)).expect("a new run");
    train(&first, &config(20));
    let file = dir.path().join("first.safetensors");
    fs::write(&file, weights(&first)).expect("a file");

    // A learning rate that changes nothing that can be seen.
    let mut still = config(1);
    still.train.learning_rate = 1e-9;
    let start = Pretrained::read(&file, &still, &images, &device()).expect("it suits");
    let second = RunFolder::create(&dir.path().join("second"), &still).expect("a new run").beginning_with(start);
    train(&second, &still);
    still.train.steps = 2;
    let (again, _) = RunFolder::open(&dir.path().join("second")).expect("the run");
    train(&again, &still);

    let picture = |run: &RunFolder| {
        let (net, info) = run
            .averaged(CheckpointSelector::Newest, PRIMARY_EMA, &device(), |text| panic!("{text}"))
            .expect("a checkpoint");
        let init = info.training.init.clone();
        let request = meanflow::model::Request { seed: 0, count: 4, class: Some(1).into(), nfe: 1 };
        (values(meanflow::Generator::new(net, info, &device()).images(request).expect("fair")), init)
    };
    let ((before, none), (after, from)) = (picture(&first), picture(&again));
    assert_close("pictures", &after, &before, 1e-4);
    assert_eq!((none, from), (None, Some(format!("{}, step 20", still.name))));

    // The second, trained for real, moves on: what was read is not set to stay.
    let start = Pretrained::read(&file, &config(20), &images, &device()).expect("it suits");
    let third = RunFolder::create(&dir.path().join("third"), &config(20)).expect("a new run").beginning_with(start);
    train(&third, &config(20));
    assert!(relative_error(&picture(&third).0, &before) > 1e-3, "nothing was learned");

    // As decoupled MeanFlow does: the network of Flow Matching at r = t, with r told to its last block.
    let mut decoupled = config(1);
    decoupled.net.decoder_depth = Some(1);
    decoupled.objective = meanflow::flow::ObjectiveConfig::DecoupledMeanFlow(Default::default());
    let start = Pretrained::read(&file, &decoupled, &images, &device()).expect("it is made to suit");
    assert_eq!(*start.net().config(), decoupled.net_config(2).expect("sizes fit"));
    let fourth = RunFolder::create(&dir.path().join("fourth"), &decoupled).expect("a new run").beginning_with(start);
    train(&fourth, &decoupled);
    assert_eq!(picture(&fourth).1, Some(format!("{}, step 20", still.name)));

    let mut other = config(20);
    other.net.width = Some(32);
    let error = Pretrained::read(&file, &other, &images, &device()).expect_err("another network");
    let text = format!("{error:#}");
    assert!(text.contains("first.safetensors") && text.contains("32"), "{text}");
}

#[test]
fn a_run_folder_holds_log_samples_settings_and_the_newest_checkpoints() {
    let dir = folder();
    let mut config = config(40);
    config.log.sample_every = 20;
    let run = RunFolder::create(dir.path(), &config).expect("a new run");
    Listener::default().train(&config, &images(), &run).expect("it trains");
    let names = |folder: &str| {
        let entries = fs::read_dir(dir.path().join(folder)).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names("checkpoints"), ["step-00000030", "step-00000040"]);
    assert_eq!(names("samples"), ["step-00000020.png", "step-00000040.png"]);
    let grid = image::open(dir.path().join("samples/step-00000040.png")).expect("a PNG");
    assert_eq!((grid.width(), grid.height()), (34, 34), "4 pictures of 8 pixels, twice enlarged, with a gap of 2");

    let log = fs::read_to_string(dir.path().join("log.jsonl")).expect("a log");
    let lines: Vec<serde_json::Value> = log.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|l| l["residual"].as_f64().is_some_and(|r| r > 0.0)));
    assert_eq!(lines[3]["step"], 40);
    // The same for TensorBoard: framed records, the first of them the version.
    let events = fs::read(dir.path().join("events.out.tfevents.meanflow")).expect("events");
    let (mut at, mut records) = (0, Vec::new());
    while at < events.len() {
        let length = u64::from_le_bytes(events[at..at + 8].try_into().expect("eight bytes")) as usize;
        records.push(&events[at + 12..at + 12 + length]);
        at += 16 + length;
    }
    let holds = |record: &[u8], text: &str| record.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(records.len() == 7 && holds(records[0], "brain.Event:2"));
    let (grids, numbers): (Vec<_>, Vec<_>) =
        records[1..].iter().copied().partition(|record: &&[u8]| holds(record, "samples"));
    assert!(numbers.iter().all(|record| holds(record, "residual/all") && holds(record, "learning_rate")));
    let png = fs::read(dir.path().join("samples/step-00000040.png")).expect("a PNG");
    assert!(grids.len() == 2 && grids[1].windows(png.len()).any(|part| part == png));
    let settings = fs::read_to_string(dir.path().join("config.toml")).expect("settings");
    assert_eq!(TrainConfig::from_toml(&settings).expect("they read"), config);
}

#[test]
fn a_non_finite_loss_stops_the_run_and_keeps_the_last_good_checkpoint() {
    let dir = folder();
    let mut config = config(40);
    let run = RunFolder::create(dir.path(), &config).expect("a new run");
    let stop_after = Some(20);
    Listener { stop_after, ..Listener::default() }.train(&config, &images(), &run).expect("it stops");
    let good = weights(&run);

    let (run, _) = RunFolder::open(dir.path()).expect("the run");
    config.train.learning_rate = 1e30;
    let error = Listener::default().train(&config, &images(), &run).expect_err("it diverges").to_string();
    assert!(error.contains("the loss is") && error.contains("step 20"), "{error}");
    assert!(weights(&run) == good, "the good checkpoint was lost");
}

fn newest(dir: &Path) -> std::path::PathBuf {
    let entries = fs::read_dir(dir.join("checkpoints")).expect("a folder");
    entries.map(|e| e.expect("an entry").path()).max().expect("a checkpoint")
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_used() {
    let dir = folder();
    let config = config(20);
    let run = RunFolder::create(dir.path(), &config).expect("a new run");
    Listener::default().train(&config, &images(), &run).expect("it trains");
    let damaged = newest(dir.path()).join("net.bpk");
    let bytes = fs::read(&damaged).expect("a file");
    fs::write(&damaged, &bytes[..bytes.len() / 2]).expect("it writes");

    let (run, config) = RunFolder::open(dir.path()).expect("the run");
    let mut listener = Listener::default();
    listener.train(&config, &images(), &run).expect("it resumes");
    let notices = listener.notices.join("\n");
    assert!(notices.contains("step-00000020") && notices.contains("not usable"), "{notices}");
    assert!(notices.contains("continuing at step 10"), "{notices}");
}

#[test]
fn a_folder_with_a_run_is_not_overwritten() {
    let dir = folder();
    RunFolder::create(dir.path(), &config(1)).expect("a new run");
    let error = RunFolder::create(dir.path(), &config(1)).expect_err("it holds a run").to_string();
    assert!(error.contains("--resume"), "{error}");
}

#[test]
fn the_average_moves_by_one_minus_its_decay() {
    let start = tiny_config(3, 0).init(0, &autodiff_device());
    let end = randomise(start.clone());
    let mut ema = Ema::new(&start);
    ema.follow(&end, 0.9);
    assert!(!ema.net().devices()[0].is_autodiff(), "the average is on the tape");
    let blend: Vec<f32> = numbers(&start)
        .into_iter()
        .zip(numbers(&end))
        .map(|(a, b)| (0.9 * f64::from(a) + 0.1 * f64::from(b)) as f32)
        .collect();
    assert_close("average", &numbers(ema.net()), &blend, 1e-6);
}

/// All parameters in one row.
pub fn numbers(net: &meanflow::Net) -> Vec<f32> {
    struct Collect(Vec<f32>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(values(param.val()));
        }
    }
    let mut numbers = Collect(Vec::new());
    net.visit(&mut numbers);
    numbers.0
}

#[test]
fn every_image_comes_once_per_epoch_and_balanced_classes_take_turns() {
    let mut images = images();
    images.labels = vec![0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    let mut optimization = config(1).train;
    optimization.class_dropout = 0.0;
    optimization.batch_size = 10;
    let brightness = |balance: bool, step: u64| {
        let settings = meanflow::train::Optimization { balance_classes: balance, ..optimization.clone() };
        let batch = Sampler::new(&images, &settings, false).batch(step, &device()).expect("pictures");
        let means = values(batch.images.mean_dims(&[1, 2, 3]));
        let labels = batch.labels.expect("two classes").try_into_vec_as::<i32>().expect("labels");
        (means, labels)
    };
    let sorted = |mut means: Vec<f32>| {
        means.sort_by(f32::total_cmp);
        means
    };
    let (first, labels) = brightness(false, 0);
    let (second, _) = brightness(false, 1);
    assert_ne!(first, second, "each epoch has its own order");
    assert_eq!(sorted(first), sorted(second), "each epoch has every image");
    assert_eq!(labels.iter().sum::<i32>(), 2);
    let (_, labels) = brightness(true, 3);
    assert_eq!(labels, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
}

/// Where the values of the parameters lie.
struct Addresses(Vec<usize>);

impl ModuleVisitor for Addresses {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let here = param.val().inner().try_into_primitive::<Flex>().expect("it is on the CPU");
        self.0.push(here.storage::<f32>().as_ptr().addr());
    }
}

#[test]
fn a_step_changes_weights_and_averages_where_they_lie() {
    let mut config = config(10);
    config.train.batch_size = 4;
    let images = Images::random(&config.data, 8);
    let mut sampler = Sampler::new(&images, &config.train, false);
    let mut trainer = Trainer::new(&config, &config.net_config(0).expect("a network"), &device());
    let mut addresses = |step| {
        trainer.step(sampler.batch(step, &device()).expect("pictures"));
        let mut addresses = Addresses(Vec::new());
        trainer.net().visit(&mut addresses);
        trainer.averaged().visit(&mut addresses);
        addresses.0
    };
    // The first step makes what the others change.
    let [_, before, after] = [0, 1, 2].map(&mut addresses);
    assert!(before.len() > 20);
    assert_eq!(before, after);
}
