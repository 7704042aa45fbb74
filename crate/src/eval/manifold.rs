//! Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991).

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor};

use super::Features;
use crate::error::Error;

/// The neighbour whose distance is the radius of a row's ball.
const NEIGHBOUR: usize = 3;
/// Images of either kind that precision and recall need: each has a third neighbour.
pub const MIN_IMAGES: usize = NEIGHBOUR + 1;
/// Rows whose distances are in memory at a time.
const BLOCK: usize = 500;

/// How much of the generated images is like real ones, and of the real ones like generated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionRecall {
    /// Share of generated images inside the balls around real ones.
    pub precision: f64,
    /// Share of real images inside the balls around generated ones.
    pub recall: f64,
}

/// Precision and recall of `generated` against `real`, with balls that reach to the third neighbour.
///
/// # Errors
/// Fewer than four images of either kind, of which none has a third neighbour, or a device that cannot be read.
pub fn precision_recall(real: &Features, generated: &Features, device: &Device) -> Result<PrecisionRecall> {
    for (features, what) in [(real, "real"), (generated, "generated")] {
        if features.rows() < MIN_IMAGES {
            bail!(
                "{} {what} images are too few for precision and recall: their third neighbours count, so it takes \
                 {MIN_IMAGES} or more of either kind",
                features.rows()
            );
        }
    }
    let inside = |rows: &Features, of: &Features| -> Result<f64> {
        let radii = radii(of, device)?;
        let mut covered = 0;
        for distances in distances(rows, of, device) {
            let distances = distances?;
            let hits = distances.chunks(of.rows()).filter(|row| row.iter().zip(&radii).any(|(d, radius)| d <= radius));
            covered += hits.count();
        }
        Ok(covered as f64 / rows.rows() as f64)
    };
    Ok(PrecisionRecall { precision: inside(generated, real)?, recall: inside(real, generated)? })
}

/// Squared distance of each row to its third neighbour.
fn radii(features: &Features, device: &Device) -> Result<Vec<f32>> {
    let mut radii = Vec::with_capacity(features.rows());
    for distances in distances(features, features, device) {
        for row in distances?.chunks_mut(features.rows()) {
            // The row itself comes first.
            radii.push(*row.select_nth_unstable_by(NEIGHBOUR, f32::total_cmp).1);
        }
    }
    Ok(radii)
}

/// Squared distances from rows of `a` to all rows of `b`, in blocks of rows.
pub(super) fn distances<'a>(
    a: &'a Features,
    b: &'a Features,
    device: &'a Device,
) -> impl Iterator<Item = Result<Vec<f32>>> + 'a {
    let all: Vec<usize> = (0..b.rows()).collect();
    let b = b.tensor(&all, device);
    let squares = |x: &Tensor<2>| (x.clone() * x.clone()).sum_dim(1);
    let b_squares = squares(&b).transpose();
    (0..a.rows()).step_by(BLOCK).map(move |start| {
        let rows: Vec<usize> = (start..(start + BLOCK).min(a.rows())).collect();
        let x = a.tensor(&rows, device);
        let distances = squares(&x) + b_squares.clone() - x.matmul(b.clone().transpose()) * 2.0;
        Ok(distances.clamp_min(0.0).try_into_vec_as::<f32>().map_err(|e| Error::Device(e.to_string()))?)
    })
}
