//! Kernel distance (KID): squared maximum mean discrepancy of features (Bińkowski et al. 2018, arXiv 1801.01401).

use anyhow::Result;
use burn::tensor::{Device, Tensor};

use super::Features;
use crate::error::Error;
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
}

/// The unbiased estimate under `k(a, b) = (a·b/dims + 1)³`, over 100 subsets of 1000 rows, or of all rows where there
/// are fewer (and then once).
///
/// # Errors
/// When the device cannot be read.
pub fn kernel_distance(a: &Features, b: &Features, seed: u64, device: &Device) -> Result<KernelDistance> {
    let size = SUBSET_SIZE.min(a.rows()).min(b.rows());
    let subsets = if size == a.rows() && size == b.rows() { 1 } else { SUBSETS };
    let mut stream = Stream::new(seed, Purpose::Subsets, 0);
    let mut estimates = Vec::with_capacity(subsets);
    for _ in 0..subsets {
        let x = a.tensor(&draw(a.rows(), size, &mut stream), device);
        let y = b.tensor(&draw(b.rows(), size, &mut stream), device);
        estimates.push(discrepancy(x, y)?);
    }
    let mean = estimates.iter().sum::<f64>() / subsets as f64;
    let variance = estimates.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / subsets as f64;
    Ok(KernelDistance { mean, std: variance.sqrt() })
}

/// `Σ_{i≠j} (k(xᵢ, xⱼ) + k(yᵢ, yⱼ))/(m (m − 1)) − 2 Σ_{ij} k(xᵢ, yⱼ)/m²`.
fn discrepancy(x: Tensor<2>, y: Tensor<2>) -> Result<f64> {
    let [m, dims] = x.dims();
    let kernel = |a: &Tensor<2>, b: &Tensor<2>| {
        let similar = a.clone().matmul(b.clone().transpose()) / dims as f64 + 1.0;
        similar.clone() * similar.clone() * similar
    };
    let own = |a: &Tensor<2>| {
        let similar = (a.clone() * a.clone()).sum_dim(1) / dims as f64 + 1.0;
        kernel(a, a).sum() - (similar.clone() * similar.clone() * similar).sum()
    };
    let read = |sum: Tensor<1>| -> Result<f64> {
        Ok(f64::from(sum.try_into_scalar::<f32>().map_err(|e| Error::Device(e.to_string()))?))
    };
    let (m, pairs) = (m as f64, (m * (m - 1)).max(1) as f64);
    Ok((read(own(&x))? + read(own(&y))?) / pairs - 2.0 * read(kernel(&x, &y).sum())? / (m * m))
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
