//! Work on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::super::{STRETCH, is_cpu};

/// Numbers or multiplications for which a second core is worth waking.
pub(super) const WORTH_SHARING: usize = 1 << 18;

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

/// Does `work` for each item, on all cores.
pub fn for_each<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync + Send) {
    items.into_par_iter().for_each(work);
}

/// Calls `change` with pieces of whole rows of `width`, and where each begins.
pub fn in_chunks(values: &mut [f32], width: usize, change: impl Fn(usize, &mut [f32]) + Sync) {
    let size = (STRETCH / width).max(1) * width;
    values.par_chunks_mut(size).enumerate().for_each(|(i, piece)| change(i * size, piece));
}

/// So many zeros; of many, every core writes some, and is given their memory.
pub fn zeros(count: usize) -> Vec<f32> {
    match count < WORTH_SHARING {
        true => vec![0.0; count],
        false => (0..count).into_par_iter().map(|_| 0.0).collect(),
    }
}
