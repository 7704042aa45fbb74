//! One pass over memory, on all cores: of several tensors read and changed together, or of the rows of one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Device, Tensor};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::super::{is_cpu, read_in_order, values};

/// Runs `work` for a device, which must not wait for what other threads have the pool do.
///
/// The CPU's runs on a thread of the pool. There a piece that is shared out is begun at once, and others help where
/// they are awake; from elsewhere each piece would wait until a thread of the pool has woken, which took a tenth to a
/// sixth of the time of small networks. On a GPU threads have queues of their own, between which work had better not
/// move.
pub fn in_thread_pool<T: Send>(device: &Device, work: impl FnOnce() -> T + Send) -> T {
    match is_cpu(device.clone()) {
        true => rayon::scope(|_| work()),
        false => work(),
    }
}

/// What `work` gives for every index below `count`, in their order, with a few of them at a time on the threads of the
/// pool.
///
/// There are as many tasks as threads, and each takes the next index when it is done with one. A thread that waits for
/// others to finish a piece of its own work does another task meanwhile: none is ever blocked, however few there are.
pub fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(count)));
    let task = || {
        while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < count) {
            let value = work(index);
            // What another task's panic left is whole: a value is pushed or it is not.
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, value));
        }
    };
    rayon::scope(|scope| (0..rayon::current_num_threads().min(count)).for_each(|_| scope.spawn(|_| task())));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, value)| value).collect()
}

/// Numbers of each tensor that are done at a time: together they fit into a core's cache.
const STRETCH: usize = 1 << 14;

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
    stretches.into_par_iter().for_each(|(own, others)| update(own, others));
    Ok(here.map(Tensor::from_primitive::<Flex>))
}

/// Calls `change` with pieces of whole rows of `width`, and where each begins.
pub fn in_chunks(values: &mut [f32], width: usize, change: impl Fn(usize, &mut [f32]) + Sync) {
    let size = (STRETCH / width).max(1) * width;
    values.par_chunks_mut(size).enumerate().for_each(|(i, piece)| change(i * size, piece));
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
