//! Linear layers as the kernels read them.

use half::f16;

use super::device::Gpu;
use super::kernels::{DEPTH, Sizes, TILE_COLUMNS};
use crate::error::Error;
use crate::infer::layers::{Heads, Linear};
use crate::infer::weights::{Source, Tensors};
use crate::model::ParamSpec;

/// Which feature of the file's layer each of ours is; `None` is a zero that fills up.
type Layout = Vec<Option<usize>>;

/// A layer on the GPU: weights `[inputs][outputs]`, in quads, with zeros up to whole tiles.
#[derive(Debug)]
pub(super) struct Matrix {
    pub weights: wgpu::Buffer,
    pub bias: wgpu::Buffer,
}

/// The inputs and the outputs of a layer in memory; those of heads are filled up to whole quads.
pub(super) fn features(sizes: &Sizes, layer: &Linear) -> [usize; 2] {
    let of = |features, are_heads| if are_heads { sizes.padded(features) } else { features };
    [of(layer.inputs, layer.heads == Heads::Inputs), of(layer.outputs, layer.heads == Heads::Outputs)]
}

fn layout(sizes: &Sizes, features: usize, are_heads: bool) -> Layout {
    let (width, padded) = match are_heads {
        true => (sizes.width / sizes.config.heads, sizes.head_width),
        false => (features, features),
    };
    let of = |i: usize| (i % padded < width).then_some(i / padded * width + i % padded);
    (0..features / width * padded).map(of).collect()
}

impl Matrix {
    /// Reads the weights of a layer, and has its bias of `values`, which are the file's small tensors. `outputs` are at
    /// least those of the layer.
    ///
    /// # Errors
    /// When the file lacks a tensor, or the GPU has no room for it.
    pub fn read(
        gpu: &Gpu,
        file: &Tensors,
        (params, values): (&[ParamSpec], &[Vec<f32>]),
        sizes: &Sizes,
        layer: &Linear,
        outputs: usize,
    ) -> Result<Self, Error> {
        let (rows, name) = (layer.inputs, &params[layer.weight].name);
        let mut weights = Vec::new();
        for spec in layer.weights().map(|weight| &params[weight]) {
            weights.extend(file.values(&spec.name, &spec.stored_shape())?);
        }
        let inputs = layout(sizes, rows, layer.heads == Heads::Inputs);
        let mut columns = layout(sizes, layer.outputs, layer.heads == Heads::Outputs);
        columns.resize(outputs.next_multiple_of(TILE_COLUMNS), None);
        let bias = layer.bias.map_or(&[][..], |bias| &values[bias]);
        let bias: Vec<f32> = columns.iter().map(|n| n.and_then(|n| bias.get(n)).copied().unwrap_or_default()).collect();
        let order = |k: usize, n: Option<usize>| Some(weights[n? * rows + inputs.get(k).copied().flatten()?]);
        let depth = inputs.len().next_multiple_of(DEPTH);
        let all = (0..depth).flat_map(|k| columns.iter().map(move |&n| order(k, n).unwrap_or(0.0)));
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
