//! Which images a figure is taken from, where it is not taken from all: a random draw that names do not decide.

use twox_hash::XxHash64;

use crate::data::Images;
use crate::rng::{Purpose, fold_in};

/// The images of a set in the order in which `seed` draws them, uniformly and without replacement: the first `n` are a
/// random sample of `n` images.
///
/// The order follows from the seed and from what each image shows, not from names of files or folders, nor from the
/// order in which a set holds its images, so a set whose folders are renamed gives the same sample.
pub fn random_order(images: &Images, seed: u64) -> Vec<usize> {
    let seed = fold_in(seed, Purpose::Subsets as u64);
    let values = images.channels * images.size * images.size;
    let pixels = |row: usize| &images.pixels[row * values..(row + 1) * values];
    let class = |row: usize| images.classes.get(images.labels[row] as usize);
    let keys: Vec<u64> = (0..images.len()).map(|row| XxHash64::oneshot(seed, pixels(row))).collect();
    let mut order: Vec<usize> = (0..images.len()).collect();
    // Images with the same pixels may be of several classes.
    order.sort_unstable_by(|&a, &b| {
        keys[a].cmp(&keys[b]).then_with(|| pixels(a).cmp(pixels(b))).then_with(|| class(a).cmp(&class(b)))
    });
    order
}
