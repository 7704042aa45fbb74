//! A run in a browser while it trains: its newest weights, its newest samples, and how far it is.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Result;
use meanflow::generator::Generator;
use meanflow::model::weights::Precision;
use meanflow::train::{CheckpointSelector, PRIMARY_EMA, RunFolder, TrainConfig};
use meanflow::{device, io};
use serde::Serialize;

use super::{find, read_inside};
use crate::site::{Files, POLICY, STYLE, Site, check_model, fill};

const PAGE: &str = concat!(include_str!("../site/head.html"), include_str!("run.html"));
const SCRIPT: &str = include_str!("run.js");
/// Weights that can be asked for: the newest, and those before, which a page may still be downloading.
const KEPT: usize = 2;

/// A run that is shown.
pub(super) struct LiveRun {
    folder: PathBuf,
    run: RunFolder,
    name: String,
    steps: u64,
    files: Files,
    weights: Mutex<Weights>,
}

/// Weights files of a run's newest checkpoints.
#[derive(Default)]
struct Weights {
    /// The checkpoint that was looked at last, and when it was written.
    checkpoint: Option<(u64, Option<SystemTime>)>,
    /// With the step of each; the newest last.
    files: Vec<(u64, String, Vec<u8>)>,
    /// How many there have been: an address never means other weights than before.
    count: usize,
    /// Why there are none of the newest checkpoint.
    problem: Option<String>,
}

/// What the page asks for again and again.
#[derive(Serialize)]
struct State {
    name: String,
    /// Steps done, of the last line of the log.
    step: Option<u64>,
    /// Steps to be done.
    steps: u64,
    /// Whether a process trains the run now.
    training: bool,
    images_per_second: Option<f64>,
    /// Addresses, and the step that each is of.
    weights: Option<Address>,
    samples: Option<Address>,
    /// Why the newest checkpoint is not shown.
    problem: Option<String>,
}

#[derive(Serialize)]
struct Address {
    address: String,
    step: u64,
}

impl LiveRun {
    pub(super) fn new(folder: &Path, run: RunFolder, config: &TrainConfig, site: Site) -> Self {
        let mut files = site.into_files();
        let name = io::xml(&config.name);
        let page = fill(PAGE, &[("policy", POLICY), ("name", &name)]);
        files.extend([
            ("run.js".into(), SCRIPT.into()),
            ("page.css".into(), STYLE.into()),
            ("index.html".into(), page.into()),
        ]);
        Self {
            folder: folder.to_path_buf(),
            run,
            name: config.name.clone(),
            steps: config.train.steps,
            files,
            weights: Mutex::default(),
        }
    }

    /// The file of a path.
    pub(super) fn file(&self, path: &str) -> Option<Vec<u8>> {
        if path == "state.json" {
            return serde_json::to_vec(&self.state()).ok();
        }
        if path.starts_with("samples/") {
            return path.ends_with(".png").then(|| read_inside(&self.folder, path))?;
        }
        if path.starts_with("weights/") {
            let weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
            return weights.files.iter().find(|(_, name, _)| name == path).map(|(.., bytes)| bytes.clone());
        }
        find(&self.files, path)
    }

    fn state(&self) -> State {
        let record = self.run.last_record();
        let figure = |key: &str| record.as_ref()?.get(key)?.as_f64();
        let samples = self.run.newest_samples().and_then(|(step, file)| {
            let name = file.file_name()?.to_str()?;
            Some(Address { address: format!("samples/{name}"), step })
        });
        let mut weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut weights);
        State {
            name: self.name.clone(),
            step: figure("step").map(|step| step as u64),
            steps: RunFolder::open(&self.folder).map_or(self.steps, |(_, config)| config.train.steps),
            training: self.run.is_training(),
            images_per_second: figure("images_per_second"),
            weights: weights.files.last().map(|(step, name, _)| Address { address: name.clone(), step: *step }),
            samples,
            problem: weights.problem.clone(),
        }
    }

    /// Makes a weights file of the newest checkpoint, unless there is one.
    fn refresh(&self, weights: &mut Weights) {
        let newest = match self.run.newest_checkpoint() {
            Ok(newest) => newest,
            Err(error) => return weights.problem = Some(format!("{error:#}")),
        };
        let checkpoint =
            newest.map(|(step, path)| (step, path.metadata().and_then(|metadata| metadata.modified()).ok()));
        if checkpoint.is_none() || checkpoint == weights.checkpoint {
            return;
        }
        weights.checkpoint = checkpoint;
        match self.convert() {
            Ok((step, bytes)) => {
                weights.count += 1;
                weights.files.push((step, format!("weights/step-{step:08}-{}.safetensors", weights.count), bytes));
                let old = weights.files.len().saturating_sub(KEPT);
                weights.files.drain(..old);
                weights.problem = None;
            }
            Err(error) => weights.problem = Some(format!("{error:#}")),
        }
    }

    /// The step and the weights file of the newest checkpoint that reads.
    fn convert(&self) -> Result<(u64, Vec<u8>)> {
        let device = device::cpu();
        let warn = |text| note!("warning: {text}");
        let (net, info) = self.run.averaged(CheckpointSelector::Newest, PRIMARY_EMA, &device, warn)?;
        check_model(&info)?;
        let step = info.training.step;
        Ok((step, Generator::new(net, info, &device).to_bytes(Precision::F16)?))
    }
}
