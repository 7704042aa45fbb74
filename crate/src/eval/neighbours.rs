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
