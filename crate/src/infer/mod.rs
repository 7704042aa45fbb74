//! Inference for the page, without burn: on the CPU ([`cpu`]) and on WebGPU ([`webgpu`]), and as an ONNX graph.
//!
//! A network is written once here, over a handful of operations (`ops`) that each engine has in its own way: its
//! forward in `dit` and `in_context`, what conditions it in `conditions`. So is the loop over times and batches
//! (`sampler`). A network's layers are places in the list of its parameters (`layers`). The networks of `net` stay the
//! definition, and the tests hold these engines to them.

mod conditions;
#[cfg(feature = "cpu")]
pub mod cpu;
mod dit;
mod in_context;
mod layers;
mod network;
#[cfg(feature = "train")]
pub mod onnx;
mod ops;
mod sampler;
#[cfg(feature = "webgpu")]
pub mod webgpu;
pub(crate) mod weights;

pub use network::needs_fallback;
pub use sampler::DrawOptions;
