//! Augmentation that does not leak into what is generated: images are changed at random and the network is told how, so that
//! told of no change it makes none (EDM, arXiv 2206.00364, appendix F.2, after arXiv 2006.06676).
//!
//! Written from its description. Where EDM samples a changed image by way of one of twice its size and wavelets, this
//! interpolates by Catmull and Rom's cubic.

use std::f64::consts::{PI, TAU};

use serde::{Deserialize, Serialize};

use crate::net::CHANGES;
use crate::rng::Stream;

/// Deviation of the logarithm, to base 2, of how much an image is scaled or stretched.
const SCALE_DEVIATION: f64 = 0.2;
/// Deviation of a shift, in image edges.
const SHIFT_DEVIATION: f64 = 0.125;

/// Which changes there are, and how often; those of CIFAR-10 (MeanFlow, arXiv 2505.13447, appendix A) by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// How often each change but the mirror is made.
    pub probability: f64,
    /// Whether half of the images are mirrored.
    pub mirror: bool,
    /// Whether images are enlarged or shrunk.
    pub scale: bool,
    /// Whether images are stretched in one direction and squeezed across it.
    pub stretch: bool,
    /// Whether images are shifted, by parts of pixels too.
    pub shift: bool,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { probability: 0.12, mirror: true, scale: true, stretch: true, shift: true }
    }
}

/// How one image is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// Whether it is mirrored.
    pub mirror: bool,
    /// Its scale is `2^0.2·scale`.
    pub scale: f64,
    /// How much it is stretched, as the scale; and the angle of the direction.
    pub stretch: [f64; 2],
    /// How far it is shifted to the right and down, in eighths of its edge.
    pub shift: [f64; 2],
}

impl Augmentation {
    /// A change at random.
    pub fn draw(&self, stream: &mut Stream) -> Change {
        let mut change = Change { mirror: self.mirror && stream.uniform() < 0.5, ..Change::default() };
        let happens = |kind: bool, stream: &mut Stream| kind && stream.uniform() < self.probability;
        if happens(self.scale, stream) {
            [change.scale] = normals(stream);
        }
        if happens(self.stretch, stream) {
            let [size] = normals(stream);
            change.stretch = [size, TAU * stream.uniform() - PI];
        }
        if happens(self.shift, stream) {
            change.shift = normals(stream);
        }
        change
    }
}

fn normals<const N: usize>(stream: &mut Stream) -> [f64; N] {
    let drawn = stream.normals(N);
    std::array::from_fn(|i| f64::from(drawn[i]))
}

impl Change {
    /// What the network is told; all zero where nothing is changed.
    pub fn told(&self) -> [f32; CHANGES] {
        let [size, angle] = self.stretch;
        let [right, down] = self.shift;
        [f64::from(u8::from(self.mirror)), self.scale, size * angle.cos(), size * angle.sin(), right, down]
            .map(|x| x as f32)
    }

    /// Changes an image of `size × size`, its channels one after the other.
    pub fn apply(&self, image: &mut [f32], size: usize) {
        if self.mirror {
            image.chunks_exact_mut(size).for_each(<[f32]>::reverse);
        }
        if (Self { mirror: false, ..*self }) == Self::default() {
            return;
        }
        let back = self.back();
        let middle = (size as f64 - 1.0) / 2.0;
        let [right, down] = self.shift.map(|shift| shift * SHIFT_DEVIATION * size as f64);
        for channel in image.chunks_exact_mut(size * size) {
            let from = channel.to_vec();
            for (i, pixel) in channel.iter_mut().enumerate() {
                let [x, y] = [(i % size) as f64 - middle - right, (i / size) as f64 - middle - down];
                let [x, y] = back.map(|[a, b]| a * x + b * y + middle);
                *pixel = interpolate(&from, size, [x, y]);
            }
        }
    }

    /// From a place in the changed image to that in the image, about its middle: the rows of a matrix. The mirror and the shift
    /// are made apart.
    fn back(&self) -> [[f64; 2]; 2] {
        let [size, angle] = self.stretch;
        let (sine, cosine) = angle.sin_cos();
        let along = (-SCALE_DEVIATION * size).exp2();
        let across = along.recip();
        let scale = (-SCALE_DEVIATION * self.scale).exp2();
        let mixed = sine * cosine * (along - across);
        [
            [along * cosine * cosine + across * sine * sine, mixed],
            [mixed, along * sine * sine + across * cosine * cosine],
        ]
        .map(|row| row.map(|x| scale * x))
    }
}

/// The image between its pixels; beyond its edges it is mirrored.
fn interpolate(image: &[f32], size: usize, [x, y]: [f64; 2]) -> f32 {
    let at = |place: f64| {
        let first = place.floor();
        (first as i64 - 1, weights((place - first) as f32))
    };
    let ((column, across), (row, down)) = (at(x), at(y));
    let line = |row: usize| {
        let pixels = across.iter().zip(column..);
        pixels.map(|(weight, column)| weight * image[row * size + reflect(column, size)]).sum::<f32>()
    };
    down.iter().zip(row..).map(|(weight, row)| weight * line(reflect(row, size))).sum()
}

/// Catmull and Rom's weights of the four pixels around a place, which is `t` after the second.
fn weights(t: f32) -> [f32; 4] {
    let [square, cube] = [t * t, t * t * t];
    [
        -0.5 * cube + square - 0.5 * t,
        1.5 * cube - 2.5 * square + 1.0,
        -1.5 * cube + 2.0 * square + 0.5 * t,
        0.5 * cube - 0.5 * square,
    ]
}

/// An index within `0..size` by reflection about the middles of the first and the last pixel.
fn reflect(index: i64, size: usize) -> usize {
    let last = size as i64 - 1;
    let turned = index.rem_euclid((2 * last).max(1));
    turned.min(2 * last - turned).max(0) as usize
}
