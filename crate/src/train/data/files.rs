//! A set as a sorted list of named files, whether they lie in a folder or in an archive.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::error::{DataError, explain};
use super::format::{self, Format, Head};
use super::{archive, paths};

/// Bytes that tell whether a file without an image extension is an image.
pub(super) const HEAD: u64 = 16;

/// Size beyond which one image file is refused.
pub(super) const MAX_IMAGE_FILE: u64 = 256 << 20;

/// Size beyond which a file of many images is refused.
const MAX_PACKED_FILE: u64 = 4 << 30;

/// Folders deeper than this are a link that leads back up.
const MAX_DEPTH: usize = 32;

/// One file of a set.
pub(super) struct Entry {
    /// Path inside the set, `/` between its parts.
    pub name: String,
    /// Whether its extension or its first bytes are an image's.
    pub is_image: bool,
    /// Where the container has it.
    pub position: usize,
}

enum Container {
    Folder(Vec<PathBuf>),
    Tar,
    Zip,
}

/// The files of a set, sorted by name.
pub(super) struct Files {
    pub path: PathBuf,
    pub entries: Vec<Entry>,
    pub format: &'static Format,
    /// The file that was named itself, where the set is not a folder or an archive.
    pub chosen: Option<usize>,
    container: Container,
}

impl Files {
    /// Finds out what `path` is, by content first, and lists it.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let meta = fs::metadata(path).map_err(|e| DataError::io(path, e))?;
        if meta.is_dir() {
            return Self::folder(path);
        }
        let not_a_set = |reason: &str| DataError::NotASet { path: path.into(), reason: reason.into() };
        if meta.len() == 0 {
            return Err(not_a_set("is empty (0 bytes)"));
        }
        let raw = File::open(path).and_then(|file| read_head(file, 4)).map_err(|e| DataError::io(path, e))?;
        if raw.starts_with(b"PK\x03\x04") || raw.starts_with(b"PK\x05\x06") {
            return Ok(Self::listed(path, archive::list_zip(path)?, Container::Zip, true));
        }
        let stream = archive::open_stream(path).and_then(|stream| read_head(stream, 512));
        let head = stream.map_err(|e| DataError::damaged(path, explain(&e)))?;
        if archive::is_tar_header(&head) {
            return Ok(Self::listed(path, archive::list_tar(path)?, Container::Tar, true));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match format::of_file(&Head { name: &name, raw: &raw, content: &head, length: meta.len() }) {
            Some(format) => Self::single(path, format),
            None => Err(not_a_set(if head.is_empty() { "holds nothing" } else { "is not a set of images" })),
        }
    }

    fn folder(path: &Path) -> Result<Self, DataError> {
        let (mut entries, mut places) = (Vec::new(), Vec::new());
        walk(path, "", 0, &mut |name, place| {
            let head = || File::open(&place).and_then(|file| read_head(file, HEAD)).unwrap_or_default();
            let is_image = paths::has_image_extension(&name) || paths::has_image_magic(&head());
            entries.push(Entry { name, is_image, position: places.len() });
            places.push(place);
        })?;
        Ok(Self::listed(path, entries, Container::Folder(places), false))
    }

    /// One file of many images, which comes first, with those beside it that may describe it.
    fn single(path: &Path, format: &'static Format) -> Result<Self, DataError> {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = fs::read_dir(folder).map_err(|e| DataError::io(folder, e))?;
        let beside =
            beside.filter_map(|item| item.ok().map(|item| item.path())).filter(|p| p.file_name() != path.file_name());
        let places: Vec<PathBuf> = std::iter::once(path.to_path_buf()).chain(beside).collect();
        let name =
            |place: &PathBuf| place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let entry = |(position, place)| Entry { name: name(place), is_image: false, position };
        let entries = places.iter().enumerate().map(entry).collect();
        Ok(Self { path: path.into(), entries, format, chosen: Some(0), container: Container::Folder(places) })
    }

    fn listed(path: &Path, mut entries: Vec<Entry>, container: Container, strip: bool) -> Self {
        let counts = |entry: &&Entry| entry.is_image || format::is_packed(&entry.name);
        let common = paths::common_folder(entries.iter().filter(counts).map(|entry| entry.name.as_str()));
        if let (true, Some(prefix)) = (strip, common) {
            for entry in &mut entries {
                entry.name = entry.name.strip_prefix(&prefix).unwrap_or(&entry.name).into();
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let format = format::of_names(entries.iter().map(|entry| entry.name.as_str()));
        Self { path: path.into(), entries, format, chosen: None, container }
    }

    /// Reads `entries`, which index the list; `visit` gets the place within `entries` and the content, in any order.
    pub fn read_images(
        &self,
        entries: &[usize],
        visit: &mut dyn FnMut(usize, Result<Vec<u8>, String>),
    ) -> Result<(), DataError> {
        self.read(entries, MAX_IMAGE_FILE, visit)
    }

    fn read(
        &self,
        entries: &[usize],
        limit: u64,
        visit: &mut dyn FnMut(usize, Result<Vec<u8>, String>),
    ) -> Result<(), DataError> {
        let positions: Vec<usize> = entries.iter().map(|&entry| self.entries[entry].position).collect();
        match &self.container {
            Container::Tar => archive::read_tar(&self.path, &positions, limit, visit),
            Container::Zip => archive::read_zip(&self.path, &positions, limit, visit),
            Container::Folder(places) => {
                for (i, position) in positions.into_iter().enumerate() {
                    let content = File::open(&places[position]).and_then(|file| read_limited(file, limit));
                    visit(i, content.unwrap_or_else(|e| Err(e.to_string())));
                }
                Ok(())
            }
        }
    }

    /// The whole content of files that the set cannot do without, decompressed where it is gzip.
    pub fn read_packed(&self, entries: &[usize]) -> Result<Vec<Vec<u8>>, DataError> {
        let mut contents = vec![Err("was not found again".to_owned()); entries.len()];
        self.read(entries, MAX_PACKED_FILE, &mut |i, content| contents[i] = content)?;
        entries.iter().zip(contents).map(|(&entry, content)| self.unpack(entry, content)).collect()
    }

    fn unpack(&self, entry: usize, content: Result<Vec<u8>, String>) -> Result<Vec<u8>, DataError> {
        let content = content.map_err(|reason| self.damaged(entry, reason))?;
        if !content.starts_with(&archive::GZIP_MAGIC) {
            return Ok(content);
        }
        match read_limited(MultiGzDecoder::new(&content[..]), MAX_PACKED_FILE) {
            Ok(unpacked) => unpacked.map_err(|reason| self.damaged(entry, reason)),
            Err(e) => Err(self.damaged(entry, explain(&e))),
        }
    }

    /// Where an entry lies on the disk, unless it is in an archive.
    pub fn place(&self, entry: &Entry) -> Option<&Path> {
        match &self.container {
            Container::Folder(places) => places.get(entry.position).map(PathBuf::as_path),
            Container::Tar | Container::Zip => None,
        }
    }

    /// The file of this name, or the same name with `.gz`.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name.strip_suffix(".gz").unwrap_or(&entry.name) == name)
    }

    /// An error about one file of the set.
    pub fn damaged(&self, entry: usize, reason: impl Into<String>) -> DataError {
        let name = &self.entries[entry].name;
        let path = match &self.container {
            Container::Folder(places) => places[self.entries[entry].position].clone(),
            Container::Tar | Container::Zip => self.path.join(name),
        };
        DataError::Damaged { path, reason: reason.into() }
    }
}

/// Calls `visit` with every file below a folder that is not hidden.
fn walk(folder: &Path, prefix: &str, depth: usize, visit: &mut dyn FnMut(String, PathBuf)) -> Result<(), DataError> {
    if depth > MAX_DEPTH {
        return Err(DataError::damaged(folder, "folders nest too deep; does a link lead back up?"));
    }
    for item in fs::read_dir(folder).map_err(|e| DataError::io(folder, e))? {
        let place = item.map_err(|e| DataError::io(folder, e))?.path();
        let Some(own) = place.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        let name = format!("{prefix}{own}");
        // A link that leads nowhere is listed: reading it will say so.
        match paths::is_hidden(&own) {
            true => {}
            false if place.is_dir() => walk(&place, &format!("{name}/"), depth + 1, visit)?,
            false => visit(name, place),
        }
    }
    Ok(())
}

/// Up to the first `count` bytes.
pub(super) fn read_head(reader: impl Read, count: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(count).read_to_end(&mut head)?;
    Ok(head)
}

/// All bytes, or the reason when there are more than `limit`.
pub(super) fn read_limited(reader: impl Read, limit: u64) -> io::Result<Result<Vec<u8>, String>> {
    let mut content = Vec::new();
    reader.take(limit + 1).read_to_end(&mut content)?;
    Ok(match content.len() as u64 > limit {
        true => Err(format!("is larger than {} MiB", limit >> 20)),
        false => Ok(content),
    })
}
