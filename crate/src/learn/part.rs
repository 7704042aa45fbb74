//! The rows of a batch that one of several takes: a micro-batch, a device, or a process.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// One of several parts of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub index: usize,
    /// How many parts there are.
    pub count: usize,
}

impl Part {
    /// All rows.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Its rows of so many. Groups of neighbouring rows that belong together take turns, so that each part has its
    /// share of the rows with `r < t`, which come first in it too, and cost the most. A part may be empty.
    pub fn rows(self, rows: usize, group: usize) -> Vec<usize> {
        (0..rows).filter(|row| row / group % self.count == self.index).collect()
    }
}

/// Indices as a tensor, to select rows by.
pub(crate) fn indices(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}
