//! What the network is told besides the image: where each patch sits, the times, and the class.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};

use super::GuidanceScale;
use super::init::Init;
use crate::dual::{Dual, linear, silu};
use crate::model::tables::{FREQUENCIES, frequencies, position_table};

/// Learned rows: one per class and one for "no class", or one per token.
#[derive(Module, Debug)]
pub(super) struct Table {
    pub weight: Param<Tensor<2>>,
}

impl Table {
    pub fn new(init: &Init) -> Self {
        Self { weight: init.param("weight") }
    }
}

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
    pub(super) fn new(init: &Init) -> Self {
        Self {
            fc1: init.linear("fc1"),
            fc2: init.linear("fc2"),
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
}

/// Guidance as an input (improved MeanFlow, arXiv 2512.02012): the scale as `1 − 1/ω`, and the interval as times.
#[derive(Module, Debug)]
pub(super) struct GuidanceEmbedding {
    scale: TimeEmbedding,
    start: Option<TimeEmbedding>,
    end: Option<TimeEmbedding>,
}

impl GuidanceEmbedding {
    pub fn new(init: &Init) -> Self {
        let interval = |name: &str| init.optional(name, TimeEmbedding::new);
        Self { scale: TimeEmbedding::new(&init.scope("scale")), start: interval("start"), end: interval("end") }
    }

    /// The embeddings of scale, start and end, `[batch, width]`, as far as they are told.
    pub fn forward(&self, guidance: GuidanceScale) -> Vec<Dual<2>> {
        let GuidanceScale { scale, start, end } = guidance;
        let ends = [(&self.start, start), (&self.end, end)];
        let ends = ends.into_iter().filter_map(|(embedding, time)| Some(embedding.as_ref()?.forward(time.into())));
        std::iter::once(self.scale.forward((scale.recip().neg() + 1.0).into())).chain(ends).collect()
    }
}

/// The table of [`position_table`] as `[1, side², width]`.
pub fn positions(side: usize, width: usize, device: &Device) -> Tensor<3> {
    let table = TensorData::new(position_table(side, width), [1, side * side, width]);
    Tensor::from_data(table, &device.clone().inner())
}
