//! Attention with exponentials that are vectors.

use super::SimdKernel;
use super::lanes::{Function, Lanes, Map, fold, sum};
use super::packed::{Matrix, Packed};
use super::product::product;
use super::simd_dispatch::simd_dispatch;

/// Memory that attention works in.
#[derive(Debug, Default)]
pub struct AttentionScratch {
    scores: Vec<f32>,
    packed: Packed,
    rows: Vec<f32>,
}

/// `softmax(q kᵀ / √d) v` of one head, into rows that are `next_row` apart.
///
/// # Shapes
/// `q`: `[tokens, d]`; `k`, `v`: `[others, d]`; `out`: `[tokens, d]`.
#[inline(never)]
pub fn attend(q: Matrix, k: Matrix, v: Matrix, scratch: &mut AttentionScratch, out: &mut [f32], next_row: usize) {
    let AttentionScratch { scores, packed, rows } = scratch;
    let (others, scale) = (k.rows, (q.columns as f32).sqrt().recip());
    scores.resize(q.rows * others, 0.0);
    packed.refill(k.transposed());
    product(q, packed, rows, |row, column, sums| {
        scores[row * others + column..][..sums.len()].copy_from_slice(sums);
    });
    scores.chunks_exact_mut(others).for_each(|row| softmax(row, scale));
    packed.refill(v);
    product(Matrix::of_rows(scores, others), packed, rows, |row, column, sums| {
        out[row * next_row + column..][..sums.len()].copy_from_slice(sums);
    });
}

/// Softmax of a row times `scale`, in place.
#[cfg_attr(all(target_arch = "wasm32", feature = "relaxed"), target_feature(enable = "relaxed-simd"))]
pub fn softmax(row: &mut [f32], scale: f32) {
    simd_dispatch(Softmax { row, scale });
}

struct Softmax<'a> {
    row: &'a mut [f32],
    scale: f32,
}

impl SimdKernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { row, scale } = self;
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let most = fold(row, f32::NEG_INFINITY, larger, larger);
        let function = Exp { scale: Lanes::splat(scale), shift: Lanes::splat(-scale * most) };
        Map { values: row, function }.run();
        let whole = sum(row).recip();
        row.iter_mut().for_each(|x| *x *= whole);
    }
}

/// `e^(scale x + shift)`.
struct Exp {
    scale: Lanes,
    shift: Lanes,
}

impl Function for Exp {
    #[inline(always)]
    fn of(&self, x: Lanes) -> Lanes {
        x.mul_add(self.scale, self.shift).exp()
    }
}
