//! Names inside a set: which files count, which are chosen, and the class a name states.

/// Extensions of image formats. Those that cannot be decoded here count too, so that they are reported, not ignored.
const IMAGE_EXTENSIONS: [&str; 11] = ["png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff", "avif", "heic", "jxl"];

/// First bytes of image formats that no text file begins with.
const IMAGE_MAGIC: [&[u8]; 3] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8"];

/// A path with `/` between its parts and without empty, `.` and `..` parts. It is only a name: nothing is written.
pub(super) fn normal(path: &str) -> String {
    let parts = path.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | ".."));
    parts.collect::<Vec<_>>().join("/")
}

/// Whether a name, or a folder on the way to it, is hidden or an archiver's own.
pub(super) fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX")
}

/// The last part of a name.
pub(super) fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

pub(super) fn has_image_extension(name: &str) -> bool {
    let extension = base(name).rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| IMAGE_EXTENSIONS.contains(&extension.as_str()))
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

/// The one leading folder, with its `/`, that all names share.
pub(super) fn common_folder<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<String> {
    let (first, _) = names.next()?.split_once('/')?;
    let prefix = format!("{first}/");
    names.all(|name| name.starts_with(&prefix)).then_some(prefix)
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
