//! Pillow's scaling of 8-bit images, to the bit: sets whose papers were prepared with it are cropped by it.
//!
//! A filter is stretched by the reduction (so it is antialiased), its weights are rounded to 22 bits behind the point,
//! and the result of each direction, columns first, is rounded to a byte (`ImagingResample` of Pillow 2.7 and later).

use std::ops::Range;

use image::{Rgba, RgbaImage};

use super::convert::is_opaque;

/// Bits behind the point of a weight.
const PRECISION: u32 = 22;

/// A filter: its half width at no reduction, and its weight at a distance.
struct Filter {
    support: f64,
    weight: fn(f64) -> f64,
}

/// The mean of what a pixel covers.
const BOX: Filter = Filter { support: 0.5, weight: |x| f64::from(u8::from(-0.5 < x && x <= 0.5)) };

/// Keys' cubic with a = −1/2 (Keys 1981).
const BICUBIC: Filter = Filter {
    support: 2.0,
    weight: |x| match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    },
};

/// The crop of ImageNet that ADM introduced (Dhariwal and Nichol, arXiv 2105.05233) and that the latents and the
/// reference statistics of later papers follow: halved by a box filter while the shorter edge is at least twice `size`,
/// then scaled by the bicubic filter until it is `size`, then cropped to the centred square.
///
/// What is transparent is scaled with its colours multiplied by alpha.
pub(super) fn adm_crop(mut image: RgbaImage, size: u32) -> RgbaImage {
    let opaque = is_opaque(&image);
    if !opaque {
        image.pixels_mut().for_each(multiply);
    }
    while image.width().min(image.height()) >= 2 * size {
        let [width, height] = [image.width() / 2, image.height() / 2];
        image = scale(&image, [width, height], &BOX, [0..width, 0..height]);
    }
    let factor = f64::from(size) / f64::from(image.width().min(image.height()));
    // Python's `round`: to even where two are as near.
    let scaled = [image.width(), image.height()].map(|edge| (f64::from(edge) * factor).round_ties_even() as u32);
    let window = scaled.map(|edge| (edge - size) / 2..(edge - size) / 2 + size);
    image = scale(&image, scaled, &BICUBIC, window);
    if !opaque {
        image.pixels_mut().for_each(divide);
    }
    image
}

/// Multiplies the colours of a pixel by its alpha, as Pillow does: `c a/255`, rounded.
fn multiply(Rgba([r, g, b, a]): &mut Rgba<u8>) {
    for colour in [r, g, b] {
        let product = u32::from(*colour) * u32::from(*a) + 128;
        *colour = (((product >> 8) + product) >> 8) as u8;
    }
}

/// The inverse, rounded down.
fn divide(Rgba([r, g, b, a]): &mut Rgba<u8>) {
    for colour in [r, g, b] {
        if !matches!(*a, 0 | 255) {
            *colour = (255 * u32::from(*colour) / u32::from(*a)).min(255) as u8;
        }
    }
}

/// The part `window` (columns, rows) of an image that is scaled to `[width, height]`.
fn scale(image: &RgbaImage, [width, height]: [u32; 2], filter: &Filter, [columns, rows]: [Range<u32>; 2]) -> RgbaImage {
    let across = weights(image.width(), width, filter, columns);
    let narrow = RgbaImage::from_fn(across.len() as u32, image.height(), |x, y| {
        let (first, weights) = &across[x as usize];
        sum(weights, |i| image.get_pixel(first + i, y))
    });
    let down = weights(image.height(), height, filter, rows);
    RgbaImage::from_fn(narrow.width(), down.len() as u32, |x, y| {
        let (first, weights) = &down[y as usize];
        sum(weights, |i| narrow.get_pixel(x, first + i))
    })
}

/// The weighted sum of neighbouring pixels.
fn sum<'a>(weights: &[i32], pixel: impl Fn(u32) -> &'a Rgba<u8>) -> Rgba<u8> {
    let mut sums = [1_i32 << (PRECISION - 1); 4];
    for (weight, i) in weights.iter().zip(0..) {
        for (sum, value) in sums.iter_mut().zip(pixel(i).0) {
            *sum += weight * i32::from(value);
        }
    }
    Rgba(sums.map(|sum| (sum >> PRECISION).clamp(0, 255) as u8))
}

/// For some of the pixels of a line that is scaled from `from` to `to` pixels: the first pixel that each is made of,
/// and the weights from there on.
fn weights(from: u32, to: u32, filter: &Filter, pixels: Range<u32>) -> Vec<(u32, Vec<i32>)> {
    if from == to {
        return pixels.map(|pixel| (pixel, vec![1 << PRECISION])).collect();
    }
    let scale = f64::from(from) / f64::from(to);
    let reduction = scale.max(1.0);
    let support = filter.support * reduction;
    let of = |pixel: u32| {
        let centre = (f64::from(pixel) + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as u32;
        let end = (centre + support + 0.5).min(f64::from(from)) as u32;
        let inverse = 1.0 / reduction;
        let weight = |at: u32| (filter.weight)((f64::from(at) - centre + 0.5) * inverse);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let total: f64 = weights.iter().sum();
        let fixed = |weight: &f64| (weight / total * f64::from(1 << PRECISION)).round() as i32;
        (first, weights.iter().map(fixed).collect())
    };
    pixels.map(of).collect()
}
