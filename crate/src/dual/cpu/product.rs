//! Linear layers by our matrix product.
//!
//! burn's come from the `gemm` crate; in the browser it knows no fused multiplications, and its tiles are more than the
//! compiler there keeps in registers.

use burn::tensor::Tensor;

use super::packed::packed;
use super::{read, read_in_order, tape, values, write_in_order};
use crate::dual::IN_BROWSER;
use crate::kernels::{Matrix, product};

/// `x W + b`.
///
/// # Shapes
/// `[.., d_input]` → `[.., d_output]`.
pub fn linear<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>, bias: Option<&Tensor<1>>) -> Option<Tensor<D>> {
    let here = if IN_BROWSER { affine(x, weight, bias) } else { None };
    here.or_else(|| tape::linear(x, weight, bias))
}

/// [`linear`] off the tape in the browser, where weights are packed once.
fn affine<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>, bias: Option<&Tensor<1>>) -> Option<Tensor<D>> {
    let [inner, columns] = weight.dims();
    let mut shape = x.dims();
    let (x, weight) = (read_in_order(x)?, packed(&read(weight)?));
    let bias = match bias {
        Some(bias) => Some(read_in_order(bias)?),
        None => None,
    };
    let bias = bias.as_ref().map_or(&[] as &[f32], values);
    let a = Matrix::of_rows(values(&x), inner);
    let mut out = vec![0.0; a.rows * columns];
    product(a, &weight, &mut Vec::new(), |row, column, sums| {
        let out = &mut out[row * columns + column..][..sums.len()];
        match bias.get(column..column + sums.len()) {
            Some(bias) => out.iter_mut().zip(sums).zip(bias).for_each(|((out, sum), bias)| *out = sum + bias),
            None => out.copy_from_slice(sums),
        }
    });
    shape[D - 1] = columns;
    Some(write_in_order(out, shape))
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn a_linear_layer_is_that_of_burn_at_odd_sizes() {
        let device = Device::flex();
        for (rows, inner, columns) in [(1, 1, 1), (1, 192, 1152), (3, 5, 17), (64, 192, 64), (515, 33, 50)] {
            let layer = LinearConfig::new(inner, columns).init(&device);
            let bias = layer.bias.as_ref().map(|bias| bias.val());
            let x = Tensor::<3>::random([1, rows, inner], Distribution::Default, &device);
            let ours = affine(&x, &layer.weight.val(), bias.as_ref()).expect("it is the CPU");
            // The same weights, lying by columns.
            let turned = layer.weight.val().transpose().mul_scalar(1.0).transpose();
            let again = affine(&x, &turned, bias.as_ref()).expect("it is the CPU");
            assert_eq!(ours.clone().into_data(), again.into_data());
            let apart = (ours - layer.forward(x)).abs().max().try_into_scalar::<f32>().expect("a number");
            assert!(apart < 2e-6, "{rows} × {inner} × {columns}: {apart}");
        }
    }

    #[test]
    fn a_view_is_read_as_it_stands() {
        let device = Device::flex();
        let x = Tensor::<3>::random([4, 6, 8], Distribution::Default, &device).swap_dims(1, 2);
        let weight = Tensor::<2>::random([5, 6], Distribution::Default, &device).transpose();
        let ours = affine(&x, &weight, None).expect("it is the CPU");
        let apart = (ours - x.clone().matmul(weight.clone().unsqueeze())).abs().max();
        assert!(apart.try_into_scalar::<f32>().expect("a number") < 1e-6);
        assert!(affine(&x.autodiff(), &weight, None).is_none(), "what is on the tape stays there");
    }
}
