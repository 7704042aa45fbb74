//! CIFAR-10's binary version: records of a label byte and 32×32 pixels as a red, a green and a blue plane.

use image::RgbaImage;

use super::build::{Builder, Item};
use super::error::DataError;
use super::files::Files;
use super::format::Format;
use super::{DataConfig, Visit, paths};

const EDGE: usize = 32;
const PLANE: usize = EDGE * EDGE;
/// Bytes of a record.
const RECORD: usize = 1 + 3 * PLANE;
const CLASS_NAMES: &str = "batches.meta.txt";

pub(super) static FORMAT: Format = Format {
    name: "CIFAR-10 binary files",
    sniff: |head| {
        head.name.to_ascii_lowercase().ends_with(".bin") && head.length.is_multiple_of(RECORD as u64)
    },
    claims: is_batch,
    load,
};

/// Whether a file is called like a CIFAR-10 batch.
fn is_batch(name: &str) -> bool {
    let base = paths::base(name);
    (base.starts_with("data_batch_") || base == "test_batch.bin") && base.ends_with(".bin")
}

fn load(files: &Files, config: &DataConfig, _: usize, visit: &mut Visit) -> Result<Vec<String>, DataError> {
    let entries = choose(files);
    let contents = files.read_packed(&entries)?;
    for (&entry, content) in entries.iter().zip(&contents) {
        if content.is_empty() || !content.len().is_multiple_of(RECORD) {
            let reason = format!("is no CIFAR-10 batch: {} bytes are not a whole number of {RECORD}", content.len());
            return Err(files.damaged(entry, reason));
        }
    }
    let order = class_names(files, entries[0])?;
    let records: Vec<&[u8]> = contents.iter().flat_map(|content| content.chunks_exact(RECORD)).collect();
    let mut items = Vec::with_capacity(records.len());
    for (&entry, content) in entries.iter().zip(&contents) {
        let batch = paths::base(&files.entries[entry].name).trim_end_matches(".bin");
        for (i, record) in content.chunks_exact(RECORD).enumerate() {
            let Some(class) = order.get(usize::from(record[0])) else {
                let reason = format!("record {i} has label {}, but there are {} classes", record[0], order.len());
                return Err(files.damaged(entry, reason));
            };
            let name = format!("{class}/{batch}-{i:05}");
            let class = if config.class_depth == 0 { String::new() } else { class.clone() };
            items.push(Item { name, class, source: items.len() });
        }
    }
    let mut builder = Builder::new(&files.path, config, items)?;
    for i in 0..builder.items.len() {
        let record = records[builder.items[i].source];
        builder.put(i, Ok(to_rgba(&record[1..])));
    }
    visit(builder.finish(&order)?)?;
    Ok(order)
}

/// The file that was named itself, or all training batches, or the test batch where it is alone.
fn choose(files: &Files) -> Vec<usize> {
    let named = |start: &str| -> Vec<usize> {
        let is = |name: &str| is_batch(name) && paths::base(name).starts_with(start);
        (0..files.entries.len()).filter(|&i| is(&files.entries[i].name)).collect()
    };
    match files.chosen {
        Some(entry) => vec![entry],
        None => Some(named("data_batch_")).filter(|train| !train.is_empty()).unwrap_or_else(|| named("test_batch")),
    }
}

/// The lines of `batches.meta.txt` beside a batch, or the digits.
fn class_names(files: &Files, batch: usize) -> Result<Vec<String>, DataError> {
    let name = &files.entries[batch].name;
    let folder = &name[..name.len() - paths::base(name).len()];
    let Some(entry) = files.find(&format!("{folder}{CLASS_NAMES}")) else {
        return Ok((0..10).map(|label| label.to_string()).collect());
    };
    let text = files.read_packed(&[entry])?.concat();
    let text = String::from_utf8_lossy(&text);
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    match names.is_empty() {
        true => Err(files.damaged(entry, "names no classes")),
        false => Ok(names),
    }
}

fn to_rgba(planes: &[u8]) -> RgbaImage {
    RgbaImage::from_fn(EDGE as u32, EDGE as u32, |x, y| {
        let i = y as usize * EDGE + x as usize;
        image::Rgba([planes[i], planes[PLANE + i], planes[2 * PLANE + i], 255])
    })
}
