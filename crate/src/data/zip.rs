//! Zip archives.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::archive::{Link, Member, REPEATED, VisitFile};
use super::error::{DataError, explain};
use super::files::{HEAD, open_file, read_head};
use super::notes::Notes;
use super::paths;
use crate::io::{Inflated, catch_decoder_panic};

/// A longer target of a symbolic link is none.
const MAX_TARGET: u64 = 4096;

/// The flag of entries whose names are UTF-8.
const IS_UTF8: u16 = 1 << 11;

fn open(path: &Path) -> Result<ZipArchive<BufReader<File>>, DataError> {
    let file = open_file(path).map_err(|e| DataError::io(path, e))?;
    let damaged = |reason: String| DataError::damaged(path, format!("is a damaged zip archive ({reason})"));
    let length = file.metadata().map_err(|e| DataError::io(path, e))?.len();
    let archive =
        catch_decoder_panic(|| ZipArchive::new(BufReader::new(file)).map_err(|e| e.to_string())).map_err(damaged)?;
    let sizes = (0..archive.len()).filter_map(|i| archive.by_index_data(i).ok()).map(|entry| entry.compressed_size());
    match sizes.fold(0_u64, u64::saturating_add) > length {
        true => Err(damaged("its entries overlap: together they are longer than the file".into())),
        false => Ok(archive),
    }
}

/// Names entries that come again later in the directory: the library knows the last of each name alone.
fn note_repeated(path: &Path, directory: u64, notes: &Notes) -> io::Result<()> {
    const HEADER: usize = 46;
    let mut reader = BufReader::new(open_file(path)?);
    reader.seek(SeekFrom::Start(directory))?;
    let (mut header, mut seen) = ([0; HEADER], HashSet::new());
    while reader.read_exact(&mut header).is_ok() && header.starts_with(b"PK\x01\x02") {
        let length = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let mut name = vec![0; length(28)];
        reader.read_exact(&mut name)?;
        reader.seek_relative((length(30) + length(32)) as i64)?;
        let text = paths::text(&name);
        if !seen.insert(name) {
            notes.leave_out(REPEATED, &text);
        }
    }
    Ok(())
}

/// The regular files of an archive, and its links.
pub(super) fn list(path: &Path, notes: &Notes) -> Result<(Vec<Member>, Vec<Link>), DataError> {
    let mut archive = open(path)?;
    note_repeated(path, archive.central_directory_start(), notes).map_err(|e| DataError::io(path, e))?;
    let names = names(&archive).map_err(|e| DataError::damaged(path, e))?;
    let is_windows = !names.iter().any(|name| name.contains('/'));
    let (mut members, mut links) = (Vec::new(), Vec::new());
    for (position, raw) in names.into_iter().enumerate() {
        let name = paths::normal(&raw, is_windows);
        if raw.ends_with('/') || is_windows && raw.ends_with('\\') || paths::is_hidden(&name) {
            continue;
        }
        if paths::is_out_of_bounds(&name) {
            notes.leave_out(paths::OUT_OF_BOUNDS, paths::start_of(&name));
            continue;
        }
        let is_link = archive.by_index_data(position).is_ok_and(|entry| entry.is_symlink());
        if is_link {
            let target = archive.by_index(position).ok().and_then(|file| read_head(file, MAX_TARGET).ok());
            let target = target.and_then(|target| paths::resolve(&name, &paths::text(&target)));
            links.push(Link { name, target });
            continue;
        }
        let mut magic =
            || archive.by_index(position).is_ok_and(|f| read_head(f, HEAD).is_ok_and(|h| paths::has_image_magic(&h)));
        let is_image = paths::has_image_extension(&name) || magic();
        members.push(Member { name, is_image, position });
    }
    Ok((members, links))
}

/// The names of all entries. Those without the flag are CP437 by the specification; but archivers of macOS and Linux
/// write UTF-8 without it, and then all of them are.
fn names(archive: &ZipArchive<BufReader<File>>) -> Result<Vec<String>, String> {
    let entries = (0..archive.len()).map(|i| archive.by_index_data(i).map_err(|e| e.to_string()));
    let raw =
        entries.map(|entry| entry.map(|entry| (entry.flags().as_u16() & IS_UTF8 != 0, entry.name_raw().to_vec())));
    let raw: Vec<(bool, Vec<u8>)> = raw.collect::<Result<_, _>>()?;
    let is_utf8 = raw.iter().all(|(flag, name)| *flag || std::str::from_utf8(name).is_ok());
    Ok(raw.iter().map(|(flag, name)| if *flag || is_utf8 { paths::text(name) } else { paths::cp437(name) }).collect())
}

/// See [`Archive::visit`](super::archive::Archive::visit). A damaged member spoils only itself.
pub(super) fn visit(path: &Path, positions: &[usize], visit: &mut VisitFile) -> Result<(), DataError> {
    let mut archive = open(path)?;
    for (i, &position) in positions.iter().enumerate() {
        let failed = |e: std::io::Error| DataError::damaged(path, explain(&e));
        match archive.by_index(position) {
            Ok(file) => {
                let method = file.compression().to_string();
                let visited = Inflated::of_bytes(file.compressed_size(), file.size(), file)
                    .and_then(|mut file| visit(i, Ok(&mut file as &mut dyn Read)));
                if let Err(e) = visited {
                    let zip_error = e.get_ref().and_then(|inner| inner.downcast_ref::<ZipError>());
                    let packed = || format!("{}; it is packed by {method}", explain(&e));
                    visit(i, Err(zip_error.map_or_else(packed, reason))).map_err(failed)?;
                }
            }
            Err(e) => visit(i, Err(reason(&e))).map_err(failed)?,
        }
    }
    Ok(())
}

/// Why a member cannot be unpacked.
fn reason(error: &ZipError) -> String {
    match error {
        ZipError::CompressionMethodNotSupported(method) => {
            format!(
                "is compressed by a method of zip that is not supported, {}; pack the archive anew",
                method_name(*method)
            )
        }
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword => {
            "is encrypted, which is not supported; unpack the archive first".into()
        }
        _ => format!("cannot be unpacked ({error})"),
    }
}

/// What a compression method is called (APPNOTE.TXT, 4.4.5).
fn method_name(method: u16) -> String {
    let name = match method {
        1 => "Shrink",
        2..=5 => "Reduce",
        6 => "Implode",
        9 => "Deflate64",
        10 => "DCL Implode",
        12 => "bzip2",
        14 => "LZMA",
        16 => "IBM z/OS CMPSC",
        18 => "IBM TERSE",
        19 => "IBM LZ77",
        20 | 93 => "Zstandard",
        94 => "MP3",
        95 => "xz",
        96 => "JPEG",
        97 => "WavPack",
        98 => "PPMd",
        99 => "AES encryption",
        _ => return format!("number {method}"),
    };
    format!("{name} ({method})")
}
