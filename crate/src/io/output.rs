//! What may be written where: endings that fit, and never onto an input.

use std::path::{Component, Path, PathBuf};

use crate::error::Error;

/// Refuses a file whose ending says that it is something else than what is written; the first of `endings` is the usual
/// one. A name without an ending is anybody's choice, and what is no regular file, such as `/dev/stdout`, has none.
///
/// # Errors
/// Says what is written, `what`, and which endings fit.
pub fn check_extension(path: &Path, what: &str, endings: &[&str]) -> Result<(), Error> {
    let Some(found) = path.extension() else { return Ok(()) };
    let fits = found.to_str().is_some_and(|found| endings.iter().any(|ending| found.eq_ignore_ascii_case(ending)));
    if fits || is_special(path) {
        return Ok(());
    }
    Err(Error::Request(format!(
        "{}: what is written is {what}, whose name ends in .{}; nothing was written",
        path.display(),
        endings.join(" or .")
    )))
}

/// Refuses to write onto a file that is read, under whatever name, or onto a file in a folder that is read.
///
/// # Errors
/// Names the input.
pub fn check_not_input<'a>(path: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), Error> {
    // To look at a pipe would be to open it, and to wait for whoever reads it.
    if is_special(path) {
        return Ok(());
    }
    for input in inputs {
        if same_file::is_same_file(path, input).unwrap_or(false) {
            return Err(refused(path, &format!("is the same file as the input {}", input.display())));
        }
        if input.is_dir() && path.exists() && lies_in(path, input) {
            return Err(refused(path, &format!("is one of the files of the input {}", input.display())));
        }
    }
    Ok(())
}

/// Whether a path is of a pipe or a device, also behind links.
fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

fn refused(path: &Path, reason: &str) -> Error {
    Error::Request(format!("{} {reason}; choose another file to write", path.display()))
}

/// Whether a path is a folder or lies in it, at any depth; by where both really are.
pub fn lies_in(path: &Path, folder: &Path) -> bool {
    resolve(path).starts_with(resolve(folder))
}

/// The path without symbolic links, `.` and `..`; of what does not exist yet, where it would be.
pub fn resolve(path: &Path) -> PathBuf {
    let mut real = std::env::current_dir().unwrap_or_default();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            Component::CurDir => {}
            part => real.push(part),
        }
        real = real.canonicalize().unwrap_or(real);
    }
    real
}
