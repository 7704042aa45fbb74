//! Sets of images as the commands read them.

use std::path::Path;

use anyhow::Result;
use meanflow::train::data::{self, DataConfig, Images};

/// The images of a set; what its user should know about it goes to standard error.
pub fn load(path: &Path, config: &DataConfig) -> Result<Images> {
    let images = data::load(path, config)?;
    for remark in images.remarks() {
        note!("{remark}");
    }
    Ok(images)
}
