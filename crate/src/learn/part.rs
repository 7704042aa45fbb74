//! The rows of a batch that one of several takes: a micro-batch, a device, or a process.

use burn::tensor::{Int, Tensor, TensorData};

use crate::flow::Times;
use crate::net::Labels;

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

/// These rows of what a batch is told, in ascending order; and the rows as a tensor, to select others by.
pub(super) fn select(times: Times, labels: Option<Labels>, rows: &[usize]) -> (Times, Option<Labels>, Tensor<1, Int>) {
    let Times { t, r, intervals } = times;
    let indices = TensorData::new(rows.iter().map(|&row| row as i32).collect(), [rows.len()]);
    let indices = Tensor::from_data(indices, &t.device());
    let intervals = rows.iter().filter(|&&row| row < intervals).count();
    let times = Times { t: t.select(0, indices.clone()), r: r.select(0, indices.clone()), intervals };
    (times, labels.map(|labels| labels.select(&indices)), indices)
}
