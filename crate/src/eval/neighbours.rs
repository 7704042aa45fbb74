//! The training images nearest to generated ones: what tells invention from memory.

use anyhow::Result;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::Features;
use super::manifold::distances;
use crate::data::Images;

/// Images of a set whose pixels are in memory at a time, as f32.
const BLOCK: usize = 2000;

/// Nearest neighbours among reference rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// For each row the nearest reference rows, nearest first.
    pub rows: Vec<Vec<usize>>,
    /// Its distance to the nearest.
    pub distances: Vec<f32>,
}

/// How far generated images are from the nearest real one: an image that mixes several of them is far from each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestDistance {
    /// Generated images.
    pub images: usize,
    /// Median and 95th percentile of the Euclidean distance between pixels in `[−1, 1]`.
    pub pixels: [f64; 2],
    /// The same between features.
    pub features: [f64; 2],
}

/// The quantiles of some values at these shares, 0.5 for the median: each is one of the values.
///
/// # Panics
/// When there are no values.
pub fn quantiles<const N: usize>(mut values: Vec<f32>, shares: [f64; N]) -> [f64; N] {
    values.sort_unstable_by(f32::total_cmp);
    shares.map(|share| f64::from(values[(share * (values.len() - 1) as f64).round() as usize]))
}

/// The Euclidean distance from each of `queries`, pixels in `[−1, 1]`, to the nearest image of a set.
///
/// # Errors
/// When the device cannot be read.
pub fn distance_to_nearest(queries: &Features, images: &Images, device: &Device) -> Result<Vec<f32>> {
    let mut least = vec![f32::INFINITY; queries.rows()];
    let rows: Vec<usize> = (0..images.len()).collect();
    for block in rows.chunks(BLOCK) {
        let block = Features::new(queries.dims, images.values(block));
        let found = nearest(queries, &block, 1, None, device)?;
        least.iter_mut().zip(found.distances).for_each(|(least, distance)| *least = least.min(distance));
    }
    Ok(least)
}

/// The `count` rows of `reference` nearest to each of `queries`, the first of those that are equally near. Where the
/// queries are rows of the reference, `own` says which, and none is its own neighbour.
///
/// # Errors
/// When the device cannot be read.
pub fn nearest(
    queries: &Features,
    reference: &Features,
    count: usize,
    own: Option<&[usize]>,
    device: &Device,
) -> Result<Neighbours> {
    let mut found = Neighbours { rows: Vec::new(), distances: Vec::new() };
    for block in distances(queries, reference, device) {
        for row in block?.chunks_mut(reference.rows()) {
            if let Some(own) = own {
                row[own[found.rows.len()]] = f32::INFINITY;
            }
            let mut order: Vec<usize> = (0..row.len()).collect();
            let nearer = |&a: &usize, &b: &usize| row[a].total_cmp(&row[b]).then(a.cmp(&b));
            if count.max(1) < order.len() {
                order.select_nth_unstable_by(count.max(1), nearer);
                order.truncate(count.max(1));
            }
            order.sort_unstable_by(nearer);
            found.distances.push(order.first().map_or(f32::INFINITY, |&first| row[first].sqrt()));
            found.rows.push(order);
        }
    }
    Ok(found)
}
