//! Linear layers as the kernels read them.

use half::f16;

use super::device::Gpu;
use super::kernels::{DEPTH, TILE_COLUMNS};
use crate::error::Error;
use crate::infer::weights::{Source, Tensors};

/// Which feature of the file's layer each of ours is; `None` is a zero that fills up.
pub(super) type Layout = Vec<Option<usize>>;

/// A layer on the GPU: weights `[inputs][outputs]`, in quads, with zeros up to whole tiles.
#[derive(Debug)]
pub(super) struct Matrix {
    pub weights: wgpu::Buffer,
    pub bias: wgpu::Buffer,
}

/// All features in order.
pub(super) fn plain(count: usize) -> Layout {
    (0..count).map(Some).collect()
}

/// Features of `parts × heads` heads of `width`, each filled up to whole quads.
pub(super) fn heads(parts: usize, heads: usize, width: usize) -> Layout {
    let padded = width.next_multiple_of(4);
    (0..parts * heads * padded).map(|i| (i % padded < width).then_some(i / padded * width + i % padded)).collect()
}

impl Matrix {
    /// Reads the layer called `name`, of the given real sizes.
    ///
    /// # Errors
    /// When the file lacks it, or the GPU has no room for it.
    pub fn read(gpu: &Gpu, file: &Tensors, name: &str, inputs: &Layout, outputs: &Layout) -> Result<Self, Error> {
        let [rows, columns] = [inputs, outputs].map(|layout| layout.iter().flatten().count());
        let weights = file.values(&format!("{name}.weight"), &[columns, rows])?;
        let bias = file.values(&format!("{name}.bias"), &[columns])?;
        let padded = outputs.len().next_multiple_of(TILE_COLUMNS);
        let bias: Vec<f32> = (0..padded).map(|n| outputs.get(n).copied().flatten().map_or(0.0, |n| bias[n])).collect();
        let order = |k: usize, n: usize| {
            let [k, n] = [inputs.get(k).copied().flatten()?, outputs.get(n).copied().flatten()?];
            Some(weights[n * rows + k])
        };
        let depth = inputs.len().next_multiple_of(DEPTH);
        let all = (0..depth).flat_map(|k| (0..padded).map(move |n| (k, n))).map(|(k, n)| order(k, n).unwrap_or(0.0));
        let bytes: Vec<u8> = match file.are_half {
            true => all.flat_map(|x| f16::from_f32(x).to_le_bytes()).collect(),
            false => all.flat_map(f32::to_le_bytes).collect(),
        };
        Ok(Self {
            weights: gpu.upload(&format!("the weights of {name}"), &bytes)?,
            bias: gpu.upload(&format!("the biases of {name}"), bytemuck::cast_slice(&bias))?,
        })
    }
}
