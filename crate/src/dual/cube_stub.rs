//! The place of the GPUs' kernel in builds without a backend for them.

use burn::tensor::Tensor;

use super::Dual;

pub(super) fn attend(_: &Dual<4>, _: &Dual<4>, _: &Dual<4>) -> Option<[Tensor<4>; 2]> {
    None
}
