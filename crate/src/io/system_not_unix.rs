//! The same functions for systems that are not Unix.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::Builder;

pub(super) fn usual_file_mode(_: &mut Builder<'_, '_>) {}

pub(super) fn usual_folder_mode(_: &mut Builder<'_, '_>) {}

/// Whether an open file may still be the one of this path.
pub fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Calls `handle` at each request to end: Ctrl-C, and when the console goes away.
///
/// # Errors
/// When the system refuses.
pub fn on_end(handle: impl FnMut() + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(handle).map_err(io::Error::other)
}

/// Such limits are Unix's.
pub fn report_file_limits() {}

/// No program can begin again as the same process here.
pub fn restart_with(_: &str, _: &str) {}
