//! Names inside a set: which files count, which are chosen, and the class a name states.

/// Extensions of image formats. Those that cannot be decoded here count too, so that they are reported, not ignored.
const IMAGE_EXTENSIONS: [&str; 34] = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "dib", "webp", "tif", "tiff", "ppm", "pgm", "pbm",
    "pnm", "avif", "heic", "heif", "hif", "jxl", "jp2", "j2k", "jpx", "jxr", "tga", "psd", "exr", "hdr", "dng", "cr2",
    "cr3", "nef", "arw",
];

/// First bytes of image formats that no text file begins with.
const IMAGE_MAGIC: [&[u8]; 5] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*"];

/// Folders that systems and archivers make for themselves.
const SYSTEM_FOLDERS: [&str; 8] = [
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "@Recycle",
    "@Recently-Snapshot",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
];

/// How files and folders end that are not finished.
const UNFINISHED: [&str; 6] = [".partial", ".part", ".crdownload", ".download", ".tmp", ".aria2"];

/// Folders that nest deeper than this are not searched, on the disk or in archives.
pub(super) const MAX_DEPTH: usize = 32;

/// Bytes beyond which a path is none: what systems allow.
const MAX_PATH: usize = 4096;

/// What files are called in summaries whose names are refused by [`is_out_of_bounds`].
pub(super) const OUT_OF_BOUNDS: &str = "files whose names are longer than 4096 bytes or nest deeper than 32 folders";

/// Whether a name is longer or nests deeper than any that is meant.
pub(super) fn is_out_of_bounds(name: &str) -> bool {
    name.len() > MAX_PATH || name.bytes().filter(|&byte| byte == b'/').count() > MAX_DEPTH
}

/// As much of a name as a message shows.
pub(super) fn start_of(name: &str) -> &str {
    const SHOWN: usize = 60;
    name.char_indices().nth(SHOWN).map_or(name, |(end, _)| &name[..end])
}

/// A path with `/` between its parts and without empty, `.` and `..` parts; with `backslashes` these separate parts
/// too. It is only a name: nothing is written.
pub(super) fn normal(path: &str, backslashes: bool) -> String {
    let parts = path.split(|c| c == '/' || backslashes && c == '\\').filter(|part| !matches!(*part, "" | "." | ".."));
    parts.collect::<Vec<_>>().join("/")
}

/// The path that a link at `from` leads to, both inside one archive; `None` where that lies outside.
pub(super) fn resolve(from: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Bytes of a name as text. What is no UTF-8 stands as `\xE9`, so that different names stay different.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text += chunk.valid();
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}")));
    }
    text
}

/// The text of a file of labels: UTF-16 where its first bytes say so, else as [`text`], so that labels of other
/// encodings stay different.
pub(super) fn document(bytes: &[u8]) -> String {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        bytes => text(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)),
    }
}

/// The upper half of code page 437, which names in zip archives are in unless they are UTF-8.
const CP437: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ\
    áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
    αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// Bytes of code page 437 as text.
pub(super) fn cp437(bytes: &[u8]) -> String {
    let upper: Vec<char> = CP437.chars().collect();
    bytes.iter().map(|&byte| if byte < 128 { byte.into() } else { upper[usize::from(byte) - 128] }).collect()
}

/// Whether a name, or a folder on the way to it, is hidden, a system's own, or not finished.
pub(super) fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.') || is_system(part))
}

/// Whether a part of a name is a system's own, or not finished.
pub(super) fn is_system(part: &str) -> bool {
    SYSTEM_FOLDERS.contains(&part) || UNFINISHED.iter().any(|end| part.to_ascii_lowercase().ends_with(end))
}

/// The last part of a name.
pub(super) fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The extension of a name in lower case, without its dot; empty where it has none.
pub(super) fn extension(name: &str) -> String {
    base(name).rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default()
}

pub(super) fn has_image_extension(name: &str) -> bool {
    IMAGE_EXTENSIONS.contains(&extension(name).as_str())
}

pub(super) fn has_image_magic(head: &[u8]) -> bool {
    let is_webp = head.len() >= 12 && &head[..4] == b"RIFF" && &head[8..12] == b"WEBP";
    is_webp || IMAGE_MAGIC.iter().any(|magic| head.starts_with(magic))
}

/// The first `depth` folders of a name; empty when it lies in none.
pub(super) fn class_of(name: &str, depth: usize) -> String {
    let mut folders: Vec<&str> = name.split('/').collect();
    folders.pop();
    folders.truncate(depth);
    folders.join("/")
}

/// Whether a pattern names this file or a folder that holds it.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern.trim_matches('/');
    let ends = name.match_indices('/').map(|(end, _)| end).chain([name.len()]);
    ends.into_iter().any(|end| wildcard(pattern, &name[..end]))
}

/// `*` stands for any run of characters, `/` included; everything else for itself.
fn wildcard(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(end)
}
