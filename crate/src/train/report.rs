//! A run as one page: its curves, its pictures, its settings. Nothing is fetched when it is read.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame};
use serde_json::Value;

use super::run::SAMPLE_CAPTIONS;
use crate::io::xml;

/// A curve is drawn of at most so many points: more are not seen, and make a large page.
const POINTS: usize = 600;
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;

/// The page of a run folder, as HTML.
///
/// # Errors
/// When the folder holds no run, or one that has logged nothing, or the disk refuses.
pub fn report(run: &Path) -> Result<String> {
    let settings = read(&run.join("config.toml"))?;
    let model: Value = serde_json::from_str(&read(&run.join("model.json"))?)
        .with_context(|| format!("{} is damaged", run.join("model.json").display()))?;
    let log = read(&run.join("log.jsonl"))?;
    let records: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let Some(last) = records.last() else { bail!("{} has logged nothing yet", run.display()) };
    let grids = grids(run)?;
    let name = xml(model["name"].as_str().unwrap_or("a run"));
    let mut page =
        format!("{HEAD}<title>{name}</title>\n<h1>{name}</h1>\n<p class=\"facts\">{}</p>\n", facts(&model, last));
    for (title, keys) in [
        ("Squared residual, by rows", &["residual_interval", "residual_instant"][..]),
        ("Weighted loss", &["loss"]),
        ("Learning rate", &["learning_rate"]),
        ("Images per second", &["images_per_second"]),
    ] {
        let _ = write!(page, "<h2>{title}</h2>\n{}", curves(&records, keys));
    }
    if let Some(newest) = grids.last() {
        let bytes = fs::read(newest).with_context(|| format!("cannot read {}", newest.display()))?;
        let _ = write!(page, "<h2>Samples of step {}</h2>\n{}", step_of(newest), picture("png", &bytes));
        page += &captions(run)?;
    }
    if grids.len() > 1 {
        let _ = write!(page, "<h2>From the first step to the last</h2>\n{}", picture("gif", &progress(&grids)?));
    }
    let _ = write!(page, "<h2>Settings</h2>\n<pre>{}</pre>\n", xml(&settings));
    Ok(page)
}

/// The sample grids of a run one after the other, as an animated GIF.
///
/// # Errors
/// When a grid cannot be read.
fn progress(grids: &[PathBuf]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 10);
    encoder.set_repeat(Repeat::Infinite)?;
    for (i, path) in grids.iter().enumerate() {
        let file = BufReader::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?);
        let picture = image::load(file, image::ImageFormat::Png).with_context(|| path.display().to_string())?;
        // GIF knows no half transparency: pictures lie on white.
        let mut white = image::RgbaImage::from_pixel(picture.width(), picture.height(), image::Rgba([255; 4]));
        image::imageops::overlay(&mut white, &picture.to_rgba8(), 0, 0);
        let milliseconds = if i + 1 == grids.len() { 2000 } else { 250 };
        encoder.encode_frame(Frame::from_parts(white, 0, 0, Delay::from_numer_denom_ms(milliseconds, 1)))?;
    }
    drop(encoder);
    Ok(bytes)
}

/// The sample grids, in the order of their steps.
pub(super) fn grids(run: &Path) -> Result<Vec<PathBuf>> {
    let folder = run.join("samples");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut grids: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "png"))
        .collect();
    grids.sort_by_key(|grid| step_of(grid));
    Ok(grids)
}

/// The step that a sample grid is of.
pub(super) fn step_of(grid: &Path) -> u64 {
    let name = grid.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    name.trim_start_matches("step-").parse().unwrap_or(0)
}

/// What the pictures of a grid are asked with; nothing for a run without prompts.
fn captions(run: &Path) -> Result<String> {
    let file = run.join(SAMPLE_CAPTIONS);
    if !file.exists() {
        return Ok(String::new());
    }
    let items: Vec<String> = read(&file)?.lines().map(|line| format!("<li>{}</li>\n", xml(line))).collect();
    Ok(format!("<details><summary>Their captions, row by row</summary>\n<ol>\n{}</ol></details>\n", items.concat()))
}

fn facts(model: &Value, last: &Value) -> String {
    let number = |value: &Value| value.as_f64().map_or("–".into(), |x| format!("{x:.0}"));
    let text = |value: &Value| xml(value.as_str().unwrap_or("–"));
    let net = &model["net"];
    let count = |key: &str| model[key].as_array().map_or(0, Vec::len);
    let told = match net["text"].is_object() {
        true => format!("{} words", count("vocabulary")),
        false => format!("{} classes", count("classes")),
    };
    format!(
        "Step {} · {} images · {}×{}×{} · {told} · width {}, depth {} · {} images per second · {}, {}, {}",
        number(&last["step"]),
        number(&model["data"]["images"]),
        number(&net["image_size"]),
        number(&net["image_size"]),
        number(&net["channels"]),
        number(&net["width"]),
        number(&net["depth"]),
        number(&last["images_per_second"]),
        text(&model["training"]["program"]),
        std::env::consts::OS,
        std::env::consts::ARCH,
    )
}

/// The columns of the log over the steps, logarithmic where they are above zero and span a decade.
fn curves(records: &[Value], keys: &[&str]) -> String {
    let every = records.len().div_ceil(POINTS).max(1);
    let series: Vec<(&str, Vec<[f64; 2]>)> = keys
        .iter()
        .map(|&key| {
            let point = |record: &Value| Some([record["step"].as_f64()?, record[key].as_f64()?]);
            (key, records.iter().step_by(every).filter_map(point).collect())
        })
        .collect();
    let all: Vec<[f64; 2]> = series.iter().flat_map(|(_, points)| points.iter().copied()).collect();
    let range = |axis: usize| {
        let (low, high) =
            all.iter().fold((f64::MAX, f64::MIN), |(low, high), point| (low.min(point[axis]), high.max(point[axis])));
        if low < high { (low, high) } else { (low - 0.5, low + 0.5) }
    };
    let ((first, end), (low, high)) = (range(0), range(1));
    let logarithmic = low > 0.0 && high > 10.0 * low;
    let height = |y: f64| match logarithmic {
        true => (y / low).ln() / (high / low).ln(),
        false => (y - low) / (high - low),
    };
    let mut svg = format!("<svg viewBox=\"0 0 {} {}\" role=\"img\">\n", WIDTH + 90.0, HEIGHT + 24.0);
    let _ = write!(
        svg,
        "<path class=\"frame\" d=\"M0 0V{HEIGHT}H{WIDTH}\"/><text x=\"{0}\" y=\"12\">{2}</text>\
         <text x=\"{0}\" y=\"{HEIGHT}\">{3}</text><text x=\"{WIDTH}\" y=\"{1}\" text-anchor=\"end\">step {end:.0}</text>",
        WIDTH + 8.0,
        HEIGHT + 18.0,
        short(high),
        short(low)
    );
    for (i, (key, points)) in series.iter().enumerate() {
        let path: Vec<String> = points
            .iter()
            .map(|[x, y]| format!("{:.1},{:.1}", WIDTH * (x - first) / (end - first), HEIGHT * (1.0 - height(*y))))
            .collect();
        let _ = write!(svg, "<polyline class=\"curve{i}\" points=\"{}\"/>", path.join(" "));
        if keys.len() > 1 && !points.is_empty() {
            let words = key.replace('_', " ");
            let _ = write!(svg, "<text class=\"curve{i}\" x=\"12\" y=\"{}\">{words}</text>", 18 + 18 * i);
        }
    }
    svg + "</svg>\n"
}

/// A number with about as many digits as matter.
fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if size >= 100.0 => format!("{x:.0}"),
        size if size >= 1.0 => format!("{x:.2}"),
        size if size >= 0.001 => format!("{x:.4}"),
        _ => format!("{x:.1e}"),
    }
}

fn picture(kind: &str, bytes: &[u8]) -> String {
    format!("<img alt=\"\" src=\"data:image/{kind};base64,{}\">\n", BASE64.encode(bytes))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The page up to its title.
const HEAD: &str = include_str!("report_head.html");
