//! Reads matrices stored as whole numbers of −127 to 127 (`I8`), each row with a scale in a tensor of its own: a
//! quarter of the size of f32. `net/quantization.rs` writes them.

use safetensors::tensor::{Dtype, TensorView};

use super::values::{Scales, TensorSpec, shape_mismatch};

/// The largest scale of a row: its weights are at most what half precision holds.
const MAX_SCALE: f32 = 65504.0 / 127.0;
/// What the name of a row's scales ends in.
const SCALE: &str = "_scale";

/// The name of the tensor with the scales of another one's rows.
pub(crate) fn scales_of(name: &str) -> String {
    format!("{name}{SCALE}")
}

/// The name of the tensor whose rows' scales another one holds, by its name.
pub(crate) fn scaled_by(name: &str) -> Option<&str> {
    name.strip_suffix(SCALE)
}

/// The values of a matrix of whole numbers, times the scales of its rows.
pub(crate) fn values(name: &str, view: &TensorView, scales: Scales<'_>) -> Result<Vec<f32>, String> {
    let &[rows, columns] = view.shape() else { return Err(format!("tensor `{name}` is I8 but no matrix")) };
    let (shape, scales) = scales()?;
    if shape != [rows] {
        return Err(shape_mismatch(&scales_of(name), &shape, &[rows]));
    }
    if let Some(row) = scales.iter().position(|scale| !(0.0..=MAX_SCALE).contains(scale)) {
        return Err(format!("tensor `{}` holds a scale that no weights have, in row {row}", scales_of(name)));
    }
    let columns = columns.max(1);
    let mut values = vec![0.0; view.data().len()];
    let rows = values.chunks_exact_mut(columns).zip(view.data().chunks_exact(columns));
    for ((values, whole), scale) in rows.zip(scales) {
        values.iter_mut().zip(whole).for_each(|(value, &byte)| *value = f32::from(byte as i8) * scale);
    }
    Ok(values)
}

/// Whether a tensor holds the scales of another one's rows.
pub(crate) fn is_scale(form: impl Fn(&str) -> Option<TensorSpec>, name: &str) -> bool {
    scaled_by(name).and_then(form).is_some_and(|(dtype, _)| dtype == Dtype::I8)
}
