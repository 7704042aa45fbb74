//! A loaded model that draws pictures by burn: behind the command line, and on the page behind the `burn` build.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::dual::in_thread_pool;
use crate::error::Error;
use crate::flow::{self, Density, Divergence, Integrator, Method, Sampled, Sampling, SamplingGuidance, Velocity};
use crate::model::weights::{self, ModelInfo};
use crate::model::{Condition, GuidanceInputs, NetConfig, Request, Solver, rgba_of, whole_pictures};
use crate::net::{GuidanceScale, Labels, Net, Prompts, encode};
use crate::rng::{self, Purpose, Stream};

/// How to generate, where it is not MeanFlow's own way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleOptions {
    /// The solver; [`Solver`] says how its steps follow from [`Request::nfe`].
    pub solver: Solver,
    /// Classifier-free guidance; 1 is none. A network that is told guidance follows it in the same calls; with others
    /// it is for the solvers of the instantaneous velocity, and doubles their calls.
    pub guidance: f64,
    /// The times within which a network that is told an interval holds to the guidance.
    pub interval: [f64; 2],
    /// Local error that Dormand–Prince allows; it makes as many calls as that takes, whatever [`Request::nfe`] is.
    pub tolerance: f64,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self { solver: Solver::default(), guidance: 1.0, interval: [0.0, 1.0], tolerance: 1e-4 }
    }
}

impl From<Solver> for SampleOptions {
    /// Without guidance.
    fn from(solver: Solver) -> Self {
        Self { solver, ..Self::default() }
    }
}

/// A network ready to sample from.
#[derive(Clone, Debug)]
pub struct Generator {
    net: Net,
    info: ModelInfo,
    device: Device,
}

impl Generator {
    /// Reads a weights file.
    ///
    /// # Errors
    /// As [`crate::net::decode`].
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, Error> {
        let (net, info) = crate::net::decode(bytes, device)?;
        Ok(Self::new(net, info, device))
    }

    /// The bytes of a weights file, with what its model makes of a known seed ([`ModelInfo::check`]).
    ///
    /// # Errors
    /// As [`encode`], or when the device cannot be read.
    pub fn to_bytes(&self, precision: weights::Precision) -> Result<Vec<u8>, Error> {
        let stored = Self::from_bytes(&encode(&self.net, &self.info, precision)?, &self.device)?;
        let info = ModelInfo { check: Some(stored.check()?), ..self.info.clone() };
        encode(&self.net, &info, precision)
    }

    /// Wraps a network that is already on `device`, without autodiff.
    pub fn new(net: Net, info: ModelInfo, device: &Device) -> Self {
        Self { net, info, device: device.clone() }
    }

    /// The network.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// What it makes of the seed 0, for [`ModelInfo::check`].
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn check(&self) -> Result<weights::Check, Error> {
        let picture = self.images(weights::Check::request(0))?.try_into_vec_as::<f32>();
        let picture = picture.map_err(|e| Error::Device(e.to_string()))?;
        Ok(weights::Check::of(0, &picture, self.net.config()))
    }

    /// Refuses a model whose picture of the known seed is not the one that its weights file says, where it says one.
    ///
    /// # Errors
    /// Says how far it is from that, or when the device cannot be read.
    pub fn verify(&self) -> Result<(), Error> {
        let Some(check) = &self.info.check else { return Ok(()) };
        let picture = self.images(weights::Check::request(check.seed))?.try_into_vec_as::<f32>();
        check.accept(&picture.map_err(|e| Error::Device(e.to_string()))?, self.net.config())
    }

    /// What the weights file says about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Pictures in `[−1, 1]`, `[count, channels, size, size]`, not yet read back.
    ///
    /// # Errors
    /// A count, class or NFE that is out of range.
    pub fn images(&self, request: Request) -> Result<Tensor<4>, Error> {
        let labels = self.labels(&request)?;
        let noise = self.noise(&request, 0);
        Ok(in_thread_pool(&self.device, || flow::generate(&self.net, noise, labels, request.nfe)))
    }

    /// The same by another solver or with guidance, and the number of network calls that it took.
    ///
    /// # Errors
    /// As [`Self::images`] and [`flow::sample`], and guidance for a model without classes.
    pub fn sample(&self, request: Request, options: SampleOptions) -> Result<Sampled, Error> {
        let labels = self.labels(&request)?;
        self.sample_labelled(request, labels, options)
    }

    /// The same of a class or prompt for each picture.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn sample_each(
        &self,
        seed: u64,
        classes: &[Condition],
        nfe: usize,
        options: SampleOptions,
    ) -> Result<Sampled, Error> {
        let request = Request { seed, count: classes.len(), class: Condition::Any, nfe };
        self.check_request(&request)?;
        let mut each = Vec::new();
        for (i, class) in classes.iter().enumerate() {
            let of_picture = class.clone().of_pictures(seed.wrapping_add(i as u64), 1, self.net.config())?;
            each.extend(of_picture.into_iter().flatten());
        }
        let labels = (!each.is_empty()).then(|| self.label_tensor(&each));
        self.sample_labelled(request, labels, options)
    }

    fn sample_labelled(
        &self,
        request: Request,
        labels: Option<Labels>,
        options: SampleOptions,
    ) -> Result<Sampled, Error> {
        let (labels, sampling) = self.guided(&request, labels, options)?;
        let noise = |restart| self.noise(&request, restart);
        in_thread_pool(&self.device, || flow::sample(&self.net, noise, labels, &sampling))
    }

    /// The labels of a request with guidance, where that is an input of the network, and how they are sampled.
    fn guided(
        &self,
        request: &Request,
        labels: Option<Labels>,
        options: SampleOptions,
    ) -> Result<(Option<Labels>, Sampling), Error> {
        let SampleOptions { solver, guidance, interval: [start, end], tolerance } = options;
        let inputs = self.net.config().guidance;
        // Told as 1 − 1/ω, it cannot be less than none.
        let least = if inputs == GuidanceInputs::None { 0.0 } else { 1.0 };
        if !(least..=100.0).contains(&guidance) {
            return Err(Error::Request(format!("guidance is {guidance}; it must be {least} to 100")));
        }
        if !(0.0 <= start && start <= end && end <= 1.0) {
            return Err(Error::Request(format!("{start} to {end} is no interval of times between 0 and 1")));
        }
        if [start, end] != [0.0, 1.0] && inputs != GuidanceInputs::ScaleAndInterval {
            return Err(Error::Request(format!("the model `{}` is not told an interval of guidance", self.info.name)));
        }
        if guidance != 1.0 && labels.is_none() {
            return Err(Error::Request(format!(
                "guidance leads towards a class, but the model `{}` has no classes",
                self.info.name
            )));
        }
        let null_label = self.net.config().null_label();
        let labels = match inputs {
            GuidanceInputs::None => labels,
            _ => labels.map(|labels| {
                let all = |value: f64| Tensor::full([request.count], value, &self.device);
                labels.guided(GuidanceScale { scale: all(guidance), start: all(start), end: all(end) })
            }),
        };
        let apart = guidance != 1.0 && inputs == GuidanceInputs::None;
        let guidance = apart.then_some(SamplingGuidance { scale: guidance, null_label });
        Ok((labels, Sampling { solver, nfe: request.nfe, tolerance, guidance }))
    }

    /// Pictures from noise of the caller's own, of one class or of no named one.
    ///
    /// # Shapes
    /// `noise`: `count · channels · size · size` standard normals, as [`rng::noise`] gives them; result
    /// `[count, channels, size, size]`.
    ///
    /// # Errors
    /// Noise that is no whole number of pictures or not finite, or as [`Self::sample`].
    pub fn from_noise(
        &self,
        noise: Vec<f32>,
        class: Condition,
        nfe: usize,
        options: impl Into<SampleOptions>,
    ) -> Result<Tensor<4>, Error> {
        let z = self.scaled(self.pictures(noise)?);
        let request = Request { seed: 0, count: z.dims()[0], class, nfe };
        let labels = self.labels_for(request.count, request.class.clone(), nfe)?;
        let (labels, sampling) = self.guided(&request, labels, options.into())?;
        let restarts = |restart: usize| match restart {
            0 => z.clone(),
            _ => self.scaled(restart_noise(0, request.count, restart as u64, self.shape(), &self.device)),
        };
        Ok(in_thread_pool(&self.device, || flow::sample(&self.net, restarts, labels, &sampling))?.images)
    }

    /// The noise that pictures come from: the flow of the instantaneous velocity run backward by Heun's method.
    ///
    /// # Shapes
    /// `values`: `count` pictures in `[−1, 1]` as [`Self::from_noise`] gives them; result of the same shape, as that
    /// takes it.
    ///
    /// # Errors
    /// As [`Self::from_noise`]; `calls` must be even.
    pub fn invert(&self, values: Vec<f32>, class: Condition, calls: usize) -> Result<Tensor<4>, Error> {
        let x = self.pictures(values)?;
        let labels = self.labels_for(x.dims()[0], class, calls)?;
        if !calls.is_multiple_of(2) {
            return Err(Error::Request(format!(
                "{calls} network calls were asked for; Heun's method makes two a step"
            )));
        }
        let integrator = Integrator::Fixed { method: Method::Heun, steps: calls / 2 };
        let velocity = Velocity::new(&self.net, labels, None);
        Ok(in_thread_pool(&self.device, || velocity.integrate(x, 0.0, 1.0, integrator))?.end
            / self.net.config().noise_scale)
    }

    /// `[channels, size, size]` of a picture.
    fn shape(&self) -> [usize; 3] {
        let NetConfig { channels, image_size, .. } = *self.net.config();
        [channels, image_size, image_size]
    }

    /// The caller's values as a batch.
    fn pictures(&self, values: Vec<f32>) -> Result<Tensor<4>, Error> {
        let count = whole_pictures(&values, self.net.config())?;
        let [channels, height, width] = self.shape();
        Ok(Tensor::from_data(TensorData::new(values, [count, channels, height, width]), &self.device))
    }

    /// One class for `count` pictures; without it "no class" for a model that has some.
    fn labels_for(&self, count: usize, class: Condition, nfe: usize) -> Result<Option<Labels>, Error> {
        let labels = self.labels(&Request { seed: 0, count, class: class.clone(), nfe })?;
        Ok(match class {
            Condition::Any => labels.map(|_| self.label_tensor(&vec![Condition::Any; count])),
            _ => labels,
        })
    }

    /// The log-density of images under the model's flow, of a class or prompt each, or of none.
    ///
    /// # Shapes
    /// `images`: `[batch, channels, size, size]` in `[−1, 1]`.
    ///
    /// # Errors
    /// Images of another shape than the model's, classes that it does not have, or as [`flow::log_density`].
    pub fn density(
        &self,
        images: Tensor<4>,
        classes: Option<&[Condition]>,
        divergence: Divergence,
        integrator: Integrator,
    ) -> Result<Density, Error> {
        let config = self.net.config();
        let [batch, shape @ ..] = images.dims();
        if shape != [config.channels, config.image_size, config.image_size] {
            return Err(Error::Request(format!(
                "images of {shape:?} for a model of {:?}",
                [config.channels, config.image_size, config.image_size]
            )));
        }
        let nameless = vec![Condition::Any; batch];
        let classes = classes.unwrap_or(&nameless);
        if classes.len() != batch {
            return Err(Error::Request(format!("{batch} images need as many classes, not {}", classes.len())));
        }
        for class in classes.iter().filter(|class| **class != Condition::Any) {
            class.clone().of_pictures(0, 1, config)?;
        }
        let is_told = config.classes > 0 || config.text.is_some();
        let labels = is_told.then(|| self.label_tensor(classes));
        in_thread_pool(&self.device, || flow::log_density(&self.net, images, labels, divergence, integrator))
    }

    /// The noise to start from, or that of a later restart.
    fn noise(&self, request: &Request, restart: usize) -> Tensor<4> {
        let shape = self.shape();
        self.scaled(match restart {
            0 => noise_images(request.seed, request.count, shape, &self.device),
            _ => restart_noise(request.seed, request.count, restart as u64, shape, &self.device),
        })
    }

    /// Standard normals as noise of the network's scale.
    fn scaled(&self, noise: Tensor<4>) -> Tensor<4> {
        match self.net.config().noise_scale {
            1.0 => noise,
            scale => noise * scale,
        }
    }

    /// The labels of a request that can be served.
    fn labels(&self, request: &Request) -> Result<Option<Labels>, Error> {
        self.check_request(request)?;
        let labels = request.labels(self.net.config())?;
        Ok(labels.map(|labels| self.label_tensor(&labels)))
    }

    /// Refuses a request that is out of range, or too large for the memory.
    fn check_request(&self, request: &Request) -> Result<(), Error> {
        request.check()?;
        #[cfg(feature = "train")]
        self.net.config().check_call(request.count as u64)?;
        Ok(())
    }

    fn label_tensor(&self, labels: &[Condition]) -> Labels {
        let (null, count) = (self.net.config().null_label(), labels.len());
        if let Some(text) = &self.net.config().text {
            let prompts: Vec<_> = labels.iter().map(|label| label.tokens().to_vec()).collect();
            return Prompts::new(&prompts, text, &self.device).into();
        }
        if !labels.iter().any(|label| matches!(label, Condition::Between(_))) {
            let rows: Vec<i32> = labels.iter().map(|label| label.shares(null)[0].0 as i32).collect();
            return Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &self.device).into();
        }
        let mut shares = vec![0.0_f32; count * (null + 1)];
        for (row, label) in shares.chunks_exact_mut(null + 1).zip(labels) {
            label.shares(null).into_iter().for_each(|(class, share)| row[class] += share);
        }
        Labels::blended(Tensor::from_data(TensorData::new(shares, [count, null + 1]), &self.device))
    }
}

/// Bytes of RGBA pictures, row by row, one picture after the other, straight alpha.
///
/// `x̂ = round(127.5 x + 127.5)`, clamped to 0–255. Grey is repeated; without an alpha channel alpha is 255.
///
/// # Shapes
/// `[batch, channels, height, width]` in `[−1, 1]`, with 1, 3 or 4 channels → `batch · height · width · 4` bytes.
///
/// # Errors
/// When the device cannot be read.
pub async fn to_rgba(images: Tensor<4>) -> Result<Vec<u8>, Error> {
    let [batch, channels, height, width] = images.dims();
    let pixels = height * width;
    let data = images.into_data_async().await.map_err(|e| Error::Device(e.to_string()))?;
    let values = data.convert::<f32>().try_into_vec::<f32>().map_err(|e| Error::Device(e.to_string()))?;
    Ok(rgba_of(&values, [batch, channels, pixels]))
}

/// Noise of `count` pictures with seeds `first`, `first + 1`, …
///
/// # Shapes
/// `[count, channels, size, size]` for `shape = [channels, size, size]`.
pub fn noise_images(first: u64, count: usize, shape: [usize; 3], device: &Device) -> Tensor<4> {
    images_from(|i| rng::noise(first.wrapping_add(i), shape.iter().product()), count, shape, device)
}

/// Fresh noise of the same pictures for restart `restart` of their sampling, counted from 1.
///
/// # Shapes
/// As [`noise_images`].
pub fn restart_noise(first: u64, count: usize, restart: u64, shape: [usize; 3], device: &Device) -> Tensor<4> {
    let values = shape.iter().product();
    images_from(|i| Stream::new(first.wrapping_add(i), Purpose::Restart, restart).normals(values), count, shape, device)
}

fn images_from(values: impl Fn(u64) -> Vec<f32>, count: usize, shape: [usize; 3], device: &Device) -> Tensor<4> {
    let values = (0..count as u64).flat_map(values).collect();
    let [channels, height, width] = shape;
    Tensor::from_data(TensorData::new::<f32, _>(values, [count, channels, height, width]), device)
}
