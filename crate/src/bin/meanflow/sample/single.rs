//! Single pictures for the measuring tools of others: PNG files, or one array of NumPy. Any number of them, as they are
//! drawn.

use std::io::{Cursor, Write};
use std::path::Path;

use anyhow::{Context, Result};
use image::{DynamicImage, ImageFormat, RgbaImage, imageops};
use meanflow::io::{AtomicFile, AtomicFolder, create_folder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Pictures of the seeds `seed`, `seed + 1`, … that come as RGBA bytes, some at a time.
pub struct Pictures {
    /// Pixels along an edge.
    pub size: usize,
    /// Channels of the model: pictures of 4 keep their alpha, others are written as RGB.
    pub channels: usize,
    /// Each pixel is enlarged this many times.
    pub scale: u32,
    /// Seed of the first one.
    pub seed: u64,
    /// How many there are.
    pub count: usize,
}

impl Pictures {
    /// Writes a PNG file for each into a folder, which appears with all of them.
    pub fn write_png(&self, folder: &Path, parts: &mut dyn Iterator<Item = Result<Vec<u8>>>) -> Result<()> {
        let out = AtomicFolder::create(folder)?;
        let mut seed = self.seed;
        for part in parts {
            for picture in self.pictures(&part?)? {
                let mut png = Cursor::new(Vec::new());
                picture.write_to(&mut png, ImageFormat::Png)?;
                out.write(&format!("{seed:06}.png"), &png.into_inner())?;
                seed = seed.wrapping_add(1);
            }
        }
        Ok(out.commit()?)
    }

    /// Writes `samples.npz` with the array `arr_0` of bytes, `[count, size, size, channels]`, into a folder.
    pub fn write_npz(&self, folder: &Path, parts: &mut dyn Iterator<Item = Result<Vec<u8>>>) -> Result<()> {
        create_folder(folder)?;
        let edge = self.size * self.scale as usize;
        let shape = [self.count, edge, edge, if self.channels == 4 { 4 } else { 3 }];
        let bytes = shape.iter().try_fold(1_u64, |bytes, &size| bytes.checked_mul(size as u64));
        let bytes = bytes.context("so many pictures fit into no file")?;
        let mut zip = ZipWriter::new(AtomicFile::create(&folder.join("samples.npz"))?);
        let stored = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            // With room for the header before the values.
            .large_file(bytes >= u64::from(u32::MAX) - 4096);
        zip.start_file("arr_0.npy", stored)?;
        zip.write_all(&npy_header(shape))?;
        for part in parts {
            for picture in self.pictures(&part?)? {
                zip.write_all(picture.as_bytes())?;
            }
        }
        Ok(zip.finish()?.commit()?)
    }

    /// Single pictures, enlarged and without an alpha that the model does not make.
    fn pictures<'a>(&'a self, rgba: &'a [u8]) -> Result<impl Iterator<Item = DynamicImage> + 'a> {
        let size = u32::try_from(self.size)?;
        let edge = size.checked_mul(self.scale).context("the pictures are too large")?;
        let pictures = rgba.chunks_exact((4 * self.size * self.size).max(1)).filter_map(move |bytes| {
            let picture = RgbaImage::from_raw(size, size, bytes.to_vec())?;
            let picture = match self.scale {
                1 => picture,
                _ => imageops::resize(&picture, edge, edge, imageops::FilterType::Nearest),
            };
            let picture = DynamicImage::from(picture);
            Some(if self.channels == 4 { picture } else { picture.into_rgb8().into() })
        });
        Ok(pictures)
    }
}

/// The header of a file of NumPy with bytes of this shape, in its version 1.0.
fn npy_header(shape: [usize; 4]) -> Vec<u8> {
    let [count, height, width, channels] = shape;
    let text =
        format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, {height}, {width}, {channels}), }}");
    // Values begin at a multiple of 64 bytes.
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((length as u16).to_le_bytes());
    header.extend(text.bytes());
    header.resize(10 + length - 1, b' ');
    header.push(b'\n');
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_arrays_are_aligned_and_end_in_a_line() {
        for count in [1, 64, 50_000, usize::MAX] {
            let header = npy_header([count, 32, 32, 3]);
            assert_eq!(header.len() % 64, 0);
            assert_eq!(usize::from(u16::from_le_bytes([header[8], header[9]])) + 10, header.len());
            // Between the version and the text stands the length.
            assert!(header.starts_with(b"\x93NUMPY\x01\x00") && header[10..].starts_with(b"{'descr': '|u1'"));
            assert!(header.ends_with(b", 32, 32, 3), }\n") || header.ends_with(b" \n"));
        }
    }
}
