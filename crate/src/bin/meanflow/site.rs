//! A page that shows a model: the weights, a poster, the element. `meanflow export --web` writes it as a folder for any
//! static host, and `meanflow serve` shows it on this machine.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use brotli_decompressor::Decompressor;
use meanflow::generator::Generator;
use meanflow::generator::to_rgba;
use meanflow::io::grid;
use meanflow::model::Request;
use meanflow::model::weights::ModelInfo;
use meanflow::{Condition, io};

/// Pictures of the poster and of the page.
const PICTURES: usize = 12;
const COLUMNS: u32 = 6;
/// Each pixel of the poster is enlarged this many times.
const SCALE: u32 = 3;
/// What the page may load and run, as `index.html` of the site has it: its own files, and no script in the page itself.
pub(crate) const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; \
                                 object-src 'none'; base-uri 'none'; form-action 'none'";
const PAGE: &str = concat!(include_str!("site/head.html"), include_str!("site/page.html"));
pub(crate) const STYLE: &str = include_str!("site/page.css");
/// The built page that the program carries, as [`unpack`] reads it.
#[cfg(feature = "site")]
const CARRIED: Option<&[u8]> = Some(include_bytes!("../../../page/page.tar.br"));
#[cfg(not(feature = "site"))]
const CARRIED: Option<&[u8]> = None;
/// Where `make build` leaves the built page.
const DIST: &str = "dist";
/// Bytes of an unpacked page, at most.
const MAX_PAGE: u64 = 64 << 20;

/// Files of a page with the paths that they have on it.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// The built page, from which the element and its engines are taken.
pub(crate) struct Site {
    /// Where it lies; nowhere if the program carries it.
    place: Option<PathBuf>,
    /// What lies in its `web` folder.
    files: Files,
}

impl Site {
    /// The built page at `place`, a folder or the archive of one; without a place the one that the program carries, or
    /// else `dist` in the current folder.
    ///
    /// # Errors
    /// Where there is none, or it cannot be read.
    pub(crate) fn open(place: Option<&Path>) -> Result<Self> {
        let (place, files) = match (place, CARRIED) {
            (None, Some(archive)) => (None, unpack(archive).context("the page that the program carries")?),
            (place, _) => {
                let place = place.unwrap_or(Path::new(DIST));
                let archive = || unpack(&io::read_whole(place)?).with_context(|| place.display().to_string());
                (Some(place.to_path_buf()), if place.is_file() { archive()? } else { read_folder(place)? })
            }
        };
        if !files.iter().any(|(path, _)| path == "web/mean-flow.js") {
            let place = place.as_deref().unwrap_or(Path::new(DIST)).display();
            bail!(
                "{place} holds no built page, and this program carries {}; run `make build` and name its dist folder \
                 with --site",
                if CARRIED.is_some() { "another" } else { "none (it was built without `--features site`)" }
            );
        }
        Ok(Self { place, files })
    }

    /// What lies in its `web` folder.
    pub(crate) fn into_files(self) -> Files {
        self.files
    }
}

/// Refuses a model whose pictures a page cannot show.
///
/// # Errors
/// For one that makes latents, as pages have no autoencoder.
pub(crate) fn check_model(info: &ModelInfo) -> Result<()> {
    if info.latent.is_some() {
        bail!("the model `{}` makes latents, which a page cannot decode", info.name);
    }
    Ok(())
}

/// The files of an archive: tar, compressed by Brotli, as web/tools/page-archive.mjs writes it.
fn unpack(archive: &[u8]) -> Result<Files> {
    let mut files = Files::new();
    for entry in tar::Archive::new(Decompressor::new(archive, 1 << 16).take(MAX_PAGE)).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if path.starts_with("web/") && path.split('/').all(|part| !part.is_empty() && part != "..") {
            files.push((path, bytes));
        }
    }
    Ok(files)
}

/// The files in the `web` folder of a built page; none where there is no such folder.
fn read_folder(place: &Path) -> Result<Files> {
    let mut files = Files::new();
    let mut folders = vec!["web".to_owned()];
    while let Some(folder) = folders.pop() {
        let path = place.join(&folder);
        if !path.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let entry = entry?;
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            match entry.path().is_dir() {
                true => folders.push(name),
                false => files.push((name, io::read_whole(&entry.path())?)),
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Refuses a folder in which something would be lost: one that is or lies in the run or the built page or holds one of
/// them, and one with files that no export has left there.
///
/// # Errors
/// Names the folder and the reason; what is read is checked too.
pub fn check(folder: &Path, site: &Site, run: &Path) -> Result<()> {
    let what = folder.display();
    let page = site.place.as_deref().map(|place| (place, "the built page"));
    for (source, called) in page.into_iter().chain([(run, "the run")]) {
        if io::lies_in(folder, source) || io::lies_in(source, folder) {
            bail!("--web {what} overlaps {called}, {}; choose a folder beside it", source.display());
        }
    }
    match fs::read_dir(folder) {
        Ok(entries) => match is_ours(folder, entries)? {
            true => Ok(()),
            false => {
                bail!(
                    "--web {what} is not empty, and is no page of an earlier export; choose a new folder, or empty it"
                )
            }
        },
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).with_context(|| format!("--web {what}")),
        _ => Ok(()),
    }
}

/// Whether a folder is empty, or holds an earlier export and nothing else; hidden files are the host's.
fn is_ours(folder: &Path, entries: fs::ReadDir) -> Result<bool> {
    let names = entries.map(|entry| Ok(PathBuf::from(entry?.file_name())));
    let names: Vec<PathBuf> = names.collect::<Result<_>>()?;
    let known = ["index.html", "page.css", "poster.png", "web"].map(Path::new);
    let is_known = |name: &PathBuf| {
        known.contains(&name.as_path())
            || name.extension().is_some_and(|ending| ending == "safetensors")
            || name.to_string_lossy().starts_with('.')
    };
    let exported = || ["index.html", "poster.png", "web/mean-flow.js"].iter().all(|name| folder.join(name).is_file());
    Ok(names.is_empty() || names.iter().all(is_known) && exported())
}

/// Writes the folder, which [`check`] has allowed, with the weights of its model.
pub fn write(folder: &Path, site: Site, generator: &Generator, weights: Vec<u8>) -> Result<()> {
    for (path, bytes) in files(site, generator, weights)? {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            io::create_folder(parent)?;
        }
        io::write_atomic(&path, bytes)?;
    }
    Ok(())
}

/// All files of the page of a model, of which `weights` are the bytes of its file; the page itself comes last.
pub(crate) fn files(site: Site, generator: &Generator, weights: Vec<u8>) -> Result<Files> {
    let info = generator.info();
    let file = format!("{}.safetensors", file_name(&info.name));
    let request = Request { seed: 0, count: PICTURES, class: Condition::Any, nfe: 1 };
    let rgba = pollster::block_on(to_rgba(generator.images(request)?))?;
    let poster = grid::encode(&rgba, info.net.image_size, SCALE, Some(COLUMNS))?;
    let page = page(&info.name, &file, &info.data.license);
    let mut files = site.files;
    files.extend([
        (file, weights),
        ("poster.png".into(), poster),
        ("page.css".into(), STYLE.into()),
        ("index.html".into(), page.into()),
    ]);
    Ok(files)
}

/// A model's name as that of a file.
fn file_name(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    if name.is_empty() { "model".into() } else { name }
}

fn page(name: &str, weights: &str, license: &str) -> String {
    let license = match license {
        "" => String::new(),
        license => format!("<p>Learned from images under {}.</p>\n", io::xml(license)),
    };
    let name = io::xml(name);
    let (count, columns) = (PICTURES.to_string(), COLUMNS.to_string());
    let parts = [
        ("policy", POLICY),
        ("name", &name),
        ("weights", weights),
        ("count", &count),
        ("columns", &columns),
        ("license", &license),
    ];
    fill(PAGE, &parts)
}

/// A template of a page with each `{key}` as its value, in which nothing is replaced again.
pub(crate) fn fill(template: &str, parts: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, key, after)) = rest.split_once('{').and_then(|(before, rest)| {
        let (key, after) = rest.split_once('}')?;
        Some((before, key, after))
    }) {
        out += before;
        out += parts.iter().find(|(known, _)| *known == key).map_or("", |(_, value)| value);
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of a page: files with a folder and a foreign file among them, compressed as the program reads it.
    fn archive(names: &[&str]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_ustar();
            header.set_size(name.len() as u64);
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, name.as_bytes()).expect("it is appended");
        }
        uncompressed(&tar.into_inner().expect("it ends"))
    }

    /// Bytes as a Brotli stream that holds them as they are, by RFC 7932: 1 << 24 - 16 bytes of window, then blocks of
    /// up to 64 KiB, then an empty last one.
    fn uncompressed(bytes: &[u8]) -> Vec<u8> {
        // WBITS 16 is one bit, 0; the meta-block: ISLAST 0, MNIBBLES 00, MLEN - 1 in sixteen bits, ISUNCOMPRESSED 1.
        let mut stream = Vec::new();
        for (i, block) in bytes.chunks(1 << 16).enumerate() {
            let header = (block.len() as u32 - 1) << 3 | 1 << 19;
            let header = if i == 0 { header << 1 } else { header };
            stream.extend(&header.to_le_bytes()[..3]);
            stream.extend(block);
        }
        stream.push(3);
        stream
    }

    #[test]
    fn an_archive_gives_the_files_of_its_web_folder_alone() {
        let files =
            unpack(&archive(&["web/mean-flow.js", "web/../../x", "/etc/passwd", "web/engine/a.js", "index.html"]));
        let files = files.expect("it unpacks");
        let names: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, ["web/mean-flow.js", "web/engine/a.js"]);
        assert!(files.iter().all(|(path, bytes)| path.as_bytes() == bytes));
        let whole = archive(&["web/mean-flow.js"]);
        assert!(unpack(&whole[..whole.len() / 2]).is_err());
    }

    #[test]
    fn the_page_has_the_policy_of_the_site_and_nothing_that_it_forbids() {
        let index = include_str!("../../../../index.html");
        assert!(index.contains(&format!("http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"")));
        let page = page("<script>a</script> {license}", "a.safetensors", "\"><img src=x onerror=b>");
        assert!(page.contains(&format!("content=\"{POLICY}\"")));
        for forbidden in ["<style", "style=", "<script>", "<img src=x", "javascript:"] {
            assert!(!page.contains(forbidden), "the page holds `{forbidden}`: {page}");
        }
        assert!(page.contains("<title>&lt;script&gt;a&lt;/script&gt; {license}</title>"), "{page}");
        assert!(!page.replace("{license}</", "").contains('{'), "a part of the template is left: {page}");
    }
}
