//! Matrix products by faer, on all cores.

use burn::tensor::Tensor;
use faer::linalg::matmul::matmul as product;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::super::packed::{matrix, multipliable};
use super::super::{read, write};
use super::pass::WORTH_SHARING;
use crate::kernels::Matrix;
use crate::kernels::attention::softmax;

/// Multiplications of one product for which a second core is worth waking: its parts wait for one another, and a core
/// does so many in a tenth of a millisecond.
const WORTH_SPLITTING: usize = 10_000_000;

/// The products of pairs of matrices, one after the other in `out`, or added to what is there; `work` is the
/// multiplications of each.
pub fn multiply<'a>(
    out: &mut [f32],
    [rows, columns]: [usize; 2],
    adds: bool,
    work: usize,
    pairs: impl Fn(usize) -> [Matrix<'a>; 2] + Sync,
) {
    let start = if adds { Accum::Add } else { Accum::Replace };
    let one = |i: usize, out: &mut [f32], par: Par| {
        let [a, b] = pairs(i).map(view);
        product(MatMut::from_row_major_slice_mut(out, rows, columns), start, a, b, 1.0, par);
    };
    let size = rows * columns;
    match (out.len() / size, out.len() / size * work < WORTH_SHARING) {
        (1, _) => one(0, out, if work < WORTH_SPLITTING { Par::Seq } else { Par::rayon(0) }),
        (_, true) => out.chunks_exact_mut(size).enumerate().for_each(|(i, out)| one(i, out, Par::Seq)),
        (_, false) => out.par_chunks_exact_mut(size).enumerate().for_each(|(i, out)| one(i, out, Par::Seq)),
    }
}

/// [`attend`](super::super::attention::attend) natively, a head at a time.
pub fn attend(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>) -> Option<Tensor<4>> {
    let shape @ [batch, heads, tokens, width] = q.dims();
    let parts = [read(q)?, read(k)?, read(v)?].map(|part| multipliable(&part));
    let (others, scale) = (k.dims()[2], (width as f32).sqrt().recip());
    let strides = [tokens * heads * width, width, heads * width, 1];
    let mut out = vec![0.0; batch * strides[0]];
    let picture = |i: usize, out: &mut [f32]| {
        let mut scores = vec![0.0; tokens * others];
        for head in 0..heads {
            let [q, k, v] = parts.each_ref().map(|part| view(matrix(part, &[i, head])));
            let all = MatMut::from_row_major_slice_mut(&mut scores, tokens, others);
            product(all, Accum::Replace, q, k.transpose(), 1.0, Par::Seq);
            scores.chunks_exact_mut(others).for_each(|row| softmax(row, scale));
            let shares = MatRef::from_row_major_slice(&scores, tokens, others);
            // By its transpose: of a slice to write to, faer 0.24 confuses rows with columns.
            let out = &mut out[head * width..];
            let out = MatMut::from_column_major_slice_with_stride_mut(out, width, tokens, strides[2]).transpose_mut();
            product(out, Accum::Replace, shares, v, 1.0, Par::Seq);
        }
    };
    out.par_chunks_exact_mut(strides[0].max(1)).enumerate().for_each(|(i, out)| picture(i, out));
    Some(write(out, shape, strides))
}

fn view(x: Matrix) -> MatRef<f32> {
    let Matrix { values, next_row, next_column, rows, columns } = x;
    match next_column {
        1 => MatRef::from_row_major_slice_with_stride(values, rows, columns, next_row),
        _ => MatRef::from_column_major_slice_with_stride(values, rows, columns, next_column),
    }
}
