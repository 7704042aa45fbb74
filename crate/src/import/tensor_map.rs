//! From the tensors of a checkpoint to those of a network, by name.

use burn::tensor::Device;
use safetensors::SafeTensors;

use super::{Array, Checkpoint};
use crate::error::Error;
use crate::model::NetConfig;
use crate::net::Net;
use crate::net::weights_file::apply;

/// A tensor under both names, with the shape that the checkpoint has.
pub(super) struct TensorMapping {
    theirs: String,
    ours: String,
    shape: Vec<usize>,
    kind: Kind,
}

/// What a tensor is, where the two layouts differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The same in both.
    Same,
    /// Patches: a convolution there, `[width, channels, patch, patch]`, and a linear layer of `(row, column, channel)`
    /// here.
    Patches,
    /// A linear layer that is a convolution of one pixel there.
    Pixel,
    /// A list of rows with an axis of length one in front there.
    Rows,
}

impl TensorMapping {
    fn to_ours(&self, array: &Array) -> Array {
        match (self.kind, &self.shape[..]) {
            (Kind::Patches, &[width, channels, patch, _]) => {
                let area = patch * patch;
                let value = |i: usize| {
                    let (row, place, channel) = (i / (area * channels), i / channels % area, i % channels);
                    array.values[(row * channels + channel) * area + place]
                };
                Array { shape: vec![width, area * channels], values: (0..array.values.len()).map(value).collect() }
            }
            (Kind::Pixel, &[output, input, ..]) => Array { shape: vec![output, input], values: array.values.clone() },
            (Kind::Rows, &[_, rows, width]) => Array { shape: vec![rows, width], values: array.values.clone() },
            _ => array.clone(),
        }
    }
}

/// The parts of a network, as they are listed.
#[derive(Default)]
pub(super) struct TensorMap(Vec<TensorMapping>);

impl TensorMap {
    /// A tensor that is the same in both.
    pub fn same(&mut self, theirs: impl Into<String>, ours: impl Into<String>, shape: &[usize]) {
        self.push(theirs, ours, shape, Kind::Same);
    }

    /// Rows, which may have an axis of length one in front there.
    pub fn rows(&mut self, theirs: &str, ours: impl Into<String>, shape: [usize; 2], checkpoint: &Checkpoint) {
        match checkpoint.get(theirs).map(|array| &array.shape[..]) {
            Some([1, _, _]) => self.push(theirs, ours, &[1, shape[0], shape[1]], Kind::Rows),
            _ => self.same(theirs, ours, &shape),
        }
    }

    /// A linear layer with bias.
    pub fn linear(&mut self, theirs: &str, ours: &str, [input, output]: [usize; 2]) {
        self.same(format!("{theirs}.weight"), format!("{ours}.weight"), &[output, input]);
        self.same(format!("{theirs}.bias"), format!("{ours}.bias"), &[output]);
    }

    /// The embedding of patches.
    pub fn patches(&mut self, theirs: &str, ours: &str, shape: [usize; 4]) {
        self.push(format!("{theirs}.weight"), format!("{ours}.weight"), &shape, Kind::Patches);
        self.same(format!("{theirs}.bias"), format!("{ours}.bias"), &shape[..1]);
    }

    /// A linear layer that is a convolution of one pixel there.
    pub fn pixel(&mut self, theirs: &str, ours: &str, [input, output]: [usize; 2]) {
        self.push(format!("{theirs}.weight"), format!("{ours}.weight"), &[output, input, 1, 1], Kind::Pixel);
        self.same(format!("{theirs}.bias"), format!("{ours}.bias"), &[output]);
    }

    /// A convolution, or a normalisation: scale and shift.
    pub fn weight_and_bias(&mut self, theirs: &str, ours: &str, weight: &[usize]) {
        self.same(format!("{theirs}.weight"), format!("{ours}.weight"), weight);
        self.same(format!("{theirs}.bias"), format!("{ours}.bias"), &weight[..1]);
    }

    fn push(&mut self, theirs: impl Into<String>, ours: impl Into<String>, shape: &[usize], kind: Kind) {
        self.0.push(TensorMapping { theirs: theirs.into(), ours: ours.into(), shape: shape.to_vec(), kind });
    }

    /// The network with the checkpoint's tensors.
    ///
    /// # Errors
    /// Lists every tensor that is missing, of another shape, or extra and not excused.
    pub fn load(
        &self,
        checkpoint: &Checkpoint,
        config: &NetConfig,
        may_be_left: fn(&str) -> bool,
        device: &Device,
    ) -> Result<Net, Error> {
        let wanted: Vec<_> = self.0.iter().map(|part| (part.theirs.clone(), part.shape.clone())).collect();
        let found = checkpoint.take(&wanted, may_be_left)?;
        let tensors = self.0.iter().zip(found).map(|(part, array)| (part.ours.clone(), part.to_ours(&array)));
        let bytes = to_safetensors(tensors)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::Checkpoint(e.to_string()))?;
        apply(config.init(0, device), &file, device)
    }
}

fn to_safetensors(tensors: impl Iterator<Item = (String, Array)>) -> Result<Vec<u8>, Error> {
    let owned: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .map(|(name, array)| (name, array.shape, array.values.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = owned.iter().map(|(name, shape, bytes)| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes)
            .map(|view| (name.as_str(), view))
            .map_err(|e| Error::Checkpoint(e.to_string()))
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize(views, None).map_err(|e| Error::Checkpoint(e.to_string()))
}
