//! Which pairs `(r, t)` the network is trained on.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::rng::Stream;

/// How the two draws of a row become its times `r ≤ t`, where some rows train the instantaneous velocity at `r = t`.
/// Sorting and setting `r = t` do not commute: it decides at which times the instantaneous velocity is trained, and so
/// how well. Of draws that are logit-normal (−0.4, 1) the mean `t` of rows with `r = t` is 0.535 if sorted first, and
/// else 0.418.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimesOrder {
    /// Sorted, then `r = t`: such rows keep the larger draw. MeanFlow and improved MeanFlow (`sample_tr` of their
    /// code), and py-meanflow's `v0`, of the paper's CIFAR-10 runs.
    SortMask,
    /// `r = t`, then sorted: such rows keep the first draw. Pixel MeanFlow (`sample_tr` of its code).
    #[default]
    MaskSort,
    /// `r = t`, then `r = min(t, r)`: `t` is always the first draw, and rows whose second is not smaller have `r = t`
    /// too, beside the share of [`TimesConfig::interval_probability`]. py-meanflow's `v1`, of its authors' later
    /// CIFAR-10 runs.
    MaskMin,
}

impl TimesOrder {
    /// `t = r` of a row that trains the instantaneous velocity.
    fn instant(self, [a, b]: [f64; 2]) -> f64 {
        match self {
            Self::SortMask => a.max(b),
            Self::MaskSort | Self::MaskMin => a,
        }
    }

    /// `[r, t]` of another row.
    fn interval(self, [a, b]: [f64; 2]) -> [f64; 2] {
        match self {
            Self::SortMask | Self::MaskSort => [a.min(b), a.max(b)],
            Self::MaskMin => [a.min(b), a],
        }
    }
}

/// Distribution of the times: logit-normal, mixed with a uniform share.
///
/// Two draws are made per row, of which [`TimesOrder`] makes `r ≤ t`; the rows that train the instantaneous velocity
/// take `r = t` (arXiv 2505.13447, section 4.3 and table 1 (a), (d)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimesConfig {
    /// Mean of the normal whose sigmoid is a time. The paper uses −0.4 on ImageNet latents and −2 on CIFAR-10.
    pub mean: f64,
    /// Its standard deviation, above 0. The paper uses 1 on ImageNet latents and 2 on CIFAR-10.
    pub std: f64,
    /// Mean for the second draw, where it differs: the authors' later CIFAR-10 runs draw `t` from (−0.6, 1.6) and `r`
    /// from (−4, 1.6), near data.
    pub r_mean: Option<f64>,
    /// Standard deviation for the second draw, above 0, where it differs.
    pub r_std: Option<f64>,
    /// Share of rows, 0 to 1, whose two times are uniform in `[0, 1]` instead: one-step sampling asks at
    /// `t = 1, r = 0`, where a logit-normal has little mass. At 1 the sampler is uniform (table 1 (d)).
    pub uniform: f64,
    /// Share of rows with `r < t`, 0 to 1, once the ramp is over. The paper's best: 0.25 on ImageNet, 0.75 on CIFAR-10.
    pub interval_probability: f64,
    /// How two draws become `r ≤ t`: `"sort-mask"` (MeanFlow, improved MeanFlow), `"mask-sort"` (pixel MeanFlow), or
    /// `"mask-min"` (py-meanflow's `v1`).
    pub order: TimesOrder,
}

impl Default for TimesConfig {
    fn default() -> Self {
        Self {
            mean: -0.4,
            std: 1.0,
            r_mean: None,
            r_std: None,
            uniform: 0.1,
            interval_probability: 0.5,
            order: TimesOrder::default(),
        }
    }
}

/// The times of a batch. Rows `0..intervals` have `r < t`; the others `r = t`.
#[derive(Clone, Debug)]
pub struct Times {
    /// Where we stand, `[batch]`, in `[0, 1]`; 1 is noise.
    pub t: Tensor<1>,
    /// Where we land, `[batch]`, `r ≤ t`.
    pub r: Tensor<1>,
    /// How many leading rows have `r < t`.
    pub intervals: usize,
}

/// The times of a batch before they are on a device, so that an objective can move them: `[r, t]` of each row, with
/// `0 ≤ r ≤ t ≤ 1`.
#[derive(Clone, Debug)]
pub struct TimePairs {
    rows: Vec<[f64; 2]>,
    /// The time of each row if it has `r = t`.
    instants: Vec<f64>,
    intervals: usize,
}

impl TimePairs {
    /// The rows with `r < t`, which come first.
    pub fn intervals(&mut self) -> &mut [[f64; 2]] {
        &mut self.rows[..self.intervals]
    }

    /// The rows with `r = t`.
    pub fn instants(&mut self) -> &mut [[f64; 2]] {
        &mut self.rows[self.intervals..]
    }

    /// Makes all but the first `most` rows instantaneous: `r = t`.
    pub fn keep_intervals(&mut self, most: usize) {
        let kept = most.min(self.intervals);
        let rows = self.rows[kept..self.intervals].iter_mut().zip(&self.instants[kept..]);
        rows.for_each(|(row, &t)| *row = [t, t]);
        self.intervals = kept;
    }

    pub(super) fn to_tensors(&self, device: &Device) -> Times {
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

    pub(super) fn draw(&self, batch: usize, interval_share: f64, stream: &mut Stream) -> TimePairs {
        let wanted = interval_share * batch as f64;
        let intervals = (wanted.floor() as usize + usize::from(stream.uniform() < wanted.fract())).min(batch);
        let mut draws: Vec<[f64; 2]> = (0..batch).map(|_| self.pair(stream)).collect();
        if self.order == TimesOrder::MaskMin {
            // Rows with `r < t` come first. Draws are alike, so their order means nothing.
            draws[..intervals].sort_by_key(|[t, r]| r >= t);
        }
        let (masked, order) = (intervals, self.order);
        let pair = |row: usize, draw| if row < masked { order.interval(draw) } else { [order.instant(draw); 2] };
        let rows: Vec<[f64; 2]> = draws.iter().enumerate().map(|(row, &draw)| pair(row, draw)).collect();
        let intervals = match order {
            TimesOrder::MaskMin => rows[..masked].iter().filter(|[r, t]| r < t).count(),
            _ => masked,
        };
        TimePairs { rows, instants: draws.into_iter().map(|draw| order.instant(draw)).collect(), intervals }
    }

    fn pair(&self, stream: &mut Stream) -> [f64; 2] {
        if stream.uniform() < self.uniform {
            return [stream.uniform(), stream.uniform()];
        }
        let [a, b] = stream.normal_pair();
        let (r_mean, r_std) = self.second();
        [logistic(self.mean + self.std * a), logistic(r_mean + r_std * b)]
    }

    /// The time of a first draw that is known to lie before `end`, where its distribution has the share `u` below it.
    pub(super) fn before(&self, end: f64, u: f64) -> f64 {
        // Standard deviations beyond which a normal has no mass in f64.
        const FAR: f64 = 38.0;
        let below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        let last = ((libm::log(end) - libm::log1p(-end) - self.mean) / self.std).clamp(-FAR, FAR);
        // By halves: the inverse of the error function is in no library here, and this takes no time.
        let (mut low, mut high) = (-FAR, last);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            (low, high) = if below(middle) < u * below(last) { (middle, high) } else { (low, middle) };
        }
        logistic(self.mean + self.std * high).min(end)
    }

    /// Mean and standard deviation of the second draw.
    fn second(&self) -> (f64, f64) {
        (self.r_mean.unwrap_or(self.mean), self.r_std.unwrap_or(self.std))
    }
}

pub(super) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}
