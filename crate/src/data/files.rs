//! A set as a sorted list of named files, whether they lie in a folder or in archives.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::archive::{self, Archive};
use super::digest::Digest;
use super::error::{DataError, explain};
use super::formats::{self, Format, Head};
use super::notes::Notes;
use super::{DataConfig, labels, layout, paths, shards};
use crate::io::max_memory;

/// Bytes that tell whether a file without an image extension is an image.
pub(super) const HEAD: u64 = 16;

/// Size beyond which one image file is refused.
const MAX_IMAGE_FILE: u64 = 256 << 20;

/// Size beyond which a file of many images is refused.
const MAX_PACKED_FILE: u64 = 4 << 30;

/// One file of a set.
pub(super) struct Entry {
    /// Path inside the set as it is stored, `/` between its parts; after the archive's name where there are several.
    pub path: String,
    /// The same without the folders that mean nothing; see [`layout`].
    pub name: String,
    /// Whether its extension or its first bytes are an image's.
    pub is_image: bool,
    /// The archive that holds it.
    archive: usize,
    /// Where the container has it.
    position: usize,
}

enum Container {
    Folder(Vec<PathBuf>),
    Archives(Vec<Archive>),
}

/// Gets the places in the list that was asked for of one file, and its content or the reason why there is none.
type VisitStream<'a> = dyn FnMut(&[usize], Result<&mut dyn Read, String>) -> io::Result<()> + 'a;

/// The files of a set, sorted by name.
pub(super) struct Files {
    pub path: PathBuf,
    pub entries: Vec<Entry>,
    pub format: &'static Format,
    /// The file that was named itself, where the set is not a folder or an archive.
    pub chosen: Option<usize>,
    pub notes: Notes,
    /// The split that is taken, where files or folders name some; and the paths of images of the others.
    pub split: Option<String>,
    pub other_splits: Vec<String>,
    /// Whether files or folders are called after splits; columns of tables may tell them otherwise.
    names_splits: bool,
    /// Whether no two files have the same name.
    are_unique: bool,
    container: Container,
}

impl Files {
    /// Finds out what `path` is, by content first, and lists the split of it that the settings choose.
    pub fn open(path: &Path, config: &DataConfig) -> Result<Self, DataError> {
        if let Some(paths) = shards::expand(path) {
            return Self::archives(path, paths, config, Notes::default());
        }
        let meta = fs::metadata(path).map_err(|e| DataError::io(path, e))?;
        if meta.is_dir() {
            return Self::folder(path, config);
        }
        let not_a_set = |reason: &str| DataError::NotASet { path: path.into(), reason: reason.into() };
        if !meta.is_file() {
            return Err(not_a_set("is a pipe or a device, no regular file"));
        }
        if meta.len() == 0 {
            return Err(not_a_set("is empty (0 bytes)"));
        }
        if Archive::open(path)?.is_some() {
            return Self::archives(path, vec![path.into()], config, Notes::default());
        }
        let raw = open_file(path).and_then(|file| read_head(file, 64)).map_err(|e| DataError::io(path, e))?;
        let stream = archive::open_stream(path).and_then(|stream| read_head(stream, 512));
        let head = stream.map_err(|e| DataError::damaged(path, explain(&e)))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match formats::of_file(&Head { name: &name, raw: &raw, content: &head, length: meta.len() }) {
            Some(format) => Self::single(path, format),
            None if head.is_empty() => Err(not_a_set("holds nothing")),
            None => Err(not_a_set(crate::io::foreign(&raw).unwrap_or("is not a set of images"))),
        }
    }

    fn folder(path: &Path, config: &DataConfig) -> Result<Self, DataError> {
        let notes = Notes::default();
        let mut walk = Walk { files: Vec::new(), seen: HashSet::new(), notes: &notes };
        walk.folder(path, "", 0)?;
        let files = walk.files;
        let is_set = |(name, _): &(String, PathBuf)| paths::has_image_extension(name) || formats::is_packed(name);
        if !files.iter().any(is_set) && files.iter().any(|(name, _)| archive::is_archive(name)) {
            let (archives, others): (Vec<_>, Vec<_>) =
                files.into_iter().partition(|(name, _)| archive::is_archive(name));
            others.iter().for_each(|(name, _)| notes.leave_out("files beside the archives", name));
            return Self::archives(path, archives.into_iter().map(|(_, place)| place).collect(), config, notes);
        }
        let (mut entries, mut places) = (Vec::new(), Vec::new());
        for (name, place) in files {
            let head = || open_file(&place).and_then(|file| read_head(file, HEAD)).unwrap_or_default();
            let is_image = paths::has_image_extension(&name) || paths::has_image_magic(&head());
            entries.push(Entry { path: name, name: String::new(), is_image, archive: 0, position: places.len() });
            places.push(place);
        }
        Self::listed(path, entries, Container::Folder(places), config, notes)
    }

    /// One archive, or several that are one set.
    fn archives(path: &Path, places: Vec<PathBuf>, config: &DataConfig, notes: Notes) -> Result<Self, DataError> {
        let (places, is_split) = shards::choose(places, config, &notes)?;
        let open = |place: &PathBuf| match Archive::open(place)? {
            Some(archive) => Ok(archive),
            None => Err(DataError::damaged(place, foreign(place).unwrap_or("is no tar or zip archive"))),
        };
        let archives: Vec<Archive> = places.iter().map(open).collect::<Result<_, _>>()?;
        let mut entries = Vec::new();
        for (archive, place) in archives.iter().zip(&places) {
            let stem = if archives.len() > 1 { format!("{}/", shards::stem(place)) } else { String::new() };
            let number = entries.last().map_or(0, |entry: &Entry| entry.archive + 1);
            let members = archive.list(&notes)?;
            entries.extend(members.into_iter().map(|member| Entry {
                path: format!("{stem}{}", member.name),
                name: member.name,
                is_image: member.is_image,
                archive: number,
                position: member.position,
            }));
        }
        if !is_split && config.class_depth > 0 && are_classes(&places, &entries) {
            notes.say(format!("classes are the names of the {} archives", places.len()));
            entries.iter_mut().for_each(|entry| entry.name.clone_from(&entry.path));
        }
        let config = match is_split {
            true => &DataConfig { split: None, ..config.clone() },
            false => config,
        };
        let files = Self::listed(path, entries, Container::Archives(archives), config, notes)?;
        Ok(Self { names_splits: files.names_splits || is_split, ..files })
    }

    /// One file of many images, which comes first, with those beside it that may describe it.
    fn single(path: &Path, format: &'static Format) -> Result<Self, DataError> {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = fs::read_dir(folder).map_err(|e| DataError::io(folder, e))?;
        let beside =
            beside.filter_map(|item| item.ok().map(|item| item.path())).filter(|p| p.file_name() != path.file_name());
        let places: Vec<PathBuf> = std::iter::once(path.to_path_buf()).chain(beside).collect();
        let entry = |(position, place): (usize, &PathBuf)| {
            let name = place.file_name().map(|name| paths::text(name.as_encoded_bytes())).unwrap_or_default();
            Entry { path: name.clone(), name, is_image: false, archive: 0, position }
        };
        let entries = places.iter().enumerate().map(entry).collect();
        let notes = Notes::default();
        let (chosen, container) = (Some(0), Container::Folder(places));
        let names_splits = layout::split_of_file(&path.to_string_lossy()).is_some();
        let (path, other_splits, are_unique) = (path.into(), Vec::new(), true);
        let split = None;
        Ok(Self { path, entries, format, chosen, notes, split, other_splits, names_splits, are_unique, container })
    }

    /// The set of these files: what is no data goes, and so do the splits that are not wanted.
    fn listed(
        path: &Path,
        mut entries: Vec<Entry>,
        container: Container,
        config: &DataConfig,
        notes: Notes,
    ) -> Result<Self, DataError> {
        layout::leave_out_runs(&mut entries, &notes);
        let format = formats::of_names(entries.iter().map(|entry| entry.path.as_str()));
        let pictures = entries.iter().filter(|entry| entry.is_image).count();
        if format.is_packed() && pictures > 0 {
            notes.say(format!("{pictures} image files beside the {} are not read", format.name));
        }
        let counts = |entry: &Entry| match format.is_packed() {
            true => (format.claims)(&entry.path),
            false => entry.is_image,
        };
        // The names of archives of one set are no folders.
        let is_sharded = matches!(&container, Container::Archives(archives) if archives.len() > 1);
        let inner = |entry: &Entry| if is_sharded { entry.name.clone() } else { entry.path.clone() };
        let inner: Vec<String> = entries.iter().filter(|entry| counts(entry)).map(inner).collect();
        let mut places = layout::arrange(&inner.iter().map(String::as_str).collect::<Vec<_>>());
        layout::split_by_file_names(&mut places, format.is_packed());
        let splits: Vec<Option<String>> = places.iter().map(|place| place.split.clone()).collect();
        let what = if format.is_packed() { "files" } else { "images" };
        let names_splits = splits.iter().any(Option::is_some);
        let mut takes = match names_splits || !format.may_have_columns && !splits.is_empty() {
            true => layout::choose(&splits, config.split.as_deref(), what, &notes)?,
            // A column may tell them yet.
            false => vec![true; splits.len()],
        };
        if format.is_packed() && format.may_have_columns {
            layout::choose_configuration(&places, &mut takes, &notes);
        }
        let split = splits.iter().zip(&takes).find_map(|(split, takes)| split.clone().filter(|_| *takes));
        let mut other_splits = Vec::new();
        let (mut places, mut takes) = (places.into_iter(), takes.into_iter());
        entries.retain_mut(|entry| match counts(entry) {
            false => {
                entry.name.clone_from(&entry.path);
                true
            }
            true => {
                entry.name = places.next().map(|place| place.name).unwrap_or_default();
                let is_taken = takes.next().unwrap_or(true);
                if !is_taken {
                    other_splits.push(entry.path.clone());
                }
                is_taken
            }
        });
        let mut names = HashSet::new();
        let are_unique = !entries.iter().any(|entry| counts(entry) && !names.insert(entry.name.as_str()));
        match are_unique {
            true => entries.sort_by(|a, b| a.name.cmp(&b.name)),
            false => entries.sort_by(|a, b| a.path.cmp(&b.path)),
        }
        let path = path.into();
        let chosen = None;
        Ok(Self { path, entries, format, chosen, notes, split, other_splits, names_splits, are_unique, container })
    }

    /// Which images to take by the splits that columns of tables tell; all where folders or files told them before.
    pub fn choose_split(
        &self,
        splits: &[Option<String>],
        config: &DataConfig,
        what: &str,
    ) -> Result<Vec<bool>, DataError> {
        match self.names_splits {
            true => Ok(vec![true; splits.len()]),
            false => layout::choose(splits, config.split.as_deref(), what, &self.notes),
        }
    }

    /// Reads `entries`, which index the list; `visit` gets the place within `entries` and the content, in any order.
    pub fn read_images(
        &self,
        entries: &[usize],
        visit: &mut dyn FnMut(usize, Result<Vec<u8>, String>),
    ) -> Result<(), DataError> {
        self.read(entries, MAX_IMAGE_FILE, visit)
    }

    /// The same with another limit of the size of a file.
    pub fn read(
        &self,
        entries: &[usize],
        limit: u64,
        visit: &mut dyn FnMut(usize, Result<Vec<u8>, String>),
    ) -> Result<(), DataError> {
        self.stream(entries, &mut |places, content| {
            let content = match content {
                Ok(reader) => read_limited(reader, limit)?,
                Err(reason) => Err(reason),
            };
            let (last, others) = places.split_last().unwrap_or((&0, &[]));
            others.iter().for_each(|&place| visit(place, content.clone()));
            visit(*last, content);
            Ok(())
        })
    }

    /// Opens `entries` one after another, in any order; `visit` gets the places within `entries` that are this file, of
    /// which links make several.
    pub fn stream(&self, entries: &[usize], visit: &mut VisitStream) -> Result<(), DataError> {
        match &self.container {
            Container::Folder(places) => {
                for (i, &entry) in entries.iter().enumerate() {
                    let place = &places[self.entries[entry].position];
                    let visited = match open_file(place) {
                        Ok(mut file) => visit(&[i], Ok(&mut file)).or_else(|e| visit(&[i], Err(explain(&e)))),
                        Err(e) => visit(&[i], Err(e.to_string())),
                    };
                    visited.map_err(|e| DataError::io(place, e))?;
                }
                Ok(())
            }
            Container::Archives(archives) => {
                for (number, archive) in archives.iter().enumerate() {
                    let mut wanted: HashMap<usize, Vec<usize>> = HashMap::new();
                    let mut positions = Vec::new();
                    for (i, &entry) in entries.iter().enumerate() {
                        let entry = &self.entries[entry];
                        if entry.archive == number {
                            let places = wanted.entry(entry.position).or_default();
                            if places.is_empty() {
                                positions.push(entry.position);
                            }
                            places.push(i);
                        }
                    }
                    if !positions.is_empty() {
                        archive.visit(&positions, &mut |i, content| visit(&wanted[&positions[i]], content))?;
                    }
                }
                Ok(())
            }
        }
    }

    /// The whole content of files that the set cannot do without, decompressed where it is compressed.
    pub fn read_packed(&self, entries: &[usize]) -> Result<Vec<Vec<u8>>, DataError> {
        let mut contents = vec![Err("was not found again".to_owned()); entries.len()];
        self.stream(entries, &mut |places, content| {
            let content = match content.map(archive::decompressed) {
                Ok(stream) => {
                    stream.and_then(|stream| read_limited(stream, MAX_PACKED_FILE)).unwrap_or_else(|e| Err(explain(&e)))
                }
                Err(reason) => Err(reason),
            };
            places.iter().for_each(|&place| contents[place] = content.clone());
            Ok(())
        })?;
        let whole = |(&entry, content): (&usize, Result<Vec<u8>, String>)| {
            content.map_err(|reason| self.damaged(entry, reason))
        };
        entries.iter().zip(contents).map(whole).collect()
    }

    /// Where an entry lies on the disk, unless it is in an archive.
    pub fn place(&self, entry: &Entry) -> Option<&Path> {
        match &self.container {
            Container::Folder(places) => places.get(entry.position).map(PathBuf::as_path),
            Container::Archives(_) => None,
        }
    }

    /// The paths, sizes and times of the set's files in one digest, by which it is known again without reading it.
    pub fn fingerprint(&self) -> Result<String, DataError> {
        let mut digest = Digest::default();
        let mut add = |name: &str, path: &Path| {
            let meta = fs::metadata(path).map_err(|e| DataError::io(path, e))?;
            let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            digest.add(name.as_bytes());
            digest.add(&[0]);
            digest.add(&meta.len().to_le_bytes());
            digest.add(&modified.map_or(0, |since| since.as_nanos()).to_le_bytes());
            Ok(())
        };
        match &self.container {
            Container::Folder(places) => {
                for entry in &self.entries {
                    let place = &places[entry.position];
                    // A folder beside it is no part of a set, and a link that leads nowhere is skipped when it is read.
                    if place.is_file() {
                        add(&entry.path, place)?;
                    }
                }
            }
            Container::Archives(archives) => {
                for archive in archives {
                    add("", &archive.path)?;
                }
            }
        }
        Ok(digest.finish())
    }

    /// What an image of its own is called: the name of its file, or the whole path where names are not unique.
    pub fn name_of<'a>(&self, entry: &'a Entry) -> &'a str {
        if self.are_unique { &entry.name } else { &entry.path }
    }

    /// The file of this path, or the same with `.gz`.
    pub fn find(&self, path: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.path.strip_suffix(".gz").unwrap_or(&entry.path) == path)
    }

    /// The files whose names the format claims, or the one that was named itself.
    pub fn claimed(&self) -> Vec<usize> {
        match self.chosen {
            Some(chosen) => vec![chosen],
            None => (0..self.entries.len()).filter(|&i| (self.format.claims)(&self.entries[i].path)).collect(),
        }
    }

    /// An error about one file of the set.
    pub fn damaged(&self, entry: usize, reason: impl Into<String>) -> DataError {
        let entry = &self.entries[entry];
        let path = match &self.container {
            Container::Folder(places) => places[entry.position].clone(),
            Container::Archives(_) => self.path.join(&entry.path),
        };
        DataError::Damaged { path, reason: reason.into() }
    }
}

/// What lies below a folder.
struct Walk<'a> {
    /// Names and where they are.
    files: Vec<(String, PathBuf)>,
    /// The folders that were read, without links: each is read once, so that links end.
    seen: HashSet<PathBuf>,
    notes: &'a Notes,
}

impl Walk<'_> {
    /// Lists every regular file that is not hidden; folders come before links to them.
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), DataError> {
        if depth > paths::MAX_DEPTH {
            self.notes.leave_out("folders that nest deeper than 32", prefix);
            return Ok(());
        }
        let real = fs::canonicalize(folder).map_err(|e| DataError::io(folder, e))?;
        if !self.seen.insert(real) {
            self.notes.leave_out("links to folders that are read already", prefix.trim_end_matches('/'));
            return Ok(());
        }
        let items = fs::read_dir(folder).map_err(|e| DataError::io(folder, e))?;
        let places: io::Result<Vec<PathBuf>> = items.map(|item| item.map(|item| item.path())).collect();
        let mut places = places.map_err(|e| DataError::io(folder, e))?;
        places.sort_by_key(|place| (place.is_symlink(), place.clone()));
        for place in places {
            let Some(own) = place.file_name().map(|name| paths::text(name.as_encoded_bytes())) else { continue };
            let name = format!("{prefix}{own}");
            match fs::metadata(&place) {
                _ if own.starts_with('.') => {}
                _ if paths::is_system(&own) => self.notes.leave_out("files or folders that are no data", &name),
                Ok(meta) if meta.is_dir() => self.folder(&place, &format!("{name}/"), depth + 1)?,
                Ok(meta) if !meta.is_file() => self.notes.leave_out("pipes, sockets or devices", &name),
                // A link that leads nowhere is listed: reading it will say so.
                Ok(_) | Err(_) => self.files.push((name, place)),
            }
        }
        Ok(())
    }
}

/// Whether the names of archives are the only classes there are: each holds pictures of one folder, nothing that
/// describes them, and none is numbered as the parts of one set are.
fn are_classes(archives: &[PathBuf], entries: &[Entry]) -> bool {
    let stems: HashSet<String> = archives.iter().map(|archive| shards::stem(archive)).collect();
    let is_numbered = stems.iter().any(|stem| stem.contains(|c: char| c.is_ascii_digit()));
    let describes = |entry: &Entry| !entry.is_image && labels::may_describe(&entry.name);
    if archives.len() < 2 || stems.len() < archives.len() || is_numbered || entries.iter().any(describes) {
        return false;
    }
    let mut folders: Vec<HashSet<&str>> = vec![HashSet::new(); archives.len()];
    for entry in entries.iter().filter(|entry| entry.is_image) {
        folders[entry.archive].insert(entry.name.rsplit_once('/').map_or("", |(folder, _)| folder));
    }
    folders.iter().all(|folders| folders.len() == 1)
}

/// Opens a regular file: anything else may wait forever, or never end.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// What the file at a path is instead of data, where its first bytes say so.
pub(super) fn foreign(path: &Path) -> Option<&'static str> {
    let head = open_file(path).and_then(|file| read_head(file, 64)).ok()?;
    crate::io::foreign(&head)
}

/// Up to the first `count` bytes.
pub(super) fn read_head(reader: impl Read, count: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(count).read_to_end(&mut head)?;
    Ok(head)
}

/// All bytes, or the reason when there are more than `limit`.
pub(super) fn read_limited(reader: impl Read, limit: u64) -> io::Result<Result<Vec<u8>, String>> {
    // Beside it lies what is made of it.
    let limit = limit.min(max_memory() / 2);
    let mut content = Vec::new();
    reader.take(limit + 1).read_to_end(&mut content)?;
    Ok(match content.len() as u64 > limit {
        true => Err(format!("is larger than {} MiB", limit >> 20)),
        false => Ok(content),
    })
}
