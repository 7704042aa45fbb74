//! What an evaluation found: one line of JSON each, from which tables and plots are made again at any time.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One model, sampled in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The model's name.
    pub model: String,
    /// The seed that it was trained with; models of one name and several seeds become one row.
    pub seed: u64,
    /// The solver.
    pub solver: String,
    /// Network calls per image.
    pub nfe: usize,
    /// Generated images.
    pub images: usize,
    /// Real images that they were compared with.
    pub real: usize,
    /// What the distance is called: `FID` on Inception's features, `FD` on others.
    pub metric: String,
    /// What the features are.
    pub features: String,
    /// Fréchet distance.
    pub distance: f64,
    /// Kernel distance, mean over subsets.
    pub kernel: f64,
    /// Its standard deviation over subsets.
    pub kernel_std: f64,
    /// Share of generated images that are like real ones.
    pub precision: f64,
    /// Share of real images that are like generated ones.
    pub recall: f64,
    /// Seconds per generated image.
    pub seconds: f64,
}

/// Reads the records of some files, in order.
///
/// # Errors
/// Names the file and the line that is no record.
pub fn read_records<P: AsRef<Path>>(files: &[P]) -> Result<Vec<Evaluation>> {
    let mut records = Vec::new();
    for file in files {
        let file = file.as_ref();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let record = serde_json::from_str(line);
            records.push(record.with_context(|| format!("{}, line {}: no evaluation", file.display(), number + 1))?);
        }
    }
    Ok(records)
}

/// Mean and standard deviation over seeds; the deviation is 0 for one.
pub(super) fn mean_std(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (values.len().max(2) - 1) as f64).sqrt())
}

/// Records of one model and solver, by its seeds.
pub(super) struct Row<'a> {
    pub model: &'a str,
    pub solver: &'a str,
    pub records: Vec<&'a Evaluation>,
}

impl Row<'_> {
    /// A figure of all seeds at a number of calls.
    pub fn at(&self, nfe: usize, figure: fn(&Evaluation) -> f64) -> Vec<f64> {
        self.records.iter().filter(|record| record.nfe == nfe).map(|record| figure(record)).collect()
    }
}

/// Rows in the order in which they first appear, and all numbers of calls.
pub(super) fn rows(records: &[Evaluation]) -> (Vec<Row<'_>>, Vec<usize>) {
    let mut rows: Vec<Row> = Vec::new();
    for record in records {
        match rows.iter_mut().find(|row| row.model == record.model && row.solver == record.solver) {
            Some(row) => row.records.push(record),
            None => rows.push(Row { model: &record.model, solver: &record.solver, records: vec![record] }),
        }
    }
    let mut calls: Vec<usize> = records.iter().map(|record| record.nfe).collect();
    calls.sort_unstable();
    calls.dedup();
    (rows, calls)
}
