//! Tensors as bytes of a weights file: f32, f16, or quantized to whole numbers with a scale for each row.

use half::f16;
use safetensors::tensor::{Dtype, View};

/// One tensor of the file.
pub(crate) struct EncodedTensor {
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl EncodedTensor {
    pub(crate) fn new(shape: Vec<usize>, dtype: Dtype, values: &[f32]) -> Self {
        let bytes = match dtype {
            Dtype::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        Self { shape, dtype, bytes }
    }

    /// A matrix as whole numbers, and the scale of each row.
    pub(crate) fn quantized([rows, columns]: [usize; 2], values: &[f32]) -> [Self; 2] {
        let (bytes, scales) = quantized(columns, values);
        [Self { shape: vec![rows, columns], dtype: Dtype::I8, bytes }, Self::new(vec![rows], Dtype::F32, &scales)]
    }
}

impl View for EncodedTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// A matrix of rows of `columns` values as whole numbers, and the scale of each row.
fn quantized(columns: usize, values: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let largest = |row: &[f32]| row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let scales: Vec<f32> = values.chunks_exact(columns).map(|row| largest(row) / 127.0).collect();
    let whole = |(row, &scale): (&[f32], &f32)| -> Vec<u8> {
        let scale = if scale > 0.0 { scale } else { 1.0 };
        row.iter().map(|x| (x / scale).round() as i8 as u8).collect()
    };
    (values.chunks_exact(columns).zip(&scales).flat_map(whole).collect(), scales)
}
