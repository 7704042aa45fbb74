//! Archives as streams of named files. Nothing is ever unpacked onto the disk.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use tar::Archive;
use zip::ZipArchive;

use super::error::{DataError, explain};
use super::files::{Entry, HEAD, read_head, read_limited};
use super::paths;

pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file's bytes, decompressed where they are gzip.
pub(super) fn open_stream(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = || File::open(path).map(BufReader::new);
    Ok(match read_head(file()?, 2)? == GZIP_MAGIC {
        true => Box::new(MultiGzDecoder::new(file()?)),
        false => Box::new(file()?),
    })
}

/// Whether a block is the header of a tar member: its checksum is right.
pub(super) fn is_tar_header(block: &[u8]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    if block.len() < 512 || block[0] == 0 {
        return false;
    }
    let bytes = block[..512].iter().enumerate();
    let sum: u32 = bytes.map(|(i, &b)| if CHECKSUM.contains(&i) { 32 } else { u32::from(b) }).sum();
    tar::Header::from_byte_slice(&block[..512]).cksum().is_ok_and(|stated| stated == sum)
}

/// Calls `visit` with the position and content of every regular file of a tar archive, then reads to the very end, so
/// that a cut or a wrong check sum anywhere is noticed.
fn visit_tar(path: &Path, mut visit: impl FnMut(usize, String, &mut dyn Read) -> io::Result<()>) -> io::Result<()> {
    let mut archive = Archive::new(open_stream(path)?);
    for (position, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            visit(position, name, &mut entry)?;
        }
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop)
}

pub(super) fn list_tar(path: &Path) -> Result<Vec<Entry>, DataError> {
    let mut entries = Vec::new();
    visit_tar(path, |position, name, file| {
        let name = paths::normal(&name);
        if !paths::is_hidden(&name) {
            let is_image = paths::has_image_extension(&name) || paths::has_image_magic(&read_head(file, HEAD)?);
            entries.push(Entry { name, is_image, position });
        }
        Ok(())
    })
    .map_err(|e| DataError::damaged(path, explain(&e)))?;
    Ok(entries)
}

/// Reads the members at `positions`; `visit` gets the index into `positions`, in the archive's order.
pub(super) fn read_tar(
    path: &Path,
    positions: &[usize],
    limit: u64,
    visit: &mut dyn FnMut(usize, Result<Vec<u8>, String>),
) -> Result<(), DataError> {
    let wanted: HashMap<usize, usize> = positions.iter().enumerate().map(|(i, &position)| (position, i)).collect();
    visit_tar(path, |position, _, file| {
        if let Some(&i) = wanted.get(&position) {
            visit(i, read_limited(file, limit)?);
        }
        Ok(())
    })
    .map_err(|e| DataError::damaged(path, explain(&e)))
}

fn open_zip(path: &Path) -> Result<ZipArchive<BufReader<File>>, DataError> {
    let file = File::open(path).map_err(|e| DataError::io(path, e))?;
    ZipArchive::new(BufReader::new(file))
        .map_err(|e| DataError::damaged(path, format!("is a damaged zip archive ({e})")))
}

pub(super) fn list_zip(path: &Path) -> Result<Vec<Entry>, DataError> {
    let mut archive = open_zip(path)?;
    let names: Vec<String> = archive.file_names_raw().map(|raw| String::from_utf8_lossy(raw).into_owned()).collect();
    let mut entries = Vec::new();
    for (position, raw) in names.into_iter().enumerate() {
        let name = paths::normal(&raw);
        if raw.ends_with(['/', '\\']) || paths::is_hidden(&name) {
            continue;
        }
        let mut magic =
            || archive.by_index(position).is_ok_and(|f| read_head(f, HEAD).is_ok_and(|h| paths::has_image_magic(&h)));
        let is_image = paths::has_image_extension(&name) || magic();
        entries.push(Entry { name, is_image, position });
    }
    Ok(entries)
}

/// As [`read_tar`]. A damaged member spoils only itself.
pub(super) fn read_zip(
    path: &Path,
    positions: &[usize],
    limit: u64,
    visit: &mut dyn FnMut(usize, Result<Vec<u8>, String>),
) -> Result<(), DataError> {
    let mut archive = open_zip(path)?;
    for (i, &position) in positions.iter().enumerate() {
        let content = match archive.by_index(position) {
            Ok(file) => read_limited(file, limit).unwrap_or_else(|e| Err(explain(&e))),
            Err(e) => Err(format!("cannot be unpacked ({e})")),
        };
        visit(i, content);
    }
    Ok(())
}
