//! One training step: the objective, by default Algorithm 1 of MeanFlow, and the optimizer around it.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};

use super::batch::Batch;
use super::config::TrainerConfig;
use super::ema::Ema;
use super::gradients;
use super::micro_batch::{MicroBatches, OwnedModels};
use super::muon::{OptimizerShare, optimizer};
use super::part::{Part, select};
use super::process_group::{ProcessGroup, all_reduce};
use crate::dual::in_thread_pool;
use crate::flow::{Models, Objective, PathSample, Residuals, StepInputs};
use crate::model::NetConfig;
use crate::net::{Labels, Net};

/// The state of a run: network, average, optimizer, and how many steps they have seen.
pub struct Trainer {
    pub(crate) net: Net,
    pub(crate) ema: Ema,
    /// The other averages, by name.
    pub(crate) averages: BTreeMap<String, Ema>,
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) step: u64,
    pub(super) config: TrainerConfig,
    /// What is trained instead of the configuration's objective.
    objective: Option<Box<dyn Objective>>,
    /// The first holds the state; each takes its part of a batch.
    pub(super) devices: Vec<Device>,
    /// The processes that share every batch, where there are several.
    processes: Option<Arc<dyn ProcessGroup>>,
}

/// What a step measured, still on the device: reading it back waits for the device.
pub struct StepStats {
    /// The weighted loss, `[1]`.
    pub loss: Tensor<1>,
    /// The raw squared residuals, off the tape.
    pub residuals: Residuals,
}

impl Trainer {
    /// Takes one step on a batch: algorithm 1 of MeanFlow (arXiv 2505.13447), or another objective, and the optimizer.
    ///
    /// # Panics
    /// When the images or labels of the batch are not such as the network takes.
    pub fn step(&mut self, batch: Batch) -> StepStats {
        let rows = batch.rows();
        let (gradients, stats) = self.gradients(batch);
        let gradients = match self.processes.as_deref() {
            Some(processes) => all_reduce(processes, &self.net, gradients, &self.devices[0]),
            None => gradients,
        };
        in_thread_pool(&self.devices[0].clone(), || {
            let gradients = gradients::clip(&self.net, gradients, self.config.train.clip);
            self.update(gradients);
            self.end_step(rows);
        });
        stats
    }

    /// The gradients of a batch's loss, or of those rows of it that this process takes, divided by the rows of all.
    pub(super) fn gradients(&self, batch: Batch) -> (GradientsParams, StepStats) {
        let (step, device, objective) = (self.step, self.devices[0].clone(), self.objective());
        let TrainerConfig { train, weight, .. } = &self.config;
        let (rows, own) = (batch.rows(), batch.own.clone());

        // Times and noise, and where the networks are evaluated: on the path from image to noise.
        let (models, inputs) = in_thread_pool(&device, || {
            let (models, times) = (self.models(), self.draw_times(rows, batch.instants));
            let labels = batch.conditioning().map(|labels| self.with_guidance(labels, &times));
            let noise = self.draw_noise(&batch);
            // What is drawn is drawn for the whole batch: it is the same however many processes share it.
            let (times, labels) = match &own {
                Some(own) => {
                    let (times, labels, _) = select(times, labels, &own.rows);
                    (times, labels)
                }
                None => (times, labels),
            };
            let path = objective.path(batch.images, noise, times.t.clone());
            let path = self.guided(path, &times.t, labels.as_ref(), &models);
            (models, StepInputs::new(path, times, labels))
        });

        // The loss and its gradients, in parts and on all devices.
        let loss = |models: Models<'_>, inputs: StepInputs| {
            let residuals = objective.residuals(models, inputs, step);
            (weight.apply(&residuals), residuals)
        };
        let of_step = own.map_or(Part::WHOLE, |own| own.part);
        let parts = MicroBatches { train, devices: &self.devices, step, group: objective.group(), of_step, rows };
        parts.gradients(&models, &inputs, loss)
    }

    /// Moves those weights that have gradients.
    pub(super) fn update(&mut self, gradients: GradientsParams) {
        // The average stands in for the weights, which are changed where they lie if nobody else holds them.
        let net = std::mem::replace(&mut self.net, self.ema.net().clone());
        self.net = self.optimizer.step(self.config.train.learning_rate_at(self.step), net, gradients);
    }

    /// What follows when the weights have moved, on so many images: the averages follow.
    pub(super) fn end_step(&mut self, images: usize) {
        let (train, step) = (&self.config.train, self.step);
        self.ema.follow(&self.net, train.ema_decay_at(step, images));
        for (name, average) in &train.averages {
            if let Some(ema) = self.averages.get_mut(name) {
                ema.follow(&self.net, average.decay_at(step, images));
            }
        }
        self.step += 1;
    }

    /// The path with its velocity guided towards the classes or prompts, where the settings say so.
    fn guided(&self, path: PathSample, t: &Tensor<1>, labels: Option<&Labels>, models: &OwnedModels) -> PathSample {
        let guidance = &self.config.guidance;
        let Some(labels) = labels.filter(|_| guidance.is_on()) else { return path };
        let guide = if self.objective().guides_by_average() { &models.ema } else { &models.detached };
        guidance.apply(guide, path, t, labels, guide.config().null_label())
    }

    /// The networks of this step, as they are computed.
    fn models(&self) -> OwnedModels {
        let precision = self.config.train.precision;
        let ema = self.objective().average().and_then(|name| self.averages.get(name)).unwrap_or(&self.ema);
        OwnedModels {
            online: self.net.clone(),
            detached: precision.of(&self.net.valid()),
            ema: precision.of(ema.net()),
        }
    }
}

impl Trainer {
    /// A fresh run on `device` (without autodiff; the trainer adds it).
    pub fn new(config: impl Into<TrainerConfig>, net: &NetConfig, device: &Device) -> Self {
        let config = config.into();
        let net = net.init(config.train.seed, &config.train.autodiff_device(device)).materialize();
        Self::afresh(config, net, device)
    }

    /// A run that begins with the weights of `trained`, on any device; optimizer and averages begin anew.
    pub fn beginning_with(config: impl Into<TrainerConfig>, trained: &Net, device: &Device) -> Self {
        let config = config.into();
        // Through a fresh network, because weights that were read are set not to be trained.
        let fresh = trained.config().init(config.train.seed, &config.train.autodiff_device(device));
        Self::afresh(config, fresh.load_record(trained.clone().into_record()), device)
    }

    fn afresh(config: TrainerConfig, net: Net, device: &Device) -> Self {
        let averages = config.train.averages.keys().map(|name| (name.clone(), Ema::new(&net))).collect();
        let optimizer = optimizer(&config.train, &net);
        Self::from_parts(config, [net.clone(), net.valid()], averages, optimizer, 0, device)
    }

    pub(crate) fn from_parts(
        config: impl Into<TrainerConfig>,
        [net, shadow]: [Net; 2],
        averages: BTreeMap<String, Ema>,
        optimizer: ModuleOptimizer,
        step: u64,
        device: &Device,
    ) -> Self {
        Self {
            net,
            ema: Ema::resume(shadow),
            averages,
            optimizer,
            step,
            config: config.into(),
            objective: None,
            devices: vec![device.clone()],
            processes: None,
        }
    }

    /// Trains an objective of the caller's own instead of the configuration's, which is still what the configuration's
    /// checks and schedules are of.
    pub fn with_objective(self, objective: impl Objective + 'static) -> Self {
        Self { objective: Some(Box::new(objective)), ..self }
    }

    /// Lets further devices take their part of every batch.
    pub fn with_helpers(mut self, helpers: &[Device]) -> Self {
        self.devices.extend_from_slice(helpers);
        self
    }

    /// Shares every batch with other processes, which take the same steps; each is given batches of its own rows.
    pub fn with_processes(self, processes: Arc<dyn ProcessGroup>) -> Self {
        Self { processes: Some(processes), ..self }
    }

    /// Steps taken so far.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// What is trained.
    pub fn objective(&self) -> &dyn Objective {
        self.objective.as_deref().unwrap_or(&*self.config.objective)
    }

    /// The network in training.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// The averaged network, which samples and exports use.
    pub fn averaged(&self) -> &Net {
        self.ema.net()
    }

    /// What each optimizer trains.
    pub fn optimizer_shares(&self) -> Vec<OptimizerShare> {
        OptimizerShare::of(&self.config.train, &self.net.param_specs())
    }
}
