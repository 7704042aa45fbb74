//! Linear layers as the kernels read them.

use half::f16;

use super::device::Gpu;
use super::kernels::{DEPTH, Sizes, TILE_COLUMNS};
use super::recorder::PlannedLayer;
use super::tensors::Tensors;
use crate::error::Error;
use crate::infer::layers::Linear;
use crate::model::ParamSpec;

/// Which feature of the file's layer each of ours is; `None` is a zero that fills up.
type Layout = Vec<Option<usize>>;

/// A layer on the GPU: weights `[inputs][outputs]`, in quads, with zeros up to whole tiles.
#[derive(Debug)]
pub(super) struct Matrix {
    pub weights: wgpu::Buffer,
    pub bias: wgpu::Buffer,
}

/// The side of a layer whose features are those of attention heads: each head is filled up to whole quads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heads {
    /// Neither.
    Neither,
    /// The outputs are queries, keys and values.
    Outputs,
    /// The inputs are what the heads give.
    Inputs,
}

/// The inputs and the outputs of a layer in memory.
pub(super) fn features(sizes: &Sizes, layer: &Linear, heads: Heads) -> [usize; 2] {
    let of = |features, are_heads| if are_heads { sizes.padded(features) } else { features };
    [of(layer.inputs, heads == Heads::Inputs), of(layer.outputs, heads == Heads::Outputs)]
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
    /// When the file lacks a tensor.
    pub fn read(
        gpu: &Gpu,
        file: &Tensors,
        (params, values): (&[ParamSpec], &[Vec<f32>]),
        sizes: &Sizes,
        PlannedLayer { layer, heads, outputs }: PlannedLayer,
    ) -> Result<Self, Error> {
        let (rows, name) = (layer.inputs, &params[layer.weight].name);
        let mut weights = Vec::new();
        for spec in layer.weights().map(|weight| &params[weight]) {
            weights.extend(file.values(&spec.name, &spec.stored_shape())?);
        }
        let inputs = layout(sizes, rows, heads == Heads::Inputs);
        let mut columns = layout(sizes, layer.outputs, heads == Heads::Outputs);
        columns.resize(outputs.next_multiple_of(TILE_COLUMNS), None);
        let bias = layer.bias.map_or(&[][..], |bias| &values[bias]);
        let bias: Vec<f32> = columns.iter().map(|n| n.and_then(|n| bias.get(n)).copied().unwrap_or_default()).collect();
        let mut bytes = Vec::new();
        for k in 0..inputs.len().next_multiple_of(DEPTH) {
            let input = inputs.get(k).copied().flatten();
            for output in &columns {
                let value = output.zip(input).map_or(0.0, |(output, input)| weights[output * rows + input]);
                match file.are_half {
                    true => bytes.extend_from_slice(&f16::from_f32(value).to_le_bytes()),
                    false => bytes.extend_from_slice(&value.to_le_bytes()),
                }
            }
        }
        Ok(Self {
            weights: gpu.upload(&format!("the weights of {name}"), &bytes),
            bias: gpu.upload(&format!("the biases of {name}"), bytemuck::cast_slice(&bias)),
        })
    }
}
