//! Four numbers at once.

#[cfg_attr(target_arch = "wasm32", path = "wasm.rs")]
mod numbers;

pub use numbers::Lanes;

use super::SimdKernel;
use super::simd_dispatch::simd_dispatch;

/// How many numbers [`Lanes`] are.
pub const WIDTH: usize = 4;

impl Lanes {
    /// `e^x` to about the last bit.
    ///
    /// `x` is split into whole and fractional powers of two (Cody and Waite); what remains of the fraction goes through
    /// its Taylor polynomial. Beyond ±87 it stays at the ends.
    #[inline(always)]
    pub fn exp(self) -> Self {
        /// Adding it leaves a whole number in the last bits.
        const WHOLE: f32 = 12_582_912.0;
        /// ln 2 in two parts, the first with so few bits that its multiples are exact.
        const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
        let number = Self::splat;
        let x = self.clamp(-87.0, 87.0);
        let shifted = x.mul_add(number(std::f32::consts::LOG2_E), number(WHOLE));
        let whole = shifted.add(number(-WHOLE));
        let rest = LN_2.into_iter().fold(x, |rest, part| whole.mul_add(number(-part), rest));
        let factorials = [720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0];
        let sum = factorials.into_iter().fold(number(1.0 / 5040.0), |sum, n| sum.mul_add(rest, number(1.0 / n)));
        sum.mul(shifted.as_exponent())
    }
}

/// A function of single numbers. No closure, since [`map`] must take it into itself: only there may it multiply and add
/// at once, and only there are vectors wide.
pub trait Function {
    /// Its values; `#[inline(always)]`.
    fn of(&self, x: Lanes) -> Lanes;
}

/// Every value through `function`, in place.
#[cfg_attr(all(target_arch = "wasm32", feature = "relaxed"), target_feature(enable = "relaxed-simd"))]
pub fn map(values: &mut [f32], function: impl Function) {
    simd_dispatch(Map { values, function });
}

/// The work of [`map`], to be a part of other work.
pub(super) struct Map<'a, F> {
    pub values: &'a mut [f32],
    pub function: F,
}

impl<F: Function> SimdKernel for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (whole, rest) = self.values.as_chunks_mut::<WIDTH>();
        for values in whole {
            *values = self.function.of(Lanes::load(values)).store();
        }
        let mut last = [0.0; WIDTH];
        last[..rest.len()].copy_from_slice(rest);
        let last = self.function.of(Lanes::load(&last)).store();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// The derivative of a [`Function`].
pub trait Slope {
    /// Its values; `#[inline(always)]`.
    fn slope(&self, x: Lanes) -> Lanes;
}

/// Directions times the slopes at `places`, in place.
pub fn map_along(directions: &mut [f32], places: &[f32], function: impl Slope) {
    simd_dispatch(MapAlong { directions, places, function });
}

struct MapAlong<'a, F> {
    directions: &'a mut [f32],
    places: &'a [f32],
    function: F,
}

impl<F: Slope> SimdKernel for MapAlong<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { directions, places, function } = self;
        let (whole, rest) = directions.as_chunks_mut::<WIDTH>();
        let (whole_places, rest_places) = places.as_chunks::<WIDTH>();
        for (direction, place) in whole.iter_mut().zip(whole_places) {
            *direction = Lanes::load(direction).mul(function.slope(Lanes::load(place))).store();
        }
        let mut last = [0.0; WIDTH];
        last[..rest_places.len()].copy_from_slice(rest_places);
        let slopes = function.slope(Lanes::load(&last)).store();
        rest.iter_mut().zip(slopes).for_each(|(direction, slope)| *direction *= slope);
    }
}

/// All values joined in parts that do not wait for one another; `join` joins the parts.
#[inline(always)]
pub fn fold(values: &[f32], start: f32, add: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let (whole, rest) = values.as_chunks::<{ 4 * WIDTH }>();
    let mut parts = [start; 4 * WIDTH];
    for values in whole {
        parts.iter_mut().zip(values).for_each(|(part, x)| *part = add(*part, *x));
    }
    parts[0] = rest.iter().fold(parts[0], |part, x| add(part, *x));
    parts.into_iter().fold(start, join)
}

/// `Σ a`.
#[inline(always)]
pub fn sum(values: &[f32]) -> f32 {
    fold(values, 0.0, |sum, x| sum + x, |a, b| a + b)
}

/// `Σ a b`, in parts like [`fold`].
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    const PARTS: usize = 4 * WIDTH;
    let (whole_a, rest_a) = a.as_chunks::<PARTS>();
    let (whole_b, rest_b) = b.as_chunks::<PARTS>();
    let mut parts = [0.0; PARTS];
    for (a, b) in whole_a.iter().zip(whole_b) {
        parts.iter_mut().zip(a.iter().zip(b)).for_each(|(part, (a, b))| *part += a * b);
    }
    rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>() + parts.into_iter().sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_about_the_last_bit() {
        let exp = |x: f32| Lanes::splat(x).exp().store()[0];
        for i in -870_000..=870_000 {
            let x = i as f32 * 1e-4;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours - exact).abs() <= 2.5e-7 * exact, "e^{x} is {exact}, not {ours}");
        }
        assert_eq!(exp(-1e30), exp(-87.0));
        assert_eq!(exp(f32::INFINITY), exp(87.0));
    }

    struct TwiceAndOne;

    impl Function for TwiceAndOne {
        fn of(&self, x: Lanes) -> Lanes {
            x.mul_add(Lanes::splat(2.0), Lanes::splat(1.0))
        }
    }

    #[test]
    fn rows_of_every_length_are_mapped_and_folded_whole() {
        for length in 0..70 {
            let mut values: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let sum = fold(&values, 0.0, |sum, x| sum + x, |a, b| a + b);
            assert_eq!(sum, (length * (length - 1).max(0) / 2) as f32);
            map(&mut values, TwiceAndOne);
            assert!(values.iter().enumerate().all(|(i, x)| *x == (2 * i + 1) as f32), "{length}");
        }
    }
}
