//! Several processes that share every batch, here threads: what they learn together is what one learns alone.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use meanflow::data::Images;
use meanflow::flow::Guidance;
use meanflow::train::distributed::ProcessGroup;
use meanflow::train::{CheckpointSelector, Claim, Observer, PRIMARY_EMA, Record, RunFolder, TrainConfig, train};

use crate::support::{assert_close, device, values};
use crate::train::config;

/// Threads in the place of processes.
#[derive(Debug)]
struct Threads {
    rank: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    barrier: Barrier,
    given: Mutex<Vec<Vec<u8>>>,
}

impl Threads {
    fn together(size: usize) -> Vec<Arc<dyn ProcessGroup>> {
        let shared = Arc::new(Shared { barrier: Barrier::new(size), given: Mutex::new(vec![Vec::new(); size]) });
        (0..size).map(|rank| Arc::new(Self { rank, shared: shared.clone() }) as Arc<dyn ProcessGroup>).collect()
    }
}

impl ProcessGroup for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.shared.given.lock().expect("no thread panicked").len()
    }

    fn all_reduce(&self, values: &mut [f32]) {
        let own: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        values.fill(-0.0);
        for other in self.all_gather(&own) {
            let other = other.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value));
            values.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
        }
    }

    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.shared.given.lock().expect("no thread panicked")[self.rank] = bytes.to_vec();
        self.shared.barrier.wait();
        let all = self.shared.given.lock().expect("no thread panicked").clone();
        self.shared.barrier.wait();
        all
    }

    fn abort(&self) -> ! {
        panic!("rank {} ends all", self.rank)
    }
}

/// What each process of a run does, given its settings.
type Settings<'a> = &'a (dyn Fn(usize) -> TrainConfig + Sync);

/// Trains a run in `path` by so many processes; the results, in the order of ranks.
fn train_together(
    path: &Path,
    size: usize,
    settings: Settings,
    images: &Images,
    stop: &(dyn Fn(usize, u64) -> bool + Sync),
) -> Vec<Result<Vec<Record>, String>> {
    std::thread::scope(|scope| {
        let ranks = Threads::together(size).into_iter().map(|processes| {
            scope.spawn(move || {
                let rank = processes.rank();
                let claim = Claim::shared(path, processes).map_err(|e| format!("{e:#}"))?;
                let goes_on = claim.holds_run();
                claim.wait_for_all();
                let config = settings(rank);
                let run = if goes_on { claim.resume() } else { claim.create(&config) }.map_err(|e| format!("{e:#}"))?;
                let flag = AtomicBool::new(false);
                let mut log = Listener { records: Vec::new(), flag: &flag, stop: &|step| stop(rank, step) };
                train(&config, images, &run, &[device()], &flag, &mut log).map_err(|e| format!("{e:#}"))?;
                Ok(log.records)
            })
        });
        let ranks: Vec<_> = ranks.collect();
        ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect()
    })
}

/// Keeps the log, and stops this process where it is told to.
struct Listener<'a> {
    records: Vec<Record>,
    flag: &'a AtomicBool,
    stop: &'a dyn Fn(u64) -> bool,
}

impl Observer for Listener<'_> {
    fn step(&mut self, done: u64) {
        self.flag.fetch_or((self.stop)(done), Ordering::Relaxed);
    }

    fn record(&mut self, record: &Record) {
        self.records.push(record.clone());
    }
}

/// The averaged network of a run and its step.
fn learnt(path: &Path) -> (Vec<f32>, u64) {
    let (run, _) = RunFolder::open(path).expect("a run");
    let (net, info) =
        run.averaged(CheckpointSelector::Newest, PRIMARY_EMA, &device(), |text| panic!("{text}")).expect("it reads");
    let mut parameters = Parameters(Vec::new());
    net.visit(&mut parameters);
    (parameters.0, info.training.step)
}

struct Parameters(Vec<f32>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(values(param.val()));
    }
}

/// Settings that draw at random all that a batch can have, in micro-batches.
fn settings(accumulate: usize) -> TrainConfig {
    let mut config = config(8);
    config.data.flip = true;
    config.train.batch_size = 12;
    config.train.accumulate = accumulate;
    config.train.class_dropout = 0.3;
    config.train.dropout = 0.1;
    config.log.every = 4;
    config
}

fn images(config: &TrainConfig) -> Images {
    let images = Images::random(&config.data, 20);
    Images { labels: (0..20).map(|i| i % 3).collect(), classes: ["a", "b", "c"].map(String::from).into(), ..images }
}

#[test]
fn processes_learn_the_same_bits_as_one_with_as_many_micro_batches() {
    let images = images(&settings(1));
    for size in [2, 3] {
        let place = tempfile::tempdir().expect("a temporary folder");
        let [alone, together] = ["alone", "together"].map(|name| place.path().join(name));
        let config = settings(size);
        let run = RunFolder::create(&alone, &config).expect("a run");
        let mut log = Listener { records: Vec::new(), flag: &AtomicBool::new(false), stop: &|_| false };
        train(&config, &images, &run, &[device()], &AtomicBool::new(false), &mut log).expect("it trains");
        let results = train_together(&together, size, &|_| settings(1), &images, &|_, _| false);
        let logs: Vec<Vec<Record>> = results.into_iter().map(|result| result.expect("it trains")).collect();
        assert_eq!(learnt(&together), learnt(&alone), "{size} processes");
        // All of them know what all measured.
        for other in &logs {
            assert_eq!(other.len(), log.records.len());
            for (own, reference) in other.iter().zip(&log.records) {
                let figures = |record: &Record| {
                    [Some(record.loss), Some(record.residual), record.residual_interval, record.residual_instant]
                        .map(|value| value.unwrap_or(-1.0) as f32)
                };
                assert_close("the log", &figures(own), &figures(reference), 1e-6);
                assert_eq!(own.rows, reference.rows);
            }
        }
    }
}

#[test]
fn guidance_and_a_run_that_goes_on_with_more_processes_change_rounding_alone() {
    let settings = |steps: u64| {
        let mut config = settings(1);
        config.guidance = Guidance { omega: 1.5, kappa: 0.25, ..config.guidance };
        (config.train.steps, config.train.flow_matching_steps, config.train.ramp_steps) = (steps, 0, 0);
        // Each part drops features of its own.
        config.train.dropout = 0.0;
        config
    };
    let images = images(&settings(8));
    let place = tempfile::tempdir().expect("a temporary folder");
    let [alone, together] = ["alone", "together"].map(|name| place.path().join(name));
    let run = RunFolder::create(&alone, &settings(8)).expect("a run");
    train(&settings(8), &images, &run, &[device()], &AtomicBool::new(false), &mut ()).expect("it trains");
    for (size, steps) in [(2, 4), (3, 8)] {
        let results = train_together(&together, size, &|_| settings(steps), &images, &|_, _| false);
        results.into_iter().for_each(|result| drop(result.expect("it trains")));
    }
    let ([alone, together], steps) = ([&alone, &together].map(|path| learnt(path).0), learnt(&together).1);
    assert_eq!(steps, 8);
    assert_close("the weights", &together, &alone, 1e-4);
}

#[test]
fn a_process_that_is_told_to_stop_stops_all_with_one_checkpoint() {
    let images = images(&settings(1));
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("run");
    let results = train_together(&path, 3, &|_| settings(1), &images, &|rank, step| rank == 2 && step == 3);
    results.into_iter().for_each(|result| drop(result.expect("it stops in order")));
    assert_eq!(learnt(&path).1, 3);
}

#[test]
fn processes_with_other_settings_or_images_are_named_and_none_trains() {
    let images = images(&settings(1));
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("run");
    let seeds = |rank: usize| {
        let mut config = settings(1);
        config.train.seed = [0, 0, 7][rank];
        config
    };
    for result in train_together(&path, 3, &seeds, &images, &|_, _| false) {
        let message = result.expect_err("seeds differ");
        assert!(message.contains("rank 2 has [train] seed 7 and not 0"), "{message}");
        assert!(!message.contains("rank 1"), "{message}");
    }
    assert!(!path.join("log.jsonl").exists());
}

#[test]
fn a_batch_has_rows_for_every_process() {
    let images = images(&settings(1));
    let place = tempfile::tempdir().expect("a temporary folder");
    let settings = |_| {
        let mut config = settings(1);
        config.train.batch_size = 2;
        config
    };
    for result in train_together(&place.path().join("run"), 3, &settings, &images, &|_, _| false) {
        let message = result.expect_err("two rows for three");
        assert!(message.contains("[train] batch_size is 2, too small for 3 processes"), "{message}");
    }
}
