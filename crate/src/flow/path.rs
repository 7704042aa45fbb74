//! The linear path between data and noise. Time 0 is data, time 1 is noise.

use burn::tensor::Tensor;

use super::per_image;

/// A point of the path and the conditional velocity there.
#[derive(Clone, Debug)]
pub struct PathSample {
    /// `z_t = (1 − t) x + t e`.
    pub z: Tensor<4>,
    /// `v = dz_t/dt = e − x`, the conditional velocity.
    pub v: Tensor<4>,
}

/// The path from the images `x` to the noise `e` at the times `t` (section 3 of arXiv 2505.13447).
///
/// # Shapes
/// `x`, `e`: `[batch, channels, height, width]`; `t`: `[batch]`, in `[0, 1]`.
pub fn interpolate(x: Tensor<4>, e: Tensor<4>, t: Tensor<1>) -> PathSample {
    let v = e - x.clone();
    PathSample { z: x + per_image(t) * v.clone(), v }
}
