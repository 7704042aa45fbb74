//! Arrays that compilers make vectors of.

use std::array::from_fn;

#[derive(Clone, Copy, Debug)]
pub struct Lanes([f32; 4]);

impl Lanes {
    #[inline(always)]
    pub fn load(values: &[f32; 4]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    pub fn store(self) -> [f32; 4] {
        self.0
    }

    #[inline(always)]
    pub fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    pub fn add(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    pub fn mul(self, by: Self) -> Self {
        Self(from_fn(|i| self.0[i] * by.0[i]))
    }

    #[inline(always)]
    pub fn div(self, by: Self) -> Self {
        Self(from_fn(|i| self.0[i] / by.0[i]))
    }

    #[inline(always)]
    pub fn mul_add(self, by: Self, to: Self) -> Self {
        self.mul(by).add(to)
    }

    #[inline(always)]
    pub fn clamp(self, least: f32, most: f32) -> Self {
        Self(from_fn(|i| self.0[i].clamp(least, most)))
    }

    #[inline(always)]
    pub fn as_exponent(self) -> Self {
        Self(from_fn(|i| f32::from_bits((self.0[i].to_bits() << 23).wrapping_add(127 << 23))))
    }
}
