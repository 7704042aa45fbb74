//! Kernel distance (KID): squared maximum mean discrepancy of features (Bińkowski et al. 2018, arXiv 1801.01401).

use anyhow::{Result, bail};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

use super::Features;
use crate::rng::{Purpose, Stream};

/// Subsets that are compared, and their size: torch-fidelity's defaults.
const SUBSETS: usize = 100;
const SUBSET_SIZE: usize = 1000;

/// Kernel distance over random subsets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelDistance {
    /// Mean over the subsets.
    pub mean: f64,
    /// Standard deviation over the subsets.
    pub std: f64,
    /// How many subsets.
    pub subsets: usize,
    /// Rows of either kind in each.
    pub rows: usize,
}

/// The unbiased estimate under `k(a, b) = (a·b/dims + 1)³`, over 100 subsets of 1000 rows, or of all rows where there
/// are fewer (and then once). Computed in f64: the estimate is a small difference of large sums.
///
/// # Errors
/// Fewer than two rows of either kind, for which the estimate is not defined.
pub fn kernel_distance(a: &Features, b: &Features, seed: u64) -> Result<KernelDistance> {
    let rows = SUBSET_SIZE.min(a.rows()).min(b.rows());
    if rows < 2 {
        bail!("the kernel distance needs 2 or more images of either kind");
    }
    let subsets = if rows == a.rows() && rows == b.rows() { 1 } else { SUBSETS };
    let mut stream = Stream::new(seed, Purpose::Subsets, 0);
    let mut estimates = Vec::with_capacity(subsets);
    for _ in 0..subsets {
        let x = matrix(a, &draw(a.rows(), rows, &mut stream));
        let y = matrix(b, &draw(b.rows(), rows, &mut stream));
        estimates.push(discrepancy(&x, &y));
    }
    let mean = estimates.iter().sum::<f64>() / subsets as f64;
    let variance = estimates.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / subsets as f64;
    Ok(KernelDistance { mean, std: variance.sqrt(), subsets, rows })
}

/// Some of the rows as columns, `[dims, rows]`.
fn matrix(features: &Features, rows: &[usize]) -> Mat<f64> {
    Mat::from_fn(features.dims, rows.len(), |dim, row| f64::from(features.row(rows[row])[dim]))
}

/// `Σ_{i≠j} (k(xᵢ, xⱼ) + k(yᵢ, yⱼ))/(m (m − 1)) − 2 Σ_{ij} k(xᵢ, yⱼ)/m²`.
fn discrepancy(x: &Mat<f64>, y: &Mat<f64>) -> f64 {
    let m = x.ncols() as f64;
    // A set's own sum is twice that of the pairs above the diagonal.
    let own = sum_of_kernels(x, x, |i, j| i < j) + sum_of_kernels(y, y, |i, j| i < j);
    2.0 * own / (m * (m - 1.0)) - 2.0 * sum_of_kernels(x, y, |_, _| true) / (m * m)
}

/// `Σ k(aᵢ, bⱼ)` over the pairs that `counts` takes.
fn sum_of_kernels(a: &Mat<f64>, b: &Mat<f64>, counts: impl Fn(usize, usize) -> bool) -> f64 {
    let mut products = Mat::zeros(a.ncols(), b.ncols());
    matmul(products.as_mut(), Accum::Replace, a.transpose(), b.as_ref(), 1.0 / a.nrows() as f64, Par::rayon(0));
    let column = |j: usize| -> f64 {
        let kernels = (0..a.ncols()).filter(|&i| counts(i, j)).map(|i| (products[(i, j)] + 1.0).powi(3));
        kernels.sum()
    };
    (0..b.ncols()).map(column).sum()
}

/// `size` different rows, all of them in order where that is all.
fn draw(rows: usize, size: usize, stream: &mut Stream) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    if size < rows {
        for i in 0..size {
            order.swap(i, i + stream.below(rows - i));
        }
        order.truncate(size);
    }
    order
}
