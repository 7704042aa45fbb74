//! The bytes of one image file to pixels.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbaImage};

use super::jpeg;
use crate::io::{MAX_PIXELS, catch_decoder_panic, check_memory, foreign};

/// Edges beyond this are refused before anything is allocated.
const MAX_EDGE: u32 = 16_384;

/// Decoded bytes beyond this are refused before they are allocated.
const MAX_BYTES: u64 = 512 << 20;

/// A decoded image.
pub(super) struct Picture {
    pub pixels: RgbaImage,
    /// Whether it has 16 bits and no value above 12: nearly black.
    pub is_dark: bool,
}

impl From<RgbaImage> for Picture {
    fn from(pixels: RgbaImage) -> Self {
        Self { pixels, is_dark: false }
    }
}

/// Decodes a file, upright, as 8-bit RGBA; the reason when it cannot.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    if bytes.is_empty() {
        return Err("is empty (0 bytes)".into());
    }
    if let Some(reason) = foreign(bytes) {
        return Err(reason.into());
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    if reader.format().is_none() {
        return Err("is not an image, whatever its name says".into());
    }
    catch_decoder_panic(|| {
        if reader.format() == Some(ImageFormat::Jpeg) {
            jpeg::check(bytes)?;
        }
        let image = decode_upright(reader)?;
        Ok(Picture { is_dark: is_dark(&image), pixels: image.into_rgba8() })
    })
}

fn decode_upright(mut reader: ImageReader<Cursor<&[u8]>>) -> Result<DynamicImage, String> {
    let text = |e: ImageError| e.to_string();
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_EDGE);
    limits.max_image_height = Some(MAX_EDGE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(text)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        let most = MAX_PIXELS / 1_000_000;
        return Err(format!(
            "has {width}×{height} pixels, and no more than {most} million pixels are read; make it smaller"
        ));
    }
    limits.reserve(decoder.total_bytes()).map_err(text)?;
    // Decoded, as RGBA, and a little more.
    check_memory("the picture", &[u64::from(width), u64::from(height), 4, 2]).map_err(|e| e.to_string())?;
    let orientation = decoder.orientation().map_err(text)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(text)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Whether an image of 16 bits holds something, but nothing above 12 bits.
fn is_dark(image: &DynamicImage) -> bool {
    let fits = |values: &[u16], colours: usize, all: usize| {
        let mut values = values.chunks_exact(all).flat_map(|pixel| &pixel[..colours]);
        let brightest = values.by_ref().max().copied().unwrap_or(0);
        (1..4096).contains(&brightest)
    };
    match image {
        DynamicImage::ImageLuma16(image) => fits(image, 1, 1),
        DynamicImage::ImageLumaA16(image) => fits(image, 1, 2),
        DynamicImage::ImageRgb16(image) => fits(image, 3, 3),
        DynamicImage::ImageRgba16(image) => fits(image, 3, 4),
        _ => false,
    }
}
