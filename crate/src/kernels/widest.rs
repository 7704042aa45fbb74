//! Loops compiled for the vectors of the processor that a program runs on, which are wider than those that it was
//! compiled for.

use pulp::{Arch, Simd, WithSimd};

use super::Work;

/// Runs `work`.
pub fn widest<W: Work>(work: W) -> W::Output {
    Arch::new().dispatch(Widest(work))
}

struct Widest<W>(W);

impl<W: Work> WithSimd for Widest<W> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> W::Output {
        self.0.run()
    }
}
