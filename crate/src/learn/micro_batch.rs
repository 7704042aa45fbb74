//! A batch in parts, one after the other on a device, and on several devices at once.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};

use super::optimization::Optimization;
use super::part::{Part, select};
use super::trainer::StepStats;
use crate::dual::in_thread_pool;
use crate::flow::{Models, PathSample, Residuals, StepInputs, Times, WithDropout};
use crate::net::{Dropout, Net};
use crate::rng::fold_in;

/// The [`Models`] of a step, on one device.
pub(super) struct OwnedModels {
    /// In training, with its weights as they are; the others are as they are computed.
    pub online: Net,
    pub detached: Net,
    pub ema: Net,
}

impl OwnedModels {
    /// A copy on another device.
    fn fork(&self, device: &Device, tape: &Device) -> Self {
        Self {
            online: self.online.clone().fork(tape),
            detached: self.detached.clone().fork(device),
            ema: self.ema.clone().fork(device),
        }
    }
}

impl StepInputs {
    /// A part; `None` where it is empty.
    fn part(&self, part: Part, group: usize) -> Option<Self> {
        if part == Part::WHOLE {
            return Some(self.clone());
        }
        let [count] = self.t.dims();
        let rows = part.rows(count, group);
        if rows.is_empty() {
            return None;
        }
        let Self { z, v, r, t, labels, intervals } = self.clone();
        let (times, labels, rows) = select(Times { t, r, intervals }, labels, &rows);
        Some(Self::new(PathSample { z: z.select(0, rows.clone()), v: v.select(0, rows) }, times, labels))
    }

    fn to_device(&self, device: &Device) -> Self {
        let Self { z, v, r, t, labels, intervals } = self.clone();
        Self {
            z: z.to_device(device),
            v: v.to_device(device),
            r: r.to_device(device),
            t: t.to_device(device),
            labels: labels.map(|labels| labels.moved_to(device)),
            intervals,
        }
    }
}

/// How the batch of a step is computed: in `[train] accumulate` parts on each of `devices`.
pub(super) struct MicroBatches<'a> {
    pub train: &'a Optimization,
    /// The first holds the networks and the inputs.
    pub devices: &'a [Device],
    pub step: u64,
    /// How many neighbouring rows stay together.
    pub group: usize,
    /// Which part of the step's batch the inputs are.
    pub of_step: Part,
    /// How many rows the step's batch has.
    pub rows: usize,
}

impl MicroBatches<'_> {
    /// Forward, derivative and backward: the gradients of `loss`, added up over the rows and divided by how many the
    /// step's batch has, and what was measured.
    ///
    /// Each device takes its parts of the batch at the same time as the others; the gradients are added up on the
    /// first. In parts or not, and on how many devices, changes only rounding, unless features are dropped.
    pub fn gradients(
        &self,
        models: &OwnedModels,
        inputs: &StepInputs,
        loss: impl Fn(Models<'_>, StepInputs) -> (Tensor<1>, Residuals) + Sync,
    ) -> (GradientsParams, StepStats) {
        let devices = self.devices;
        let done = std::thread::scope(|scope| {
            let others: Vec<_> = (1..devices.len())
                .map(|i| {
                    let loss = &loss;
                    scope.spawn(move || {
                        let models = models.fork(&devices[i], &self.train.autodiff_device(&devices[i]));
                        self.gradients_on(i, &models, inputs, loss)
                    })
                })
                .collect();
            let mut done = vec![self.gradients_on(0, models, inputs, &loss)];
            for other in others {
                done.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            done
        });
        let (mut sum, mut measured) = (GradientsAccumulator::new(), Vec::new());
        for (gradients, losses) in done {
            sum.accumulate(&models.online, gradients.to_device(&devices[0], &models.online));
            measured.extend(losses.into_iter().map(|losses| losses.moved_to(&devices[0])));
        }
        (sum.grads(), StepStats::joined(measured))
    }

    /// The parts of one device.
    fn gradients_on(
        &self,
        device: usize,
        models: &OwnedModels,
        inputs: &StepInputs,
        loss: &(impl Fn(Models<'_>, StepInputs) -> (Tensor<1>, Residuals) + Sync),
    ) -> (GradientsParams, Vec<StepStats>) {
        let parts = self.devices.len() * self.train.accumulate;
        let (mut sum, mut measured) = (GradientsAccumulator::new(), Vec::new());
        for part in (device..parts).step_by(self.devices.len()) {
            let own = match inputs.part(Part { index: part, count: parts }, self.group) {
                Some(own) => own.to_device(&self.devices[device]),
                None => continue,
            };
            let share = own.t.dims()[0] as f64 / self.rows as f64;
            let (gradients, losses) = in_thread_pool(&self.devices[device], || {
                self.part_gradients(self.of_step.index + self.of_step.count * part, models, |models| {
                    let (loss, residuals) = loss(models, own);
                    (loss * share, residuals)
                })
            });
            sum.accumulate(&models.online, gradients);
            measured.push(losses);
        }
        (sum.grads(), measured)
    }

    /// The gradients of a part's loss.
    fn part_gradients(
        &self,
        part: usize,
        models: &OwnedModels,
        loss: impl FnOnce(Models<'_>) -> (Tensor<1>, Residuals),
    ) -> (GradientsParams, StepStats) {
        let train = self.train;
        // Each part drops features of its own, or all would drop the same ones.
        let seed = fold_in(train.seed, part as u64);
        let dropout = || (train.dropout > 0.0).then(|| Dropout::new(train.dropout, seed, self.step));
        let online = train.precision.of(&models.online);
        let [online, detached, ema] =
            [&online, &models.detached, &models.ema].map(|net| WithDropout { net, dropout: dropout() });
        let (loss, residuals) = loss(Models { online: &online, detached: &detached, ema: &ema });
        let gradients = GradientsParams::from_grads(loss.backward(), &models.online);
        let Residuals { interval, instant, auxiliary } = residuals;
        let [interval, instant, auxiliary] = [interval, instant, auxiliary].map(|part| part.map(Tensor::inner));
        (gradients, StepStats { loss: loss.inner(), residuals: Residuals { interval, instant, auxiliary } })
    }
}

impl StepStats {
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
