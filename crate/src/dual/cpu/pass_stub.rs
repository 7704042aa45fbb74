//! The place of passes on all cores in builds for the browser, where there is one.

use burn::tensor::Device;

/// Runs `work`.
pub fn in_thread_pool<T>(_: &Device, work: impl FnOnce() -> T) -> T {
    work()
}

/// What `work` gives for every index below `count`.
pub fn in_parallel<T>(count: usize, work: impl Fn(usize) -> T) -> Vec<T> {
    (0..count).map(work).collect()
}

/// Calls `change` with all rows.
pub fn in_chunks(values: &mut [f32], _: usize, change: impl Fn(usize, &mut [f32])) {
    change(0, values);
}
