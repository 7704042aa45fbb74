//! Archives as streams of named files. Nothing is ever unpacked onto the disk.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::error::{DataError, explain};
use super::files::{open_file, read_head};
use super::notes::Notes;
use super::{paths, tar, zip};
use crate::io::Inflated;

/// Links that lead to links are followed so far.
const MAX_LINKS: usize = 16;

/// An archive on the disk.
pub(super) struct Archive {
    pub path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Tar,
    Zip,
}

/// A file in an archive.
pub(super) struct Member {
    /// Its path inside the archive, `/` between its parts.
    pub name: String,
    pub is_image: bool,
    /// Where the archive has it.
    pub position: usize,
}

/// A link in an archive.
pub(super) struct Link {
    pub name: String,
    /// The path inside the archive that it leads to; `None` where that lies outside.
    pub target: Option<String>,
}

/// Gets the place of a file in the list that was asked for, and its content or the reason why there is none.
pub(super) type VisitFile<'a> = dyn FnMut(usize, Result<&mut dyn Read, String>) -> io::Result<()> + 'a;

impl Archive {
    /// The archive at a path; `None` where the file is something else. Its content decides, not its name.
    pub fn open(path: &Path) -> Result<Option<Self>, DataError> {
        let raw = open_file(path).and_then(|file| read_head(file, 4)).map_err(|e| DataError::io(path, e))?;
        let of_kind = |kind| Ok(Some(Self { path: path.into(), kind }));
        if raw.starts_with(b"PK\x03\x04") || raw.starts_with(b"PK\x05\x06") {
            return of_kind(Kind::Zip);
        }
        let head = open_stream(path).and_then(|stream| read_head(stream, 512));
        match tar::is_header(&head.map_err(|e| DataError::damaged(path, explain(&e)))?) {
            true => of_kind(Kind::Tar),
            false => Ok(None),
        }
    }

    /// Its regular files, and its links to them.
    pub fn list(&self, notes: &Notes) -> Result<Vec<Member>, DataError> {
        let (members, links) = match self.kind {
            Kind::Tar => tar::list(&self.path, notes)?,
            Kind::Zip => zip::list(&self.path, notes)?,
        };
        Ok(once_each(follow(members, links, notes), notes))
    }

    /// Calls `visit` with the files at `positions`, each of which occurs once, in any order.
    pub fn visit(&self, positions: &[usize], visit: &mut VisitFile) -> Result<(), DataError> {
        match self.kind {
            Kind::Tar => tar::visit(&self.path, positions, visit),
            Kind::Zip => zip::visit(&self.path, positions, visit),
        }
    }
}

/// Whether a file is called like an archive.
pub(super) fn is_archive(name: &str) -> bool {
    const EXTENSIONS: [&str; 11] =
        [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".zip", ".npz"];
    let name = name.to_ascii_lowercase();
    EXTENSIONS.iter().any(|extension| name.ends_with(extension))
}

/// What files are called in summaries of which an archive has a later one of the same name.
pub(super) const REPEATED: &str = "files whose name occurs again in their archive; the last of each name is taken";

/// The last of the files of each name, which is what unpacking would leave.
fn once_each(members: Vec<Member>, notes: &Notes) -> Vec<Member> {
    let last: HashMap<String, usize> = members.iter().enumerate().map(|(i, member)| (member.name.clone(), i)).collect();
    let is_last = |(i, member): &(usize, Member)| {
        let is_last = last.get(&member.name) == Some(i);
        if !is_last {
            notes.leave_out(REPEATED, &member.name);
        }
        is_last
    };
    members.into_iter().enumerate().filter(is_last).map(|(_, member)| member).collect()
}

/// The files, and for each link that leads to one the same once more.
fn follow(mut members: Vec<Member>, links: Vec<Link>, notes: &Notes) -> Vec<Member> {
    if links.is_empty() {
        return members;
    }
    let files: HashMap<String, usize> =
        members.iter().enumerate().map(|(i, member)| (member.name.clone(), i)).collect();
    let targets: HashMap<&str, Option<&str>> =
        links.iter().map(|link| (link.name.as_str(), link.target.as_deref())).collect();
    for link in links.iter().filter(|link| !paths::is_hidden(&link.name)) {
        let mut target = link.target.as_deref();
        for _ in 0..MAX_LINKS {
            target = target.and_then(|name| if files.contains_key(name) { Some(name) } else { *targets.get(name)? });
        }
        match target.and_then(|name| files.get(name)) {
            Some(&file) => {
                let Member { is_image, position, .. } = members[file];
                let is_image = is_image || paths::has_image_extension(&link.name);
                members.push(Member { name: link.name.clone(), is_image, position });
            }
            None => notes.leave_out("links that lead to no file of their archive", &link.name),
        }
    }
    members
}

/// First bytes of what is compressed as a whole.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const XZ: &[u8] = b"\xfd7zXZ\0";
const BZIP2: &[u8] = b"BZh";

/// KiB that unpacking xz may take: eight times what its strongest preset needs.
const MAX_XZ_MEMORY: u32 = 512 << 10;

/// A file's bytes, decompressed where they are gzip, Zstandard, xz or bzip2.
pub(super) fn open_stream(path: &Path) -> io::Result<Box<dyn Read>> {
    decompressed(BufReader::new(open_file(path)?))
}

/// The same of a stream, which is what its first bytes say.
pub(super) fn decompressed<'a>(stream: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut stream = stream;
    let head = read_head(&mut stream, 6)?;
    let whole = io::Cursor::new(head.clone()).chain(stream);
    Ok(match () {
        () if head.starts_with(GZIP) => Box::new(Inflated::of(whole, |x| Ok(MultiGzDecoder::new(BufReader::new(x))))?),
        () if head.starts_with(ZSTD) => {
            Box::new(Inflated::of(whole, |x| zstd::Decoder::with_buffer(BufReader::new(x)))?)
        }
        () if head.starts_with(XZ) => {
            Box::new(Inflated::of(whole, |x| Ok(XzReader::new_mem_limit(BufReader::new(x), true, MAX_XZ_MEMORY)))?)
        }
        () if head.starts_with(BZIP2) => Box::new(Inflated::of(whole, |x| Ok(MultiBzDecoder::new(BufReader::new(x))))?),
        () => Box::new(BufReader::new(whole)),
    })
}

/// Whether a file is as it is, not compressed as a whole.
pub(super) fn is_plain(path: &Path) -> io::Result<bool> {
    let head = read_head(open_file(path)?, 6)?;
    Ok(![GZIP, ZSTD, XZ, BZIP2].iter().any(|magic| head.starts_with(magic)))
}
