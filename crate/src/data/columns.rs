//! Which column of a table holds what: of Parquet and Arrow files, CSV files and records of JSON.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::build::Item;
use super::files::Files;
use super::{DataConfig, layout};

/// What columns of images are usually called.
const IMAGE: [&str; 13] = [
    "image",
    "img",
    "picture",
    "images",
    "imgs",
    "pictures",
    "photo",
    "png",
    "jpg",
    "jpeg",
    "webp",
    "image_bytes",
    "image_data",
];
/// What columns of class labels are usually called.
const LABEL: [&str; 17] = [
    "label",
    "labels",
    "cls",
    "class",
    "classes",
    "class_name",
    "label_name",
    "class_label",
    "class_id",
    "category",
    "fine_label",
    "fine_labels",
    "target",
    "targets",
    "species",
    "breed",
    "y",
];
/// Words that only columns of class labels have in their names.
const LABEL_WORDS: [&str; 16] = [
    "label",
    "labels",
    "cls",
    "class",
    "classes",
    "category",
    "categories",
    "target",
    "targets",
    "species",
    "breed",
    "kind",
    "variety",
    "genre",
    "emotion",
    "digit",
];
/// What columns that tell the split of a row are usually called.
const SPLIT: [&str; 8] = ["split", "splits", "data_split", "dataset_split", "subset", "partition", "usage", "set"];
/// What columns of captions are usually called.
const CAPTION: [&str; 8] = ["caption", "captions", "text", "txt", "prompt", "prompts", "description", "blip_caption"];

/// A column of class labels, and how they are called where that is known.
pub(super) struct LabelColumn {
    pub name: String,
    pub classes: Option<Vec<String>>,
}

/// What a hub's library wrote about the columns of a table: the `features` of its `info`.
fn features(huggingface: Option<&str>) -> Map<String, Value> {
    let said: Option<Value> = huggingface.and_then(|text| serde_json::from_str(text).ok());
    said.and_then(|said| said["info"]["features"].as_object().cloned()).unwrap_or_default()
}

/// The column that a setting names, else the one that is described as of this type, else one that is usually called so.
fn find(
    names: &[&str],
    features: &Map<String, Value>,
    setting: Option<&str>,
    kind: &str,
    usual: &[&str],
) -> Result<Option<String>, String> {
    let Some(wanted) = setting else {
        let said = names.iter().find(|name| features.get(**name).is_some_and(|f| kind_of(f) == Some(kind)));
        let called = || usual.iter().find_map(|usual| names.iter().find(|name| name.eq_ignore_ascii_case(usual)));
        return Ok(said.or_else(called).map(|name| (*name).to_owned()));
    };
    match names.contains(&wanted) {
        true => Ok(Some(wanted.to_owned())),
        false => Err(format!("has no column {wanted}; its columns are {}", names.join(", "))),
    }
}

/// The type of a feature, also inside a list.
fn kind_of(feature: &Value) -> Option<&str> {
    let inner = feature.get("feature").or_else(|| feature.get(0)).unwrap_or(feature);
    inner["_type"].as_str()
}

/// The columns of a table of images that are read.
pub(super) struct Columns {
    pub image: String,
    pub label: Option<LabelColumn>,
    pub caption: Option<String>,
    pub split: Option<String>,
    /// The other ones.
    others: Vec<String>,
}

impl Columns {
    /// Chooses among columns of these names; `candidates` are those that could hold images by their type, and `said` is
    /// what the `huggingface` metadata say.
    pub fn choose(
        names: &[&str],
        candidates: &[&str],
        said: Option<&str>,
        config: &DataConfig,
    ) -> Result<Self, String> {
        let features = features(said);
        let image = image(names, candidates, &features, config)?;
        let (label, caption, split) = (label(names, &features, config)?, caption(names, config)?, split(names));
        let is_read = |name: &str| {
            let label = label.as_ref().map(|label| label.name.as_str());
            name == image || [label, caption.as_deref(), split.as_deref()].contains(&Some(name))
        };
        let others = names.iter().filter(|name| !is_read(name)).map(|name| (*name).to_owned()).collect();
        Ok(Self { image, label, caption, split, others })
    }

    /// Says which columns there are where classes are wanted and none of them names some.
    pub fn note_missing_labels(&self, files: &Files, config: &DataConfig) {
        if self.label.is_none() && config.class_depth > 0 && !self.others.is_empty() {
            files.notes.say(no_classes(&files.entries[files.claimed()[0]].path, &self.others));
        }
    }
}

/// The column of images; `candidates` are those that could hold some by their type.
fn image(
    names: &[&str],
    candidates: &[&str],
    features: &Map<String, Value>,
    config: &DataConfig,
) -> Result<String, String> {
    let found = find(names, features, config.image_column.as_deref(), "Image", &IMAGE)?;
    match (found, candidates) {
        (Some(name), _) => Ok(name),
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => Err(format!(
            "has no column of images that is called image or alike; its columns are {}; choose one with [data] \
             image_column",
            names.join(", ")
        )),
    }
}

/// The column of labels, if there is one.
pub(super) fn label(
    names: &[&str],
    features: &Map<String, Value>,
    config: &DataConfig,
) -> Result<Option<LabelColumn>, String> {
    if config.class_depth == 0 {
        return Ok(None);
    }
    let texts = |names: &Value| names.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    let found = find(names, features, config.label_column.as_deref(), "ClassLabel", &LABEL)?;
    Ok(found.map(|name| {
        let classes = features.get(&name).and_then(|feature| texts(&feature["names"]));
        LabelColumn { name, classes }
    }))
}

/// The column of captions, if there is one.
pub(super) fn caption(names: &[&str], config: &DataConfig) -> Result<Option<String>, String> {
    find(names, &Map::new(), config.caption_column.as_deref(), "", &CAPTION)
}

/// Whether a column's name says that it holds class labels, more or less as usual.
pub(super) fn is_called_label(name: &str) -> bool {
    layout::words(name).into_iter().any(|word| LABEL_WORDS.contains(&name[word].to_lowercase().as_str()))
}

/// Whether a name is one that columns of class labels usually have.
pub(super) fn is_usual_label(name: &str) -> bool {
    LABEL.iter().any(|usual| name.eq_ignore_ascii_case(usual))
}

/// The column that tells the split of a row, if one is called so; what it holds has to be looked at.
pub(super) fn split(names: &[&str]) -> Option<String> {
    let found = SPLIT.iter().find_map(|usual| names.iter().find(|name| name.eq_ignore_ascii_case(usual)));
    found.map(|name| (*name).to_owned())
}

/// The splits that the values of such a column tell; nothing where they are about something else.
pub(super) fn splits(values: &[String]) -> Option<Vec<Option<String>>> {
    let named = || values.iter().filter(|value| !value.is_empty()).map(|value| layout::split_of_file(value));
    let has = |wanted: bool| named().flatten().any(|split| (split == layout::TRAIN) == wanted);
    let are_splits = named().next().is_some() && (named().all(|split| split.is_some()) || has(true) && has(false));
    let split = |value: &String| (!value.is_empty()).then(|| layout::split_named(value));
    are_splits.then(|| values.iter().map(split).collect())
}

/// What is said of a table without classes that has other columns.
pub(super) fn no_classes(table: &str, others: &[impl Borrow<str>]) -> String {
    format!("{table} names no classes; its columns are {} ([data] label_column chooses)", others.join(", "))
}

/// A label as it is stored.
pub(super) enum Cell {
    Text(String),
    Number(i64),
    Missing,
    /// Something that names no class.
    Other,
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        match value {
            _ if value.is_nan() => Self::Missing,
            _ if value.fract() == 0.0 && value.abs() < 1e15 => Self::Number(value as i64),
            _ => Self::Other,
        }
    }
}

impl From<&Value> for Cell {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Missing,
            Value::Bool(value) => Self::Text(value.to_string()),
            Value::String(text) => Self::from(text.as_str()),
            Value::Number(number) => {
                number.as_i64().map(Self::Number).or_else(|| number.as_f64().map(Self::from)).unwrap_or(Self::Other)
            }
            Value::Array(_) | Value::Object(_) => Self::Other,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        match text.trim() {
            "" => Self::Missing,
            text => Self::Text(text.to_owned()),
        }
    }
}

impl Cell {
    /// Its text, empty where it has none.
    pub fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::Missing | Self::Other => String::new(),
        }
    }

    /// The class that it names; `None` where an image has none.
    pub fn class(self, classes: Option<&[String]>) -> Result<Option<String>, String> {
        match (self, classes) {
            (Self::Missing, _) => Ok(None),
            (Self::Text(text), _) => Ok(Some(text)),
            // The hub's test sets have −1 for labels that are kept secret.
            (Self::Number(-1), Some(_)) => Ok(None),
            (Self::Number(number), None) => Ok(Some(number.to_string())),
            (Self::Number(number), Some(classes)) => {
                let class = usize::try_from(number).ok().and_then(|i| classes.get(i));
                let unknown = || format!("its label is {number}, but there are {} names", classes.len());
                class.cloned().map(Some).ok_or_else(unknown)
            }
            (Self::Other, _) => {
                Err("its label is no number and no text; set class_depth = 0 to train without classes".into())
            }
        }
    }
}

/// Items of the rows of a table by their classes, in order. Where some rows have labels, those without cannot be used.
pub(super) fn items(of_row: Vec<Option<String>>) -> Vec<Item> {
    let is_labelled = of_row.iter().any(Option::is_some);
    let item = |(row, class): (usize, Option<String>)| {
        let problem = (is_labelled && class.is_none())
            .then(|| "has no label, as others have; class_depth = 0 needs none".to_owned());
        Item { problem, ..Item::numbered(class.unwrap_or_default(), row, row) }
    };
    of_row.into_iter().enumerate().map(item).collect()
}

/// Classes in their usual order: whole numbers by their value, which their texts are not sorted by, before texts.
pub(super) fn sorted<'a>(classes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let set: BTreeSet<(i64, &str)> = classes
        .filter(|class| !class.is_empty())
        .map(|class| (class.parse::<i64>().unwrap_or(i64::MAX), class))
        .collect();
    set.into_iter().map(|(_, class)| class.to_owned()).collect()
}

/// Of the values of a record by the names of its columns: its label, where it has one.
pub(super) fn label_of(record: &Map<String, Value>, config: &DataConfig) -> Result<Option<String>, String> {
    let names: Vec<&str> = record.keys().map(String::as_str).collect();
    match label(&names, &Map::new(), config)? {
        Some(column) => Cell::from(&record[&column.name]).class(None),
        None => Ok(None),
    }
}

/// Several captions of an image, a line each.
pub(super) fn joined(texts: impl IntoIterator<Item = String>) -> String {
    texts.into_iter().map(|text| text.replace('\n', " ")).collect::<Vec<_>>().join("\n")
}

/// The captions in a value of JSON: a text, or a list of them.
pub(super) fn captions_in(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(texts) => joined(texts.iter().filter_map(Value::as_str).map(String::from)),
        _ => String::new(),
    }
}

/// Its caption, where it has one.
pub(super) fn caption_of(record: &Map<String, Value>, config: &DataConfig) -> Result<Option<String>, String> {
    let names: Vec<&str> = record.keys().map(String::as_str).collect();
    let text = caption(&names, config)?.map(|column| captions_in(&record[&column]));
    Ok(text.filter(|text| !text.is_empty()))
}
