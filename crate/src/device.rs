//! The device at the edge: which backends are compiled in, and how one is opened.

use burn::tensor::Device;

use crate::error::Error;

/// The device of an inference build that runs burn's network: the CPU.
pub fn open_for_inference() -> Device {
    Device::default()
}

/// Names that [`open`] knows in this build, best first.
pub fn names() -> Vec<&'static str> {
    let all = [
        ("cuda", cfg!(feature = "cuda")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("cpu", cfg!(feature = "flex")),
    ];
    all.into_iter().filter_map(|(name, compiled)| compiled.then_some(name)).collect()
}

/// Whether tensors of this device are in the CPU's memory, and computed there.
pub(crate) fn is_cpu(device: &Device) -> bool {
    by_name("cpu", 0).is_some_and(|cpu| cpu == *device)
}

/// Most parts of a batch that are computed at once on one CPU: each has gradients of its own.
const MAX_SHARED: usize = 4;
/// Rows that are worth a thread.
const MIN_ROWS: usize = 4;

/// Opens a device by name: one of [`names`], with an optional index as in `cuda:1`. Without a name, the first.
///
/// # Errors
/// An unknown name; the message lists the ones in this build.
pub fn open(name: Option<&str>) -> Result<Device, Error> {
    let names = names();
    let name = match name {
        Some(name) => name,
        None => names.first().ok_or_else(|| Error::Device("this build has no backend".into()))?,
    };
    let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
    let index: usize = index.parse().map_err(|_| Error::Device(format!("`{name}`: the index must be a number")))?;
    let unknown = || {
        Error::Device(format!(
            "`{name}` is not in this build, which has {}; others are cargo features (wgpu, vulkan, cuda)",
            names.join(", ")
        ))
    };
    if !names.contains(&kind) {
        return Err(unknown());
    }
    by_name(kind, index).ok_or_else(unknown)
}

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
#[cfg(feature = "train")]
pub fn set_threads(count: usize) -> Result<(), Error> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build_global();
    pool.map_err(|e| Error::Device(format!("cannot set the number of threads: {e}")))
}

/// How many threads compute on the CPU.
fn threads() -> usize {
    #[cfg(feature = "train")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "train"))]
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[allow(unused_variables)] // `index` means nothing to the CPU
fn by_name(kind: &str, index: usize) -> Option<Device> {
    match kind {
        #[cfg(feature = "cuda")]
        "cuda" => Some(Device::cuda(index)),
        #[cfg(feature = "vulkan")]
        "vulkan" if index == 0 => Some(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(Device::vulkan(burn::tensor::DeviceKind::DiscreteGpu(index))),
        #[cfg(feature = "wgpu")]
        "wgpu" if index == 0 => Some(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(Device::wgpu(burn::tensor::DeviceKind::DiscreteGpu(index))),
        #[cfg(feature = "flex")]
        "cpu" => Some(Device::flex()),
        _ => None,
    }
}
