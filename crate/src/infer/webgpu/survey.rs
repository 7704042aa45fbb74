//! What a network call asks of a GPU, counted without one.

use super::device::Gpu;
use super::kernels::{ComputePrecision, DEPTH, Input, Kernel, Product};
use super::network::Network;
use super::recorder::Planned;
use super::workspace::Workspace;
use crate::error::Error;
use crate::model::NetConfig;

/// A network call of one picture, in one of the engine's arithmetics.
#[derive(Clone, Debug)]
pub struct Survey {
    /// In what it multiplies and keeps its weights.
    pub arithmetic: String,
    /// What is dispatched for a call, its step of the solver and its pixels, one after the other.
    pub dispatches: Vec<DispatchCounts>,
    /// The WGSL of every kernel, also of those that prepare conditions, once each.
    pub shaders: Vec<String>,
}

/// What a dispatch does for one picture.
#[derive(Clone, Debug)]
pub struct DispatchCounts {
    /// The kernel.
    pub kernel: String,
    /// Workgroups that run side by side.
    pub workgroups: u64,
    /// Tiles of inputs, or of keys, that each of them takes one after the other.
    pub steps: usize,
    /// Barriers that each of them waits at.
    pub barriers: usize,
    /// Floating-point operations of all of them together.
    pub operations: u64,
}

impl Survey {
    /// Of a network, in each arithmetic: half precision, weights in half precision, single precision. wgpu validates
    /// every kernel, by the least limits of WebGPU.
    ///
    /// # Errors
    /// A network that the engine does not compute, or a kernel that is not valid.
    pub async fn all(config: &NetConfig) -> Result<Vec<Self>, Error> {
        use ComputePrecision::{Half, HalfWeights, Single};
        let gpu = Gpu::without_hardware().await?;
        let mut surveys = Vec::new();
        for arithmetic in [Half, HalfWeights, Single] {
            surveys.push(gpu.accepted(|| Self::of(&gpu, config, arithmetic)).await?);
        }
        Ok(surveys)
    }

    fn of(gpu: &Gpu, config: &NetConfig, arithmetic: ComputePrecision) -> Result<Self, Error> {
        // Values do not matter.
        let zeros = |shape: &[usize]| Ok(vec![0.0; shape.iter().product()]);
        let network = Network::new(gpu, config, &config.params(), arithmetic, |spec| zeros(&spec.shape))?;
        let (planned, _) = Workspace::plan(gpu, &network, [1, 1]);
        let modulate = network.plan_modulation(gpu);
        let mut shaders: Vec<String> =
            planned.iter().chain(&modulate).filter_map(|planned| source(&network, planned)).collect();
        shaders.sort();
        shaders.dedup();
        let dispatches = planned.iter().filter_map(|planned| DispatchCounts::of(&network, planned)).collect();
        Ok(Self { arithmetic: format!("{arithmetic:?}"), dispatches, shaders })
    }
}

fn source(network: &Network, planned: &Planned) -> Option<String> {
    network.kernels.kernel_of(&planned.pipeline).map(|kernel| network.sizes.source(kernel))
}

impl DispatchCounts {
    fn of(network: &Network, planned: &Planned) -> Option<Self> {
        let kernel = network.kernels.kernel_of(&planned.pipeline)?;
        let sizes = &network.sizes;
        let steps = match kernel {
            Kernel::Product(Product { inputs, .. }) => inputs.div_ceil(DEPTH),
            Kernel::Attention => sizes.tokens.div_ceil(sizes.tile_keys()),
            Kernel::Rotary | Kernel::Prefix | Kernel::Rgba => 0,
        };
        // Those of the loop are two; all others are passed once.
        let written = sizes.source(kernel).matches("workgroupBarrier").count();
        let barriers = if steps > 0 { written - 2 + 2 * steps } else { written };
        let workgroups = planned.grid.workgroups(1).into_iter().map(u64::from).product();
        Some(Self { kernel: name(kernel), workgroups, steps, barriers, operations: planned.operations })
    }
}

/// A kernel by what it reads and writes.
fn name(kernel: Kernel) -> String {
    let Kernel::Product(Product { inputs, outputs, input, output, .. }) = kernel else {
        return format!("{kernel:?}").to_lowercase();
    };
    let input = match input {
        Input::Modulated(_) => "modulated".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    let output = format!("{output:?}").to_lowercase();
    let output = output.split('(').next().unwrap_or_default();
    format!("{input} {inputs} → {outputs} {output}")
}
