//! Files that are either as they were or as they should be, whenever the program is ended.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Writes a file aside, waits until it is on the disk, and puts it in its place.
///
/// # Errors
/// When the disk refuses; what was there before still is.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".partial");
    let aside = PathBuf::from(aside);
    let write = || File::create(&aside).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    write().and_then(|()| fs::rename(&aside, path)).with_context(|| format!("cannot write {}", path.display()))
}
