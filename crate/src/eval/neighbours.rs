//! The training images nearest to generated ones: what tells invention from memory.

use anyhow::Result;
use burn::tensor::Device;

use super::Features;
use super::manifold::distances;

/// Nearest neighbours among reference rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// For each row the nearest reference rows, nearest first.
    pub rows: Vec<Vec<usize>>,
    /// Its distance to the nearest.
    pub distances: Vec<f32>,
}

/// The `count` rows of `reference` nearest to each of `queries`; with `apart`, the rows of the same number are not
/// compared, as within one set.
///
/// # Errors
/// When the device cannot be read.
pub fn nearest(
    queries: &Features,
    reference: &Features,
    count: usize,
    apart: bool,
    device: &Device,
) -> Result<Neighbours> {
    let mut found = Neighbours { rows: Vec::new(), distances: Vec::new() };
    for block in distances(queries, reference, device) {
        for row in block?.chunks_mut(reference.rows()) {
            if apart {
                row[found.rows.len()] = f32::INFINITY;
            }
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_unstable_by(|&a, &b| row[a].total_cmp(&row[b]));
            order.truncate(count.max(1));
            found.distances.push(order.first().map_or(f32::INFINITY, |&first| row[first].sqrt()));
            found.rows.push(order);
        }
    }
    Ok(found)
}
