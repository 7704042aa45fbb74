//! Inference for the page, without burn: a Diffusion Transformer on the CPU ([`cpu`]) and on WebGPU ([`webgpu`]), and as
//! an ONNX graph.
//!
//! The networks of `net` stay the definition, and the tests hold these engines to them.

mod conditions;
#[cfg(feature = "cpu")]
pub mod cpu;
#[cfg(feature = "train")]
pub mod onnx;
#[cfg(feature = "webgpu")]
pub mod webgpu;
pub(crate) mod weights;

pub use conditions::needs_fallback;
