//! How images become as large as Inception-v3 takes them.

use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Edge of the images that the network was made for.
const SIZE: usize = 299;

/// How images become 299 × 299 pixels large, and in which range: programs that share Inception's weights differ in it,
/// and so do their FIDs. None of them smooths before it shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum InceptionResize {
    /// As pytorch-fid: bilinear between pixels' centres (PyTorch's align_corners = False), values b / 127.5 − 1
    #[default]
    PytorchFid,
    /// As TensorFlow 1 and the authors' code of MeanFlow and improved MeanFlow, also torch-fidelity, torchmetrics and
    /// ADM: bilinear from pixels' corners (half_pixel_centers = False), values (b − 128) / 128
    #[value(name = "tensorflow1")]
    #[serde(rename = "tensorflow1")]
    TensorFlow1,
    /// As the authors' code of pixel MeanFlow: bilinear between pixels' centres, values (b − 128) / 128
    Pmf,
}

impl InceptionResize {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::PytorchFid => "pytorch-fid",
            Self::TensorFlow1 => "tensorflow1",
            Self::Pmf => "pmf",
        }
    }

    /// `[batch, 3, height, width]` in `[−1, 1]` → `[batch, 3, 299, 299]` as Inception takes it.
    pub(super) fn apply(self, x: Tensor<4>) -> Tensor<4> {
        let resized = match self {
            Self::PytorchFid | Self::Pmf => {
                let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
                interpolate(x, options.with_output_size([SIZE; 2]))
            }
            Self::TensorFlow1 => from_corners(from_corners(x, 3), 2),
        };
        match self {
            Self::PytorchFid => resized,
            // x = b / 127.5 − 1
            Self::TensorFlow1 | Self::Pmf => (resized * 127.5 - 0.5) / 128.0,
        }
    }
}

/// One axis to 299 values as TensorFlow 1 does: value `i` is found at `i · size / 299`.
fn from_corners(x: Tensor<4>, axis: usize) -> Tensor<4> {
    let (size, device) = (x.dims()[axis], x.device());
    let places: Vec<f32> = (0..SIZE).map(|i| i as f32 * (size as f32 / SIZE as f32)).collect();
    let pick = |above: usize| {
        let rows = places.iter().map(|place| (*place as usize + above).min(size - 1) as i32).collect::<Vec<i32>>();
        x.clone().select(axis, Tensor::<1, Int>::from_data(TensorData::new(rows, [SIZE]), &device))
    };
    let mut shape = [1; 4];
    shape[axis] = SIZE;
    let parts = Tensor::from_data(TensorData::new(places.iter().map(|place| place.fract()).collect(), shape), &device);
    let (low, high) = (pick(0), pick(1));
    low.clone() + (high - low) * parts
}
