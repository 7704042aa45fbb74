//! `meanflow export --web`: a folder for any static host, with the weights, a poster and a page that shows them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use meanflow::Class;
use meanflow::generator::{Generator, Request};
use meanflow::image::to_rgba;
use meanflow::train::grid;

/// Pictures of the poster and of the page.
const PICTURES: usize = 12;
const COLUMNS: u32 = 6;
/// Each pixel of the poster is enlarged this many times.
const SCALE: u32 = 3;

/// Writes the folder; `weights` are its model's, and `site` is the built page, whose `web` folder holds the element.
pub fn write(folder: &Path, site: &Path, generator: &Generator, weights: &[u8]) -> Result<()> {
    let element = site.join("web");
    if !element.join("mean-flow.js").exists() {
        bail!("{} holds no built page; run `make build` and name its dist folder with --site", site.display());
    }
    copy(&element, &folder.join("web"))?;
    let info = generator.info();
    let file = format!("{}.safetensors", file_name(&info.name));
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    put(&file, weights)?;
    let request = Request { seed: 0, count: PICTURES, class: Class::Any, nfe: 1 };
    let rgba = pollster::block_on(to_rgba(generator.images(request)?))?;
    grid::write(&folder.join("poster.png"), &rgba, info.net.image_size, SCALE, Some(COLUMNS))?;
    put("index.html", page(&info.name, &file, &info.data.license).as_bytes())
}

/// Copies a folder with everything in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        match path.is_dir() {
            true => copy(&path, &target)?,
            false => drop(fs::copy(&path, &target).with_context(|| format!("cannot copy {}", path.display()))?),
        }
    }
    Ok(())
}

/// A model's name as that of a file.
fn file_name(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    if name.is_empty() { "model".into() } else { name }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn page(name: &str, file: &str, license: &str) -> String {
    let name = escape(name);
    let element = format!(
        "<mean-flow src=\"{file}\" seed=\"0\" count=\"{PICTURES}\" columns=\"{COLUMNS}\" controls></mean-flow>"
    );
    let script = "<script type=\"module\" src=\"web/mean-flow.js\"></script>";
    let license = if license.is_empty() {
        String::new()
    } else {
        format!("<p>Learned from images under {}.</p>\n", escape(license))
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{name}</title>\n\
         <style>body {{ max-width: 720px; margin: 40px auto; padding: 0 20px; font: 16px/1.5 system-ui, sans-serif; }} img {{ width: 100%; image-rendering: pixelated; }} pre {{ overflow-x: auto; }}</style>\n\
         {script}\n<h1>{name}</h1>\n<p>Each picture is one call of a small network, made in this page.</p>\n{}\n\
         <noscript><img src=\"poster.png\" alt=\"{PICTURES} pictures that the model made\"></noscript>\n{license}\
         <h2>In a page of yours</h2>\n<pre><code>{}\n{}</code></pre>\n</html>\n",
        element.replace(
            "></mean-flow>",
            &format!(
                "><img slot=\"poster\" src=\"poster.png\" alt=\"{PICTURES} pictures that the model made\"></mean-flow>"
            )
        ),
        escape(script).replace("&quot;", "\""),
        escape(&element).replace("&quot;", "\""),
    )
}
