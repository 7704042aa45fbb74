//! Learning, step by step: what trains, without files, threads of its own or a command line, so that a page can train
//! too. A run with its folder, its log and its checkpoints is [`train`](crate::train), around the same [`Trainer`].

mod adamw;
pub(crate) mod batch;
mod config;
pub mod drawings;
mod draws;
mod ema;
mod gradients;
mod micro_batch;
pub(crate) mod muon;
mod optimization;
mod param_paths;
pub(crate) mod part;
pub mod playground;
mod precision;
pub(crate) mod process_group;
mod shared_step;
mod state;
pub(crate) mod trainer;

pub use adamw::AdamW;
pub use batch::Batch;
pub use config::TrainerConfig;
pub use ema::Ema;
pub use muon::{Muon, MuonParams, MuonScale, OptimizerShare};
pub use optimization::{Cooldown, EmaDecay, Optimization, OptimizerKind, PRIMARY_EMA};
pub use precision::MatmulPrecision;
pub use process_group::ProcessGroup;
pub use trainer::{StepStats, Trainer};
