//! Kernels for the CPU on slices, in vectors of four: matrix products from packed panels, attention, activations,
//! normalisation.
//!
//! The page's CPU engine ([`crate::infer::cpu`]) is made of them, and burn's CPU backend takes them where its own are
//! slower ([`crate::dual`]). Nothing in here is of this program, so that it could live in `burn-flex`.

pub mod attention;
pub mod lanes;
mod packed;
mod product;
pub mod rows;
#[cfg_attr(not(feature = "train"), path = "simd_dispatch_stub.rs")]
mod simd_dispatch;

pub use packed::{Matrix, Packed};
pub use product::{COLUMNS, product};
#[cfg(feature = "train")]
pub use simd_dispatch::vector_bits;

/// What vectors make faster, for [`simd_dispatch::simd_dispatch`]. No closure: all that it calls must be taken into it,
/// to be compiled as it is.
trait SimdKernel {
    type Output;

    /// Does it; `#[inline(always)]`.
    fn run(self) -> Self::Output;
}
