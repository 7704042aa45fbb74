//! Memory that a picture's way through the network works in: what was made for the first picture serves all others.

use crate::kernels::attention::AttentionScratch;

/// The activations of one picture.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// What is free.
    pool: Vec<Vec<f32>>,
    /// The result, `[channels, size, size]`.
    pub u: Vec<f32>,
    /// Of matrix products.
    pub rows: Vec<f32>,
    pub attention: AttentionScratch,
}

impl Scratch {
    /// For images of so many values.
    pub fn new(values: usize) -> Self {
        Self { u: vec![0.0; values], ..Self::default() }
    }

    /// So many numbers, whatever they are.
    #[inline(never)]
    pub fn take(&mut self, length: usize) -> Vec<f32> {
        match self.pool.iter().position(|free| free.len() == length) {
            Some(place) => self.pool.swap_remove(place),
            None => vec![0.0; length],
        }
    }

    /// Takes them back.
    #[inline(never)]
    pub fn give(&mut self, used: Vec<f32>) {
        self.pool.push(used);
    }
}
