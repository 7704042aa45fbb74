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
//! [`dual`] is forward mode, [`net`] the network written over it, [`flow`] the method, [`weights`] the file format,
//! [`generator`] a loaded model; `gpu` and `cpu` are the page's engines, without burn; `train`, `eval` and `import`
//! (native only) are the training half, its measure, and checkpoints of other programs.

pub mod class;
#[cfg(feature = "page")]
mod condition;
#[cfg(feature = "cpu")]
pub mod cpu;
pub mod device;
pub mod dual;
pub mod error;
pub mod flow;
pub mod generator;
pub mod image;
#[cfg(any(feature = "flex", feature = "page"))]
// Each build takes those that it needs.
#[cfg_attr(not(all(feature = "cpu", feature = "flex")), allow(dead_code, unused_imports))]
mod kernels;
pub mod net;
pub mod rng;
pub mod weights;

#[cfg(feature = "train")]
pub mod eval;
#[cfg(feature = "webgpu")]
pub mod gpu;
#[cfg(feature = "train")]
pub mod import;
#[cfg(feature = "train")]
pub mod io;
#[cfg(feature = "train")]
pub mod latent;
#[cfg(feature = "train")]
pub mod onnx;
#[cfg(feature = "train")]
mod protobuf;
#[cfg(feature = "train")]
pub mod train;
#[cfg(target_family = "wasm")]
mod wasm;

pub use class::{Blend, Class};
pub use dual::Dual;
pub use error::Error;
pub use generator::Generator;
pub use net::{Net, NetConfig};
