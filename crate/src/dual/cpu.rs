//! An activation on the CPU in one pass, for inference: burn computes exponentials there one by one, which took a quarter of
//! the time of a picture in the browser. Nothing in it is of this program; it could live in `burn-flex`.

use burn::tensor::{Device, Tensor, TensorData};

/// Whether tensors of this device are the CPU's.
fn is_cpu(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return *device == Device::flex();
    #[cfg(not(feature = "flex"))]
    return {
        let _ = device;
        false
    };
}

/// `x σ(y(x))` off the tape where `y` is `x (linear + cubic x²)`; `None` where it does not apply.
pub(super) fn gated<const D: usize>(x: &Tensor<D>, linear: f32, cubic: f32) -> Option<Tensor<D>> {
    let device = x.device();
    if x.is_autodiff() || !is_cpu(&device) {
        return None;
    }
    let shape = x.dims();
    let mut values = x.clone().try_into_vec_as::<f32>().ok()?;
    for x in &mut values {
        *x /= 1.0 + exp(-*x * (linear + cubic * *x * *x));
    }
    Some(Tensor::from_data(TensorData::new(values, shape), &device))
}

/// `e^x` to about the last bit, without a branch, so that compilers make vectors of loops over it.
///
/// `x` is split into whole and fractional powers of two (Cody and Waite); what remains of the fraction goes through its
/// Taylor polynomial. Beyond ±87 it stays at the ends.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it leaves a whole number in the last bits.
    const WHOLE: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first with so few bits that its multiples are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + WHOLE;
    let whole = shifted - WHOLE;
    let rest = x - whole * LN_2[0] - whole * LN_2[1];
    let mut sum = 1.0 / 5040.0;
    for factorial in [720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        sum = sum * rest + 1.0 / factorial;
    }
    // The exponent is the whole number, plus 127.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    sum * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_about_the_last_bit() {
        for i in -870_000..=870_000 {
            let x = i as f32 * 1e-4;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours - exact).abs() <= 2.5e-7 * exact, "e^{x} is {exact}, not {ours}");
        }
        assert_eq!(exp(-1e30), exp(-87.0));
        assert_eq!(exp(f32::INFINITY), exp(87.0));
    }

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
