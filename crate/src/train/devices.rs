//! The devices that share a batch, and the threads of the CPU.

use burn::tensor::Device;

use crate::device::{names, open};
use crate::error::Error;

/// Most parts of a batch that are computed at once on one CPU: each has gradients of its own.
const MAX_SHARED: usize = 4;
/// Rows that are worth a thread.
const MIN_ROWS: usize = 4;

/// Opens the devices of one kind that have these indices. Without any, the one that the name says; the CPU then as
/// often as the threads of the pool can share batches of so many rows, since burn computes much of a step on one core.
///
/// # Errors
/// As [`open`], and an index twice where each is another device, or beside one in the name.
pub fn open_all(name: Option<&str>, indices: &[usize], rows: usize) -> Result<Vec<Device>, Error> {
    let kind = name.or_else(|| names().first().copied()).unwrap_or_default();
    if indices.is_empty() {
        let shared = if kind == "cpu" { threads().min(MAX_SHARED).min(rows / MIN_ROWS).max(1) } else { 1 };
        return open(name).map(|device| vec![device; shared]);
    }
    if kind.contains(':') {
        return Err(Error::Device(format!("`{kind}` has an index already; give the others with it")));
    }
    if let Some(twice) = indices.iter().enumerate().find(|(i, index)| indices[..*i].contains(index)) {
        return Err(Error::Device(format!("the device {} is given twice", twice.1)));
    }
    indices.iter().map(|index| open(Some(&format!("{kind}:{index}")))).collect()
}

/// Sets how many threads compute on the CPU, for the whole program and before any is needed; 0 is as many as it has
/// cores, or as `RAYON_NUM_THREADS` says.
///
/// # Errors
/// When they run already.
pub fn set_threads(count: usize) -> Result<(), Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build_global();
    pool.map_err(|e| Error::Device(format!("cannot set the number of threads: {e}")))
}

/// How many threads compute on the CPU.
fn threads() -> usize {
    rayon::current_num_threads()
}
