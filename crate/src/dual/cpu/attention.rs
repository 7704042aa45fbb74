//! Attention with exponentials that are vectors.

use burn::tensor::Tensor;

use super::lanes::{Function, Lanes, fold, map, sum};
use super::packed::{Matrix, Packed, matrix};
use super::product::product;
use super::{read, write};

/// `softmax(q kᵀ / √d) v` in the browser.
///
/// # Shapes
/// `[batch, heads, tokens, d]` each, and the same; the values lie in the order `[batch, tokens, heads, d]`, as the layer
/// after it wants them.
pub fn attend(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>) -> Option<Tensor<4>> {
    // Natively burn's product is faster.
    if cfg!(not(target_family = "wasm")) {
        return None;
    }
    attend_here(q, k, v)
}

fn attend_here(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>) -> Option<Tensor<4>> {
    let shape @ [batch, heads, tokens, width] = q.dims();
    let parts = [read(q)?, read(k)?, read(v)?];
    let others = parts[1].layout().shape()[2];
    let strides = [tokens * heads * width, width, heads * width, 1];
    let scale = (width as f32).sqrt().recip();
    let mut out = vec![0.0; batch * heads * tokens * width];
    let mut scores = vec![0.0; tokens * others];
    for (picture, head) in (0..batch).flat_map(|picture| (0..heads).map(move |head| (picture, head))) {
        let [q, k, v] = parts.each_ref().map(|part| matrix(part, &[picture, head]));
        let transposed =
            Matrix { next_row: k.next_column, next_column: k.next_row, rows: k.columns, columns: k.rows, ..k };
        product(q, &Packed::new(transposed), |row, column, sums| {
            scores[row * others + column..][..sums.len()].copy_from_slice(sums);
        });
        scores.chunks_exact_mut(others).for_each(|row| softmax(row, scale));
        let p = Matrix { values: &scores, next_row: others, next_column: 1, rows: tokens, columns: others };
        let out = &mut out[picture * strides[0] + head * strides[1]..];
        product(p, &Packed::new(v), |row, column, sums| {
            out[row * strides[2] + column..][..sums.len()].copy_from_slice(sums);
        });
    }
    Some(write(out, shape, strides))
}

/// Softmax of a row times `scale`, in place.
pub fn softmax(row: &mut [f32], scale: f32) {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let most = fold(row, f32::NEG_INFINITY, larger, larger);
    map(row, Exp { scale: Lanes::splat(scale), shift: Lanes::splat(-scale * most) });
    let whole = sum(row).recip();
    row.iter_mut().for_each(|x| *x *= whole);
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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn attention_is_that_of_burn_also_on_views() {
        let device = Device::flex();
        for (batch, heads, tokens, width) in [(1, 1, 1, 1), (2, 3, 7, 5), (2, 6, 64, 32)] {
            let part = || {
                let drawn = Tensor::<4>::random([batch, tokens, heads, width], Distribution::Default, &device);
                (drawn * 6.0 - 3.0).swap_dims(1, 2)
            };
            let [q, k, v] = [part(), part(), part()];
            let ours = attend_here(&q, &k, &v).expect("it is the CPU");
            let theirs = burn::tensor::module::attention(q, k, v, None, None, Default::default());
            let apart = (ours - theirs).abs().max().try_into_scalar::<f32>().expect("a number");
            assert!(apart < 1e-5, "{batch} × {heads} × {tokens} × {width}: {apart}");
        }
    }
}
