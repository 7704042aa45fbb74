//! CIFAR-10 and CIFAR-100, in their binary version (records of label bytes and 32×32 pixels as a red, a green and a
//! blue plane) and in their Python version (pickles of which nothing is run).

use image::RgbaImage;

use super::Format;
use super::pickle::{self, Pickle, Value};
use crate::data::build::{Builder, Item};
use crate::data::error::DataError;
use crate::data::files::Files;
use crate::data::{DataConfig, Visit, paths};

const EDGE: usize = 32;
const PLANE: usize = EDGE * EDGE;
/// Bytes of the pixels of a record.
const PIXELS: usize = 3 * PLANE;

pub(super) static BINARY: Format = Format {
    name: "CIFAR binary files",
    sniff: |head| {
        let is_whole = |labels: usize| head.length.is_multiple_of((labels + PIXELS) as u64);
        paths::extension(head.name) == "bin" && (is_whole(1) || is_whole(2))
    },
    claims: is_binary,
    may_have_columns: false,
    load,
};

/// Comes after pictures: a file without an extension may be called `train` for many reasons.
pub(super) static PYTHON: Format = Format {
    name: "CIFAR Python files",
    sniff: |head| is_python(head.name) && head.content.starts_with(b"\x80"),
    claims: is_python,
    may_have_columns: false,
    load,
};

fn is_binary(name: &str) -> bool {
    let base = paths::base(name);
    base.strip_suffix(".bin").is_some_and(is_python)
}

fn is_python(name: &str) -> bool {
    let base = paths::base(name);
    let number = base.strip_prefix("data_batch_").map(|number| number.parse::<u32>().is_ok());
    number == Some(true) || ["test_batch", "train", "test"].contains(&base)
}

/// Images of one file.
struct Batch {
    /// Labels as numbers into the names, or none.
    labels: Vec<u8>,
    /// Records of [`PIXELS`].
    pixels: Vec<u8>,
}

/// CIFAR-100 has a label of 100 classes and one of their 20 groups for each image.
#[derive(Clone, Copy, PartialEq)]
enum Labels {
    Ten,
    Fine,
    Coarse,
}

impl Labels {
    /// The keys of labels and of class names in pickles, and the file of class names beside binary ones.
    fn keys(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Ten => ("labels", "label_names", "batches.meta.txt"),
            Self::Fine => ("fine_labels", "fine_label_names", "fine_label_names.txt"),
            Self::Coarse => ("coarse_labels", "coarse_label_names", "coarse_label_names.txt"),
        }
    }

    fn count(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Fine => 100,
            Self::Coarse => 20,
        }
    }
}

fn load(files: &Files, config: &DataConfig, _: usize, visit: &mut Visit) -> Result<Vec<String>, DataError> {
    let entries = files.claimed();
    let contents = files.read_packed(&entries)?;
    let mut batches = Vec::new();
    let mut labels = Labels::Ten;
    for (&entry, content) in entries.iter().zip(&contents) {
        let read = match paths::extension(&files.entries[entry].path).as_str() {
            "bin" => binary(content, paths::base(&files.entries[entry].path), config),
            _ => python(content, config),
        };
        let (batch, kind) = read.map_err(|reason| files.damaged(entry, reason))?;
        labels = kind;
        batches.push(batch);
    }
    drop(contents);
    let Some(&first) = entries.first() else {
        return Err(DataError::damaged(&files.path, "holds no CIFAR files"));
    };
    let order = class_names(files, first, labels)?;
    let mut items = Vec::new();
    for (&entry, batch) in entries.iter().zip(&batches) {
        let name = paths::base(&files.entries[entry].path).trim_end_matches(".bin");
        for (i, &label) in batch.labels.iter().enumerate() {
            let Some(class) = order.get(usize::from(label)) else {
                let reason = format!("record {i} has label {label}, but there are {} classes", order.len());
                return Err(files.damaged(entry, reason));
            };
            let name = format!("{class}/{name}-{i:05}");
            let class = if config.class_depth == 0 { String::new() } else { class.clone() };
            items.push(Item { class, ..Item::new(name, items.len()) });
        }
    }
    let records: Vec<&[u8]> = batches.iter().flat_map(|batch| batch.pixels.chunks_exact(PIXELS)).collect();
    let mut builder = Builder::new(&files.path, config, items)?;
    for i in 0..builder.items.len() {
        let record = records[builder.items[i].source];
        builder.put(i, Ok::<_, String>(to_rgba(record)));
    }
    visit(builder.finish(&order))?;
    Ok(order)
}

/// Which labels of CIFAR-100 the settings choose.
fn of_hundred(config: &DataConfig) -> Result<Labels, String> {
    match config.label_column.as_deref() {
        None | Some("fine" | "fine_label" | "fine_labels") => Ok(Labels::Fine),
        Some("coarse" | "coarse_label" | "coarse_labels") => Ok(Labels::Coarse),
        Some(other) => Err(format!("has no labels {other}, but fine_labels and coarse_labels")),
    }
}

fn binary(content: &[u8], name: &str, config: &DataConfig) -> Result<(Batch, Labels), String> {
    let is_hundred = match name {
        "train.bin" | "test.bin" => true,
        _ if is_binary(name) => false,
        _ => !content.len().is_multiple_of(1 + PIXELS),
    };
    let record = PIXELS + if is_hundred { 2 } else { 1 };
    if content.is_empty() || !content.len().is_multiple_of(record) {
        let set = if is_hundred { "CIFAR-100" } else { "CIFAR-10" };
        return Err(format!("is no {set} batch: {} bytes are not a whole number of {record}", content.len()));
    }
    let labels = if is_hundred { of_hundred(config)? } else { Labels::Ten };
    let at = usize::from(labels == Labels::Fine);
    let records = || content.chunks_exact(record);
    let pixels = records().flat_map(|record| &record[record.len() - PIXELS..]).copied().collect();
    Ok((Batch { labels: records().map(|record| record[at]).collect(), pixels }, labels))
}

fn python(content: &[u8], config: &DataConfig) -> Result<(Batch, Labels), String> {
    let pickle = Pickle::read(content)?;
    let labels = if pickle.keys().iter().any(|key| key == "fine_labels") { of_hundred(config)? } else { Labels::Ten };
    let (key, ..) = labels.keys();
    let unknown =
        |wanted: &str| format!("is no CIFAR batch: it has no {wanted}; its keys are {}", pickle.keys().join(", "));
    let pixels = match pickle.get("data") {
        Some(Value::Array { shape: [_, rest @ ..], dtype, bytes })
            if rest.iter().product::<usize>() == PIXELS && dtype.trim_start_matches('|') == "u1" =>
        {
            bytes.to_vec()
        }
        Some(Value::Array { shape, dtype, .. }) => {
            return Err(format!("holds data of shape {shape:?} and type {dtype}, not rows of {PIXELS} bytes"));
        }
        _ => return Err(unknown("data")),
    };
    let numbers: Vec<i64> = match (pickle.list(key), pickle.get(key)) {
        (Some(list), _) => {
            let number = |value: Value| if let Value::Int(number) = value { Some(number) } else { None };
            list.into_iter().map(number).collect::<Option<_>>()
        }
        (None, Some(Value::Array { shape: [count], dtype, bytes })) if *count > 0 => {
            let width = (bytes.len() / count).max(1);
            bytes.chunks_exact(width).map(|bytes| pickle::integer(dtype, bytes)).collect()
        }
        _ => None,
    }
    .ok_or_else(|| unknown(key))?;
    if numbers.len() * PIXELS != pixels.len() {
        return Err(format!("holds {} labels for {} bytes of pixels", numbers.len(), pixels.len()));
    }
    let label = |number: &i64| u8::try_from(*number).map_err(|_| format!("has label {number}"));
    Ok((Batch { labels: numbers.iter().map(label).collect::<Result<_, _>>()?, pixels }, labels))
}

/// The names that lie beside a batch, or the numbers.
fn class_names(files: &Files, batch: usize, labels: Labels) -> Result<Vec<String>, DataError> {
    let path = &files.entries[batch].path;
    let folder = &path[..path.len() - paths::base(path).len()];
    let (_, key, text) = labels.keys();
    if let Some(entry) = files.find(&format!("{folder}{text}")) {
        let content = files.read_packed(&[entry])?.concat();
        let content = String::from_utf8_lossy(&content);
        let lines = content.lines().map(str::trim).filter(|line| !line.is_empty());
        let names: Vec<String> = lines.map(str::to_owned).collect();
        return if names.is_empty() { Err(files.damaged(entry, "names no classes")) } else { Ok(names) };
    }
    let meta = if labels == Labels::Ten { "batches.meta" } else { "meta" };
    if let Some(entry) = files.find(&format!("{folder}{meta}")) {
        let content = files.read_packed(&[entry])?.concat();
        let pickle = Pickle::read(&content).map_err(|reason| files.damaged(entry, reason))?;
        let name = |value: Value| match value {
            Value::Text(text) => Some(text.to_owned()),
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        let names: Option<Vec<String>> = pickle.list(key).and_then(|names| names.into_iter().map(name).collect());
        if let Some(names) = names.filter(|names| !names.is_empty()) {
            return Ok(names);
        }
    }
    Ok((0..labels.count()).map(|label| label.to_string()).collect())
}

fn to_rgba(planes: &[u8]) -> RgbaImage {
    RgbaImage::from_fn(EDGE as u32, EDGE as u32, |x, y| {
        let i = y as usize * EDGE + x as usize;
        image::Rgba([planes[i], planes[PLANE + i], planes[2 * PLANE + i], 255])
    })
}
