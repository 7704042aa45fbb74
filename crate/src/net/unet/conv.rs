//! Layers of the U-Net on images: convolution, group normalisation, resampling.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};

use crate::dual::{Dual, convolve, group_norm};
use crate::model::params::unet::Resample;
use crate::model::tables::NORM_EPSILON;
use crate::net::init::Init;

/// A convolution of odd kernel that keeps the size of the image.
#[derive(Module, Debug)]
pub(super) struct Conv {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl Conv {
    pub fn new(init: &Init) -> Self {
        Self { weight: init.param("weight"), bias: init.param("bias") }
    }

    /// # Shapes
    /// `[batch, input, height, width]` → `[batch, output, height, width]`.
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        convolve(x, &self.weight.val(), &self.bias.val())
    }
}

/// Group normalisation with learned scale and shift per channel.
#[derive(Module, Debug)]
pub(super) struct GroupNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

impl GroupNorm {
    pub fn new(init: &Init) -> Self {
        Self { weight: init.param("weight"), bias: init.param("bias") }
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
///
/// # Shapes
/// `[batch, channels, height, width]`, edges kept, halved or doubled.
pub(super) fn resample(x: Dual<4>, to: Resample) -> Dual<4> {
    use burn::tensor::module::{conv_transpose2d, conv2d};
    use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
    if to == Resample::Keep {
        return x;
    }
    let [batch, channels, height, width] = x.dims();
    // Every channel by itself, as a batch of grey images.
    let grey = x.reshape([batch * channels, 1, height, width]);
    let (resized, [height, width]) = match to {
        Resample::Up => {
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

/// `gain · [1, 3, 3, 1]ᵀ[1, 3, 3, 1] / 64`, where `like` lies.
fn filter(gain: f32, like: &Tensor<4>) -> Tensor<4> {
    let taps = [1.0f32, 3.0, 3.0, 1.0];
    let values: Vec<f32> = taps.iter().flat_map(|a| taps.map(|b| gain * a * b / 64.0)).collect();
    let filter = Tensor::from_data(TensorData::new(values, [1, 1, 4, 4]), &like.device().inner());
    if like.is_autodiff() { filter.autodiff() } else { filter }
}
