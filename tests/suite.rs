//! Every Rust test in one binary: one link, many files.
// Tests write into folders of their own, and print for those who run them.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

#[path = "rust/augmentation.rs"]
mod augmentation;
#[path = "rust/checkpoint.rs"]
mod checkpoint;
#[path = "rust/cli.rs"]
mod cli;
#[path = "rust/data.rs"]
mod data;
#[path = "rust/data_kinds.rs"]
mod data_kinds;
#[path = "rust/density.rs"]
mod density;
#[cfg(unix)]
#[path = "rust/documents.rs"]
mod documents;
#[path = "rust/dual.rs"]
mod dual;
#[path = "rust/engine.rs"]
mod engine;
#[path = "rust/evaluation.rs"]
mod evaluation;
#[path = "rust/examples.rs"]
mod examples;
#[path = "rust/files.rs"]
mod files;
#[path = "rust/flow.rs"]
mod flow;
#[path = "rust/fuzz.rs"]
mod fuzz;
#[path = "rust/gpu.rs"]
mod gpu;
#[path = "rust/guidance.rs"]
mod guidance;
#[path = "rust/hostile.rs"]
mod hostile;
#[path = "rust/kill.rs"]
mod kill;
#[path = "rust/latent.rs"]
mod latent;
#[path = "rust/layers.rs"]
mod layers;
#[path = "rust/net.rs"]
mod net;
#[path = "rust/networks.rs"]
mod networks;
#[path = "rust/noise_scale.rs"]
mod noise_scale;
#[path = "rust/objective.rs"]
mod objective;
#[path = "rust/objective_parity.rs"]
mod objective_parity;
#[path = "rust/optimization.rs"]
mod optimization;
#[path = "rust/optimizer_parity.rs"]
mod optimizer_parity;
#[path = "rust/oracle.rs"]
mod oracle;
#[path = "rust/parity.rs"]
mod parity;
#[path = "rust/parity_log.rs"]
mod parity_log;
#[path = "rust/playground.rs"]
mod playground;
#[path = "rust/reproduction.rs"]
mod reproduction;
#[path = "rust/results.rs"]
mod results;
#[path = "rust/rng.rs"]
mod rng;
#[path = "rust/runs.rs"]
mod runs;
#[path = "rust/settings.rs"]
mod settings;
#[path = "rust/solver.rs"]
mod solver;
#[cfg(unix)]
#[path = "rust/stand_ins.rs"]
mod stand_ins;
#[path = "rust/support.rs"]
mod support;
#[path = "rust/threads.rs"]
mod threads;
#[path = "rust/train.rs"]
mod train;
#[path = "rust/train_objectives.rs"]
mod train_objectives;
#[path = "rust/weights.rs"]
mod weights;
