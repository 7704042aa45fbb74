//! Pictures side by side in one PNG.

use std::path::Path;

use anyhow::{Context, Result};
use image::{RgbaImage, imageops};

/// Transparent pixels between pictures.
const GAP: u32 = 2;

/// Writes RGBA pictures of `size × size` as a grid, near-square without `columns`, each pixel enlarged to `scale × scale`.
///
/// One picture alone is written without a border.
///
/// # Errors
/// When the file cannot be written, or its ending is no image format.
pub fn write(path: &Path, rgba: &[u8], size: usize, scale: u32, columns: Option<u32>) -> Result<()> {
    let size = u32::try_from(size).context("picture too large")?;
    let pictures: Vec<RgbaImage> = rgba
        .chunks_exact((size * size * 4) as usize)
        .filter_map(|bytes| RgbaImage::from_raw(size, size, bytes.to_vec()))
        .collect();
    let count = pictures.len() as u32;
    let columns = columns.unwrap_or((count as f64).sqrt().ceil() as u32).clamp(1, count.max(1));
    let rows = count.div_ceil(columns);
    let cell = size * scale;
    let edge = |cells: u32| cells * cell + cells.saturating_sub(1) * GAP;
    let mut grid = RgbaImage::new(edge(columns), edge(rows));
    for (i, picture) in (0..).zip(&pictures) {
        let enlarged = imageops::resize(picture, cell, cell, imageops::FilterType::Nearest);
        let place = |index: u32| i64::from(index * (cell + GAP));
        imageops::replace(&mut grid, &enlarged, place(i % columns), place(i / columns));
    }
    grid.save(path).with_context(|| format!("cannot write {}", path.display()))
}
