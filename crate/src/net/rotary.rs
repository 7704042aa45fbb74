//! Rotary positions (RoFormer, arXiv 2104.09864): neighbouring pairs of features turn by an angle that grows with the
//! place.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::dual::Dual;
use crate::model::Positions;
use crate::model::tables::rotary_angles;

/// The angles of a sequence, as cosines and sines, `[1, 1, tokens, head_width]`.
#[derive(Module, Debug)]
pub(super) struct Rotary {
    #[module(skip)]
    cos: Tensor<4>,
    #[module(skip)]
    sin: Tensor<4>,
}

impl Rotary {
    /// Of `prefix` tokens in front of a square of patches.
    pub fn new(positions: Positions, prefix: usize, side: usize, head_width: usize, device: &Device) -> Self {
        let device = device.clone().inner();
        let angles = rotary_angles(positions, prefix, side, head_width);
        let table = |wave: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().flat_map(|&angle| [wave(angle) as f32; 2]).collect();
            Tensor::from_data(TensorData::new(values, [1, 1, prefix + side * side, head_width]), &device)
        };
        Self { cos: table(libm::cos), sin: table(libm::sin) }
    }

    /// Turns the pairs of `[batch, heads, tokens, head_width]`.
    pub fn turn(&self, x: Dual<4>) -> Dual<4> {
        let shape @ [batch, heads, tokens, width] = x.dims();
        let [a, b] = x.clone().reshape([batch, heads, tokens, width / 2, 2]).chunk(4);
        let quarter = (-b).concat(a, 4).reshape(shape);
        x * self.cos.clone().into() + quarter * self.sin.clone().into()
    }
}
