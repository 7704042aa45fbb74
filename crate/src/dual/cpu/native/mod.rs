//! What only native builds have: products by faer, and passes on all cores.

mod faer;
mod pass;

pub use faer::{attend as attend_dense, multiply};
pub use pass::{for_each, in_chunks, in_parallel, in_thread_pool, zeros};
