//! A batch in parts, one after the other on a device, and on several devices at once.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};

use super::config::TrainConfig;
use super::trainer::Measured;
use crate::dual::on_the_pool;
use crate::flow::{Nets, PathSample, Residuals, Times, Training};
use crate::net::{Dropout, Labels, Net};
use crate::rng::fold_in;

/// Everything that the rows of a step are asked.
#[derive(Clone)]
pub(super) struct Rows {
    pub path: PathSample,
    pub times: Times,
    pub labels: Option<Labels>,
}

/// The networks of a step, on one device.
pub(super) struct Networks {
    /// In training, with its weights as they are; the others are as they are computed.
    pub live: Net,
    pub frozen: Net,
    pub average: Net,
}

impl Networks {
    /// A copy on another device.
    fn fork(&self, device: &Device, tape: &Device) -> Self {
        Self {
            live: self.live.clone().fork(tape),
            frozen: self.frozen.clone().fork(device),
            average: self.average.clone().fork(device),
        }
    }
}

impl Rows {
    /// One of several parts: the rows, in groups that belong together, take turns, so that each part has its share of
    /// those with `r < t`, which come first in it too, and cost the most. A part may be empty.
    fn part(&self, [part, parts]: [usize; 2], group: usize) -> Option<Self> {
        if parts == 1 {
            return Some(self.clone());
        }
        let count = self.times.t.dims()[0];
        let rows: Vec<usize> = (0..count).filter(|row| row / group % parts == part).collect();
        let intervals = rows.iter().filter(|&&row| row < self.times.intervals).count();
        let indices = TensorData::new(rows.iter().map(|&row| row as i32).collect(), [rows.len()]);
        let indices = (!rows.is_empty()).then(|| Tensor::from_data(indices, &self.times.t.device()))?;
        let times = Times {
            t: self.times.t.clone().select(0, indices.clone()),
            r: self.times.r.clone().select(0, indices.clone()),
            intervals,
        };
        let [z, v] = [&self.path.z, &self.path.v].map(|x| x.clone().select(0, indices.clone()));
        let labels = self.labels.clone().map(|labels| labels.select(&indices));
        Some(Self { path: PathSample { z, v }, times, labels })
    }

    fn to_device(&self, device: &Device) -> Self {
        let Times { t, r, intervals } = self.times.clone();
        Self {
            path: PathSample { z: self.path.z.clone().to_device(device), v: self.path.v.clone().to_device(device) },
            times: Times { t: t.to_device(device), r: r.to_device(device), intervals },
            labels: self.labels.clone().map(|labels| labels.moved_to(device)),
        }
    }
}

/// Forward, derivative and backward of a batch: the gradients of its mean loss, and what it measured.
///
/// Each of `devices` takes its parts of the batch at the same time as the others; the gradients are added up on the
/// first, which holds `networks` and `rows`. In parts or not, and on how many devices, changes only rounding, unless
/// features are dropped.
pub(super) fn gradients(
    config: &TrainConfig,
    step: u64,
    networks: &Networks,
    rows: &Rows,
    devices: &[Device],
) -> (GradientsParams, Measured) {
    let parts = devices.len() * config.train.accumulate;
    let work = |first: usize, networks: &Networks| {
        let (mut sum, mut measured) = (GradientsAccumulator::new(), Vec::new());
        for part in (first..parts).step_by(devices.len()) {
            let own = match rows.part([part, parts], config.objective.group()) {
                Some(own) => own.to_device(&devices[first]),
                None => continue,
            };
            let (gradients, losses) =
                on_the_pool(&devices[first], || part_gradients(config, [step, part as u64], networks, &own, rows));
            sum.accumulate(&networks.live, gradients);
            measured.push(losses);
        }
        (sum.grads(), measured)
    };
    let done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..devices.len())
            .map(|i| {
                let work = &work;
                scope.spawn(move || work(i, &networks.fork(&devices[i], &config.train.tape(&devices[i]))))
            })
            .collect();
        let mut done = vec![work(0, networks)];
        for other in others {
            done.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    let (mut sum, mut measured) = (GradientsAccumulator::new(), Vec::new());
    for (gradients, losses) in done {
        sum.accumulate(&networks.live, gradients.to_device(&devices[0], &networks.live));
        measured.extend(losses.into_iter().map(|losses| losses.moved_to(&devices[0])));
    }
    (sum.grads(), Measured::joined(measured))
}

/// The share that some rows have in the gradients and the loss of `all`.
fn part_gradients(
    config: &TrainConfig,
    [step, part]: [u64; 2],
    networks: &Networks,
    rows: &Rows,
    all: &Rows,
) -> (GradientsParams, Measured) {
    // Each part drops features of its own, or all would drop the same ones.
    let seed = fold_in(config.train.seed, part);
    let dropout = || (config.train.dropout > 0.0).then(|| Dropout::new(config.train.dropout, seed, step));
    let live = config.train.precision.of(&networks.live);
    let [live, frozen, average] =
        [&live, &networks.frozen, &networks.average].map(|net| Training { net, dropout: dropout() });
    let nets = Nets { live: &live, frozen: &frozen, average: &average };
    let Rows { path, times, labels } = rows;
    let share = times.t.dims()[0] as f64 / all.times.t.dims()[0] as f64;
    let residuals = config.objective.residuals(nets, path.clone(), times.clone(), labels.clone(), step);
    let loss = config.weight.apply(&residuals) * share;
    let gradients = GradientsParams::from_grads(loss.backward(), &networks.live);
    let Residuals { interval, instant, auxiliary } = residuals;
    let [interval, instant, auxiliary] = [interval, instant, auxiliary].map(|part| part.map(Tensor::inner));
    (gradients, Measured { loss: loss.inner(), residuals: Residuals { interval, instant, auxiliary } })
}

impl Measured {
    fn moved_to(self, device: &Device) -> Self {
        let Residuals { interval, instant, auxiliary } = self.residuals;
        let [interval, instant, auxiliary] =
            [interval, instant, auxiliary].map(|part| part.map(|part| part.to_device(device)));
        Self { loss: self.loss.to_device(device), residuals: Residuals { interval, instant, auxiliary } }
    }

    /// What the parts of a batch measured together.
    fn joined(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let join = |of: fn(&Residuals) -> &Option<Tensor<1>>| {
            let found: Vec<_> = parts.iter().filter_map(|part| of(&part.residuals).clone()).collect();
            (!found.is_empty()).then(|| Tensor::cat(found, 0))
        };
        let residuals = Residuals {
            interval: join(|residuals| &residuals.interval),
            instant: join(|residuals| &residuals.instant),
            auxiliary: join(|residuals| &residuals.auxiliary),
        };
        let loss = Tensor::cat(parts.into_iter().map(|part| part.loss).collect(), 0).sum();
        Self { loss, residuals }
    }
}
