//! The device at the edge: which backends are compiled in, and how one is opened.

use burn::tensor::{Device, Tensor};

use crate::error::Error;

/// The device of an inference build that runs burn's network: the CPU.
pub fn open_for_inference() -> Device {
    Device::default()
}

/// The CPU, which every build has: where nothing is computed, no GPU need be woken.
pub fn cpu() -> Device {
    Device::flex()
}

/// All kinds of devices, best first; not every build has each.
pub const KINDS: [&str; 4] = ["cuda", "vulkan", "wgpu", "cpu"];

/// Names that [`open`] knows in this build, best first.
pub fn names() -> Vec<&'static str> {
    KINDS.into_iter().filter(|kind| by_name(kind, 0).is_some()).collect()
}

/// Bits of the widest vectors that the CPU's loops use on this machine.
#[cfg(feature = "train")]
pub fn vector_bits() -> usize {
    crate::kernels::vector_bits()
}

/// Whether tensors of this device are in the CPU's memory, and computed there.
pub(crate) fn is_cpu(device: &Device) -> bool {
    cpu() == *device
}

/// Reads one number back from its device. Waits for it.
///
/// # Errors
/// When the device cannot be read.
#[allow(dead_code, reason = "a build that only draws reads pictures")]
pub(crate) fn read(value: Tensor<1>) -> Result<f32, Error> {
    value.try_into_scalar::<f32>().map_err(|e| Error::Device(e.to_string()))
}

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

#[allow(unused_variables, reason = "the CPU has no index")]
fn by_name(kind: &str, index: usize) -> Option<Device> {
    match kind {
        #[cfg(feature = "cuda")]
        "cuda" => Some(Device::cuda(index)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(Device::vulkan(gpu(index))),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(Device::wgpu(gpu(index))),
        "cpu" => Some(cpu()),
        _ => None,
    }
}

/// The GPU of an index; the first is the one that the system prefers.
#[allow(dead_code, reason = "not every build has one")]
fn gpu(index: usize) -> burn::tensor::DeviceKind {
    match index {
        0 => burn::tensor::DeviceKind::DefaultDevice,
        index => burn::tensor::DeviceKind::DiscreteGpu(index),
    }
}
