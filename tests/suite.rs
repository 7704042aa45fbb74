//! Every Rust test in one binary: one link, many files.
// Tests write into folders of their own, and print for those who run them.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

#[path = "rust/train/augmentation.rs"]
mod augmentation;
#[path = "rust/import/checkpoint.rs"]
mod checkpoint;
#[path = "rust/bin/cli.rs"]
mod cli;
#[path = "rust/infer/cpu.rs"]
mod cpu;
#[path = "rust/data/data.rs"]
mod data;
#[path = "rust/data/data_kinds.rs"]
mod data_kinds;
#[path = "rust/flow/density.rs"]
mod density;
#[path = "rust/train/distributed.rs"]
mod distributed;
#[path = "rust/bin/doctor.rs"]
mod doctor;
#[cfg(unix)]
#[path = "rust/docs/documents.rs"]
mod documents;
#[path = "rust/train/drawings.rs"]
mod drawings;
#[path = "rust/dual/dual.rs"]
mod dual;
#[path = "rust/eval/evaluation.rs"]
mod evaluation;
#[path = "rust/docs/examples.rs"]
mod examples;
#[path = "rust/io/files.rs"]
mod files;
#[path = "rust/flow/flow.rs"]
mod flow;
#[path = "rust/io/fuzz.rs"]
mod fuzz;
#[path = "rust/infer/gpu.rs"]
mod gpu;
#[path = "rust/flow/guidance.rs"]
mod guidance;
#[path = "rust/io/hostile.rs"]
mod hostile;
#[path = "rust/train/kill.rs"]
mod kill;
#[path = "rust/data/latent.rs"]
mod latent;
#[path = "rust/data/layers.rs"]
mod layers;
#[path = "rust/train/memory.rs"]
mod memory;
#[path = "rust/net/net.rs"]
mod net;
#[path = "rust/net/networks.rs"]
mod networks;
#[path = "rust/model/noise_scale.rs"]
mod noise_scale;
#[path = "rust/flow/objective.rs"]
mod objective;
#[path = "rust/parity/objective_parity.rs"]
mod objective_parity;
#[path = "rust/train/optimization.rs"]
mod optimization;
#[path = "rust/parity/optimizer_parity.rs"]
mod optimizer_parity;
#[path = "rust/flow/oracle.rs"]
mod oracle;
#[path = "rust/parity/parity.rs"]
mod parity;
#[path = "rust/parity/parity_log.rs"]
mod parity_log;
#[path = "rust/bin/place.rs"]
mod place;
#[path = "rust/train/playground.rs"]
mod playground;
#[path = "rust/docs/release.rs"]
mod release;
#[path = "rust/docs/reproduction.rs"]
mod reproduction;
#[path = "rust/eval/results.rs"]
mod results;
#[path = "rust/model/rng.rs"]
mod rng;
#[path = "rust/train/runs.rs"]
mod runs;
#[path = "rust/bin/serve.rs"]
mod serve;
#[path = "rust/train/settings.rs"]
mod settings;
#[path = "rust/bin/shell.rs"]
mod shell;
#[path = "rust/flow/solver.rs"]
mod solver;
#[cfg(unix)]
#[path = "rust/docs/stand_ins.rs"]
mod stand_ins;
#[path = "rust/support.rs"]
mod support;
#[path = "rust/net/text.rs"]
mod text;
#[path = "rust/train/threads.rs"]
mod threads;
#[path = "rust/train/train.rs"]
mod train;
#[path = "rust/train/train_objectives.rs"]
mod train_objectives;
#[path = "rust/model/weights.rs"]
mod weights;
