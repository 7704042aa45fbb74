//! Inception-v3 as FID uses it (Szegedy et al. 2015, arXiv 1512.00567), with the weights and the quirks of pytorch-fid:
//! the averages of blocks A, C and the first E leave the padding out, and the second E takes the maximum instead.
//!
//! Its weights are not ours to ship: `pt_inception-2015-12-05-….pth` of pytorch-fid has the names read here.

use std::collections::BTreeMap;

use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};

use super::resize::InceptionResize;
use crate::error::Error;
use crate::import::{Array, Checkpoint};

/// ε of the batch normalisations.
const EPSILON: f32 = 1e-3;
/// A tensor that tells the network from others.
const SIGN: &str = "Mixed_7c.branch3x3dbl_3b.conv.weight";

/// A convolution with its batch normalisation folded in.
#[derive(Debug)]
struct Convolution {
    weight: Tensor<4>,
    bias: Tensor<1>,
}

/// The network up to its last pooling.
#[derive(Debug)]
pub struct Inception {
    convolutions: BTreeMap<String, Convolution>,
    resize: InceptionResize,
}

impl Inception {
    /// Whether a checkpoint holds this network.
    pub fn is_in(checkpoint: &Checkpoint) -> bool {
        checkpoint.get(SIGN).is_some()
    }

    /// Reads the network. Its widths may be a 16th, an eighth, … of the published ones, for tests.
    ///
    /// # Errors
    /// Lists every tensor that is missing or of another shape.
    pub fn read(checkpoint: &Checkpoint, device: &Device) -> Result<Self, Error> {
        let first =
            checkpoint.get("Conv2d_1a_3x3.conv.weight").map_or(32, |tensor| tensor.shape.first().copied().unwrap_or(0));
        let layers = layers(32 / first.clamp(1, 32));
        let wanted: Vec<_> = layers.iter().flat_map(|(name, shape)| parts(name, *shape)).collect();
        // The classifier, the auxiliary head and the counters of batches are not used.
        let found = checkpoint.take(&wanted, |_| true)?;
        let fold =
            |((name, shape), arrays): (&(String, [usize; 4]), &[Array])| (name.clone(), fold(*shape, arrays, device));
        let convolutions = layers.iter().zip(found.chunks(PARTS.len())).map(fold).collect();
        Ok(Self { convolutions, resize: InceptionResize::default() })
    }

    /// The same with images resized as another program does.
    pub fn with_resize(self, resize: InceptionResize) -> Self {
        Self { resize, ..self }
    }

    /// How images are resized.
    pub fn resize(&self) -> InceptionResize {
        self.resize
    }

    /// `[batch, 1 | 3 | 4, size, size]` in `[−1, 1]` → `[batch, 2048]`. Grey is repeated, transparency laid over white.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.resize.apply(to_rgb(images));
        let x = self.valid("Conv2d_1a_3x3", x, 2);
        let x = self.valid("Conv2d_2a_3x3", x, 1);
        let x = halve(self.same("Conv2d_2b_3x3", x));
        let x = self.same("Conv2d_3b_1x1", x);
        let x = halve(self.valid("Conv2d_4a_3x3", x, 1));
        let x = ["5b", "5c", "5d"].into_iter().fold(x, |x, block| self.block_a(block, x));
        let x = self.block_b(x);
        let x = ["6b", "6c", "6d", "6e"].into_iter().fold(x, |x, block| self.block_c(block, x));
        let x = self.block_d(x);
        let x = self.block_e("7b", x, average);
        let x = self.block_e("7c", x, largest);
        x.mean_dim(3).mean_dim(2).squeeze_dims(&[2, 3])
    }

    /// A convolution that keeps the size.
    fn same(&self, name: &str, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = self.convolutions[name].weight.dims();
        self.convolve(name, x, 1, [height / 2, width / 2])
    }

    /// A convolution without padding.
    fn valid(&self, name: &str, x: Tensor<4>, stride: usize) -> Tensor<4> {
        self.convolve(name, x, stride, [0; 2])
    }

    fn convolve(&self, name: &str, x: Tensor<4>, stride: usize, padding: [usize; 2]) -> Tensor<4> {
        let Convolution { weight, bias } = &self.convolutions[name];
        let options = ConvOptions::new([stride; 2], padding, [1; 2], 1);
        relu(conv2d(x, weight.clone(), Some(bias.clone()), options))
    }

    /// `branch_1`, `branch_2`, … one after the other.
    fn chain<const N: usize>(&self, branch: &str, parts: [&str; N], x: Tensor<4>) -> Tensor<4> {
        parts.into_iter().fold(x, |x, part| self.same(&format!("{branch}_{part}"), x))
    }

    fn block_a(&self, block: &str, x: Tensor<4>) -> Tensor<4> {
        let at = |branch: &str| format!("Mixed_{block}.{branch}");
        let parts = vec![
            self.same(&at("branch1x1"), x.clone()),
            self.chain(&at("branch5x5"), ["1", "2"], x.clone()),
            self.chain(&at("branch3x3dbl"), ["1", "2", "3"], x.clone()),
            self.same(&at("branch_pool"), average(x)),
        ];
        Tensor::cat(parts, 1)
    }

    fn block_b(&self, x: Tensor<4>) -> Tensor<4> {
        let double = self.chain("Mixed_6a.branch3x3dbl", ["1", "2"], x.clone());
        let parts = vec![
            self.valid("Mixed_6a.branch3x3", x.clone(), 2),
            self.valid("Mixed_6a.branch3x3dbl_3", double, 2),
            halve(x),
        ];
        Tensor::cat(parts, 1)
    }

    fn block_c(&self, block: &str, x: Tensor<4>) -> Tensor<4> {
        let at = |branch: &str| format!("Mixed_{block}.{branch}");
        let parts = vec![
            self.same(&at("branch1x1"), x.clone()),
            self.chain(&at("branch7x7"), ["1", "2", "3"], x.clone()),
            self.chain(&at("branch7x7dbl"), ["1", "2", "3", "4", "5"], x.clone()),
            self.same(&at("branch_pool"), average(x)),
        ];
        Tensor::cat(parts, 1)
    }

    fn block_d(&self, x: Tensor<4>) -> Tensor<4> {
        let three = self.same("Mixed_7a.branch3x3_1", x.clone());
        let seven = self.chain("Mixed_7a.branch7x7x3", ["1", "2", "3"], x.clone());
        let parts = vec![
            self.valid("Mixed_7a.branch3x3_2", three, 2),
            self.valid("Mixed_7a.branch7x7x3_4", seven, 2),
            halve(x),
        ];
        Tensor::cat(parts, 1)
    }

    fn block_e(&self, block: &str, x: Tensor<4>, pool: fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        let at = |branch: &str| format!("Mixed_{block}.{branch}");
        let three = self.same(&at("branch3x3_1"), x.clone());
        let double = self.chain(&at("branch3x3dbl"), ["1", "2"], x.clone());
        let parts = vec![
            self.same(&at("branch1x1"), x.clone()),
            self.same(&at("branch3x3_2a"), three.clone()),
            self.same(&at("branch3x3_2b"), three),
            self.same(&at("branch3x3dbl_3a"), double.clone()),
            self.same(&at("branch3x3dbl_3b"), double),
            self.same(&at("branch_pool"), pool(x)),
        ];
        Tensor::cat(parts, 1)
    }
}

fn to_rgb(x: Tensor<4>) -> Tensor<4> {
    match x.dims()[1] {
        1 => x.repeat_dim(1, 3),
        4 => {
            let alpha = (x.clone().narrow(1, 3, 1) + 1.0) * 0.5;
            (x.narrow(1, 0, 3) - 1.0) * alpha + 1.0
        }
        _ => x,
    }
}

fn halve(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([3; 2]).with_stride([2; 2]))
}

fn largest(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([3; 2]).with_stride([1; 2]).with_padding([1; 2]))
}

fn average(x: Tensor<4>) -> Tensor<4> {
    let options = AvgPoolOptions::new([3; 2]).with_stride([1; 2]).with_padding([1; 2]);
    avg_pool2d(x, options.with_count_include_pad(false))
}

/// Every convolution with its shape `[out, in, height, width]`, all widths divided by `narrow`.
fn layers(narrow: usize) -> Vec<(String, [usize; 4])> {
    let mut list: Vec<(String, [usize; 4])> = Vec::new();
    let mut add = |block: &str, parts: &[(&str, usize, usize, [usize; 2])]| {
        for (part, input, output, [height, width]) in parts {
            let name = if part.is_empty() { block.to_owned() } else { format!("{block}.{part}") };
            let input = if *input == 3 { 3 } else { input / narrow };
            list.push((name, [output / narrow, input, *height, *width]));
        }
    };
    add("Conv2d_1a_3x3", &[("", 3, 32, [3, 3])]);
    add("Conv2d_2a_3x3", &[("", 32, 32, [3, 3])]);
    add("Conv2d_2b_3x3", &[("", 32, 64, [3, 3])]);
    add("Conv2d_3b_1x1", &[("", 64, 80, [1, 1])]);
    add("Conv2d_4a_3x3", &[("", 80, 192, [3, 3])]);
    for (block, input, pool) in [("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)] {
        add(block, &[("branch1x1", input, 64, [1, 1]), ("branch_pool", input, pool, [1, 1])]);
        add(block, &[("branch5x5_1", input, 48, [1, 1]), ("branch5x5_2", 48, 64, [5, 5])]);
        add(block, &[("branch3x3dbl_1", input, 64, [1, 1]), ("branch3x3dbl_2", 64, 96, [3, 3])]);
        add(block, &[("branch3x3dbl_3", 96, 96, [3, 3])]);
    }
    add("Mixed_6a", &[("branch3x3", 288, 384, [3, 3]), ("branch3x3dbl_1", 288, 64, [1, 1])]);
    add("Mixed_6a", &[("branch3x3dbl_2", 64, 96, [3, 3]), ("branch3x3dbl_3", 96, 96, [3, 3])]);
    for (block, c) in [("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)] {
        add(block, &[("branch1x1", 768, 192, [1, 1]), ("branch_pool", 768, 192, [1, 1])]);
        add(block, &[("branch7x7_1", 768, c, [1, 1]), ("branch7x7_2", c, c, [1, 7]), ("branch7x7_3", c, 192, [7, 1])]);
        add(block, &[("branch7x7dbl_1", 768, c, [1, 1]), ("branch7x7dbl_2", c, c, [7, 1])]);
        add(block, &[("branch7x7dbl_3", c, c, [1, 7]), ("branch7x7dbl_4", c, c, [7, 1])]);
        add(block, &[("branch7x7dbl_5", c, 192, [1, 7])]);
    }
    add("Mixed_7a", &[("branch3x3_1", 768, 192, [1, 1]), ("branch3x3_2", 192, 320, [3, 3])]);
    add("Mixed_7a", &[("branch7x7x3_1", 768, 192, [1, 1]), ("branch7x7x3_2", 192, 192, [1, 7])]);
    add("Mixed_7a", &[("branch7x7x3_3", 192, 192, [7, 1]), ("branch7x7x3_4", 192, 192, [3, 3])]);
    for (block, input) in [("Mixed_7b", 1280), ("Mixed_7c", 2048)] {
        add(block, &[("branch1x1", input, 320, [1, 1]), ("branch_pool", input, 192, [1, 1])]);
        add(block, &[("branch3x3_1", input, 384, [1, 1]), ("branch3x3_2a", 384, 384, [1, 3])]);
        add(block, &[("branch3x3_2b", 384, 384, [3, 1]), ("branch3x3dbl_1", input, 448, [1, 1])]);
        add(block, &[("branch3x3dbl_2", 448, 384, [3, 3]), ("branch3x3dbl_3a", 384, 384, [1, 3])]);
        add(block, &[("branch3x3dbl_3b", 384, 384, [3, 1])]);
    }
    list
}

/// What makes up a layer.
const PARTS: [&str; 5] = ["conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"];

fn parts(layer: &str, shape: [usize; 4]) -> impl Iterator<Item = (String, Vec<usize>)> {
    PARTS.into_iter().map(move |part| {
        let shape = if part == "conv.weight" { shape.to_vec() } else { shape[..1].to_vec() };
        (format!("{layer}.{part}"), shape)
    })
}

/// A convolution and its batch normalisation as one: `γ/√(var + ε) · (W ∗ x − mean) + β`.
fn fold(shape: [usize; 4], arrays: &[Array], device: &Device) -> Convolution {
    let [mut weight, scale, shift, mean, variance] = [0, 1, 2, 3, 4].map(|part| arrays[part].values.clone());
    let scale: Vec<f32> = scale.iter().zip(&variance).map(|(s, v)| s / (v + EPSILON).sqrt()).collect();
    let bias: Vec<f32> = (0..shape[0]).map(|i| shift[i] - mean[i] * scale[i]).collect();
    weight
        .chunks_mut(shape[1..].iter().product())
        .zip(&scale)
        .for_each(|(row, s)| row.iter_mut().for_each(|w| *w *= s));
    Convolution {
        weight: Tensor::from_data(TensorData::new(weight, shape), device),
        bias: Tensor::from_data(TensorData::new(bias, [shape[0]]), device),
    }
}
