//! Points in the plane, learnt at a stretch: [`Laboratory`] takes the steps.

use anyhow::{Result, bail};
use burn::tensor::Device;

pub use crate::learn::playground::*;

use super::log::MetricAccumulator;
use super::{Observer, Record};
use crate::net::Net;

/// Learns a distribution with improved MeanFlow.
///
/// # Errors
/// A loss that is not finite.
pub fn learn(points: Points, steps: u64, seed: u64, device: &Device, observer: &mut dyn Observer) -> Result<Net> {
    let mut laboratory = Laboratory::new(&PlaygroundConfig { steps, seed, ..Default::default() }, points, device)?;
    let mut meter = MetricAccumulator::default();
    for step in 1..=steps {
        meter.add(laboratory.step());
        observer.step(step);
        if step.is_multiple_of(200) || step == steps {
            let record: Record = meter.record(step, laboratory.learning_rate(), None)?;
            observer.record(&record);
            if !record.residual.is_finite() {
                bail!("the loss is {} at step {step}", record.loss);
            }
        }
    }
    Ok(laboratory.net())
}
