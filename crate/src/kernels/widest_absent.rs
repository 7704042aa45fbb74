//! The place of wide vectors in builds for the browser, whose vectors are all of one width.

use super::Work;

/// Runs `work`.
#[inline(always)]
pub fn widest<W: Work>(work: W) -> W::Output {
    work.run()
}
