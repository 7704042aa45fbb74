//! Layer normalisation in one pass.

use burn::tensor::Tensor;

use super::lanes::fold;
use super::{read_in_order, values, write_in_order};

/// Layer normalisation of the last axis without affine parameters: `(x − mean) / √(var + ε)`.
pub fn layer_norm<const D: usize>(x: &Tensor<D>, epsilon: f64) -> Option<Tensor<D>> {
    let shape = x.dims();
    let width = shape[D - 1];
    let x = read_in_order(x)?;
    let mut out = values(&x).to_vec();
    for row in out.chunks_exact_mut(width) {
        let mean = fold(row, 0.0, |sum, x| sum + x, |a, b| a + b) / width as f32;
        row.iter_mut().for_each(|x| *x -= mean);
        let variance = fold(row, 0.0, |sum, x| sum + x * x, |a, b| a + b) / width as f32;
        let scale = (variance + epsilon as f32).sqrt().recip();
        row.iter_mut().for_each(|x| *x *= scale);
    }
    Some(write_in_order(out, shape))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn rows_have_mean_zero_and_deviation_one() {
        let device = Device::flex();
        for width in [3, 16, 192, 195] {
            let x = Tensor::<3>::random([2, 5, width], Distribution::Default, &device) * 3.0 + 10.0;
            let centred = x.clone() - x.clone().mean_dim(2);
            let deviation = ((centred.clone() * centred.clone()).mean_dim(2) + 1e-6).sqrt();
            let apart = (layer_norm(&x, 1e-6).expect("it is the CPU") - centred / deviation).abs().max();
            assert!(apart.try_into_scalar::<f32>().expect("a number") < 1e-5, "width {width}");
            assert!(layer_norm(&x.autodiff(), 1e-6).is_none(), "what is on the tape stays there");
        }
    }
}
