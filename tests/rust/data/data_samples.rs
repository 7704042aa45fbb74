//! Samples of every format, made in memory.

use std::fs;
use std::io::{Cursor, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};
use tempfile::TempDir;

/// The name and the content of a file.
pub type Member = (&'static str, Vec<u8>);

pub fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).expect("encodes");
    bytes.into_inner()
}

/// A 2×2 PNG of one colour.
pub fn png(colour: [u8; 4]) -> Vec<u8> {
    encoded(RgbaImage::from_pixel(2, 2, Rgba(colour)), ImageFormat::Png)
}

pub fn grey_png(level: u8) -> Vec<u8> {
    png([level, level, level, 255])
}

/// A temporary folder with these files; a name's folders are made.
pub fn folder(members: &[Member]) -> TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    for (name, content) in members {
        let file = place.path().join(name);
        fs::create_dir_all(file.parent().expect("lies in the folder")).expect("makes the folders");
        fs::write(file, content).expect("writes");
    }
    place
}

pub fn file(name: &'static str, content: Vec<u8>) -> (TempDir, PathBuf) {
    let place = folder(&[(name, content)]);
    let path = place.path().join(name);
    (place, path)
}

pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        // Not `append_data`, which refuses the names of hostile archives.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, &content[..]).expect("appends");
    }
    archive.into_inner().expect("finishes")
}

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).expect("compresses");
    encoder.finish().expect("finishes")
}

pub fn zip(members: &[Member]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("starts");
        archive.write_all(content).expect("writes");
    }
    archive.finish().expect("finishes").into_inner()
}

pub fn idx(magic: u8, sizes: &[u32], content: &[u8]) -> Vec<u8> {
    let sizes = sizes.iter().flat_map(|size| size.to_be_bytes());
    [0, 0, 8, magic].into_iter().chain(sizes).chain(content.iter().copied()).collect()
}

pub fn cifar_record(label: u8, [r, g, b]: [u8; 3]) -> Vec<u8> {
    [vec![label], vec![r; 1024], vec![g; 1024], vec![b; 1024]].concat()
}
