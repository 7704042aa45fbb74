//! Files that are either as they were or as they should be, whenever the program is ended.
// The one place where files are made.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::{Builder, NamedTempFile, TempDir};

use super::system::{usual_file_mode, usual_folder_mode};

/// Symbolic links that are followed one after the other; the bound of Linux.
const MAX_LINKS: usize = 40;

/// Writes a whole file: aside, until it is on the disk, then in its place.
///
/// What [`AtomicFile`] says of links, modes and files that are not regular holds here too.
///
/// # Errors
/// When the disk refuses; what was there before still is, and nothing else.
pub fn write_atomic(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes.as_ref())?;
    file.commit()
}

/// A file that is written aside and put in its place by [`Self::commit`]; without that nothing is left of it.
///
/// The temporary file has a name of its own in the same folder and is opened only if it did not exist. Symbolic links
/// are followed to what they name, and a file that was there gives the new one its mode. What is no regular file, such
/// as a pipe or `/dev/stdout`, is written straight. Errors name the file.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Aside { file: BufWriter<NamedTempFile>, target: PathBuf, mode: Option<Permissions>, _unfinished: Unfinished },
    Straight(BufWriter<File>),
}

impl AtomicFile {
    /// Opens the file to write.
    ///
    /// # Errors
    /// When the path is a folder or lies in none, the file may not be written, or the disk refuses.
    pub fn create(path: &Path) -> io::Result<Self> {
        let inner = open(path).map_err(|e| cannot_write(path, &e))?;
        Ok(Self { path: path.into(), inner })
    }

    /// Waits until all of it is on the disk and puts it in its place.
    ///
    /// # Errors
    /// When the disk refuses; what was there before still is.
    pub fn commit(self) -> io::Result<()> {
        let Self { path, inner } = self;
        let finish = || match inner {
            Inner::Straight(file) => file.into_inner().map(drop).map_err(io::IntoInnerError::into_error),
            Inner::Aside { file, target, mode, _unfinished } => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                if let Some(mode) = mode {
                    file.as_file().set_permissions(mode)?;
                }
                file.as_file().sync_all()?;
                let held = unfinished();
                file.persist(&target).map_err(|e| e.error)?;
                drop(held);
                sync_folder(folder_of(&target))
            }
        };
        finish().map_err(|e| cannot_write(&path, &e))
    }

    fn file(&mut self) -> (&Path, &mut dyn WriteSeek) {
        match &mut self.inner {
            Inner::Aside { file, .. } => (&self.path, file),
            Inner::Straight(file) => (&self.path, file),
        }
    }
}

trait WriteSeek: Write + Seek {}
impl<T: Write + Seek> WriteSeek for T {}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (path, file) = self.file();
        file.write(bytes).map_err(|e| cannot_write(path, &e))
    }

    fn flush(&mut self) -> io::Result<()> {
        let (path, file) = self.file();
        file.flush().map_err(|e| cannot_write(path, &e))
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (path, file) = self.file();
        file.seek(to).map_err(|e| cannot_write(path, &e))
    }
}

/// A new folder of files, without folders in it, that appears with all of them by [`Self::commit`], or not at all.
#[derive(Debug)]
pub struct AtomicFolder {
    path: PathBuf,
    aside: TempDir,
    _unfinished: Unfinished,
}

impl AtomicFolder {
    /// Begins a folder that is not there yet, or is empty.
    ///
    /// # Errors
    /// When it holds anything, or the disk refuses.
    pub fn create(path: &Path) -> io::Result<Self> {
        let begin = || {
            match fs::read_dir(path).map(|entries| entries.count()) {
                Ok(1..) => {
                    let reason = "the folder is not empty; name a new one, or empty it";
                    return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, reason));
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
            let parent = folder_of(path);
            fs::create_dir_all(parent)?;
            let mut aside = temporary();
            usual_folder_mode(&mut aside);
            let aside = aside.tempdir_in(parent)?;
            Ok(Self { path: path.into(), _unfinished: Unfinished::begin(aside.path()), aside })
        };
        begin().map_err(|e| cannot_write(path, &e))
    }

    /// Writes one of its files, of which none has this name yet.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let _held = unfinished();
        let file = File::create_new(self.aside.path().join(name));
        file.and_then(|mut file| file.write_all(bytes)).map_err(|e| cannot_write(&self.path.join(name), &e))
    }

    /// Waits until its files are on the disk and puts it in its place.
    ///
    /// # Errors
    /// When the disk refuses, or something came to lie there in the meantime.
    pub fn commit(self) -> io::Result<()> {
        let Self { path, mut aside, _unfinished } = self;
        let mut finish = || {
            for entry in fs::read_dir(aside.path())? {
                File::open(entry?.path())?.sync_all()?;
            }
            sync_folder(aside.path())?;
            let _held = unfinished();
            fs::rename(aside.path(), &path)?;
            aside.disable_cleanup(true);
            sync_folder(folder_of(&path))
        };
        finish().map_err(|e| cannot_write(&path, &e))
    }
}

/// Appends bytes to a file, which is made where there is none. What the file held before is never touched.
///
/// # Errors
/// When the disk refuses; a part of the bytes may be there then.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|e| cannot_write(path, &e))
}

/// Writes a file that must not be there yet, and waits until it is on the disk: for folders that are themselves written
/// aside.
///
/// # Errors
/// When it exists, or the disk refuses.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = || {
        let mut file = File::create_new(path)?;
        record("write", path);
        file.write_all(bytes)?;
        record("sync", path);
        file.sync_all()
    };
    write().map_err(|e| cannot_write(path, &e))
}

/// Copies the content of a file as [`write_atomic`] writes it.
///
/// # Errors
/// When the disk refuses.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let unreadable = |e: &io::Error| io::Error::new(e.kind(), format!("cannot read {}: {e}", from.display()));
    let mut source = File::open(from).map_err(|e| unreadable(&e))?;
    let mut file = AtomicFile::create(to)?;
    let mut piece = vec![0; 1 << 16];
    loop {
        match source.read(&mut piece).map_err(|e| unreadable(&e))? {
            0 => return file.commit(),
            read => file.write_all(&piece[..read])?,
        }
    }
}

/// Makes a folder and those above it.
///
/// # Errors
/// When the disk refuses, or a file has the name.
pub fn create_folder(path: &Path) -> io::Result<()> {
    record("create", path);
    fs::create_dir_all(path).map_err(|e| io::Error::new(e.kind(), format!("cannot create {}: {e}", path.display())))
}

/// Renames a file or folder. It is on the disk only after [`sync_folder`] of the folder that it is in.
///
/// # Errors
/// When the disk refuses.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    record("rename", to);
    let error = |e: io::Error| format!("cannot rename {} to {}: {e}", from.display(), to.display());
    fs::rename(from, to).map_err(|e| io::Error::new(e.kind(), error(e)))
}

/// Removes a folder and all that is in it.
///
/// # Errors
/// When the disk refuses.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    record("remove", path);
    fs::remove_dir_all(path).map_err(|e| io::Error::new(e.kind(), format!("cannot remove {}: {e}", path.display())))
}

/// Waits until the names in a folder are on the disk, where the system can do that.
///
/// # Errors
/// When the disk refuses.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    record("sync", path);
    match File::open(path).and_then(|folder| folder.sync_all()) {
        // Some file systems have no such request, Windows opens no folder, and one that cannot be read may still be
        // written in.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Removes what is being written aside and ends the program, as on a signal. Other threads that would make or finish a
/// file wait for the lock, so that nothing is made anew.
pub fn exit_without_leftovers(code: i32) -> ! {
    let unfinished = unfinished();
    for path in unfinished.iter() {
        // One of the two is what it is; what cannot be removed stays. Another thread may write one more file into a
        // folder while it is emptied.
        for _ in 0..100 {
            let removed = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
            if removed.is_ok() || !path.exists() {
                break;
            }
        }
    }
    std::process::exit(code)
}

/// The temporary files and folders that there are now.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary file or folder, for as long as it is one.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Unfinished {
    fn begin(path: &Path) -> Self {
        unfinished().insert(path.into());
        Self(path.into())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        unfinished().remove(&self.0);
    }
}

fn open(path: &Path) -> io::Result<Inner> {
    let (target, mode) = match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
        Ok(meta) if !meta.is_file() || is_descriptor(path) => {
            return OpenOptions::new().write(true).open(path).map(BufWriter::new).map(Inner::Straight);
        }
        Ok(meta) => {
            // A file that may not be written is not replaced either.
            OpenOptions::new().write(true).open(path)?;
            (fs::canonicalize(path)?, Some(meta.permissions()))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => (end_of_links(path)?, None),
        Err(e) => return Err(e),
    };
    let folder = folder_of(&target);
    if !folder.is_dir() {
        let reason = format!("there is no folder {}", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    let mut file = temporary();
    if mode.is_none() {
        usual_file_mode(&mut file);
    }
    let file = file.tempfile_in(folder)?;
    let _unfinished = Unfinished::begin(file.path());
    Ok(Inner::Aside { file: BufWriter::new(file), target, mode, _unfinished })
}

/// How temporary files and folders are called, with something unique between.
const TEMPORARY: [&str; 2] = [".meanflow-", ".partial"];

fn temporary() -> Builder<'static, 'static> {
    let [prefix, suffix] = TEMPORARY;
    let mut builder = Builder::new();
    builder.prefix(prefix).suffix(suffix);
    builder
}

/// Whether a name is of a temporary file or folder of this program, which a kill may have left.
pub fn is_temporary(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(TEMPORARY[0]) && name.ends_with(TEMPORARY[1]))
}

/// Whether a path names something that a process has open, which is written where it stands, whatever it is.
fn is_descriptor(path: &Path) -> bool {
    ["/dev/fd", "/dev/stdout", "/dev/stderr", "/proc"].iter().any(|place| path.starts_with(place))
}

/// What the last of some symbolic links names, which need not exist.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    if path.file_name().is_none() || path.to_string_lossy().ends_with(std::path::is_separator) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a file"));
    }
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = folder_of(&path).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "too many symbolic links"))
}

/// The folder that a file lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn cannot_write(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
}

#[cfg(not(test))]
fn record(_: &str, _: &Path) {}

/// Notes a call to the system with the last part of its path, so that tests can hold their order.
#[cfg(test)]
fn record(call: &str, path: &Path) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    CALLS.with_borrow_mut(|calls| calls.push(format!("{call} {name}")));
}

#[cfg(test)]
thread_local! {
    static CALLS: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// The calls of this thread since the last time.
#[cfg(test)]
pub(crate) fn recorded_calls() -> Vec<String> {
    CALLS.take()
}
