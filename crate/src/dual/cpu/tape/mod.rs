//! What trains: the same layers on the autodiff tape, with backward passes of their own, and matrix products on the tape
//! and off it.

mod dense;
mod layers;

pub use dense::{linear, matmul};
pub use layers::apply;
