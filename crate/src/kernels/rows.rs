//! Functions of rows: activations and normalisation.

use super::SimdKernel;
use super::lanes::{Function, Lanes, Slope, fold, sum};
use super::simd_dispatch::simd_dispatch;

/// `2·√(2/π)`: with it the tanh-GELU is `x σ(κ (x + 0.044715 x³))`, since `½(1 + tanh y) = σ(2y)`.
const KAPPA: f64 = 1.595_769_121_605_730_7;
/// The cubic coefficient of the tanh approximation.
const CUBIC: f64 = 0.044_715;
/// The polynomial of GELU, of `x` and `x³`.
pub const GELU: [f64; 2] = [KAPPA, KAPPA * CUBIC];

/// `x σ(y(x))` where `y` is `x (linear + cubic x²)`: GELU and SiLU.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    linear: Lanes,
    cubic: Lanes,
}

impl Gate {
    /// Of this polynomial.
    pub fn new(linear: f32, cubic: f32) -> Self {
        Self { linear: Lanes::splat(linear), cubic: Lanes::splat(cubic) }
    }

    /// `σ(y(x))`.
    #[inline(always)]
    fn share(self, x: Lanes) -> Lanes {
        let one = Lanes::splat(1.0);
        let y = x.mul(x.mul(x).mul_add(self.cubic, self.linear));
        one.div(y.mul(Lanes::splat(-1.0)).exp().add(one))
    }
}

impl Function for Gate {
    #[inline(always)]
    fn of(&self, x: Lanes) -> Lanes {
        x.mul(self.share(x))
    }
}

impl Slope for Gate {
    /// `σ (1 + x (1 − σ) y'(x))`.
    #[inline(always)]
    fn slope(&self, x: Lanes) -> Lanes {
        let one = Lanes::splat(1.0);
        let share = self.share(x);
        let rise = x.mul(x).mul_add(self.cubic.mul(Lanes::splat(3.0)), self.linear);
        let rest = share.mul_add(Lanes::splat(-1.0), one);
        share.mul(x.mul(rest).mul_add(rise, one))
    }
}

/// `x / √(mean(x²) + ε)` of a row, in place.
pub fn rms_normalise(row: &mut [f32], epsilon: f32) {
    simd_dispatch(RmsNormalise { row, epsilon });
}

struct RmsNormalise<'a> {
    row: &'a mut [f32],
    epsilon: f32,
}

impl SimdKernel for RmsNormalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { row, epsilon } = self;
        let mean = fold(row, 0.0, |sum, x| sum + x * x, |a, b| a + b) / row.len() as f32;
        let scale = (mean + epsilon).sqrt().recip();
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

/// `(x − mean) / √(var + ε)` of a row, in place; gives `1 / √(var + ε)`.
pub fn normalise(row: &mut [f32], epsilon: f32) -> f32 {
    simd_dispatch(Normalise { row, epsilon })
}

struct Normalise<'a> {
    row: &'a mut [f32],
    epsilon: f32,
}

impl SimdKernel for Normalise<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let Self { row, epsilon } = self;
        let width = row.len() as f32;
        let mean = sum(row) / width;
        row.iter_mut().for_each(|x| *x -= mean);
        let variance = fold(row, 0.0, |sum, x| sum + x * x, |a, b| a + b) / width;
        let scale = (variance + epsilon).sqrt().recip();
        row.iter_mut().for_each(|x| *x *= scale);
        scale
    }
}
