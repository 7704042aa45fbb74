//! Rotary positions (RoFormer, arXiv 2104.09864): neighbouring pairs of features turn by an angle that grows with the
//! place.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::dual::Dual;

/// Base of the angles' frequencies.
const THETA: f64 = 10_000.0;

/// The angles of a sequence, as cosines and sines, `[1, 1, tokens, head_width]`.
#[derive(Module, Debug)]
pub(super) struct Rotary {
    #[module(skip)]
    cos: Tensor<4>,
    #[module(skip)]
    sin: Tensor<4>,
}

impl Rotary {
    /// One place per token, counted over the whole sequence.
    pub fn along(tokens: usize, head_width: usize, device: &Device) -> Self {
        let angles = (0..tokens).flat_map(|place| (0..head_width / 2).map(move |i| turn(place, i, head_width)));
        Self::new(angles.collect(), [tokens, head_width], device)
    }

    /// `prefix` tokens at rest, then a square of tokens: the first half of the pairs turns with the row, the second
    /// with the column.
    pub fn over(prefix: usize, side: usize, head_width: usize, device: &Device) -> Self {
        let half = head_width / 2;
        let mut angles = vec![0.0; prefix * half];
        for place in 0..side * side {
            for coordinate in [place / side, place % side] {
                angles.extend((0..half / 2).map(|i| turn(coordinate, i, half)));
            }
        }
        Self::new(angles, [prefix + side * side, head_width], device)
    }

    /// From one angle per token and pair.
    fn new(angles: Vec<f64>, [tokens, head_width]: [usize; 2], device: &Device) -> Self {
        let device = device.clone().inner();
        let table = |wave: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().flat_map(|&angle| [wave(angle) as f32; 2]).collect();
            Tensor::from_data(TensorData::new(values, [1, 1, tokens, head_width]), &device)
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

/// The angle of pair `i` of `width / 2` at a place.
fn turn(place: usize, i: usize, width: usize) -> f64 {
    place as f64 / libm::pow(THETA, 2.0 * i as f64 / width as f64)
}
