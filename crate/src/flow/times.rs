//! Which pairs `(r, t)` the network is trained on.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::rng::Stream;

/// Distribution of the times: logit-normal, mixed with a uniform share.
///
/// Two draws are made per row and sorted so that `r ≤ t`; the rows that train the instantaneous velocity take `r = t`
/// (arXiv 2505.13447, section 4.3 and table 1 (a), (d)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimesConfig {
    /// Mean of the normal whose sigmoid is a time. The paper uses −0.4 on ImageNet latents and −2 on CIFAR-10.
    pub mean: f64,
    /// Its standard deviation. The paper uses 1 on ImageNet latents and 2 on CIFAR-10.
    pub std: f64,
    /// Mean for the second draw, where it differs: the authors' later CIFAR-10 runs draw `t` from (−0.6, 1.6) and `r`
    /// from (−4, 1.6), near data.
    pub r_mean: Option<f64>,
    /// Standard deviation for the second draw, where it differs.
    pub r_std: Option<f64>,
    /// Share of rows whose two times are uniform in `[0, 1]` instead: one-step sampling asks at `t = 1, r = 0`, where
    /// a logit-normal has little mass. At 1 the sampler is uniform (table 1 (d)).
    pub uniform: f64,
    /// Share of rows with `r < t`, once the ramp is over. The paper's best: 0.25 on ImageNet, 0.75 on CIFAR-10.
    pub interval_probability: f64,
}

impl Default for TimesConfig {
    fn default() -> Self {
        Self { mean: -0.4, std: 1.0, r_mean: None, r_std: None, uniform: 0.1, interval_probability: 0.5 }
    }
}

/// The times of a batch. Rows `0..intervals` have `r < t`; the others `r = t`.
#[derive(Clone, Debug)]
pub struct Times {
    /// Where we stand, `[batch]`.
    pub t: Tensor<1>,
    /// Where we land, `[batch]`, `r ≤ t`.
    pub r: Tensor<1>,
    /// How many leading rows have `r < t`.
    pub intervals: usize,
}

/// The times of a batch before they are on a device, so that an objective can move them: `[r, t]` of each row.
pub(super) struct Pairs {
    rows: Vec<[f64; 2]>,
    intervals: usize,
}

impl Pairs {
    /// The rows with `r < t`.
    pub fn intervals(&mut self) -> &mut [[f64; 2]] {
        &mut self.rows[..self.intervals]
    }

    /// Makes all but the first `most` rows instantaneous.
    pub fn keep_intervals(&mut self, most: usize) {
        let kept = most.min(self.intervals);
        self.rows[kept..self.intervals].iter_mut().for_each(|[r, t]| *r = *t);
        self.intervals = kept;
    }

    pub fn to_tensors(&self, device: &Device) -> Times {
        let tensor = |which: usize| {
            let values: Vec<f32> = self.rows.iter().map(|pair| pair[which] as f32).collect();
            Tensor::from_data(TensorData::new(values, [self.rows.len()]), device)
        };
        Times { r: tensor(0), t: tensor(1), intervals: self.intervals }
    }
}

impl TimesConfig {
    /// # Errors
    /// Names the field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        for (name, share) in [("uniform", self.uniform), ("interval_probability", self.interval_probability)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::Config(format!("[times] {name} is {share}; it must be 0 to 1")));
            }
        }
        let ok = |(mean, std): (f64, f64)| mean.is_finite() && std.is_finite() && std > 0.0;
        if !(ok((self.mean, self.std)) && ok(self.second())) {
            return Err(Error::Config("[times] means and stds must be finite, and stds above 0".into()));
        }
        Ok(())
    }

    /// Draws the times of a batch with the given share of `r < t` rows, rounded to whole rows at random so that the
    /// share is right on average even in small batches.
    pub fn sample(&self, batch: usize, interval_share: f64, stream: &mut Stream, device: &Device) -> Times {
        self.draw(batch, interval_share, stream).to_tensors(device)
    }

    pub(super) fn draw(&self, batch: usize, interval_share: f64, stream: &mut Stream) -> Pairs {
        let wanted = interval_share * batch as f64;
        let intervals = (wanted.floor() as usize + usize::from(stream.uniform() < wanted.fract())).min(batch);
        let row = |row: usize| {
            let [a, b] = self.pair(stream);
            // Instantaneous rows keep the first draw: unbiased, where taking the larger would favour noise.
            if row < intervals { [a.min(b), a.max(b)] } else { [a, a] }
        };
        Pairs { rows: (0..batch).map(row).collect(), intervals }
    }

    fn pair(&self, stream: &mut Stream) -> [f64; 2] {
        if stream.uniform() < self.uniform {
            return [stream.uniform(), stream.uniform()];
        }
        let [a, b] = stream.normal_pair();
        let (r_mean, r_std) = self.second();
        [logistic(self.mean + self.std * a), logistic(r_mean + r_std * b)]
    }

    /// Mean and standard deviation of the second draw.
    fn second(&self) -> (f64, f64) {
        (self.r_mean.unwrap_or(self.mean), self.r_std.unwrap_or(self.std))
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}
