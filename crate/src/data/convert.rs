//! An image to the pixels of one training image.

use image::imageops::{self, FilterType};
use image::{GenericImageView, Rgba, RgbaImage};
use serde::{Deserialize, Serialize};

use super::{DataConfig, resample};

/// How an image becomes a square of the size of the set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The centred square; what lies outside it is lost.
    #[default]
    Crop,
    /// The whole image in the middle of a square, the rest of which is transparent where the image has transparent
    /// pixels, else of the colour `background`.
    Pad,
    /// The whole image, stretched to a square.
    Squeeze,
    /// ADM's crop of ImageNet (arXiv 2105.05233), by which the papers' latents and reference statistics are made:
    /// halved by a box filter while the shorter edge is at least twice the size, scaled by Pillow's bicubic filter,
    /// then cropped to the centred square. The same bytes as Pillow's, of the same decoded pixels.
    Adm,
}

/// An image as a square of `size`; see the rule in the [module](super).
pub(super) fn fit(image: RgbaImage, config: &DataConfig) -> RgbaImage {
    let (width, height) = image.dimensions();
    let size = config.size as u32;
    match config.fit {
        Fit::Adm => resample::adm_crop(image, size),
        _ if width == height => scale(image, size, size),
        Fit::Squeeze => scale(image, size, size),
        Fit::Crop => {
            let edge = width.min(height);
            let square = imageops::crop_imm(&image, (width - edge) / 2, (height - edge) / 2, edge, edge).to_image();
            scale(square, size, size)
        }
        Fit::Pad => {
            let longer = u64::from(width.max(height));
            // At least a pixel, however thin the image is.
            let scaled = |edge: u32| ((u64::from(edge) * u64::from(size) + longer / 2) / longer).max(1) as u32;
            let [r, g, b] = config.background;
            let around = Rgba([r, g, b, if is_opaque(&image) { 255 } else { 0 }]);
            let inner = scale(image, scaled(width), scaled(height));
            let (x, y) = ((size - inner.width()) / 2, (size - inner.height()) / 2);
            let mut square = RgbaImage::from_pixel(size, size, around);
            imageops::replace(&mut square, &inner, x.into(), y.into());
            square
        }
    }
}

pub(super) fn is_opaque(image: &RgbaImage) -> bool {
    image.pixels().all(|pixel| pixel[3] == 255)
}

/// Scales by repeating pixels where the edges are multiples, else with the cubic filter.
fn scale(image: RgbaImage, width: u32, height: u32) -> RgbaImage {
    let is_multiple = width.is_multiple_of(image.width()) && height.is_multiple_of(image.height());
    match image.dimensions() == (width, height) {
        true => image,
        false if is_multiple => imageops::resize(&image, width, height, FilterType::Nearest),
        false if is_opaque(&image) => imageops::resize(&image, width, height, FilterType::CatmullRom),
        false => scale_premultiplied(&image, width, height),
    }
}

/// An image in floats, with each colour times its alpha. A large one takes gigabytes as such, so that it is made as it
/// is read.
struct Premultiplied<'a>(&'a RgbaImage);

impl GenericImageView for Premultiplied<'_> {
    type Pixel = Rgba<f32>;

    fn dimensions(&self) -> (u32, u32) {
        self.0.dimensions()
    }

    fn get_pixel(&self, x: u32, y: u32) -> Rgba<f32> {
        let [r, g, b, a] = self.0.get_pixel(x, y).0.map(|byte| f32::from(byte) / 255.0);
        Rgba([r * a, g * a, b * a, a])
    }
}

/// Scales with each colour weighted by its alpha, or the colours of invisible pixels would bleed into the edges.
fn scale_premultiplied(image: &RgbaImage, width: u32, height: u32) -> RgbaImage {
    let scaled = imageops::resize(&Premultiplied(image), width, height, FilterType::CatmullRom);
    let byte = |value: f32| (value * 255.0).round().clamp(0.0, 255.0) as u8;
    RgbaImage::from_fn(width, height, |x, y| {
        let [r, g, b, a] = scaled.get_pixel(x, y).0;
        let colour = [r, g, b].map(|c| if a > 0.0 { byte(c / a) } else { 0 });
        Rgba([colour[0], colour[1], colour[2], byte(a)])
    })
}

/// Writes an image as planes, `[channels, size, size]`, by the transparency rule of the [module](super).
pub(super) fn write_planes(image: &RgbaImage, config: &DataConfig, planes: &mut [u8]) {
    let channels = config.planes();
    let plane = planes.len() / channels;
    for (i, pixel) in image.pixels().enumerate() {
        let [r, g, b, a] = pixel.0;
        let over = |i: usize, colour: u8| composite(colour, a, config.background[i]);
        let values = match channels {
            1 => [luma([over(0, r), over(1, g), over(2, b)]), 0, 0, 0],
            3 => [over(0, r), over(1, g), over(2, b), 0],
            _ if a == 0 => [config.background[0], config.background[1], config.background[2], 0],
            _ => pixel.0,
        };
        for (channel, value) in values.into_iter().take(channels).enumerate() {
            planes[channel * plane + i] = value;
        }
    }
}

/// `colour` at opacity `alpha` over `background`, rounded.
fn composite(colour: u8, alpha: u8, background: u8) -> u8 {
    let (c, a, b) = (u32::from(colour), u32::from(alpha), u32::from(background));
    ((c * a + b * (255 - a) + 127) / 255) as u8
}

/// Rec. 709 luma; exact where the three colours are equal.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((2126 * u32::from(r) + 7152 * u32::from(g) + 722 * u32::from(b) + 5000) / 10_000) as u8
}
