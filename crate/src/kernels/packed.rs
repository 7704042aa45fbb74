//! Matrices as the product reads them.

use super::product::COLUMNS;

/// Numbers in rows and columns, each so far from the next.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    pub values: &'a [f32],
    pub next_row: usize,
    pub next_column: usize,
    pub rows: usize,
    pub columns: usize,
}

impl<'a> Matrix<'a> {
    /// Rows that lie one after the other.
    pub fn of_rows(values: &'a [f32], columns: usize) -> Self {
        Self { values, next_row: columns, next_column: 1, rows: values.len() / columns, columns }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        let Self { values, next_row, next_column, rows, columns } = self;
        Self { values, next_row: next_column, next_column: next_row, rows: columns, columns: rows }
    }
}

/// The right side of a product: [`COLUMNS`] columns after the other, each row of theirs in one piece.
#[derive(Debug, Default)]
pub struct Packed {
    pub panels: Vec<f32>,
    pub columns: usize,
}

impl Packed {
    pub fn new(b: Matrix) -> Self {
        let mut packed = Self::default();
        packed.refill(b);
        packed
    }

    /// Another matrix in the same memory.
    pub fn refill(&mut self, b: Matrix) {
        self.columns = b.columns;
        self.panels.resize(b.columns.next_multiple_of(COLUMNS) * b.rows, 0.0);
        if b.next_row == 1 {
            Self::read_columns(b, &mut self.panels);
        } else {
            Self::read_rows(b, &mut self.panels);
        }
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
