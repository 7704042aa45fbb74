//! Matrices as the product reads them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::Bytes;

use super::product::COLUMNS;

/// Numbers in rows and columns, each so far from the next.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    pub values: &'a [f32],
    pub next_row: usize,
    pub next_column: usize,
    pub rows: usize,
    pub columns: usize,
}

/// The right side of a product: [`COLUMNS`] columns after the other, each row of theirs in one piece.
pub struct Packed {
    pub panels: Vec<f32>,
    pub columns: usize,
}

impl Packed {
    pub fn new(b: Matrix) -> Self {
        let mut panels = vec![0.0; b.columns.next_multiple_of(COLUMNS) * b.rows];
        if b.next_row == 1 {
            Self::read_columns(b, &mut panels);
        } else {
            Self::read_rows(b, &mut panels);
        }
        Self { panels, columns: b.columns }
    }

    /// Where columns lie in one piece: some of them side by side.
    fn read_columns(b: Matrix, panels: &mut [f32]) {
        let starts = (0..b.columns).step_by(COLUMNS);
        for (panel, first) in panels.chunks_exact_mut(b.rows * COLUMNS).zip(starts) {
            let columns: [&[f32]; COLUMNS] = std::array::from_fn(|i| {
                // What is missing beside the last is another's; its sums are unused.
                let column = (first + i).min(b.columns - 1);
                &b.values[column * b.next_column..][..b.rows]
            });
            for (row, slot) in panel.as_chunks_mut::<COLUMNS>().0.iter_mut().enumerate() {
                slot.iter_mut().zip(columns).for_each(|(slot, column)| *slot = column[row]);
            }
        }
    }

    /// Row by row, as the values lie: jumps from row to row within some columns would miss the caches.
    fn read_rows(b: Matrix, panels: &mut [f32]) {
        for row in 0..b.rows {
            let mut from = &b.values[row * b.next_row..];
            for (panel, column) in panels.chunks_exact_mut(b.rows * COLUMNS).zip((0..b.columns).step_by(COLUMNS)) {
                let slot = &mut panel.as_chunks_mut::<COLUMNS>().0[row];
                let width = COLUMNS.min(b.columns - column);
                match from.first_chunk::<COLUMNS>() {
                    Some(whole) if width == COLUMNS && b.next_column == 1 => *slot = *whole,
                    _ => {
                        slot.iter_mut().zip(from.iter().step_by(b.next_column)).take(width).for_each(|(to, x)| *to = *x)
                    }
                }
                from = from.get(COLUMNS * b.next_column..).unwrap_or_default();
            }
        }
    }
}

thread_local! {
    /// Weights are packed once: they are the same for every picture, and packing them takes as long as a tenth of one.
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// What was packed. Memory of a tensor that is referred to, weakly too, is neither written in place nor given to another.
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
