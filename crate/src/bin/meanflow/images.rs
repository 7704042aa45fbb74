//! Sets of images as the commands read them.

use std::path::Path;

use anyhow::{Result, bail};
use meanflow::data::{self, DataConfig, Images};

/// The images of a set; what its user should know about it goes to standard error.
pub fn load(path: &Path, config: &DataConfig) -> Result<Images> {
    let images = data::load(path, config)?;
    for remark in images.remarks() {
        note!("{remark}");
    }
    Ok(images)
}

/// The pictures of a set, in memory.
///
/// # Errors
/// As [`load`], and a file of latents, which are no pictures.
pub fn load_pictures(path: &Path, config: &DataConfig) -> Result<Images> {
    let images = load(path, config)?;
    match images.latents {
        None => Ok(images),
        Some(_) => bail!("{} holds latents; give the pictures that they were encoded from", path.display()),
    }
}
