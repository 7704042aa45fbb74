//! What a checkpoint of PyTorch is packed in, looked at before a reader of pickles is let in.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use tar::{Archive, EntryType};
use zip::ZipArchive;

use crate::io::catch_decoder_panic;

/// Where a tar archive says that it is one.
const TAR_MAGIC: std::ops::Range<usize> = 257..262;

/// Refuses a file of `length` bytes whose description of its tensors is longer than `most` bytes, whatever it was
/// packed into.
///
/// # Errors
/// Says what is too long, or what is no archive.
pub(super) fn check(path: &Path, length: u64, most: u64) -> Result<(), String> {
    let file = || File::open(path).map(BufReader::new).map_err(|e| e.to_string());
    let mut head = Vec::new();
    file()?.take(TAR_MAGIC.end as u64).read_to_end(&mut head).map_err(|e| e.to_string())?;
    if head.starts_with(b"PK") {
        return catch_decoder_panic(|| check_zip(file()?, most));
    }
    if head.get(TAR_MAGIC) == Some(b"ustar") {
        return catch_decoder_panic(|| check_tar(file()?));
    }
    // A pickle by itself holds no tensors. In the layout of old versions pickles that begin with a magic number stand
    // before them.
    match head.first() {
        Some(0x80 | b'(' | b'}' | b']' | b'c') if length > most && !is_legacy(&head) => {
            Err(format!("its pickle has {length} bytes; those that describe tensors have at most {most}"))
        }
        _ => Ok(()),
    }
}

/// Whether a file begins with the magic number of PyTorch 0.1.10 to 1.5.
fn is_legacy(head: &[u8]) -> bool {
    const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    let start = &head[..head.len().min(64)];
    start.windows(10).any(|bytes| bytes == MAGIC) || start.windows(24).any(|text| text == b"119547037146038801333356")
}

fn check_zip(file: BufReader<File>, most: u64) -> Result<(), String> {
    let mut archive = ZipArchive::new(file).map_err(|e| e.to_string())?;
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i).map_err(|e| e.to_string())?;
        let (name, size) = (String::from_utf8_lossy(entry.name_raw()), entry.size());
        if name.ends_with(".pkl") && size > most {
            return Err(format!("`{name}` has {size} bytes; those that describe tensors have at most {most}"));
        }
    }
    Ok(())
}

/// Holes in a sparse member take no room in the archive, but in memory.
fn check_tar(file: BufReader<File>) -> Result<(), String> {
    for entry in Archive::new(file).entries().map_err(|e| e.to_string())?.raw(true) {
        if entry.map_err(|e| e.to_string())?.header().entry_type() == EntryType::GNUSparse {
            return Err("its archive has sparse members".into());
        }
    }
    Ok(())
}
