//! The Fréchet distance between Gaussians fitted to features (Heusel et al. 2017, arXiv 1706.08500).

use anyhow::{Result, anyhow};
use faer::{Col, Mat, MatRef, Side};

use super::Features;

/// Mean and covariance of features.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Mean, `[dims]`.
    pub mean: Col<f64>,
    /// Covariance with the divisor `rows − 1`, `[dims, dims]`.
    pub covariance: Mat<f64>,
}

impl Moments {
    /// Of at least two rows.
    pub fn of(features: &Features) -> Self {
        let (rows, dims) = (features.rows(), features.dims);
        let value = |row: usize, column: usize| f64::from(features.values[row * dims + column]);
        let mean = Col::from_fn(dims, |column| (0..rows).map(|row| value(row, column)).sum::<f64>() / rows as f64);
        let centred = Mat::from_fn(rows, dims, |row, column| value(row, column) - mean[column]);
        let covariance = centred.transpose() * &centred * faer::Scale(1.0 / (rows.max(2) - 1) as f64);
        Self { mean, covariance }
    }
}

/// `‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½)`.
///
/// Both roots are of symmetric matrices, so singular covariances need no added diagonal, unlike the root of `Σ₁ Σ₂`.
///
/// # Errors
/// When an eigenvalue cannot be found, as of features that are not finite.
pub fn frechet_distance(a: &Moments, b: &Moments) -> Result<f64> {
    let root = square_root(a.covariance.as_ref())?;
    // Rounding leaves it a little asymmetric; the lower half alone is read.
    let product = &root * &b.covariance * &root;
    let eigenvalues = product.self_adjoint_eigenvalues(Side::Lower).map_err(|_| no_eigenvalues())?;
    let shared: f64 = eigenvalues.iter().map(|&x| x.max(0.0).sqrt()).sum();
    Ok((&a.mean - &b.mean).squared_norm_l2() + trace(&a.covariance) + trace(&b.covariance) - 2.0 * shared)
}

/// The symmetric root of a symmetric matrix without negative eigenvalues but for rounding.
fn square_root(matrix: MatRef<'_, f64>) -> Result<Mat<f64>> {
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| no_eigenvalues())?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    let scaled = Mat::from_fn(vectors.nrows(), vectors.ncols(), |row, column| {
        vectors[(row, column)] * values[column].max(0.0).sqrt()
    });
    Ok(&scaled * vectors.transpose())
}

fn trace(matrix: &Mat<f64>) -> f64 {
    matrix.diagonal().column_vector().iter().sum()
}

fn no_eigenvalues() -> anyhow::Error {
    anyhow!("the Fréchet distance: the covariance of the features has no eigenvalues; are all features finite?")
}
