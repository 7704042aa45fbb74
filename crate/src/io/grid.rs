//! Pictures side by side in one PNG.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, bail};
use image::{ImageFormat, RgbaImage, imageops};

use super::{AtomicFile, MAX_PIXELS, check_memory};

/// Transparent pixels between pictures.
const GAP: u32 = 2;

/// Where so many pictures lie in a grid.
struct Layout {
    columns: u32,
    /// Edge of an enlarged picture.
    cell: u32,
    width: u32,
    height: u32,
}

impl Layout {
    /// Near-square without `columns`.
    fn of(count: usize, size: usize, scale: u32, columns: Option<u32>) -> Result<Self> {
        let count = u64::try_from(count)?;
        let columns = columns.map_or((count as f64).sqrt().ceil() as u64, u64::from).clamp(1, count.max(1));
        let cell = u64::try_from(size)? * u64::from(scale);
        let edge = |cells: u64| cells.saturating_mul(cell + u64::from(GAP)).saturating_sub(GAP.into());
        let [width, height] = [columns, count.div_ceil(columns)].map(edge);
        if width.saturating_mul(height) > MAX_PIXELS {
            bail!(
                "a grid of {count} pictures would have {width}×{height} pixels, and other programs open no more than {} \
                 million; take fewer pictures, or enlarge them less",
                MAX_PIXELS / 1_000_000
            );
        }
        check_memory("the grid", &[width, height, 4])?;
        let narrow = |edge: u64| u32::try_from(edge).context("the grid is too large");
        Ok(Self { columns: narrow(columns)?, cell: narrow(cell)?, width: narrow(width)?, height: narrow(height)? })
    }
}

/// Refuses a grid that no program would open.
///
/// # Errors
/// When so many pictures of `size × size`, enlarged, have too many pixels, or take more memory than there may be.
pub fn check(count: usize, size: usize, scale: u32, columns: Option<u32>) -> Result<()> {
    Layout::of(count, size, scale, columns).map(drop)
}

/// Writes RGBA pictures of `size × size` as a grid, near-square without `columns`, each pixel enlarged to
/// `scale × scale`.
///
/// One picture alone is written without a border.
///
/// # Errors
/// As [`check`], and when the file cannot be written.
pub fn write(path: &Path, rgba: &[u8], size: usize, scale: u32, columns: Option<u32>) -> Result<()> {
    let grid = draw(rgba, size, scale, columns)?;
    let mut file = AtomicFile::create(path)?;
    grid.write_to(&mut file, ImageFormat::Png).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(file.commit()?)
}

/// The bytes of what [`write()`] writes.
///
/// # Errors
/// As [`check`].
pub fn encode(rgba: &[u8], size: usize, scale: u32, columns: Option<u32>) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    draw(rgba, size, scale, columns)?.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

fn draw(rgba: &[u8], size: usize, scale: u32, columns: Option<u32>) -> Result<RgbaImage> {
    let pictures = rgba.chunks_exact((size * size * 4).max(1));
    let Layout { columns, cell, width, height } = Layout::of(pictures.len(), size, scale, columns)?;
    let mut grid = RgbaImage::new(width, height);
    let size = u32::try_from(size)?;
    for (i, picture) in (0..).zip(pictures) {
        let picture = RgbaImage::from_raw(size, size, picture.to_vec()).context("a picture of another size")?;
        let enlarged = imageops::resize(&picture, cell, cell, imageops::FilterType::Nearest);
        let place = |index: u32| i64::from(index * (cell + GAP));
        imageops::replace(&mut grid, &enlarged, place(i % columns), place(i / columns));
    }
    Ok(grid)
}
