//! The page's CPU engine: inference alone, of `crate::kernels`.
//!
//! [`crate::net`] stays the one definition of the network and the tests hold this engine to it. It is what a visitor
//! waits for first: without burn it is a small download, and it reads weights into the very form that it multiplies
//! with. What depends on no pixel (times and class) is computed once and kept; a picture takes no memory that was not
//! there before.
//!
//! `network` holds a model's layers, `generator` answers requests, `loader` lays weights out while they are downloaded,
//! which `streaming` reads.

mod generator;
mod loader;
mod network;
mod scratch;
mod streaming;

pub use generator::CpuGenerator;
pub use loader::WeightsLoader;
pub use network::warm_up;
