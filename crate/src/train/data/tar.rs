//! Tar archives, also compressed ones.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::path::Path;

use tar::{Archive, Entries, EntryType};

use super::archive::{Link, Member, VisitFile, is_plain, open_stream};
use super::error::{DataError, explain};
use super::files::{HEAD, open_file, read_head};
use super::notes::Notes;
use super::paths;

/// Whether a block is the header of a member: its checksum is right.
pub(super) fn is_header(block: &[u8]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    if block.len() < 512 || block[0] == 0 {
        return false;
    }
    let bytes = block[..512].iter().enumerate();
    let sum: u32 = bytes.map(|(i, &b)| if CHECKSUM.contains(&i) { 32 } else { u32::from(b) }).sum();
    tar::Header::from_byte_slice(&block[..512]).cksum().is_ok_and(|stated| stated == sum)
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
            _ if header.is_pax_sparse => notes.leave_out("sparse files of a form that is not read", &name),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let normal = paths::normal(&name, false);
                let is_image = !paths::is_hidden(&normal)
                    && (paths::has_image_extension(&normal) || paths::has_image_magic(&read_head(content, HEAD)?));
                members.push(Member { name, is_image, position: header.position });
            }
            EntryType::Link | EntryType::Symlink => {
                let target = paths::text(&header.target.unwrap_or_default());
                let from = if header.kind == EntryType::Link { "" } else { name.as_str() };
                links.push(Link { target: paths::resolve(from, &target), name });
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => notes.leave_out("pipes and devices", &name),
            _ => {}
        }
        Ok(true)
    };
    // To the very end, so that a cut or a wrong check sum anywhere is noticed.
    let listed = open_stream(path).map(Archive::new).and_then(|mut archive| {
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
