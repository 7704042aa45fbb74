//! What the network is told besides the image: where each patch sits, the times, and the class.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};

use super::init::{Init, Initializer};
use super::param::ParamRole;
use super::{GuidanceScale, NetConfig};
use crate::dual::{Dual, linear, silu};

/// Learned rows: one per class and one for "no class", or one per token.
#[derive(Module, Debug)]
pub(super) struct Table {
    pub weight: Param<Tensor<2>>,
}

impl Table {
    pub fn new(rows: usize, width: usize, start: Initializer, init: &Init) -> Self {
        Self { weight: init.matrix(ParamRole::Embedding, rows, width, start) }
    }
}

/// Sinusoids per time; half cosines, half sines.
pub const FREQUENCIES: usize = 256;
/// Longest period of the sinusoids, in units of time / 2π.
const MAX_PERIOD: f64 = 10_000.0;

/// Embeds a raw time in `[0, 1]`: `[cos(s f) | sin(s f)]` through a two-layer MLP.
///
/// The largest angular frequency is 1, so the embedding is smooth in time and `∂u/∂t` stays small. Times are *not*
/// multiplied by 1000 as in many diffusion models (MeanFlow, arXiv 2505.13447; official code).
#[derive(Module, Debug)]
pub struct TimeEmbedding {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    frequencies: Tensor<2>,
}

impl TimeEmbedding {
    /// Fresh embedding into `width` features.
    pub(super) fn new(width: usize, start: [Initializer; 2], init: &Init) -> Self {
        Self {
            fc1: init.linear(ParamRole::Conditioning, FREQUENCIES, width, start[0]),
            fc2: init.linear(ParamRole::Conditioning, width, width, start[1]),
            frequencies: Tensor::from_data(
                TensorData::new(frequencies(), [1, FREQUENCIES / 2]),
                &init.device.clone().inner(),
            ),
        }
    }

    /// # Shapes
    /// `[batch]` → `[batch, width]`.
    pub fn forward(&self, time: Dual<1>) -> Dual<2> {
        let [batch] = time.dims();
        let angles = time.reshape([batch, 1]) * Dual::constant(self.frequencies.clone());
        let waves = angles.clone().cos().concat(angles.sin(), 1);
        linear(&self.fc2, silu(linear(&self.fc1, waves)))
    }
}

impl TimeEmbedding {
    /// Adds to every time's embedding what `other` makes of time 0.
    pub(super) fn absorb(&mut self, other: &Self) {
        let device = other.frequencies.device();
        let constant = other.forward(Tensor::<1>::zeros([1], &device).into()).primal.inner().squeeze_dim(0);
        self.fc2.bias = self.fc2.bias.take().map(|bias| bias.map(|bias| bias + constant));
    }

    /// Parameters of one into `width` features.
    pub(super) fn parameters(width: usize) -> usize {
        (FREQUENCIES + 1) * width + (width + 1) * width
    }
}

/// Guidance as an input (improved MeanFlow, arXiv 2512.02012): the scale as `1 − 1/ω`, and the interval as times.
#[derive(Module, Debug)]
pub(super) struct GuidanceEmbedding {
    scale: TimeEmbedding,
    start: Option<TimeEmbedding>,
    end: Option<TimeEmbedding>,
}

impl GuidanceEmbedding {
    /// What a network with this configuration is told of it, if anything.
    pub fn new(config: &NetConfig, start: [Initializer; 2], init: &Init) -> Option<Self> {
        let embedding = || TimeEmbedding::new(config.width, start, init);
        let [scale, interval] = config.guidance.flags();
        scale.then(|| Self { scale: embedding(), start: interval.then(embedding), end: interval.then(embedding) })
    }

    /// The embeddings of scale, start and end, `[batch, width]`, as far as they are told.
    pub fn forward(&self, guidance: GuidanceScale) -> Vec<Dual<2>> {
        let GuidanceScale { scale, start, end } = guidance;
        let ends = [(&self.start, start), (&self.end, end)];
        let ends = ends.into_iter().filter_map(|(embedding, time)| Some(embedding.as_ref()?.forward(time.into())));
        std::iter::once(self.scale.forward((scale.recip().neg() + 1.0).into())).chain(ends).collect()
    }
}

/// Angular frequencies of the sinusoids of a time, `[FREQUENCIES / 2]`.
pub fn frequencies() -> Vec<f32> {
    let half = FREQUENCIES / 2;
    (0..half).map(|i| libm::exp(-libm::log(MAX_PERIOD) * i as f64 / half as f64) as f32).collect()
}

/// The table of [`position_table`] as `[1, side², width]`.
pub fn positions(side: usize, width: usize, device: &Device) -> Tensor<3> {
    let table = TensorData::new(position_table(side, width), [1, side * side, width]);
    Tensor::from_data(table, &device.clone().inner())
}

/// Fixed 2-D sine-cosine table of patch positions, `[side², width]`.
///
/// The first half of the channels encodes the column, the second half the row, each as `[sin | cos]` (DiT, MAE).
pub fn position_table(side: usize, width: usize) -> Vec<f32> {
    let quarter = width / 4;
    let periods: Vec<f64> = (0..quarter).map(|i| libm::pow(MAX_PERIOD, i as f64 / quarter as f64)).collect();
    // Of each coordinate once: a visitor waits for this.
    let waves = |coordinate: usize| {
        let angles = || periods.iter().map(move |period| coordinate as f64 / period);
        let waves = angles().map(libm::sin).chain(angles().map(libm::cos));
        waves.map(|wave| wave as f32).collect::<Vec<_>>()
    };
    let waves: Vec<Vec<f32>> = (0..side).map(waves).collect();
    let mut table = Vec::with_capacity(side * side * width);
    for index in 0..side * side {
        for coordinate in [index % side, index / side] {
            table.extend_from_slice(&waves[coordinate]);
        }
    }
    table
}
