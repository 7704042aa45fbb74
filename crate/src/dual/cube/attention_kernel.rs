//! Attention and its derivative in one pass over the keys: softmax as it goes (Milakov, Gimelshein 2018), so that no
//! matrix of scores is written.

use burn_cubecl::cubecl::{self, prelude::*};

/// Queries, and keys, that a cube of units works on at a time; it has a unit for each pair of them.
pub const TILE: usize = 16;

/// Numbers of shared memory that a cube takes for heads of this width.
pub const fn shared(width: usize) -> usize {
    4 * TILE * spacing(width) + 3 * TILE * TILE
}

/// From row to row in shared memory: one more than a row has, so that a column's numbers are in different banks.
const fn spacing(width: usize) -> usize {
    width.div_ceil(TILE) * TILE + 1
}

/// `o = softmax(scale q kᵀ) v` and its derivative. With `p` the weights before they are divided by their sum `Σ p`, and
/// `ds = scale (dq k + q dk)` of a pair, `do = (Σ p (ds v + dv) − Σ p ds · o) / Σ p`.
///
/// Each cube takes the queries of one tile, of one head of one picture.
///
/// # Shapes
/// `q`, `dq`, and, one number after the other, `value`, `tangent`: `[batch, heads, tokens, width]`; `k`, `dk`, `v`,
/// `dv`: `[batch, heads, others, width]`.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub fn attend(
    q: &Tensor<f32>,
    k: &Tensor<f32>,
    v: &Tensor<f32>,
    dq: &Tensor<f32>,
    dk: &Tensor<f32>,
    dv: &Tensor<f32>,
    value: &mut Tensor<f32>,
    tangent: &mut Tensor<f32>,
    scale: f32,
    #[comptime] width: usize,
) {
    let next = comptime!(spacing(width));
    let columns = comptime!(width.div_ceil(TILE));
    let mut queries = Shared::<[f32]>::new_slice(comptime!(TILE * next));
    let mut d_queries = Shared::<[f32]>::new_slice(comptime!(TILE * next));
    // First of the keys, then of the values.
    let mut rows = Shared::<[f32]>::new_slice(comptime!(TILE * next));
    let mut d_rows = Shared::<[f32]>::new_slice(comptime!(TILE * next));
    let mut scores = Shared::<[f32]>::new_slice(comptime!(TILE * TILE));
    let mut weights = Shared::<[f32]>::new_slice(comptime!(TILE * TILE));
    let mut rises = Shared::<[f32]>::new_slice(comptime!(TILE * TILE));
    let row = UNIT_POS_Y as usize;
    let lane = UNIT_POS_X as usize;
    let pair = row * TILE + lane;
    let others = k.shape(2);
    let first = CUBE_POS_X as usize * TILE;
    fill(q, first, &mut queries, width);
    fill(dq, first, &mut d_queries, width);

    let mut sums = Array::<f32>::new(columns);
    let mut d_sums = Array::<f32>::new(columns);
    #[unroll]
    for i in 0..columns {
        sums[i] = 0.0;
        d_sums[i] = 0.0;
    }
    let mut most = f32::min_value();
    let mut whole = 0.0f32;
    let mut rise = 0.0f32;
    for tile in 0..others.div_ceil(TILE) {
        sync_cube();
        fill(k, tile * TILE, &mut rows, width);
        fill(dk, tile * TILE, &mut d_rows, width);
        sync_cube();
        let mut score = 0.0f32;
        let mut d_score = 0.0f32;
        for c in 0..width {
            let query = queries[row * next + c];
            let key = rows[lane * next + c];
            score += query * key;
            d_score += d_queries[row * next + c] * key + query * d_rows[lane * next + c];
        }
        scores[pair] = select(tile * TILE + lane < others, scale * score, f32::min_value());
        sync_cube();
        let before = most;
        for j in 0..TILE {
            most = max(most, scores[row * TILE + j]);
        }
        let weight = (scores[pair] - most).exp();
        weights[pair] = weight;
        rises[pair] = weight * scale * d_score;
        fill(v, tile * TILE, &mut rows, width);
        fill(dv, tile * TILE, &mut d_rows, width);
        sync_cube();
        let kept = (before - most).exp();
        whole *= kept;
        rise *= kept;
        for j in 0..TILE {
            whole += weights[row * TILE + j];
            rise += rises[row * TILE + j];
        }
        #[unroll]
        for i in 0..columns {
            let mut sum = kept * sums[i];
            let mut d_sum = kept * d_sums[i];
            for j in 0..TILE {
                let at = j * next + i * TILE + lane;
                let weight = weights[row * TILE + j];
                sum += weight * rows[at];
                d_sum += rises[row * TILE + j] * rows[at] + weight * d_rows[at];
            }
            sums[i] = sum;
            d_sums[i] = d_sum;
        }
    }

    if first + row < q.shape(2) {
        #[unroll]
        for i in 0..columns {
            let column = i * TILE + lane;
            if column < width {
                let head = CUBE_POS_Z as usize * q.shape(1) + CUBE_POS_Y as usize;
                let at = (head * q.shape(2) + first + row) * width + column;
                let o = sums[i] / whole;
                value[at] = o;
                tangent[at] = (d_sums[i] - rise * o) / whole;
            }
        }
    }
}

/// Copies a tile of rows of this cube's head into shared memory, with zeros beyond the last row and column.
#[cube]
fn fill(x: &Tensor<f32>, first: usize, into: &mut Shared<[f32]>, #[comptime] width: usize) {
    let token = first + UNIT_POS_Y as usize;
    #[unroll]
    for i in 0..comptime!(width.div_ceil(TILE)) {
        let column = i * TILE + UNIT_POS_X as usize;
        let mut value = 0.0f32;
        if token < x.shape(2) && column < width {
            value = x[place(x, token, column)];
        }
        into[UNIT_POS_Y as usize * comptime!(spacing(width)) + column] = value;
    }
}

/// Where a number of this cube's head lies.
#[cube]
fn place(x: &Tensor<f32>, token: usize, column: usize) -> usize {
    let head = CUBE_POS_Z as usize * x.stride(0) + CUBE_POS_Y as usize * x.stride(1);
    head + token * x.stride(2) + column * x.stride(3)
}
