//! The calculus: linear maps, the product rule, the chain rule, and their instances.

use std::ops::{Add, Mul, Neg, Sub};

use burn::tensor::Tensor;

use super::{Dual, Motion, aligned_primal, cpu};

impl<const D: usize> Dual<D> {
    /// A parameter-free linear map acts alike on value and derivative.
    pub(crate) fn linear_map<const E: usize>(self, map: impl Fn(Tensor<D>) -> Tensor<E>) -> Dual<E> {
        Dual { tangent: self.tangent.map(&map), primal: map(self.primal) }
    }

    /// Elementwise function with its derivative; `derivative` sees the untracked primal.
    fn elementwise(
        self,
        function: impl FnOnce(Tensor<D>) -> Tensor<D>,
        derivative: impl FnOnce(Tensor<D>) -> Tensor<D>,
    ) -> Self {
        let place = self.tangent.is_some().then(|| aligned_primal(&self.primal, self.motion()));
        let tangent = self.tangent.zip(place).map(|(dx, place)| derivative(place) * dx);
        Self { primal: function(self.primal), tangent }
    }

    /// Product rule of any bilinear `product`: `d(ab) = da·b + a·db`.
    fn bilinear(self, rhs: Self, product: impl Fn(Tensor<D>, Tensor<D>) -> Tensor<D>) -> Self {
        let [along_left, along_right] = [self.motion(), rhs.motion()];
        let left = self.tangent.map(|da| product(da, aligned_primal(&rhs.primal, along_left)));
        let right = rhs.tangent.map(|db| product(aligned_primal(&self.primal, along_right), db));
        Self { primal: product(self.primal, rhs.primal), tangent: sum(left, right) }
    }

    /// Matrix product over the last two axes, broadcasting the others.
    ///
    /// # Shapes
    /// `[.., n, k]` and `[.., k, m]` → `[.., n, m]`.
    pub fn matmul(self, rhs: Self) -> Self {
        self.bilinear(rhs, |a, b| cpu::matmul(&a, &b).unwrap_or_else(|| a.matmul(b)))
    }

    /// Multiplies by a plain number.
    pub fn scale(self, factor: f64) -> Self {
        self.linear_map(|x| x.mul_scalar(factor))
    }

    /// Adds a plain number.
    pub fn shift(self, offset: f64) -> Self {
        Self { primal: self.primal.add_scalar(offset), tangent: self.tangent }
    }

    /// `1/x`.
    pub fn recip(self) -> Self {
        self.elementwise(Tensor::recip, |x| (x.clone() * x).recip().neg())
    }

    /// The larger of `x` and `min`, with derivative 1 from `min` on and 0 below.
    pub fn clamp_min(self, min: f64) -> Self {
        self.elementwise(|x| x.clamp_min(min), |x| x.greater_equal_elem(min).float())
    }

    /// `sin x`.
    pub fn sin(self) -> Self {
        self.elementwise(Tensor::sin, Tensor::cos)
    }

    /// `cos x`.
    pub fn cos(self) -> Self {
        self.elementwise(Tensor::cos, |x| x.sin().neg())
    }

    /// The same elements under another shape. Where some rows alone move, the first axis must stay the batch's, perhaps
    /// in more rows.
    pub fn reshape<const E: usize>(self, shape: [usize; E]) -> Dual<E> {
        let rows = self.dims()[0].max(1);
        self.linear_map(|x| {
            let mut shape = shape;
            shape[0] = shape[0] * x.dims()[0] / rows;
            x.reshape(shape)
        })
    }

    /// Axes in another order.
    ///
    /// # Panics
    /// When some rows alone move, and the first axis would not stay the first.
    pub fn permute(self, axes: [usize; D]) -> Self {
        assert!(axes[0] == 0 || self.tangent_rows().is_none(), "rows that move must stay rows");
        self.linear_map(|x| x.permute(axes))
    }

    /// Two axes exchanged.
    ///
    /// # Panics
    /// When some rows alone move, and one of the axes is the first.
    pub fn swap_dims(self, a: usize, b: usize) -> Self {
        assert!(a.min(b) > 0 || self.tangent_rows().is_none(), "rows that move must stay rows");
        self.linear_map(|x| x.swap_dims(a, b))
    }

    /// `length` entries of axis `dim` from `start`; rows that do not move have no tangent.
    pub fn narrow(self, dim: usize, start: usize, length: usize) -> Self {
        let tangent = self.tangent.and_then(|x| match dim {
            0 => {
                let [start, end] = [start, start + length].map(|row| row.min(x.dims()[0]));
                (start < end).then(|| x.narrow(0, start, end - start))
            }
            _ => Some(x.narrow(dim, start, length)),
        });
        Self { primal: self.primal.narrow(dim, start, length), tangent }
    }

    /// `parts` equal pieces along axis `dim`.
    ///
    /// # Panics
    /// When the axis does not divide into `N` pieces.
    pub fn chunk<const N: usize>(self, dim: usize) -> [Self; N] {
        let length = self.dims()[dim] / N;
        assert_eq!(length * N, self.dims()[dim], "axis {dim} does not divide into {N}");
        std::array::from_fn(|i| self.clone().narrow(dim, i * length, length))
    }

    /// Joins two duals along axis `dim`.
    ///
    /// # Panics
    /// When some rows alone move, and the axis is the first.
    pub fn concat(self, rhs: Self, dim: usize) -> Self {
        let moving = self.tangent_rows().or(rhs.tangent_rows());
        assert!(dim > 0 || moving.is_none(), "rows that move come first");
        let tangent = match (self.tangent, rhs.tangent) {
            (None, None) => None,
            (da, db) => {
                let still = |x: &Tensor<D>| aligned_primal(x, Motion { rows: moving, on_tape: false }).zeros_like();
                let parts = [da.unwrap_or_else(|| still(&self.primal)), db.unwrap_or_else(|| still(&rhs.primal))];
                Some(Tensor::cat(parts.to_vec(), dim))
            }
        };
        Self { primal: Tensor::cat(vec![self.primal, rhs.primal], dim), tangent }
    }
}

/// Sum of two tangents, where an absent one is zero.
fn sum<const D: usize>(a: Option<Tensor<D>>, b: Option<Tensor<D>>) -> Option<Tensor<D>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

/// A lone tangent must still take the shape that broadcasting gave the value.
fn broadcast<const D: usize>(tangent: Option<Tensor<D>>, shape: [usize; D]) -> Option<Tensor<D>> {
    tangent.map(|d| if d.dims() == shape { d } else { d.expand(shape) })
}

impl<const D: usize> Add for Dual<D> {
    type Output = Self;

    /// Sum, broadcasting axes of length one.
    fn add(self, rhs: Self) -> Self {
        let moving = self.tangent_rows().or(rhs.tangent_rows());
        let primal = self.primal + rhs.primal;
        let mut shape = primal.dims();
        shape[0] = moving.unwrap_or(shape[0]);
        let tangent = broadcast(sum(self.tangent, rhs.tangent), shape);
        Self { primal, tangent }
    }
}

impl<const D: usize> Sub for Dual<D> {
    type Output = Self;

    fn sub(self, rhs: Self) -> Self {
        self + -rhs
    }
}

impl<const D: usize> Neg for Dual<D> {
    type Output = Self;

    fn neg(self) -> Self {
        self.linear_map(Tensor::neg)
    }
}

impl<const D: usize> Mul for Dual<D> {
    type Output = Self;

    /// Elementwise product, broadcasting axes of length one.
    fn mul(self, rhs: Self) -> Self {
        self.bilinear(rhs, |a, b| a * b)
    }
}
