//! WebAssembly's vectors.

use core::arch::wasm32::*;

#[derive(Clone, Copy, Debug)]
pub struct Lanes(v128);

impl Lanes {
    #[inline(always)]
    pub fn load(values: &[f32; 4]) -> Self {
        let [a, b, c, d] = *values;
        Self(f32x4(a, b, c, d))
    }

    #[inline(always)]
    pub fn store(self) -> [f32; 4] {
        let x = self.0;
        [f32x4_extract_lane::<0>(x), f32x4_extract_lane::<1>(x), f32x4_extract_lane::<2>(x), f32x4_extract_lane::<3>(x)]
    }

    #[inline(always)]
    pub fn splat(value: f32) -> Self {
        Self(f32x4_splat(value))
    }

    #[inline(always)]
    pub fn add(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0))
    }

    #[inline(always)]
    pub fn mul(self, by: Self) -> Self {
        Self(f32x4_mul(self.0, by.0))
    }

    #[inline(always)]
    pub fn div(self, by: Self) -> Self {
        Self(f32x4_div(self.0, by.0))
    }

    /// `self · by + to`, rounded once where the build may use such instructions.
    #[inline(always)]
    pub fn mul_add(self, by: Self, to: Self) -> Self {
        match cfg!(feature = "relaxed") {
            true => Self(f32x4_relaxed_madd(self.0, by.0, to.0)),
            false => self.mul(by).add(to),
        }
    }

    #[inline(always)]
    pub fn clamp(self, least: f32, most: f32) -> Self {
        Self(f32x4_pmin(f32x4_pmax(self.0, f32x4_splat(least)), f32x4_splat(most)))
    }

    /// 2 to the whole number in the last bits.
    #[inline(always)]
    pub fn as_exponent(self) -> Self {
        Self(i32x4_add(i32x4_shl(self.0, 23), i32x4_splat(127 << 23)))
    }
}
