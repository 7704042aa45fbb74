//! Augmentation that does not leak into what is generated: images are changed at random and the network is given the
//! numbers of the change, so that at all zeros it makes unchanged images (EDM, arXiv 2206.00364, appendix F.2, after
//! arXiv 2006.06676, appendix B).
//!
//! Written from these descriptions and held to an implementation in numpy and SciPy (`tests/fixtures/augmentation.py`).

use std::f64::consts::{PI, TAU};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::model::AUGMENT_DIM;
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
    pub fn augment_labels(&self) -> [f32; AUGMENT_DIM] {
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
        // Twice the resolution, and what the filter sees beyond the edges.
        let side = 2 * (size - 1) + TAPS;
        let sampling = Sampling::new(self.source(size), size, side);
        let mut sampled = vec![0.0; side * side];
        let mut halved = vec![0.0; side * size];
        for channel in image.chunks_exact_mut(size * size) {
            sampling.sample(channel, size, &mut sampled);
            for (line, row) in halved.chunks_exact_mut(size).zip(sampled.chunks_exact(side)) {
                line.iter_mut().enumerate().for_each(|(x, out)| *out = dot(&SYM6, &row[2 * x..]));
            }
            for (y, line) in channel.chunks_exact_mut(size).enumerate() {
                sum_of_rows(&SYM6, &halved[2 * y * size..], line);
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

/// The taps over as many values.
fn dot<const N: usize>(taps: &[f32; N], values: &[f32]) -> f32 {
    taps.iter().zip(values).map(|(tap, value)| tap * value).sum()
}

/// The taps over as many rows, which follow one another.
fn sum_of_rows<const N: usize>(taps: &[f32; N], rows: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for (tap, row) in taps.iter().zip(rows.chunks_exact(sums.len())) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += tap * value);
    }
}

/// The taps that make a value at twice the resolution of pixels, between which the filter, run through backwards, sees
/// zeros: at pixel `i` those of pixels from `i − 3` on, halfway to the next one those from `i − 2` on.
const fn phase(odd: usize) -> [f32; TAPS / 2] {
    let mut taps = [0.0; TAPS / 2];
    let mut i = 0;
    while i < TAPS / 2 {
        taps[i] = SYM6[TAPS - 1 - odd - 2 * i];
        i += 1;
    }
    taps
}

const PHASES: [[f32; TAPS / 2]; 2] = [phase(0), phase(1)];

/// For each value of a range at twice the resolution: its taps, and where in the range's [`pixels`] they begin.
fn taps(range: &RangeInclusive<i64>) -> impl Iterator<Item = (&'static [f32; TAPS / 2], usize)> {
    let first = range.start().div_euclid(2);
    range.clone().map(move |m| {
        let odd = m.rem_euclid(2) as usize;
        (&PHASES[odd], (m.div_euclid(2) - first) as usize + odd)
    })
}

/// The pixels that make a range at twice the resolution.
fn pixels(range: &RangeInclusive<i64>) -> RangeInclusive<i64> {
    range.start().div_euclid(2) - 3..=range.end().div_euclid(2) + 3
}

/// Zeros around what is sampled: further out than a sample and its neighbour reach.
const BORDER: usize = 2;

/// Where channels are sampled at twice their resolution.
struct Sampling {
    columns: RangeInclusive<i64>,
    rows: RangeInclusive<i64>,
    /// Of the sampled part with its border.
    width: usize,
    /// For each sample the value to its upper left, and how far it is to the right of it and below.
    samples: Vec<(usize, [f32; 2])>,
}

impl Sampling {
    /// `source`: where each of `side × side` samples lies.
    fn new(source: impl Fn([usize; 2]) -> [f64; 2], size: usize, side: usize) -> Self {
        let last = size as i64 - 1;
        let corners = [[0, 0], [side - 1, 0], [0, side - 1], [side - 1, side - 1]].map(&source);
        let range = |axis: usize| {
            let at = corners.map(|corner| floor(corner[axis]).0);
            let [first, end] = [at.iter().min(), at.iter().max()].map(|at| at.copied().unwrap_or_default());
            // Where nothing of the reflected image is sampled, one of its values is kept, which no sample reaches.
            let first = first.clamp(-2 * last, 4 * last + 1);
            first..=(end + 1).clamp(first, 4 * last + 1)
        };
        let (columns, rows) = (range(0), range(1));
        let width = columns.clone().count() + 2 * BORDER;
        let place = |at: f64, range: &RangeInclusive<i64>| {
            let (whole, part) = floor(at);
            let first = range.start() - BORDER as i64;
            ((whole.clamp(first, range.end() + 1) - first) as usize, part)
        };
        let samples = (0..side).flat_map(|y| (0..side).map(move |x| [x, y])).map(|at| {
            let [x, y] = source(at);
            let ((left, right), (top, down)) = (place(x, &columns), place(y, &rows));
            (top * width + left, [right, down])
        });
        Self { samples: samples.collect(), columns, rows, width }
    }

    /// Samples a channel, linearly.
    fn sample(&self, channel: &[f32], size: usize, samples: &mut [f32]) {
        let values = self.upsampled(channel, size);
        for (sample, (at, [right, down])) in samples.iter_mut().zip(&self.samples) {
            let line = |at: usize| values[at] * (1.0 - right) + values[at + 1] * right;
            *sample = line(*at) * (1.0 - down) + line(at + self.width) * down;
        }
    }

    /// The sampled part of a channel at twice its resolution, with its border.
    fn upsampled(&self, channel: &[f32], size: usize) -> Vec<f32> {
        let reflect = |range| pixels(range).map(|i| reflected(i, size)).collect::<Vec<_>>();
        let (across, down) = (reflect(&self.columns), reflect(&self.rows));
        let inner = self.width - 2 * BORDER;
        // Each row of pixels at twice its columns, then the rows between them.
        let mut line = vec![0.0; across.len()];
        let mut wide = Vec::with_capacity(down.len() * inner);
        for y in down {
            for (value, &x) in line.iter_mut().zip(&across) {
                *value = x.zip(y).map_or(0.0, |(x, y)| channel[y * size + x]);
            }
            wide.extend(taps(&self.columns).map(|(taps, start)| dot(taps, &line[start..])));
        }
        let mut values = vec![0.0; (self.rows.clone().count() + 2 * BORDER) * self.width];
        for (row, (taps, start)) in values.chunks_exact_mut(self.width).skip(BORDER).zip(taps(&self.rows)) {
            sum_of_rows(taps, &wide[start * inner..], &mut row[BORDER..BORDER + inner]);
        }
        values
    }
}

/// The whole number below, and what is left: all of one for a negative whole number. `f64::floor` is a call where the
/// processor is not known to have it.
fn floor(x: f64) -> (i64, f32) {
    let whole = x as i64 - i64::from(x < 0.0);
    (whole, (x - whole as f64) as f32)
}

/// An index within `0..size` by one reflection about the middle of the first or the last pixel; none for those further
/// out.
fn reflected(index: i64, size: usize) -> Option<usize> {
    let last = size as i64 - 1;
    let index = if index > last { 2 * last - index } else { index.abs() };
    (0..=last).contains(&index).then_some(index as usize)
}
