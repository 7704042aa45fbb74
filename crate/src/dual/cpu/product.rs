//! Matrix products from packed panels.
//!
//! burn's come from the `gemm` crate, which is hard to beat natively; in the browser it knows no fused multiplications, and
//! its tiles are more than the compiler there keeps in registers.

use burn::nn::Linear;
use burn::tensor::Tensor;

use super::lanes::{Lanes, WIDTH};
use super::packed::{Matrix, Packed, packed};
use super::{read, read_in_order, values, write_in_order};

/// Rows of a tile.
const ROWS: usize = 2;
/// Columns of a tile: with [`ROWS`], eight sums. Browsers keep those in registers, and no more than a few besides.
pub const COLUMNS: usize = 4 * WIDTH;
/// Rows that are packed at once: they stay in the second level of cache while every panel of columns passes.
const BLOCK: usize = 256;

/// `x W + b` in the browser.
///
/// # Shapes
/// `[.., d_input]` → `[.., d_output]`.
pub fn linear<const D: usize>(x: &Tensor<D>, layer: &Linear) -> Option<Tensor<D>> {
    // Natively burn's product is faster.
    if cfg!(not(target_family = "wasm")) {
        return None;
    }
    affine(x, &layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}

/// [`linear`] by its parameters.
fn affine<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>, bias: Option<Tensor<1>>) -> Option<Tensor<D>> {
    let [inner, columns] = weight.dims();
    let mut shape = x.dims();
    let (x, weight) = (read_in_order(x)?, packed(&read(weight)?));
    let bias = match bias {
        Some(bias) => Some(read_in_order(&bias)?),
        None => None,
    };
    let bias = bias.as_ref().map_or(&[] as &[f32], values);
    let a =
        Matrix { values: values(&x), next_row: inner, next_column: 1, rows: values(&x).len() / inner, columns: inner };
    let mut out = vec![0.0; a.rows * columns];
    product(a, &weight, |row, column, sums| {
        let out = &mut out[row * columns + column..][..sums.len()];
        match bias.get(column..column + sums.len()) {
            Some(bias) => out.iter_mut().zip(sums).zip(bias).for_each(|((out, sum), bias)| *out = sum + bias),
            None => out.copy_from_slice(sums),
        }
    });
    shape[D - 1] = columns;
    Some(write_in_order(out, shape))
}

/// `a b`, given to `emit` in pieces of rows: row, first column, up to [`COLUMNS`] sums.
#[cfg_attr(all(target_arch = "wasm32", feature = "relaxed"), target_feature(enable = "relaxed-simd"))]
pub fn product(a: Matrix, b: &Packed, mut emit: impl FnMut(usize, usize, &[f32])) {
    let inner = a.columns;
    let mut rows = vec![0.0; BLOCK.min(a.rows.next_multiple_of(ROWS)) * inner];
    for block in (0..a.rows).step_by(BLOCK) {
        let count = BLOCK.min(a.rows - block);
        pack_rows(a, block, count, &mut rows);
        for (panel, column) in b.panels.chunks_exact(COLUMNS * inner).zip((0..b.columns).step_by(COLUMNS)) {
            let width = COLUMNS.min(b.columns - column);
            for (i, pair) in rows.chunks_exact(ROWS * inner).take(count.div_ceil(ROWS)).enumerate() {
                let sums = tile(pair, panel);
                for (row, sums) in sums.iter().enumerate().take(count - i * ROWS) {
                    emit(block + i * ROWS + row, column, &sums.as_flattened()[..width]);
                }
            }
        }
    }
}

/// The sums of one tile, rows of lanes. Unrolled further it would be slower: browsers run out of registers.
#[inline(always)]
fn tile(rows: &[f32], columns: &[f32]) -> [[[f32; WIDTH]; COLUMNS / WIDTH]; ROWS] {
    let mut sums = [[Lanes::splat(0.0); COLUMNS / WIDTH]; ROWS];
    for (a, b) in rows.as_chunks::<ROWS>().0.iter().zip(columns.as_chunks::<COLUMNS>().0) {
        let b = lanes(b);
        for (sums, a) in sums.iter_mut().zip(a) {
            let a = Lanes::splat(*a);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = a.mul_add(b, *sum);
            }
        }
    }
    sums.map(|sums| sums.map(Lanes::store))
}

#[inline(always)]
fn lanes(values: &[f32; COLUMNS]) -> [Lanes; COLUMNS / WIDTH] {
    let parts = values.as_chunks::<WIDTH>().0;
    std::array::from_fn(|i| Lanes::load(&parts[i]))
}

/// `count` rows from `first`, [`ROWS`] interleaved; a row that is missing at the end is the one before it.
fn pack_rows(a: Matrix, first: usize, count: usize, packed: &mut [f32]) {
    for (i, pair) in packed.chunks_exact_mut(ROWS * a.columns).enumerate().take(count.div_ceil(ROWS)) {
        let [one, two] = std::array::from_fn(|row| &a.values[(first + (i * ROWS + row).min(count - 1)) * a.next_row..]);
        let slots = pair.as_chunks_mut::<ROWS>().0.iter_mut();
        if a.next_column == 1 {
            slots.zip(one.iter().zip(two)).for_each(|(slot, (one, two))| *slot = [*one, *two]);
        } else {
            let step = a.next_column;
            slots
                .zip(one.iter().step_by(step).zip(two.iter().step_by(step)))
                .for_each(|(slot, (one, two))| *slot = [*one, *two]);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn a_linear_layer_is_that_of_burn_at_odd_sizes() {
        let device = Device::flex();
        for (rows, inner, columns) in [(1, 1, 1), (1, 192, 1152), (3, 5, 17), (64, 192, 64), (2 * BLOCK + 3, 33, 50)] {
            let layer = LinearConfig::new(inner, columns).init(&device);
            let x = Tensor::<3>::random([1, rows, inner], Distribution::Default, &device);
            let ours =
                affine(&x, &layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val())).expect("it is the CPU");
            // The same weights, lying by columns.
            let turned = layer.weight.val().transpose().mul_scalar(1.0).transpose();
            let again = affine(&x, &turned, layer.bias.as_ref().map(|bias| bias.val())).expect("it is the CPU");
            assert_eq!(ours.clone().into_data(), again.into_data());
            let apart = (ours - layer.forward(x)).abs().max().try_into_scalar::<f32>().expect("a number");
            assert!(apart < 2e-6, "{rows} × {inner} × {columns}: {apart}");
        }
    }

    #[test]
    fn a_view_is_read_as_it_stands() {
        let device = Device::flex();
        let x = Tensor::<3>::random([4, 6, 8], Distribution::Default, &device).swap_dims(1, 2);
        let weight = Tensor::<2>::random([5, 6], Distribution::Default, &device).transpose();
        let ours = affine(&x, &weight, None).expect("it is the CPU");
        let apart = (ours - x.clone().matmul(weight.clone().unsqueeze())).abs().max();
        assert!(apart.try_into_scalar::<f32>().expect("a number") < 1e-6);
        assert!(affine(&x.autodiff(), &weight, None).is_none(), "what is on the tape stays there");
    }
}
