//! Kernels for inference on the CPU: what burn's backend there computes one number at a time, or in many passes, in one.
//!
//! Nothing in here is of this program: slices in, slices out, so that it could live in `burn-flex`. Every function answers
//! `None` where it does not apply (another device, the autodiff tape, another type of number); burn's own way is then right.

mod activation;
mod attention;
mod lanes;
mod norm;
mod packed;
mod product;

pub(super) use activation::gated;
pub(super) use attention::attend;
pub(super) use norm::layer_norm;
pub(super) use product::linear;

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};

/// The tensor as it lies in the CPU's memory.
fn read<const D: usize>(x: &Tensor<D>) -> Option<FlexTensor> {
    if x.is_autodiff() || x.device() != Device::flex() || x.dtype() != DType::F32 {
        return None;
    }
    x.clone().try_into_primitive::<Flex>().ok()
}

/// The same with its values one after the other, as [`values`] needs them.
fn read_in_order<const D: usize>(x: &Tensor<D>) -> Option<FlexTensor> {
    let x = read(x)?;
    Some(if x.is_contiguous() { x } else { x.to_contiguous() })
}

/// The values of a tensor from [`read_in_order`].
fn values(x: &FlexTensor) -> &[f32] {
    x.as_slice().unwrap_or_default()
}

/// A tensor of these values, `strides` apart along each axis.
fn write<const D: usize>(values: Vec<f32>, shape: [usize; D], strides: [usize; D]) -> Tensor<D> {
    let layout = Layout::new(Shape::from(shape), strides.map(|stride| stride as isize).to_vec(), 0);
    Tensor::from_primitive::<Flex>(FlexTensor::new(Bytes::from_elems(values), layout, DType::F32))
}

/// The same with the values one after the other.
fn write_in_order<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    let mut strides = [1; D];
    for axis in (1..D).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    write(values, shape, strides)
}
