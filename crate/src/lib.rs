//! # MeanFlow: one-step image generation
//!
//! Flow Matching learns the instantaneous velocity `v` of a flow from noise to data and integrates it in many network
//! calls. MeanFlow (Geng, Deng, Bai, Kolter, He 2025, arXiv 2505.13447) learns the *average* velocity
//!
//! ```text
//! u(z, r, t) = 1/(t − r) ∫ᵣᵗ v(z_τ, τ) dτ        so that        x = e − u(e, 0, 1)
//! ```
//!
//! in one call. Its training target is the MeanFlow identity `u = v − (t − r) du/dt`, whose total derivative is a
//! Jacobian-vector product of the network along `(v, 0, 1)` for `(z, r, t)`.
//!
//! | letter | meaning |
//! |---|---|
//! | `x`, `e` | data, noise |
//! | `t`, `r` | where we stand, where we land: `0 ≤ r ≤ t ≤ 1`, **0 is data, 1 is noise** |
//! | `z` | `(1 − t) x + t e` |
//! | `v` | instantaneous velocity `e − x` |
//! | `u` | average velocity, what the network learns |
//!
//! Images are `[batch, channels, height, width]` in `[−1, 1]`; times and labels are `[batch]`.
//!
//! | modules | what | feature |
//! |---|---|---|
//! | [`model`], [`rng`], [`error`](mod@error) | what all of them agree on: configuration, parameters, requests, weights | always |
//! | `infer` | the page's engines: inference without burn, on the CPU and WebGPU | `cpu`, `webgpu` |
//! | `dual`, `net`, `flow`, `generator` | the method over burn: forward mode, networks, objectives and solvers | `burn` |
//! | `learn` | a step of training, and points in the plane that are learnt | `learn` |
//! | `data`, `train`, `eval`, `import`, `latent`, `io` | the native half: training, its measure, checkpoints of others | `train` |

pub mod error;
pub mod model;
pub mod rng;

#[cfg(feature = "page")]
pub mod infer;
#[allow(dead_code, unused_imports, reason = "each build takes those that it needs")]
mod kernels;

#[cfg(feature = "burn")]
pub mod device;
#[cfg(feature = "burn")]
pub mod dual;
#[cfg(feature = "burn")]
pub mod flow;
#[cfg(feature = "burn")]
pub mod generator;
#[cfg(feature = "burn")]
pub mod net;

#[cfg(feature = "train")]
pub mod data;
#[cfg(feature = "train")]
pub mod eval;
#[cfg(feature = "train")]
pub mod import;
#[cfg(feature = "train")]
pub mod io;
#[cfg(feature = "train")]
pub mod latent;
#[cfg(feature = "learn")]
pub mod learn;
#[cfg(feature = "train")]
pub mod train;

#[cfg(target_family = "wasm")]
#[cfg_attr(feature = "learn", path = "wasm/laboratory.rs")]
mod wasm;

pub use error::Error;
pub use model::{Blend, Condition, NetConfig};
#[cfg(feature = "burn")]
pub use {dual::Dual, generator::Generator, net::Net};
