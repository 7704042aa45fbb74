//! The table of formats: how each is recognised and read. A new format is a file in this folder with a [`Format`], and
//! its line in [`FORMATS`].

mod arrow;
mod cifar;
mod idx;
mod ipc;
mod npz;
mod parquet;
mod pickle;
pub(super) mod pictures;

use super::error::DataError;
use super::files::Files;
use super::{DataConfig, Visit};

/// A way to store a set of images in files.
pub(super) struct Format {
    /// What it is called in messages.
    pub name: &'static str,
    /// Whether a file that was named itself is a set of this format.
    pub sniff: fn(&Head) -> bool,
    /// Whether a file of this name makes the folder or archive that holds it a set of this format.
    pub claims: fn(&str) -> bool,
    /// Whether its images may be rows of tables, whose columns tell more than names do.
    pub may_have_columns: bool,
    /// Reads a set in parts of at most so many images, as far as the format can be read in parts; returns the order of
    /// its classes.
    pub load: Load,
}

/// Gets the files, the settings, and how many images a part may have; returns the order of the classes.
type Load = fn(&Files, &DataConfig, usize, &mut Visit) -> Result<Vec<String>, DataError>;

/// All formats; the first that claims a file of a folder has the folder. What comes after pictures has names that say
/// little.
pub(super) static FORMATS: [&Format; 7] =
    [&idx::FORMAT, &cifar::BINARY, &parquet::FORMAT, &arrow::FORMAT, &pictures::FORMAT, &npz::FORMAT, &cifar::PYTHON];

/// The beginning of a file.
pub(super) struct Head<'a> {
    /// The last part of its path.
    pub name: &'a str,
    /// Its first 64 bytes as they are.
    pub raw: &'a [u8],
    /// Its first 512 bytes, decompressed.
    pub content: &'a [u8],
    /// Bytes of the file as it is.
    pub length: u64,
}

impl Format {
    /// Whether two are the same.
    pub fn is(&self, other: &Format) -> bool {
        self.name == other.name
    }

    /// Whether each of its files holds many images.
    pub fn is_packed(&self) -> bool {
        !self.is(&pictures::FORMAT)
    }
}

/// The format that a file which was named itself is of.
pub(super) fn of_file(head: &Head) -> Option<&'static Format> {
    FORMATS.into_iter().find(|format| (format.sniff)(head))
}

/// The format of a folder or an archive that holds files of these names.
pub(super) fn of_names<'a>(names: impl Iterator<Item = &'a str> + Clone) -> &'static Format {
    let claimed = |format: &&Format| names.clone().any(|name| (format.claims)(name));
    FORMATS.into_iter().find(claimed).unwrap_or(&pictures::FORMAT)
}

/// The formats that a single file may be of, for messages.
pub(super) fn expected() -> String {
    let names = FORMATS.iter().filter(|format| format.is_packed()).map(|format| format.name);
    names.collect::<Vec<_>>().join(", ")
}

/// Whether a file is called like one of many images.
pub(super) fn is_packed(name: &str) -> bool {
    FORMATS.iter().any(|format| format.is_packed() && (format.claims)(name))
}
