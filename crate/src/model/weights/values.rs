//! Reads the values of a file's tensors.

use safetensors::tensor::{Dtype, TensorView};

use super::dequantization;
use crate::error::{Error, name_of};
use crate::model::NetConfig;

/// How weights are stored. In memory they are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Half the size; each weight keeps 11 significant bits.
    F16,
    /// Exact.
    F32,
    /// A quarter of the size: matrices as whole numbers of −127 to 127, each row with a scale in `NAME_scale`; what is
    /// no matrix as [`Self::F16`].
    I8,
}

/// What gives the scales of a matrix of whole numbers, with the shape that these have. A pointer: browsers would
/// download what calls it once for each function.
pub(crate) type Scales<'a> = &'a dyn Fn() -> Result<(Vec<usize>, Vec<f32>), String>;

/// The type and the shape of a tensor.
pub(crate) type TensorSpec = (Dtype, Vec<usize>);

/// Refuses a file whose tensors, of these names, have not as many values as the network of `config`, before that is
/// allocated.
pub(crate) fn check<'name>(
    config: &NetConfig,
    names: impl IntoIterator<Item = &'name str>,
    form: impl Fn(&str) -> Option<TensorSpec>,
) -> Result<(), Error> {
    let parameters = names.into_iter().filter(|name| !dequantization::is_scale(&form, name)).filter_map(&form);
    let values: usize = parameters.map(|(_, shape)| shape.iter().product::<usize>()).sum();
    if values != config.parameters() {
        return Err(Error::Weights(format!(
            "it holds {values} numbers, but its network needs {}",
            config.parameters()
        )));
    }
    Ok(())
}

/// The values of a parameter of the given shape, from `[out, in]` to `[in, out]` where `transposed`.
pub(crate) fn read<'data>(
    tensor: impl Fn(&str) -> Option<TensorView<'data>>,
    name: &str,
    shape: &[usize],
    transposed: bool,
) -> Result<Vec<f32>, String> {
    let view = tensor(name).ok_or_else(|| missing(name))?;
    let expected: Vec<usize> = if transposed { shape.iter().rev().copied().collect() } else { shape.to_vec() };
    if view.shape() != expected {
        return Err(shape_mismatch(name, view.shape(), &expected));
    }
    let scales = || {
        let of = dequantization::scales_of(name);
        let view = tensor(&of).ok_or_else(|| missing(&of))?;
        Ok((view.shape().to_vec(), to_f32(&of, &view)?))
    };
    let values = values(name, &view, &scales)?;
    Ok(if transposed { transpose(&values, shape[0]) } else { values })
}

pub(crate) fn missing(name: &str) -> String {
    format!("tensor `{name}` is missing")
}

pub(crate) fn shape_mismatch(name: &str, shape: &[usize], needed: &[usize]) -> String {
    format!("tensor `{name}` has shape {shape:?}; its network needs {needed:?}")
}

/// The values of a tensor in the file's order; whole numbers need the scales of their rows, with the shape that these
/// have.
pub(crate) fn values(name: &str, view: &TensorView, scales: Scales<'_>) -> Result<Vec<f32>, String> {
    let values = match view.dtype() {
        Dtype::I8 => dequantization::values(name, view, scales),
        _ => to_f32(name, view),
    };
    finite(name, values?)
}

fn finite(name: &str, values: Vec<f32>) -> Result<Vec<f32>, String> {
    // Looking for the first one only where there is one lets compilers make vectors of the common case.
    if values.iter().fold(false, |bad, x| bad | !x.is_finite()) {
        let bad = values.iter().find(|x| !x.is_finite()).copied().unwrap_or(f32::NAN);
        return Err(format!("tensor `{name}` holds {}", name_of(bad)));
    }
    Ok(values)
}

/// Columns of `rows` values as rows; in squares, so that neither side misses the caches.
fn transpose(values: &[f32], rows: usize) -> Vec<f32> {
    const SIDE: usize = 16;
    let columns = values.len() / rows.max(1);
    let mut out = vec![0.0; values.len()];
    for (group, out) in out.chunks_mut(SIDE * columns.max(1)).enumerate() {
        for (at, columns_of) in values.chunks(SIDE * rows.max(1)).enumerate() {
            for (row, out) in out.chunks_exact_mut(columns).enumerate() {
                let from = columns_of.iter().skip(group * SIDE + row).step_by(rows);
                out[at * SIDE..].iter_mut().zip(from).for_each(|(out, x)| *out = *x);
            }
        }
    }
    out
}

/// What is stored, as it is.
pub(super) fn to_f32(name: &str, view: &TensorView) -> Result<Vec<f32>, String> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F32 => Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        Dtype::F16 => Ok(bytes.chunks_exact(2).map(|b| from_half(u16::from_le_bytes([b[0], b[1]]))).collect()),
        other => Err(format!("tensor `{name}` is {other:?}; only F16, F32 and I8 are read")),
    }
}

/// A number in half precision. Without a branch, so that compilers make vectors of loops over it: reading the weights
/// is a part of what a visitor waits for.
fn from_half(bits: u16) -> f32 {
    /// Exponents of half precision begin at 2⁻¹⁴, those of single precision at 2⁻¹²⁶; subnormal ones come out right
    /// too.
    const SHIFT: f32 = f32::from_bits((127 + 112) << 23);
    let size = u32::from(bits & 0x7fff);
    let number = f32::from_bits(size << 13) * SHIFT;
    // The largest exponent is that of infinities and what is no number.
    let number = if size >= 0x7c00 { f32::from_bits(0x7f80_0000 | (size & 0x3ff) << 13) } else { number };
    f32::from_bits(number.to_bits() | u32::from(bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_number_in_half_precision_is_read_as_it_is() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (from_half(bits), f16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(), "{bits:#06x}: {ours}");
        }
    }

    #[test]
    fn matrices_of_odd_sizes_are_transposed() {
        for [rows, columns] in [[1, 1], [1, 40], [33, 1], [16, 16], [35, 18]] {
            let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let turned = transpose(&values, rows);
            for (i, x) in turned.iter().enumerate() {
                assert_eq!(*x, values[(i % columns) * rows + i / columns], "{rows} × {columns} at {i}");
            }
        }
    }
}
