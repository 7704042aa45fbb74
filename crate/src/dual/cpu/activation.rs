//! Activations: burn computes exponentials one by one here, which took a quarter of the time of a picture in the browser.

use burn::tensor::Tensor;

use super::lanes::{Function, Lanes, map};
use super::{read_in_order, values, write_in_order};

/// `x σ(y(x))` where `y` is `x (linear + cubic x²)`.
pub fn gated<const D: usize>(x: &Tensor<D>, linear: f32, cubic: f32) -> Option<Tensor<D>> {
    let mut out = values(&read_in_order(x)?).to_vec();
    map(&mut out, Gated { linear: Lanes::splat(-linear), cubic: Lanes::splat(-cubic) });
    Some(write_in_order(out, x.dims()))
}

/// [`gated`], with the signs of its factors turned.
struct Gated {
    linear: Lanes,
    cubic: Lanes,
}

impl Function for Gated {
    #[inline(always)]
    fn of(&self, x: Lanes) -> Lanes {
        let turned = x.mul(x.mul(x).mul_add(self.cubic, self.linear));
        x.div(turned.exp().add(Lanes::splat(1.0)))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn a_gate_is_that_of_burn_at_every_size() {
        let device = Device::flex();
        let numbers: Vec<f32> = (-4000..=4000).map(|i| i as f32 * 5e-3).collect();
        let x = Tensor::<1>::from_data(TensorData::new(numbers, [8001]), &device);
        let ours = gated(&x, 1.5, 0.1).expect("it is the CPU");
        let theirs = x.clone() * burn::tensor::activation::sigmoid(x.clone() * ((x.clone() * x.clone()) * 0.1 + 1.5));
        let apart = (ours - theirs).abs().max().try_into_scalar::<f32>().expect("a number");
        assert!(apart < 2e-6, "{apart}");
        assert!(gated(&x.autodiff(), 1.5, 0.1).is_none(), "what is on the tape stays there");
    }
}
