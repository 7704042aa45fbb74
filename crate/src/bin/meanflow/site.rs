//! `meanflow export --web`: a folder for any static host, with the weights, a poster and a page that shows them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use meanflow::generator::Generator;
use meanflow::generator::to_rgba;
use meanflow::io::grid;
use meanflow::model::Request;
use meanflow::{Condition, io};

/// Pictures of the poster and of the page.
const PICTURES: usize = 12;
const COLUMNS: u32 = 6;
/// Each pixel of the poster is enlarged this many times.
const SCALE: u32 = 3;
/// What the page may load and run, as `index.html` of the site has it: its own files, and no script in the page itself.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; \
                      object-src 'none'; base-uri 'none'; form-action 'none'";
const PAGE: &str = include_str!("site/page.html");
const STYLE: &str = include_str!("site/page.css");

/// Refuses a folder in which something would be lost: one that is or lies in the run or the built page or holds one of
/// them, and one with files that no export has left there.
///
/// # Errors
/// Names the folder and the reason; what is read is checked too.
pub fn check(folder: &Path, site: &Path, run: &Path) -> Result<()> {
    if !site.join("web/mean-flow.js").is_file() {
        bail!("{} holds no built page; run `make build` and name its dist folder with --site", site.display());
    }
    let what = folder.display();
    for (source, called) in [(site, "the built page"), (run, "the run")] {
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

/// Writes the folder, which [`check`] has allowed; `weights` are its model's, and `site` is the built page, whose `web`
/// folder holds the element.
pub fn write(folder: &Path, site: &Path, generator: &Generator, weights: &[u8]) -> Result<()> {
    copy(&site.join("web"), &folder.join("web"))?;
    let info = generator.info();
    let file = format!("{}.safetensors", file_name(&info.name));
    let request = Request { seed: 0, count: PICTURES, class: Condition::Any, nfe: 1 };
    let rgba = pollster::block_on(to_rgba(generator.images(request)?))?;
    io::write_atomic(&folder.join(&file), weights)?;
    grid::write(&folder.join("poster.png"), &rgba, info.net.image_size, SCALE, Some(COLUMNS))?;
    io::write_atomic(&folder.join("page.css"), STYLE)?;
    io::write_atomic(&folder.join("index.html"), page(&info.name, &file, &info.data.license))?;
    Ok(())
}

/// Copies a folder with everything in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    io::create_folder(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        match path.is_dir() {
            true => copy(&path, &target)?,
            false => io::copy(&path, &target)?,
        }
    }
    Ok(())
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

/// The template with each `{key}` as its value, in which nothing is replaced again.
fn fill(template: &str, parts: &[(&str, &str)]) -> String {
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
