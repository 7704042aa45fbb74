//! Arrow files as `save_to_disk` of the Hugging Face hub's library writes them: `data-00000-of-00001.arrow`.
//!
//! Columns are found as in Parquet files. Names read `class/row`, counted through all files.

use std::path::{Path, PathBuf};

use super::Format;
use super::ipc::{Array, CONTINUATION, FILE_MAGIC, Field, Reader, Schema, Value};
use crate::data::build::{Builder, Item, choose};
use crate::data::columns::{self, Cell, Columns, LabelColumn};
use crate::data::error::DataError;
use crate::data::files::{Files, foreign, open_file};
use crate::data::{DataConfig, Visit, decode};

pub(super) static FORMAT: Format = Format {
    name: "Arrow files",
    sniff: |head| is_arrow(head.raw),
    claims: |name| name.ends_with(".arrow"),
    may_have_columns: true,
    load,
};

fn is_arrow(raw: &[u8]) -> bool {
    raw.starts_with(FILE_MAGIC) || raw.starts_with(&CONTINUATION) && raw.len() > 8 && raw[7] == 0
}

/// The columns that are read, and their places in the schema.
struct Places {
    columns: Columns,
    image: usize,
    label: Option<usize>,
    caption: Option<usize>,
    split: Option<usize>,
}

impl Places {
    fn find(schema: &Schema, config: &DataConfig) -> Result<Self, String> {
        let said = schema.metadata.iter().find(|(key, _)| key == "huggingface");
        let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
        let bytes = schema.fields.iter().filter(|field| Field::holds_bytes(field));
        let candidates: Vec<&str> = bytes.map(|field| field.name.as_str()).collect();
        let said = said.map(|(_, value)| value.as_str());
        let columns = Columns::choose(&names, &candidates, said, config)?;
        let place = |name: &str| names.iter().position(|other| *other == name);
        let missing = || format!("has no column {}; its columns are {}", columns.image, names.join(", "));
        Ok(Self {
            image: place(&columns.image).ok_or_else(missing)?,
            label: columns.label.as_ref().and_then(|label| place(&label.name)),
            caption: columns.caption.as_deref().and_then(place),
            split: columns.split.as_deref().and_then(place),
            columns,
        })
    }

    fn label(&self) -> Option<(usize, &LabelColumn)> {
        self.label.zip(self.columns.label.as_ref())
    }
}

fn load(files: &Files, config: &DataConfig, most: usize, visit: &mut Visit) -> Result<Vec<String>, DataError> {
    let place = |entry: usize| {
        let place = files.place(&files.entries[entry]).map(Path::to_path_buf);
        place.ok_or_else(|| DataError::damaged(&files.path, "holds Arrow files; unpack it first"))
    };
    let paths: Vec<PathBuf> = files.claimed().into_iter().map(place).collect::<Result<_, _>>()?;
    let (mut of_row, mut captions): (Vec<Option<String>>, Vec<String>) = (Vec::new(), Vec::new());
    let (mut order, mut splits) = (None, Vec::new());
    for path in &paths {
        each_batch(path, config, &mut |places, arrays, rows| {
            order = places.label().and_then(|(_, label)| label.classes.clone());
            places.columns.note_missing_labels(files, config);
            for row in 0..rows {
                splits.push(match places.split {
                    Some(place) => cell(&arrays[place].value(row)?).text(),
                    None => String::new(),
                });
                of_row.push(match places.label() {
                    None => None,
                    Some((place, label)) => cell(&arrays[place].value(row)?)
                        .class(label.classes.as_deref())
                        .map_err(|e| format!("row {}: {e}", of_row.len()))?,
                });
                if let Some(place) = places.caption {
                    captions.push(text(&arrays[place].value(row)?)?);
                }
            }
            Ok(())
        })?;
    }
    let order = order.unwrap_or_else(|| columns::sorted(of_row.iter().flatten().map(String::as_str)));
    let mut items = columns::items(of_row);
    items.iter_mut().zip(captions).for_each(|(item, caption)| item.caption = caption);
    let splits = columns::splits(&splits).unwrap_or_else(|| vec![None; items.len()]);
    let takes = files.choose_split(&splits, config, "rows")?;
    items.retain(|item| takes[item.source]);
    let items = choose(&files.path, config, items)?;
    read(&paths, items, &order, config, most, visit).map(|()| order)
}

/// The pictures of the chosen rows, part by part.
fn read(
    paths: &[PathBuf],
    items: Vec<Item>,
    order: &[String],
    config: &DataConfig,
    most: usize,
    visit: &mut Visit,
) -> Result<(), DataError> {
    let mut rest = items.into_iter().peekable();
    let mut part = Builder::of(config, rest.by_ref().take(most).collect())?;
    let (mut filled, mut row, mut failed) = (0, 0, None);
    for path in paths {
        let read = each_batch(path, config, &mut |places, arrays, rows| {
            for i in 0..rows {
                if part.items.get(filled).is_some_and(|item| item.source == row) {
                    part.put(filled, picture(&arrays[places.image].value(i)?).and_then(decode::decode));
                    filled += 1;
                }
                row += 1;
                if filled == part.items.len() && rest.peek().is_some() {
                    let next = Builder::of(config, rest.by_ref().take(most).collect()).map_err(|e| e.to_string())?;
                    filled = 0;
                    if let Err(e) = visit(std::mem::replace(&mut part, next).finish(order)) {
                        failed = Some(e);
                        return Err(String::new());
                    }
                }
            }
            Ok(())
        });
        read.map_err(|e| failed.take().unwrap_or(e))?;
    }
    visit(part.finish(order))
}

/// Gets the columns of some rows, and how many rows there are.
type VisitBatch<'a> = dyn FnMut(&Places, &[Array], usize) -> Result<(), String> + 'a;

/// Reads a file, some rows after others.
fn each_batch(path: &Path, config: &DataConfig, visit: &mut VisitBatch) -> Result<(), DataError> {
    let damaged = |e: String| DataError::damaged(path, e);
    if let Some(reason) = foreign(path) {
        return Err(damaged(reason.into()));
    }
    let file = open_file(path).map_err(|e| DataError::io(path, e))?;
    let mut reader = Reader::open(file).map_err(damaged)?;
    let places = Places::find(&reader.schema, config).map_err(damaged)?;
    while let Some(batch) = reader.batch().map_err(damaged)? {
        let arrays = batch.columns(&reader.schema).map_err(damaged)?;
        visit(&places, &arrays, batch.rows).map_err(damaged)?;
    }
    Ok(())
}

/// A text, or the first of a list.
fn text(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::Text(text) => (*text).to_owned(),
        Value::List(array, range) => {
            let texts = range.clone().map(|at| text(&array.value(at)?)).collect::<Result<Vec<_>, String>>()?;
            columns::joined(texts)
        }
        _ => String::new(),
    })
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Missing,
        Value::Int(number) => Cell::Number(*number),
        Value::Float(number) => Cell::from(*number),
        Value::Bool(value) => Cell::Text(value.to_string()),
        Value::Text(text) => Cell::from(*text),
        _ => Cell::Other,
    }
}

/// The bytes of a picture: they themselves, a group with a member `bytes`, or a list of one of these.
fn picture<'a>(value: &Value<'a>) -> Result<&'a [u8], String> {
    match value {
        Value::Binary(bytes) => Ok(bytes),
        Value::Struct(members, row) => {
            let member = |name: &str| members.iter().find(|member| member.field.name == name);
            let bytes = member("bytes").map(|bytes| bytes.value(*row)).transpose()?;
            let path = member("path").map(|path| path.value(*row)).transpose()?;
            match (bytes, path) {
                (Some(Value::Binary(bytes)), _) => Ok(bytes),
                (_, Some(Value::Text(path))) => Err(format!("is not in the table, but in the file {path}")),
                _ => Err("holds no bytes of an image".into()),
            }
        }
        Value::List(array, range) => match range.len() {
            1 => picture(&array.value(range.start)?),
            several => Err(format!("holds a list of {several} images, not of one")),
        },
        Value::Null => Err("holds no image".into()),
        _ => Err("holds no bytes of an image".into()),
    }
}
