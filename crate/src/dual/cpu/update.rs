//! One pass over memory: several tensors are read and changed together.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use super::native::for_each;
use super::{STRETCH, read_in_order, values};

/// Calls `update` with the same stretch of every tensor, of those that it changes and of those that it reads.
///
/// # Errors
/// Gives back what it should change where a tensor is not on the CPU, or not of the shape of the first.
pub fn fused_update<const D: usize, const N: usize, const M: usize>(
    changed: [Tensor<D>; N],
    constant: [&Tensor<D>; M],
    update: impl Fn([&mut [f32]; N], [&[f32]; M]) + Sync,
) -> Result<[Tensor<D>; N], [Tensor<D>; N]> {
    let shape = changed.first().map(Tensor::dims);
    if changed.iter().chain(constant).any(|x| Some(x.dims()) != shape) {
        return Err(changed);
    }
    let read = (all(changed.each_ref().map(read_in_order)), all(constant.map(read_in_order)));
    let (Some(mut here), Some(constant)) = read else { return Err(changed) };
    // What nobody else refers to is changed where it lies.
    drop(changed);
    let mut own = here.each_mut().map(values_mut).map(|x| x.chunks_mut(STRETCH));
    let mut others = constant.each_ref().map(values).map(|x| x.chunks(STRETCH));
    let count = own.first().map_or(0, ExactSizeIterator::len);
    let stretches: Vec<_> = (0..count)
        .map(|_| {
            (
                own.each_mut().map(|x| x.next().unwrap_or_default()),
                others.each_mut().map(|x| x.next().unwrap_or_default()),
            )
        })
        .collect();
    for_each(stretches, |(own, others)| update(own, others));
    Ok(here.map(Tensor::from_primitive::<Flex>))
}

fn all<T, const N: usize>(parts: [Option<T>; N]) -> Option<[T; N]> {
    let parts: Option<Vec<T>> = parts.into_iter().collect();
    parts?.try_into().ok()
}

/// As [`values`], to be changed.
fn values_mut(x: &mut FlexTensor) -> &mut [f32] {
    let (start, end) = x.layout().contiguous_offsets().unwrap_or_default();
    &mut x.storage_mut()[start..end]
}
