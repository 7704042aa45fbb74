//! The bytes of one image file to pixels.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits, RgbaImage};

use super::isolate;

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
    isolate(|| decode_upright(reader).map(DynamicImage::into_rgba8).map_err(|e| e.to_string()))
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
