//! What a trainer needs of the settings.

use super::optimization::Optimization;
use crate::flow::{AdaptiveWeight, Guidance, ObjectiveConfig, TimesConfig};

/// The settings that a step of training depends on: all but those of data, files and measure.
#[derive(Clone, Debug, Default)]
pub struct TrainerConfig {
    /// What is trained.
    pub objective: ObjectiveConfig,
    /// Guidance towards the class inside the target; none by default.
    pub guidance: Guidance,
    /// Which times are trained.
    pub times: TimesConfig,
    /// The adaptive weight of the loss.
    pub weight: AdaptiveWeight,
    /// The optimization.
    pub train: Optimization,
}

impl TrainerConfig {
    /// The same schedule over another number of steps, that of the objective too.
    pub fn scale_to(&mut self, steps: u64) {
        self.objective.scale_by(steps as f64 / self.train.steps.max(1) as f64);
        self.train.scale_to(steps);
    }
}
