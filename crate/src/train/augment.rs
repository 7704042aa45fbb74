//! Augmentation that does not leak into what is generated: images are changed at random and the network is given the
//! numbers of the change, so that at all zeros it makes unchanged images (EDM, arXiv 2206.00364, appendix F.2, after
//! arXiv 2006.06676, appendix B).
//!
//! Written from these descriptions and held to an implementation in numpy and SciPy (`tests/fixtures/augmentation.py`).

use std::f64::consts::{PI, TAU};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::net::CHANGES;
use crate::rng::Stream;

/// Standard deviation of the logarithm, to base 2, of the scale and of the stretch (EDM's `scale_std` and `aniso_std`).
const SCALE_DEVIATION: f64 = 0.2;
/// Standard deviation of a shift, in image edges (`translate_frac_std`).
const SHIFT_DEVIATION: f64 = 0.125;
/// How often a stretch is along a direction at random rather than along the rows (`aniso_rotate_prob`).
const ROTATION_PROBABILITY: f64 = 0.5;

/// Low-pass decomposition filter of the Symlet wavelet with six vanishing moments (PyWavelets' `sym6`).
const SYM6: [f32; 12] = [
    0.015_404_109,
    0.003_490_712,
    -0.117_990_114,
    -0.048_311_744,
    0.491_055_94,
    0.787_641_17,
    0.337_929_43,
    -0.072_637_52,
    -0.021_060_292,
    0.044_724_9,
    0.001_767_711_8,
    -0.007_800_708_5,
];
/// Its taps.
const TAPS: usize = SYM6.len();

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
    /// Whether images are stretched in one direction and squeezed across it: along the rows, or every second time in a
    /// direction at random.
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
    /// How much it is stretched, as the scale; and the angle of the direction, in radians from the rows to the right,
    /// upwards.
    pub stretch: [f64; 2],
    /// How far it is shifted to the right and down, in eighths of its edge.
    pub shift: [f64; 2],
}

impl Augmentation {
    /// What `[augmentation]` means in this version of the program; checkpoints name theirs.
    pub(super) const VERSION: u32 = 2;
    /// What is said where a run goes on whose checkpoint is of an earlier version.
    pub(super) const CHANGED: &str = "[augmentation] has changed since this run began: it is now that of EDM's code, \
        where half of the stretches are along the rows, the angle of the others has the opposite sign, and images are \
        resampled through the filter sym6 instead of a cubic; the run goes on with it. To train by one rule alone, \
        begin the run anew";

    /// A change at random.
    pub fn draw(&self, stream: &mut Stream) -> Change {
        let mut change = Change { mirror: self.mirror && stream.uniform() < 0.5, ..Change::default() };
        let happens = |kind: bool, stream: &mut Stream| kind && stream.uniform() < self.probability;
        if happens(self.scale, stream) {
            [change.scale] = normals(stream);
        }
        if happens(self.stretch, stream) {
            let [size] = normals(stream);
            let angle = TAU * stream.uniform() - PI;
            change.stretch = [size, if stream.uniform() < ROTATION_PROBABILITY { angle } else { 0.0 }];
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
    /// The numbers that the network is given, EDM's `augment_labels`; all zero where nothing is changed.
    pub fn augment_labels(&self) -> [f32; CHANGES] {
        let [size, angle] = self.stretch;
        let [right, down] = self.shift;
        [f64::from(u8::from(self.mirror)), self.scale, size * angle.cos(), size * angle.sin(), right, down]
            .map(|x| x as f32)
    }

    /// Changes an image of `size × size`, its channels one after the other: it is sampled linearly at twice its
    /// resolution, to which and from which the filter `sym6` leads. Beyond its edges it is reflected once, and zero
    /// beyond that.
    pub fn apply(&self, image: &mut [f32], size: usize) {
        if self.mirror {
            image.chunks_exact_mut(size).for_each(<[f32]>::reverse);
        }
        if (Self { mirror: false, ..*self }) == Self::default() {
            return;
        }
        let source = self.source(size);
        // Twice the resolution, and what the filter sees beyond the edges.
        let side = 2 * (size - 1) + TAPS;
        let mut sampled = vec![0.0; side * side];
        let mut halved = vec![0.0; side * size];
        for channel in image.chunks_exact_mut(size * size) {
            let fine = Upsampled::new(channel, size, &source, side);
            for (i, sample) in sampled.iter_mut().enumerate() {
                *sample = fine.at(source([i % side, i / side]));
            }
            for (line, row) in halved.chunks_exact_mut(size).zip(sampled.chunks_exact(side)) {
                line.iter_mut().enumerate().for_each(|(x, out)| *out = product(row[2 * x..].iter()));
            }
            for (i, pixel) in channel.iter_mut().enumerate() {
                let (x, y) = (i % size, i / size);
                *pixel = product(halved[2 * y * size + x..].iter().step_by(size));
            }
        }
    }

    /// From column and row of the changed image at twice its resolution, with the filter's margin, to those of the
    /// image at twice its resolution, where pixel `i` is at `2 i`.
    fn source(&self, size: usize) -> impl Fn([usize; 2]) -> [f64; 2] {
        let back = self.back();
        let middle = (size as f64 - 1.0) / 2.0;
        let [right, down] = self.shift.map(|shift| shift * SHIFT_DEVIATION * size as f64);
        let margin = TAPS as f64 / 2.0 - 1.0;
        move |place| {
            let [x, y] = place.map(|at| (at as f64 - margin) / 2.0 - middle);
            back.map(|[a, b]| 2.0 * (a * (x - right) + b * (y - down) + middle))
        }
    }

    /// From a place in the changed image to that in the image, about its middle: the rows of a matrix. The mirror and
    /// the shift are made apart.
    fn back(&self) -> [[f64; 2]; 2] {
        let [size, angle] = self.stretch;
        // Rows count downwards, so the direction is (cos, −sin).
        let (sine, cosine) = (-angle).sin_cos();
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

/// The filter over as many values.
fn product<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    SYM6.iter().zip(values).map(|(tap, value)| tap * value).sum()
}

/// The part of a channel at twice its resolution that is sampled.
struct Upsampled {
    columns: RangeInclusive<i64>,
    rows: RangeInclusive<i64>,
    values: Vec<f32>,
}

impl Upsampled {
    /// `source`: where each of `side × side` samples lies.
    fn new(channel: &[f32], size: usize, source: impl Fn([usize; 2]) -> [f64; 2], side: usize) -> Self {
        let corners = [[0, 0], [side - 1, 0], [0, side - 1], [side - 1, side - 1]].map(source);
        let last = size as i64 - 1;
        let range = |axis: usize| {
            let at = corners.map(|corner| corner[axis]);
            let first = at.into_iter().fold(f64::INFINITY, f64::min).floor() as i64;
            let end = at.into_iter().fold(f64::NEG_INFINITY, f64::max).floor() as i64 + 1;
            first.max(-2 * last)..=end.min(4 * last + 1)
        };
        let (columns, rows) = (range(0), range(1));
        let pixel = |x: i64, y: i64| match [x, y].map(|i| reflected(i, size)) {
            [Some(x), Some(y)] => channel[y * size + x],
            _ => 0.0,
        };
        // Each row of pixels that the columns of the filter see, then the rows between them.
        let lines = rows.start().div_euclid(2) - 3..=rows.end().div_euclid(2) + 3;
        let width = columns.clone().count();
        let wide: Vec<f32> =
            lines.clone().flat_map(|y| columns.clone().map(move |m| between(m, |x| pixel(x, y)))).collect();
        let value = |m: i64, column: usize| between(m, |y| wide[(y - lines.start()) as usize * width + column]);
        let values = rows.clone().flat_map(|m| (0..width).map(move |column| (m, column)));
        Self { values: values.map(|(m, column)| value(m, column)).collect(), columns, rows }
    }

    /// Between its values, linearly; zero beyond them.
    fn at(&self, [x, y]: [f64; 2]) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (right, down) = ((x - left) as f32, (y - top) as f32);
        let (left, top) = (left as i64, top as i64);
        let line = |y: i64| self.value(left, y) * (1.0 - right) + self.value(left + 1, y) * right;
        line(top) * (1.0 - down) + line(top + 1) * down
    }

    fn value(&self, x: i64, y: i64) -> f32 {
        if !(self.columns.contains(&x) && self.rows.contains(&y)) {
            return 0.0;
        }
        let width = (self.columns.end() - self.columns.start() + 1) as usize;
        self.values[(y - self.rows.start()) as usize * width + (x - self.columns.start()) as usize]
    }
}

/// A value of a line at twice its resolution: the line with zeros between its pixels, through the filter backwards.
fn between(m: i64, line: impl Fn(i64) -> f32) -> f32 {
    let (pixel, odd) = (m.div_euclid(2), m.rem_euclid(2));
    let taps = SYM6.iter().rev().skip(odd as usize).step_by(2);
    taps.zip(pixel - 3 + odd..).map(|(tap, pixel)| tap * line(pixel)).sum()
}

/// An index within `0..size` by one reflection about the middle of the first or the last pixel; none for those further
/// out.
fn reflected(index: i64, size: usize) -> Option<usize> {
    let last = size as i64 - 1;
    let index = if index > last { 2 * last - index } else { index.abs() };
    (0..=last).contains(&index).then_some(index as usize)
}
