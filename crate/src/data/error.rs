//! Why a set of images cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use super::{Skipped, formats};

/// Errors of [`load`](super::load). Each message names the file and the reason.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Settings that cannot work.
    #[error("[data] {0}")]
    Config(String),
    /// Nothing is there.
    #[error("{}: no such file or folder", .0.display())]
    Missing(PathBuf),
    /// The disk refuses.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be read, or is larger than memory; the reason names it.
    #[error("{0}")]
    Read(String),
    /// A file cannot be written; the error names it.
    #[error("{0}")]
    Write(io::Error),
    /// A file that is none of the formats.
    #[error(
        "{}: {reason}; expected a folder of images, a .tar (also .gz, .zst, .xz or .bz2) or .zip of one, \
         {}, or latents", path.display(), formats::expected()
    )]
    NotASet {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// A file of a known format whose content contradicts itself.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A readable place without images, or without images that `include` and `exclude` leave.
    #[error("{}: {reason}", path.display())]
    NoImages {
        /// The set.
        path: PathBuf,
        /// What was looked for.
        reason: String,
    },
    /// Some images lie in class folders and some do not.
    #[error(
        "{}: {file} lies in no class folder, but {other} does; move it into one, \
         exclude it, or set class_depth = 0 to train without classes", path.display()
    )]
    MixedClasses {
        /// The set.
        path: PathBuf,
        /// The first image without a class.
        file: String,
        /// The first image with one.
        other: String,
    },
    /// More of the images do not decode than the settings allow.
    #[error(
        "{}: {} of {total} images cannot be read, and at most {} % may be skipped ([data] max_unreadable):{}",
        path.display(), skipped.len(), limit * 100.0, listing(skipped)
    )]
    TooManyUnreadable {
        /// The set.
        path: PathBuf,
        /// Images in the set.
        total: usize,
        /// The share of them that may be skipped.
        limit: f64,
        /// All that cannot be read.
        skipped: Vec<Skipped>,
    },
}

/// The first few names with their reasons, a line each.
fn listing(skipped: &[Skipped]) -> String {
    const SHOWN: usize = 5;
    let mut text: String = skipped.iter().take(SHOWN).map(|s| format!("\n  {}: {}", s.name, s.reason)).collect();
    if skipped.len() > SHOWN {
        text += &format!("\n  and {} more", skipped.len() - SHOWN);
    }
    text
}

impl DataError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(path.into()),
            _ => Self::Io { path: path.into(), source },
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), reason: reason.into() }
    }
}

/// What a failed read says about the file, in words.
pub(super) fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "ends too early, as if cut off".into(),
        _ => format!("is damaged ({error})"),
    }
}
