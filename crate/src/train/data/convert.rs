//! One file's bytes to the pixels of one training image.

use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits, Rgba32FImage, RgbaImage};

use super::DataConfig;

/// Edges beyond this are refused before anything is allocated.
const MAX_EDGE: u32 = 16_384;

/// Decoded bytes beyond this are refused before they are allocated.
const MAX_BYTES: u64 = 512 << 20;

/// Decodes a file, upright, as 8-bit RGBA; the reason when it cannot.
pub(super) fn decode(bytes: &[u8]) -> Result<RgbaImage, String> {
    if bytes.is_empty() {
        return Err("is empty (0 bytes)".into());
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    if reader.format().is_none() {
        return Err("is not an image, whatever its name says".into());
    }
    decode_upright(reader).map(DynamicImage::into_rgba8).map_err(|e| e.to_string())
}

fn decode_upright(mut reader: ImageReader<Cursor<&[u8]>>) -> Result<DynamicImage, ImageError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_EDGE);
    limits.max_image_height = Some(MAX_EDGE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    limits.reserve(decoder.total_bytes())?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Crops to the centred square and scales it to `size`; see the rule in the [module](super).
pub(super) fn fit(image: RgbaImage, size: usize) -> RgbaImage {
    let (width, height) = image.dimensions();
    let (edge, size) = (width.min(height), size as u32);
    let square = match width == height {
        true => image,
        false => imageops::crop_imm(&image, (width - edge) / 2, (height - edge) / 2, edge, edge).to_image(),
    };
    match edge {
        _ if edge == size => square,
        _ if size.is_multiple_of(edge) => imageops::resize(&square, size, size, FilterType::Nearest),
        _ if square.pixels().all(|pixel| pixel[3] == 255) => {
            imageops::resize(&square, size, size, FilterType::CatmullRom)
        }
        _ => scale_premultiplied(&square, size),
    }
}

/// Scales with each colour weighted by its alpha, or the colours of invisible pixels would bleed into the edges.
fn scale_premultiplied(image: &RgbaImage, size: u32) -> RgbaImage {
    let premultiplied = Rgba32FImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, a] = image.get_pixel(x, y).0.map(|byte| f32::from(byte) / 255.0);
        image::Rgba([r * a, g * a, b * a, a])
    });
    let scaled = imageops::resize(&premultiplied, size, size, FilterType::CatmullRom);
    let byte = |value: f32| (value * 255.0).round().clamp(0.0, 255.0) as u8;
    RgbaImage::from_fn(size, size, |x, y| {
        let [r, g, b, a] = scaled.get_pixel(x, y).0;
        let colour = [r, g, b].map(|c| if a > 0.0 { byte(c / a) } else { 0 });
        image::Rgba([colour[0], colour[1], colour[2], byte(a)])
    })
}

/// Writes an image as planes, `[channels, size, size]`, by the transparency rule of the [module](super).
pub(super) fn write_planes(image: &RgbaImage, config: &DataConfig, planes: &mut [u8]) {
    let plane = planes.len() / config.channels;
    for (i, pixel) in image.pixels().enumerate() {
        let [r, g, b, a] = pixel.0;
        let over = |i: usize, colour: u8| composite(colour, a, config.background[i]);
        let values = match config.channels {
            1 => [luma([over(0, r), over(1, g), over(2, b)]), 0, 0, 0],
            3 => [over(0, r), over(1, g), over(2, b), 0],
            _ if a == 0 => [config.background[0], config.background[1], config.background[2], 0],
            _ => pixel.0,
        };
        for (channel, value) in values.into_iter().take(config.channels).enumerate() {
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
