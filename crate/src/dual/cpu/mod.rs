//! Kernels for the CPU: what burn's backend there computes one number at a time, or in many passes, in one.
//!
//! They are those of [`crate::kernels`], for tensors. Every function answers `None` where it does not apply (another
//! device, another type of number, and for some the autodiff tape); burn's own way is then right.

mod attention;
#[cfg_attr(not(feature = "train"), path = "native_stub.rs")]
pub(crate) mod native;
mod packed;
mod product;
mod symmetric;
#[cfg_attr(not(feature = "learn"), path = "tape_stub.rs")]
mod tape;
#[allow(dead_code, reason = "most builds for browsers do not train")]
mod update;

pub(super) use attention::attend;
#[allow(unused_imports, reason = "most builds for browsers do not train")]
pub(crate) use native::{in_parallel, in_thread_pool};
pub(super) use product::linear;
pub(super) use symmetric::{gated, layer_norm, softmax};
pub(super) use tape::matmul;
#[allow(unused_imports, reason = "most builds for browsers do not train")]
pub(crate) use update::fused_update;

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};

/// Numbers of each tensor that are done at a time: together they fit into a core's cache.
#[allow(dead_code, reason = "most builds for browsers do not train")]
const STRETCH: usize = 1 << 14;

/// Whether a device, with a tape or without, is the CPU.
fn is_cpu(device: Device) -> bool {
    device.inner() == Device::flex()
}

/// Whether a tensor, on the tape or off it, is on the CPU and of the numbers that the kernels take.
fn is_here<const D: usize>(x: &Tensor<D>) -> bool {
    is_cpu(x.device()) && x.dtype() == DType::F32
}

/// The tensor as it lies in the CPU's memory; nothing for one on the tape.
fn read<const D: usize>(x: &Tensor<D>) -> Option<FlexTensor> {
    if x.is_autodiff() || !is_here(x) {
        return None;
    }
    x.clone().try_into_primitive::<Flex>().ok()
}

/// The same with its values one after the other, as [`values`] needs them.
fn read_in_order<const D: usize>(x: &Tensor<D>) -> Option<FlexTensor> {
    read(x).map(in_order)
}

fn in_order(x: FlexTensor) -> FlexTensor {
    if x.is_contiguous() { x } else { x.to_contiguous() }
}

/// The values of a tensor from [`read_in_order`].
fn values(x: &FlexTensor) -> &[f32] {
    x.as_slice().unwrap_or_default()
}

/// Values that lie in memory as the layout says.
fn laid(values: Vec<f32>, layout: Layout) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// Other values in the place of those of `x`, one after the other.
fn like(x: &FlexTensor, values: Vec<f32>) -> FlexTensor {
    laid(values, Layout::contiguous(x.layout().shape().clone()))
}

/// A tensor of these values, `strides` apart along each axis.
fn write<const D: usize>(values: Vec<f32>, shape: [usize; D], strides: [usize; D]) -> Tensor<D> {
    let strides = strides.map(|stride| stride as isize).to_vec();
    Tensor::from_primitive::<Flex>(laid(values, Layout::new(Shape::from(shape), strides, 0)))
}

/// The same with the values one after the other.
fn write_in_order<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(laid(values, Layout::contiguous(Shape::from(shape))))
}
