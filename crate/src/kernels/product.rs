//! Matrix products from packed panels.

use super::lanes::{Lanes, WIDTH};
use super::packed::{Matrix, Packed};

/// Rows of a tile.
const ROWS: usize = 2;
/// Columns of a tile: with [`ROWS`], eight sums. Browsers keep those in registers, and no more than a few besides.
pub const COLUMNS: usize = 4 * WIDTH;
/// Rows that are packed at once: they stay in the second level of cache while every panel of columns passes.
const BLOCK: usize = 256;

/// `a b`, given to `emit` in pieces of rows: row, first column, up to [`COLUMNS`] sums. `rows` is memory to work in.
pub fn product(a: Matrix, b: &Packed, rows: &mut Vec<f32>, mut emit: impl FnMut(usize, usize, &[f32])) {
    let inner = a.columns;
    rows.resize(BLOCK.min(a.rows.next_multiple_of(ROWS)) * inner, 0.0);
    let mut sums = [[0.0; COLUMNS]; BLOCK];
    for block in (0..a.rows).step_by(BLOCK) {
        let count = BLOCK.min(a.rows - block);
        pack_rows(a, block, count, rows);
        for (panel, column) in b.panels.chunks_exact(COLUMNS * inner).zip((0..b.columns).step_by(COLUMNS)) {
            let width = COLUMNS.min(b.columns - column);
            tiles(&rows[..count.next_multiple_of(ROWS) * inner], panel, inner, &mut sums);
            sums.iter().take(count).enumerate().for_each(|(row, sums)| emit(block + row, column, &sums[..width]));
        }
    }
}

/// The sums of interleaved rows with a panel. Not inlined: in a function of its own the sums stay in registers, and
/// browsers compile it once for all products.
#[inline(never)]
#[cfg_attr(all(target_arch = "wasm32", feature = "relaxed"), target_feature(enable = "relaxed-simd"))]
fn tiles(rows: &[f32], panel: &[f32], inner: usize, sums: &mut [[f32; COLUMNS]]) {
    for (pair, sums) in rows.chunks_exact(ROWS * inner).zip(sums.as_chunks_mut::<ROWS>().0) {
        *sums = tile(pair, panel);
    }
}

/// The sums of one tile. Unrolled further it would be slower: browsers run out of registers.
#[inline(always)]
fn tile(rows: &[f32], columns: &[f32]) -> [[f32; COLUMNS]; ROWS] {
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
    sums.map(|row| {
        let mut out = [0.0; COLUMNS];
        out.as_chunks_mut::<WIDTH>().0.iter_mut().zip(row).for_each(|(out, sums)| *out = sums.store());
        out
    })
}

#[inline(always)]
fn lanes(values: &[f32; COLUMNS]) -> [Lanes; COLUMNS / WIDTH] {
    let parts = values.as_chunks::<WIDTH>().0;
    std::array::from_fn(|i| Lanes::load(&parts[i]))
}

/// `count` rows from `first`, [`ROWS`] interleaved; a row that is missing at the end is the one before it. One copy for
/// all products, as of [`tiles`].
#[inline(never)]
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
