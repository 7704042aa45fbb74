//! What a run tells: averages of the raw residuals, one JSON line per interval.

use std::time::Instant;

use burn::tensor::Tensor;
use serde::Serialize;

use crate::device::read;
use crate::error::Error;
use crate::learn::{OptimizerShare, ProcessGroup, StepStats};

/// One line of `log.jsonl`.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Steps done.
    pub step: u64,
    /// Weighted loss; with `p = 1` it reads about 1 whatever happens.
    pub loss: f64,
    /// Mean of `‖u − u_tgt‖²` (summed over an image's pixels) over all rows since the last line.
    pub residual: f64,
    /// The same over the rows with `r < t`: the one-step objective.
    pub residual_interval: Option<f64>,
    /// The same over the rows with `r = t`: the Flow Matching error.
    pub residual_instant: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Images per second since the last line.
    pub images_per_second: f64,
    /// Seconds of training since this process started.
    pub seconds: f64,
    /// The most main memory that this process has had, in bytes, where the system says so.
    pub peak_memory: Option<u64>,
    /// What each optimizer trains, in the first line of a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizers: Option<Vec<OptimizerShare>>,
    /// Rows with `r < t`, and with `r = t`, since the last line.
    #[serde(skip)]
    pub rows: [usize; 2],
}

/// The mean one-step residual over several lines of the log.
#[derive(Default)]
pub(super) struct OneStep {
    total: f64,
    rows: usize,
}

impl OneStep {
    /// Adds a line: its rows with `r < t`, or the others where the objective has none.
    pub fn add(&mut self, record: &Record, instants: bool) {
        let (residual, rows) = match instants {
            true => (record.residual_instant, record.rows[1]),
            false => (record.residual_interval, record.rows[0]),
        };
        self.total += residual.unwrap_or(0.0) * rows as f64;
        self.rows += rows;
    }

    /// The mean, and back to nothing.
    pub fn take(&mut self) -> Option<f64> {
        let Self { total, rows } = std::mem::take(self);
        (rows > 0).then(|| total / rows as f64)
    }
}

/// The most main memory that this process has had, in bytes, where the system says so.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| 1024 * kilobytes)
}

/// Running sums since the last line, on the device, so that most steps wait for nothing.
pub struct MetricAccumulator {
    loss: Sum,
    interval: Sum,
    instant: Sum,
    images: usize,
    optimizers: Option<Vec<OptimizerShare>>,
    started: Instant,
    since: Instant,
}

#[derive(Default)]
struct Sum {
    total: Option<Tensor<1>>,
    count: usize,
}

impl Sum {
    fn add(&mut self, values: Tensor<1>) {
        self.count += values.dims()[0];
        let sum = values.sum();
        self.total = Some(match self.total.take() {
            Some(total) => total + sum,
            None => sum,
        });
    }

    /// Total and count, and back to zero. Waits for the device.
    fn take(&mut self) -> Result<(f64, usize), Error> {
        let total = self.total.take().map(read).transpose()?.map_or(0.0, f64::from);
        Ok((total, std::mem::take(&mut self.count)))
    }
}

impl Default for MetricAccumulator {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            loss: Sum::default(),
            interval: Sum::default(),
            instant: Sum::default(),
            images: 0,
            optimizers: None,
            started: now,
            since: now,
        }
    }
}

impl MetricAccumulator {
    /// Of a run whose optimizers train these shares of the network.
    pub fn new(optimizers: Vec<OptimizerShare>) -> Self {
        Self { optimizers: Some(optimizers), ..Self::default() }
    }

    /// Adds a step.
    pub fn add(&mut self, measured: StepStats) {
        self.loss.add(measured.loss);
        for (sum, part) in
            [(&mut self.interval, measured.residuals.interval), (&mut self.instant, measured.residuals.instant)]
        {
            if let Some(part) = part {
                self.images += part.dims()[0];
                sum.add(part);
            }
        }
    }

    /// Whether a step was added since the averages were taken.
    pub fn has_steps(&self) -> bool {
        self.loss.count > 0
    }

    /// The averages since the last call, over all processes that share the batches. Waits for the device.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn record(
        &mut self,
        step: u64,
        learning_rate: f64,
        processes: Option<&dyn ProcessGroup>,
    ) -> Result<Record, Error> {
        let mean = |(total, count): (f64, usize)| (count > 0).then(|| total / count as f64);
        let (mut interval, mut instant, mut loss) = (self.interval.take()?, self.instant.take()?, self.loss.take()?);
        if let Some(processes) = processes {
            // The loss of a step is the sum of all; the others are of each one's rows.
            let own = [loss.0, interval.0, interval.1 as f64, instant.0, instant.1 as f64];
            let own: Vec<u8> = own.iter().flat_map(|value| value.to_le_bytes()).collect();
            let all = processes.all_gather(&own);
            let total = |which: usize| -> f64 {
                all.iter().filter_map(|own| own.as_chunks().0.get(which)).map(|&value| f64::from_le_bytes(value)).sum()
            };
            loss.0 = total(0);
            (interval, instant) = ((total(1), total(2) as usize), (total(3), total(4) as usize));
            self.images = interval.1 + instant.1;
        }
        let both = (interval.0 + instant.0, interval.1 + instant.1);
        let seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        Ok(Record {
            step,
            loss: mean(loss).unwrap_or(f64::NAN),
            residual: mean(both).unwrap_or(f64::NAN),
            residual_interval: mean(interval),
            residual_instant: mean(instant),
            learning_rate,
            images_per_second: std::mem::take(&mut self.images) as f64 / seconds,
            seconds: self.started.elapsed().as_secs_f64(),
            peak_memory: peak_memory(),
            optimizers: self.optimizers.take(),
            rows: [interval.1, instant.1],
        })
    }
}
