//! The place of [`native`](super::native) in builds for the browser: one thread, and the kernels' own products.

use burn::tensor::{Device, Tensor};

use crate::kernels::{Matrix, Packed, product};

pub fn attend_dense(_: &Tensor<4>, _: &Tensor<4>, _: &Tensor<4>) -> Option<Tensor<4>> {
    None
}

/// Runs `work`.
pub fn in_thread_pool<T>(_: &Device, work: impl FnOnce() -> T) -> T {
    work()
}

/// What `work` gives for every index below `count`.
pub fn in_parallel<T>(count: usize, work: impl Fn(usize) -> T) -> Vec<T> {
    (0..count).map(work).collect()
}

/// Does `work` for each item.
#[allow(dead_code, reason = "most builds for browsers do not train")]
pub fn for_each<T>(items: Vec<T>, work: impl Fn(T)) {
    items.into_iter().for_each(work);
}

/// Calls `change` with all rows.
pub fn in_chunks(values: &mut [f32], _: usize, change: impl Fn(usize, &mut [f32])) {
    change(0, values);
}

#[allow(dead_code, reason = "most builds for browsers do not train")]
pub fn zeros(count: usize) -> Vec<f32> {
    vec![0.0; count]
}

/// Multiplications of a product for which its factors are worth packing.
#[allow(dead_code, reason = "most builds for browsers do not train")]
const WORTH_PACKING: usize = 512;

/// The products of pairs of matrices by our kernel, one after the other in `out`, or added to what is there.
#[allow(dead_code, reason = "most builds for browsers do not train")]
pub fn multiply<'a>(
    out: &mut [f32],
    [rows, columns]: [usize; 2],
    adds: bool,
    work: usize,
    pairs: impl Fn(usize) -> [Matrix<'a>; 2],
) {
    let (mut packed, mut scratch) = (Packed::default(), Vec::new());
    for (i, out) in out.chunks_exact_mut(rows * columns).enumerate() {
        let [a, b] = pairs(i);
        if work < WORTH_PACKING {
            for (at, out) in out.iter_mut().enumerate() {
                let row = a.values[at / columns * a.next_row..].iter().step_by(a.next_column);
                let column = b.values[at % columns * b.next_column..].iter().step_by(b.next_row);
                let sum = row.zip(column).take(a.columns).map(|(a, b)| a * b).sum::<f32>();
                *out = if adds { *out + sum } else { sum };
            }
            continue;
        }
        packed.refill(b);
        product(a, &packed, &mut scratch, |row, column, sums| {
            let out = &mut out[row * columns + column..][..sums.len()];
            match adds {
                true => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
                false => out.copy_from_slice(sums),
            }
        });
    }
}
