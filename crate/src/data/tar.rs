//! Tar archives, also compressed ones.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::path::Path;

use tar::{Archive, Entries, EntryType};

use super::archive::{Link, Member, VisitFile, is_plain, open_stream};
use super::error::{DataError, explain};
use super::files::{HEAD, open_file, read_head};
use super::notes::Notes;
use super::paths::{self, start_of};

/// Whether a block is the header of a member that has a name: its checksum is right.
pub(super) fn is_header(block: &[u8]) -> bool {
    block.len() >= 512 && block[0] != 0 && has_checksum(block)
}

/// Whether the checksum of a block of 512 bytes is right.
fn has_checksum(block: &[u8]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let bytes = block[..512].iter().enumerate();
    let sum: u32 = bytes.map(|(i, &b)| if CHECKSUM.contains(&i) { 32 } else { u32::from(b) }).sum();
    tar::Header::from_byte_slice(&block[..512]).cksum().is_ok_and(|stated| stated == sum)
}

/// Bytes of a name or other extension of a header beyond which it is none. The library reads them whole.
const MAX_EXTENSION: u64 = 1 << 20;

/// A tar archive as it is read, which ends in an error where a header announces an extension that is too long.
///
/// Every block is looked at, so that nothing about the archive has to be known: files hold no such blocks, unless they
/// are archives that announce the same.
struct Guarded<R> {
    inner: R,
    block: Vec<u8>,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(512 - self.block.len()));
            self.block.extend_from_slice(part);
            rest = after;
            if self.block.len() == 512 {
                check_extension(&self.block)?;
                self.block.clear();
            }
        }
        Ok(count)
    }
}

fn check_extension(block: &[u8]) -> io::Result<()> {
    const KIND: usize = 156;
    if !matches!(block[KIND], b'L' | b'K' | b'x' | b'g' | b'X') || !has_checksum(block) {
        return Ok(());
    }
    let size = tar::Header::from_byte_slice(block).entry_size().unwrap_or(u64::MAX);
    match size > MAX_EXTENSION {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, format!("a member's name or header of {size} bytes"))),
        false => Ok(()),
    }
}

/// A member, not yet read.
struct Header {
    position: usize,
    kind: EntryType,
    name: Vec<u8>,
    target: Option<Vec<u8>>,
    /// Whether it is sparse in a form that only PAX headers describe.
    is_pax_sparse: bool,
}

/// Calls `visit` with every member until it returns false.
fn visit_entries<R: Read>(
    entries: Entries<R>,
    mut visit: impl FnMut(Header, &mut dyn Read) -> io::Result<bool>,
) -> io::Result<()> {
    for (position, entry) in entries.enumerate() {
        let mut entry = entry?;
        let (mut is_pax_sparse, mut name) = (false, entry.path_bytes().into_owned());
        for extension in entry.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            is_pax_sparse |= extension.key_bytes().starts_with(b"GNU.sparse.");
            if extension.key_bytes() == b"GNU.sparse.name" {
                name = extension.value_bytes().to_vec();
            }
        }
        let target = entry.link_name_bytes().map(|target| target.into_owned());
        let kind = entry.header().entry_type();
        if !visit(Header { position, kind, name, target, is_pax_sparse }, &mut entry)? {
            break;
        }
    }
    Ok(())
}

/// The regular files of an archive, and its links.
pub(super) fn list(path: &Path, notes: &Notes) -> Result<(Vec<Member>, Vec<Link>), DataError> {
    let (mut members, mut links) = (Vec::new(), Vec::new());
    let mut read = |header: Header, content: &mut dyn Read| {
        let name = paths::text(&header.name);
        match header.kind {
            EntryType::Directory => {}
            _ if paths::is_out_of_bounds(&name) => notes.leave_out(paths::OUT_OF_BOUNDS, start_of(&name)),
            _ if header.is_pax_sparse => notes.leave_out("sparse files of a form that is not read", &name),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let normal = paths::normal(&name, false);
                let is_image = !paths::is_hidden(&normal)
                    && (paths::has_image_extension(&normal) || paths::has_image_magic(&read_head(content, HEAD)?));
                members.push(Member { name, is_image, position: header.position });
            }
            EntryType::Link | EntryType::Symlink => {
                let target = paths::text(&header.target.unwrap_or_default());
                let target = if paths::is_out_of_bounds(&target) { "/" } else { &target };
                let from = if header.kind == EntryType::Link { "" } else { name.as_str() };
                links.push(Link { target: paths::resolve(from, target), name });
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => notes.leave_out("pipes and devices", &name),
            _ => {}
        }
        Ok(true)
    };
    // To the very end, so that a cut or a wrong check sum anywhere is noticed.
    let guarded = |inner| Archive::new(Guarded { inner, block: Vec::with_capacity(512) });
    let listed = open_stream(path).map(guarded).and_then(|mut archive| {
        archive.entries().and_then(|entries| visit_entries(entries, &mut read))?;
        io::copy(&mut archive.into_inner(), &mut io::sink())
    });
    listed.map_err(|e| DataError::damaged(path, explain(&e)))?;
    // Old Windows programs write backslashes, and then no slashes; elsewhere they belong to a name.
    let is_windows = !members.iter().any(|member| member.name.contains('/'));
    members.iter_mut().for_each(|member| member.name = paths::normal(&member.name, is_windows));
    links.iter_mut().for_each(|link| link.name = paths::normal(&link.name, is_windows));
    members.retain(|member| !paths::is_hidden(&member.name));
    Ok((members, links))
}

/// See [`Archive::visit`](super::archive::Archive::visit).
pub(super) fn visit(path: &Path, positions: &[usize], visit: &mut VisitFile) -> Result<(), DataError> {
    let wanted: HashMap<usize, usize> = positions.iter().enumerate().map(|(i, &position)| (position, i)).collect();
    let mut missing = wanted.len();
    let read = |header: Header, content: &mut dyn Read| {
        if let Some(&i) = wanted.get(&header.position) {
            visit(i, Ok(content))?;
            missing -= 1;
        }
        Ok(missing > 0)
    };
    let visited = match is_plain(path) {
        Ok(true) => open_file(path)
            .and_then(|file| visit_entries(Archive::new(BufReader::new(file)).entries_with_seek()?, read)),
        Ok(false) => open_stream(path).and_then(|stream| visit_entries(Archive::new(stream).entries()?, read)),
        Err(e) => Err(e),
    };
    visited.map_err(|e| DataError::damaged(path, explain(&e)))
}
