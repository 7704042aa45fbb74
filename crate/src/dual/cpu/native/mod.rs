//! What only native builds have: products by faer, passes on all cores, the same layers on the autodiff tape.

mod dense;
mod pass;
mod tape;

pub use dense::{attend as attend_dense, linear as linear_dense, matmul};
pub use pass::{for_each, in_chunks, in_parallel, in_thread_pool};
pub use tape::apply;
