//! What a step draws at random: times, noise and guidance. All of it follows from the seed and the step.

use burn::tensor::{Tensor, TensorData};

use super::batch::Batch;
use super::config::TrainerConfig;
use super::trainer::Trainer;
use crate::flow::Times;
use crate::net::Labels;
use crate::rng::{Purpose, Stream};

impl Trainer {
    /// The times of this step, of which the last `instants` rows have `r = t`.
    pub(super) fn draw_times(&self, rows: usize, instants: usize) -> Times {
        let TrainerConfig { times, train, .. } = &self.config;
        let share = train.interval_share_at(self.step, times.interval_probability);
        let mut stream = Stream::new(train.seed, Purpose::Times, self.step);
        self.objective().times(times, [rows, instants], share, &mut stream, &self.devices[0])
    }

    /// The noise `e` of the batch's images, of the scale that the network is for.
    pub(super) fn draw_noise(&self, batch: &Batch) -> Tensor<4> {
        let shape = batch.images.dims();
        let values: usize = shape[1..].iter().product();
        let mut noise = Stream::new(self.config.train.seed, Purpose::Noise, self.step).normals(batch.rows() * values);
        if let Some(own) = &batch.own {
            noise = own.rows.iter().flat_map(|row| &noise[row * values..(row + 1) * values]).copied().collect();
        }
        self.net.config().scale_noise(&mut noise);
        Tensor::from_data(TensorData::new(noise, shape), &self.devices[0])
    }

    /// The labels of a batch with guidance, where the network is told any.
    pub(super) fn with_guidance(&self, labels: Labels, times: &Times) -> Labels {
        let Some(draws) = &self.config.guidance.input else { return labels };
        let mut stream = Stream::new(self.config.train.seed, Purpose::Guidance, self.step);
        draws.tell(labels, &times.t, times.intervals, self.net.config().guidance, &mut stream)
    }
}
