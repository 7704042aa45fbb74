//! Loops compiled for the vectors of the processor that a program runs on, which are wider than those that it was
//! compiled for.

use pulp::{Arch, Simd, WithSimd};

use super::SimdKernel;

/// Runs `work`.
pub fn simd_dispatch<W: SimdKernel>(work: W) -> W::Output {
    Arch::new().dispatch(Dispatched(work))
}

struct Dispatched<W>(W);

impl<W: SimdKernel> WithSimd for Dispatched<W> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> W::Output {
        self.0.run()
    }
}

/// Bits of the vectors that loops are compiled for here.
pub fn vector_bits() -> usize {
    Arch::new().dispatch(VectorBits)
}

struct VectorBits;

impl WithSimd for VectorBits {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        8 * size_of::<S::f32s>()
    }
}
