//! The place of wide vectors in builds for the browser, whose vectors are all of one width.

use super::SimdKernel;

/// Runs `work`.
#[inline(always)]
pub fn simd_dispatch<W: SimdKernel>(work: W) -> W::Output {
    work.run()
}
