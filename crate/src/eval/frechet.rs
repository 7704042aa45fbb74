//! The Fréchet distance between Gaussians fitted to features (Heusel et al. 2017, arXiv 1706.08500).

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use super::Features;

/// Mean and covariance of features.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Mean, `[dims]`.
    pub mean: DVector<f64>,
    /// Covariance with the divisor `rows − 1`, `[dims, dims]`.
    pub covariance: DMatrix<f64>,
}

impl Moments {
    /// Of at least two rows.
    pub fn of(features: &Features) -> Self {
        let (rows, dims) = (features.rows(), features.dims);
        let data = DMatrix::from_iterator(dims, rows, features.values.iter().map(|&x| f64::from(x)));
        let mean = data.column_mean();
        let mut centred = data;
        centred.column_iter_mut().for_each(|mut column| column -= &mean);
        let covariance = &centred * centred.transpose() / (rows.max(2) - 1) as f64;
        Self { mean, covariance }
    }
}

/// `‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½)`.
///
/// Both roots are of symmetric matrices, so singular covariances need no added diagonal, unlike the root of `Σ₁ Σ₂`.
pub fn frechet_distance(a: &Moments, b: &Moments) -> f64 {
    let root = square_root(&a.covariance);
    let product = &root * &b.covariance * &root;
    // Rounding leaves it a little asymmetric.
    let product = (&product + product.transpose()) * 0.5;
    let shared: f64 = product.symmetric_eigenvalues().iter().map(|&x| x.max(0.0).sqrt()).sum();
    (&a.mean - &b.mean).norm_squared() + a.covariance.trace() + b.covariance.trace() - 2.0 * shared
}

/// The symmetric root of a symmetric matrix without negative eigenvalues but for rounding.
fn square_root(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(matrix.clone());
    let roots = DMatrix::from_diagonal(&eigenvalues.map(|x| x.max(0.0).sqrt()));
    &eigenvectors * roots * eigenvectors.transpose()
}
