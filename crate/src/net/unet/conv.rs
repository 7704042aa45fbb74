//! Layers of the U-Net on images: convolution, group normalisation, resampling.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};

use crate::dual::{Dual, convolve, group_norm};
use crate::net::init::Init;
use crate::net::param::ParamRole;

/// A convolution of odd kernel that keeps the size of the image.
#[derive(Module, Debug)]
pub(super) struct Conv {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl Conv {
    /// Xavier-uniform, times `scale`; bias zero.
    pub fn new(role: ParamRole, [input, output]: [usize; 2], kernel: usize, scale: f64, init: &Init) -> Self {
        let area = kernel * kernel;
        let limit = scale * (6.0 / ((input + output) * area) as f64).sqrt();
        let mut stream = init.next_stream();
        let values = move |count: usize| (0..count).map(|_| (limit * (2.0 * stream.uniform() - 1.0)) as f32).collect();
        Self { weight: init.parameter(role, [output, input, kernel, kernel], values), bias: init.vector(output, 0.0) }
    }

    /// # Shapes
    /// `[batch, input, height, width]` → `[batch, output, height, width]`.
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        convolve(x, &self.weight.val(), &self.bias.val())
    }

    /// Parameters of such a layer.
    pub fn parameters([input, output]: [usize; 2], kernel: usize) -> usize {
        (input * kernel * kernel + 1) * output
    }
}

/// Group normalisation with learned scale and shift per channel.
#[derive(Module, Debug)]
pub(super) struct GroupNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

/// ε of every normalisation.
const NORM_EPSILON: f64 = 1e-6;

impl GroupNorm {
    pub fn new(channels: usize, init: &Init) -> Self {
        Self { weight: init.vector(channels, 1.0), bias: init.vector(channels, 0.0) }
    }

    /// # Shapes
    /// `[batch, channels, height, width]`, and the same.
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        let channels = x.dims()[1];
        let per_channel = |values: &Param<Tensor<1>>| Dual::constant(values.val().reshape([1, -1, 1, 1]));
        group_norm(x, groups(channels), NORM_EPSILON) * per_channel(&self.weight) + per_channel(&self.bias)
    }
}

/// At most 32 groups, of at least four channels.
fn groups(channels: usize) -> usize {
    (channels / 4).clamp(1, 32)
}

/// Half or twice the size of an image, with the filter `[1, 3, 3, 1] / 8` along both edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resample {
    Keep,
    Down,
    Up,
}

impl Resample {
    /// # Shapes
    /// `[batch, channels, height, width]`, edges kept, halved or doubled.
    pub fn forward(self, x: Dual<4>) -> Dual<4> {
        use burn::tensor::module::{conv_transpose2d, conv2d};
        use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
        if self == Self::Keep {
            return x;
        }
        let [batch, channels, height, width] = x.dims();
        // Every channel by itself, as a batch of grey images.
        let grey = x.reshape([batch * channels, 1, height, width]);
        let (resized, [height, width]) = match self {
            Self::Up => {
                let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
                let up = |x: Tensor<4>| {
                    let filter = filter(4.0, &x);
                    conv_transpose2d(x, filter, None, options.clone())
                };
                (grey.linear_map(up), [2 * height, 2 * width])
            }
            _ => {
                let down = |x: Tensor<4>| {
                    let filter = filter(1.0, &x);
                    conv2d(x, filter, None, ConvOptions::new([2, 2], [1, 1], [1, 1], 1))
                };
                (grey.linear_map(down), [height / 2, width / 2])
            }
        };
        resized.reshape([batch, channels, height, width])
    }
}

/// `gain · [1, 3, 3, 1]ᵀ[1, 3, 3, 1] / 64`, where `like` lies.
fn filter(gain: f32, like: &Tensor<4>) -> Tensor<4> {
    let taps = [1.0f32, 3.0, 3.0, 1.0];
    let values: Vec<f32> = taps.iter().flat_map(|a| taps.map(|b| gain * a * b / 64.0)).collect();
    let filter = Tensor::from_data(TensorData::new(values, [1, 1, 4, 4]), &like.device().inner());
    if like.is_autodiff() { filter.autodiff() } else { filter }
}
