//! The page's GPU engine: inference alone, in a handful of fused WGSL kernels on [`wgpu`].
//!
//! `net` stays the one definition of the network and the tests hold this engine to it. A call of a Diffusion
//! Transformer is `2 + 5 depth` dispatches: what a layer reads, normalises, modulates, adds and activates is fused into
//! the matrix product before or after it. What depends on no pixel (times and class) is computed once and kept
//! (`crate::infer::conditions`); bind groups, pipelines and buffers are made when a model or a larger batch comes, and
//! serve all later pictures.
//!
//! `device` opens the GPU and hears of its loss, `tensors` and `matrix` lay weights out, `kernels` compiles the WGSL,
//! `network` holds a model's layers, `recorder` makes dispatches of a network call, `workspace` has them and the
//! buffers of a batch, `generator` answers requests. Natively `survey` counts what a call asks of a GPU.

mod device;
mod generator;
mod kernels;
mod matrix;
mod network;
mod recorder;
#[cfg(feature = "train")]
mod survey;
pub(crate) mod tensors;
#[cfg(all(test, feature = "train"))]
mod tests;
pub(crate) mod wgsl;
mod workspace;

pub use device::Gpu;
pub use generator::GpuGenerator;
#[cfg(feature = "train")]
pub use survey::{DispatchCounts, Survey};
