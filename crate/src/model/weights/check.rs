//! What a model makes of one known seed, kept with its weights: an engine that makes something else is not to be
//! trusted.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::{Condition, NetConfig, Request};

/// Regions along one edge of a picture whose means are kept.
const REGIONS: usize = 4;
/// How far means may lie from the kept ones, on the scale of −1 to 1: far above the rounding of any engine, far below a
/// picture that is wrong.
const TOLERANCE: f32 = 0.02;

/// The means of a picture's regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Seed of the picture, in one network call; its class is drawn from it.
    pub seed: u64,
    /// Mean of each region of each channel, row by row, on the scale of −1 to 1.
    pub means: Vec<f32>,
    /// How far the means of an engine may lie from these.
    pub tolerance: f32,
}

impl Check {
    /// The picture that is looked at.
    pub fn request(seed: u64) -> Request {
        Request { seed, count: 1, class: Condition::Any, nfe: 1 }
    }

    /// From the picture of [`Self::request`], `[1, channels, size, size]`.
    pub fn of(seed: u64, picture: &[f32], net: &NetConfig) -> Self {
        // Four digits are plenty, and the same on every machine.
        let means = means(picture, net).into_iter().map(|mean| (mean * 1e4).round() / 1e4).collect();
        Self { seed, means, tolerance: TOLERANCE }
    }

    /// Whether a picture of [`Self::request`] is the known one.
    ///
    /// # Errors
    /// Says how far it is from that.
    pub fn accept(&self, picture: &[f32], net: &NetConfig) -> Result<(), Error> {
        let ours = means(picture, net);
        let far = |(a, b): (&f32, &f32)| if (a - b).is_finite() { (a - b).abs() } else { f32::INFINITY };
        let farthest = ours.iter().zip(&self.means).map(far).fold(0.0, f32::max);
        match ours.len() == self.means.len() && farthest <= self.tolerance {
            true => Ok(()),
            false => Err(Error::Device(format!(
                "its picture of the seed {} is not the one that the weights say ({} of 255 off)",
                self.seed,
                (127.5 * farthest).min(255.0) as u32
            ))),
        }
    }
}

/// The means of regions; a size that does not divide evenly has its last regions a little larger.
fn means(picture: &[f32], net: &NetConfig) -> Vec<f32> {
    let size = net.image_size;
    let regions = REGIONS.min(size);
    let edge = |i: usize| i * size / regions;
    let mut means = Vec::new();
    for channel in picture.chunks_exact(size * size) {
        for (row, column) in (0..regions).flat_map(|row| (0..regions).map(move |column| (row, column))) {
            let (rows, columns) = (edge(row)..edge(row + 1), edge(column)..edge(column + 1));
            let count = (rows.len() * columns.len()) as f32;
            let values = rows.flat_map(|y| columns.clone().map(move |x| channel[y * size + x]));
            means.push(values.sum::<f32>() / count);
        }
    }
    means
}
