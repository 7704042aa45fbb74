//! Files that lie where data or weights should, by their first bytes.

/// What to do about a file that is a pointer of Git LFS.
pub fn lfs_pointer(head: &[u8]) -> Option<&'static str> {
    let is_pointer = head.starts_with(b"version https://git-lfs.github.com/spec/");
    is_pointer.then_some("is a pointer of Git LFS, not the file itself; run `git lfs pull` where it lies")
}

/// What a file is that is neither data nor weights, by its first bytes, and what to do about it.
pub fn foreign(head: &[u8]) -> Option<&'static str> {
    let brand = head.get(4..12).unwrap_or_default();
    match () {
        () if lfs_pointer(head).is_some() => lfs_pointer(head),
        () if [b"ftypheic", b"ftypheix", b"ftypheim", b"ftyphevc", b"ftypmif1", b"ftypmsf1"]
            .iter()
            .any(|b| brand == *b) =>
        {
            Some("is a HEIC (HEIF) picture, which is not read; convert it with `magick mogrify -format png`")
        }
        () if brand == b"ftypavif" || brand == b"ftypavis" => {
            Some("is an AVIF picture, which is not read; convert it with `avifdec` or `magick mogrify -format png`")
        }
        () if head.starts_with(b"\xff\x0a") || head.starts_with(b"\0\0\0\x0cJXL ") => {
            Some("is a JPEG XL picture, which is not read; convert it with `djxl` or `magick mogrify -format png`")
        }
        () if head.starts_with(b"\0\0\0\x0cjP  ") || head.starts_with(b"\xff\x4f\xff\x51") => {
            Some("is a JPEG 2000 picture, which is not read; convert it with `magick mogrify -format png`")
        }
        () if head.starts_with(b"8BPS") => Some("is a Photoshop file, which is not read; export it as PNG"),
        () if head.starts_with(b"v/1\x01") => Some("is an OpenEXR picture, which is not read; convert it to PNG"),
        () if head.starts_with(b"Rar!") => Some("is a RAR archive, which is not read; unpack it"),
        () if head.starts_with(b"7z\xbc\xaf\x27\x1c") => Some("is a 7z archive, which is not read; unpack it"),
        () if head.starts_with(b"<!DOCTYPE") || head.starts_with(b"<!doctype") || head.starts_with(b"<html") => {
            Some("is a web page, as a failed download leaves it; download it again")
        }
        () => None,
    }
}
