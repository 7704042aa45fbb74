//! Tensors as matrices, and weights packed once.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::Bytes;

use crate::kernels::{Matrix, Packed};

thread_local! {
    /// Weights are packed once: they are the same for every picture, and packing them takes as long as a tenth of one.
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// What was packed. Memory of a tensor that is referred to, weakly too, is neither written in place nor given to
/// another.
struct Kept {
    memory: Weak<Bytes>,
    layout: Layout,
    packed: Rc<Packed>,
}

/// A matrix that stays the same, packed; it is kept for as long as the tensor lives.
pub fn packed(weight: &FlexTensor) -> Rc<Packed> {
    let memory = weight.data_arc();
    KEPT.with_borrow_mut(|all| {
        let same = |kept: &&Kept| kept.memory.as_ptr() == Arc::as_ptr(&memory) && kept.layout == *weight.layout();
        if let Some(kept) = all.iter().find(same) {
            return kept.packed.clone();
        }
        all.retain(|kept| kept.memory.strong_count() > 0);
        let packed = Rc::new(Packed::new(matrix(weight, &[])));
        all.push(Kept { memory: Arc::downgrade(&memory), layout: weight.layout().clone(), packed: packed.clone() });
        packed
    })
}

/// The matrix of the last two axes, at a place along those before.
pub fn matrix<'a>(part: &'a FlexTensor, place: &[usize]) -> Matrix<'a> {
    let layout = part.layout();
    let strides: Vec<usize> = layout.strides().iter().map(|stride| stride.unsigned_abs()).collect();
    let start = layout.start_offset() + place.iter().zip(&strides).map(|(at, stride)| at * stride).sum::<usize>();
    let [rows, columns] = [place.len(), place.len() + 1].map(|axis| layout.shape()[axis]);
    let [next_row, next_column] = [strides[place.len()], strides[place.len() + 1]];
    Matrix { values: &part.storage::<f32>()[start..], next_row, next_column, rows, columns }
}

/// The same tensor with its rows or its columns in one piece each.
#[allow(dead_code, reason = "most builds for browsers do not train")]
pub fn multipliable(x: &FlexTensor) -> FlexTensor {
    let strides = x.layout().strides();
    let forward = strides.iter().all(|stride| *stride >= 0);
    match forward && strides[strides.len() - 2..].contains(&1) {
        true => x.clone(),
        false => x.to_contiguous(),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tensor};

    use super::super::read;
    use super::*;

    #[test]
    fn weights_are_packed_once_and_forgotten_with_their_tensor() {
        let kept = || KEPT.with_borrow(Vec::len);
        let before = kept();
        let weight = Tensor::<2>::random([5, 6], Distribution::Default, &Device::flex());
        let first = packed(&read(&weight).expect("it is the CPU"));
        assert!(Rc::ptr_eq(&first, &packed(&read(&weight).expect("it is the CPU"))));
        let turned = packed(&read(&weight.clone().transpose()).expect("it is the CPU"));
        assert!(!Rc::ptr_eq(&first, &turned) && kept() == before + 2, "a view is another matrix");
        let changed = weight.mul_scalar(2.0);
        let again = packed(&read(&changed).expect("it is the CPU"));
        assert_ne!(first.panels, again.panels, "what changes is packed anew");
        assert_eq!(kept(), before + 1, "and the old is let go");
    }
}
