//! Arrow files as `save_to_disk` of the Hugging Face hub's library writes them: `data-00000-of-00001.arrow`.
//!
//! Columns are found as in Parquet files. Names read `class/row`, counted through all files.

use std::path::{Path, PathBuf};

use super::build::{Builder, Item, choose};
use super::columns::{self, Cell, LabelColumn};
use super::error::DataError;
use super::files::{Files, foreign, open_file};
use super::format::Format;
use super::ipc::{Array, CONTINUATION, FILE_MAGIC, Field, Reader, Schema, Value};
use super::{DataConfig, Visit, decode};

pub(super) static FORMAT: Format =
    Format { name: "Arrow files", sniff: |head| is_arrow(head.raw), claims: |name| name.ends_with(".arrow"), load };

fn is_arrow(raw: &[u8]) -> bool {
    raw.starts_with(FILE_MAGIC) || raw.starts_with(&CONTINUATION) && raw.len() > 8 && raw[7] == 0
}

/// Places of the columns in the schema.
struct Columns {
    image: usize,
    label: Option<(usize, LabelColumn)>,
    caption: Option<usize>,
    split: Option<usize>,
    /// The names of the other ones.
    others: Vec<String>,
}

impl Columns {
    fn find(schema: &Schema, config: &DataConfig) -> Result<Self, String> {
        let said = schema.metadata.iter().find(|(key, _)| key == "huggingface");
        let features = columns::features(said.map(|(_, value)| value.as_str()));
        let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
        let bytes = schema.fields.iter().filter(|field| Field::holds_bytes(field));
        let candidates: Vec<&str> = bytes.map(|field| field.name.as_str()).collect();
        let place = |name: &str| {
            let place = names.iter().position(|other| *other == name);
            place.ok_or_else(|| format!("has no column {name}; its columns are {}", names.join(", ")))
        };
        let label = columns::label(&names, &features, config)?;
        let caption = columns::caption(&names, config)?;
        let image = place(&columns::image(&names, &candidates, &features, config)?)?;
        let label = label.map(|label| Ok::<_, String>((place(&label.name)?, label))).transpose()?;
        let caption = caption.map(|caption| place(&caption)).transpose()?;
        let split = columns::split(&names).map(|split| place(&split)).transpose()?;
        let read = [Some(image), label.as_ref().map(|(place, _)| *place), caption, split];
        let others = names.iter().enumerate().filter(|(i, _)| !read.contains(&Some(*i)));
        let others = others.map(|(_, name)| (*name).to_owned()).collect();
        Ok(Self { image, label, caption, split, others })
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
        each_batch(path, config, &mut |columns, arrays, rows| {
            order = columns.label.as_ref().and_then(|(_, label)| label.classes.clone());
            if columns.label.is_none() && config.class_depth > 0 && !columns.others.is_empty() {
                let others: Vec<&str> = columns.others.iter().map(String::as_str).collect();
                files.notes.say(columns::no_classes(&files.entries[files.claimed()[0]].path, &others));
            }
            for row in 0..rows {
                splits.push(match columns.split {
                    Some(place) => cell(&arrays[place].value(row)?).text(),
                    None => String::new(),
                });
                of_row.push(match &columns.label {
                    None => None,
                    Some((place, label)) => cell(&arrays[*place].value(row)?)
                        .class(label.classes.as_deref())
                        .map_err(|e| format!("row {}: {e}", of_row.len()))?,
                });
                if let Some(place) = columns.caption {
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
        let read = each_batch(path, config, &mut |columns, arrays, rows| {
            for i in 0..rows {
                if part.items.get(filled).is_some_and(|item| item.source == row) {
                    part.put(filled, picture(&arrays[columns.image].value(i)?).and_then(decode::decode));
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
type VisitBatch<'a> = dyn FnMut(&Columns, &[Array], usize) -> Result<(), String> + 'a;

/// Reads a file, some rows after others.
fn each_batch(path: &Path, config: &DataConfig, visit: &mut VisitBatch) -> Result<(), DataError> {
    let damaged = |e: String| DataError::damaged(path, e);
    if let Some(reason) = foreign(path) {
        return Err(damaged(reason.into()));
    }
    let file = open_file(path).map_err(|e| DataError::io(path, e))?;
    let mut reader = Reader::open(file).map_err(damaged)?;
    let columns = Columns::find(&reader.schema, config).map_err(damaged)?;
    while let Some(batch) = reader.batch().map_err(damaged)? {
        let arrays = batch.columns(&reader.schema).map_err(damaged)?;
        visit(&columns, &arrays, batch.rows).map_err(damaged)?;
    }
    Ok(())
}

/// A text, or the first of a list.
fn text(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::Text(text) => (*text).to_owned(),
        Value::List(array, range) if !range.is_empty() => text(&array.value(range.start)?)?,
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
