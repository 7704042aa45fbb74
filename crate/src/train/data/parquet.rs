//! Parquet files as the Hugging Face hub ships data sets: a column of encoded pictures, and one of labels.
//!
//! The schema's `huggingface` metadata says which column is which and how the labels are called. Without it, the pictures
//! are the column `image`, `img` or `picture`, and the labels `label` or `labels`: whole numbers or texts. A picture is its
//! bytes, or a group with a member `bytes`. Of several files, those whose name begins with `train` are taken if there are
//! any. Names read `class/row`, counted through all files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::Value;

use super::build::{Builder, Item, choose};
use super::error::DataError;
use super::files::Files;
use super::format::Format;
use super::{DataConfig, Visit, decode, paths};

const MAGIC: &[u8] = b"PAR1";

pub(super) static FORMAT: Format = Format {
    name: "Parquet files",
    sniff: |head| head.raw == MAGIC,
    claims: is_parquet,
    load: load_parts,
};

/// Whether a file is called like one.
fn is_parquet(name: &str) -> bool {
    name.len() > 8 && name.ends_with(".parquet")
}

/// One file of the set.
struct Table {
    path: PathBuf,
    reader: SerializedFileReader<File>,
}

/// What the schema says about the columns.
struct Columns {
    image: String,
    /// The column of labels, and their names where these are known.
    label: Option<(String, Option<Vec<String>>)>,
}

/// Reads the set in parts of at most `most` pictures; returns the order of its classes.
fn load_parts(
    files: &Files,
    config: &DataConfig,
    most: usize,
    visit: &mut Visit,
) -> Result<Vec<String>, DataError> {
    let tables = open(files)?;
    let Some(first) = tables.first() else {
        return Err(DataError::damaged(&files.path, "holds no Parquet files that can be named"));
    };
    let columns = first.columns(config.class_depth > 0)?;
    let (items, order) = list(&files.path, &tables, &columns, config)?;
    let mut rest = items.into_iter().peekable();
    let mut part = Builder::of(&files.path, config, rest.by_ref().take(most).collect());
    let (mut filled, mut row) = (0, 0);
    for table in &tables {
        for found in table.rows(&columns.image)? {
            let found = found.map_err(|e| table.damaged(e))?;
            if part.items.get(filled).is_some_and(|item| item.source == row) {
                part.put(filled, picture(&found).and_then(decode::decode));
                filled += 1;
            }
            row += 1;
            if filled == part.items.len() && rest.peek().is_some() {
                let next = Builder::of(&files.path, config, rest.by_ref().take(most).collect());
                visit(std::mem::replace(&mut part, next).finish(&order)?)?;
                filled = 0;
            }
        }
    }
    visit(part.finish(&order)?).map(|()| order)
}

/// The files, by name.
fn open(files: &Files) -> Result<Vec<Table>, DataError> {
    let named: Vec<&super::files::Entry> = files.entries.iter().filter(|entry| is_parquet(&entry.name)).collect();
    let is_train = |entry: &&&super::files::Entry| paths::base(&entry.name).starts_with("train");
    let train: Vec<_> = named.iter().filter(is_train).copied().collect();
    let chosen = match (files.chosen, train.is_empty()) {
        (Some(chosen), _) => vec![&files.entries[chosen]],
        (None, true) => named,
        (None, false) => train,
    };
    let open = |entry: &super::files::Entry| {
        let Some(path) = files.place(entry) else {
            return Err(DataError::damaged(&files.path, "holds Parquet files; unpack it first"));
        };
        let file = File::open(path).map_err(|e| DataError::io(path, e))?;
        let reader = SerializedFileReader::new(file).map_err(|e| DataError::damaged(path, e.to_string()))?;
        Ok(Table { path: path.into(), reader })
    };
    chosen.into_iter().map(open).collect()
}

impl Table {
    fn damaged(&self, reason: impl ToString) -> DataError {
        DataError::damaged(&self.path, reason.to_string())
    }

    fn schema(&self) -> &Type {
        self.reader.metadata().file_metadata().schema()
    }

    /// The rows with nothing but one column.
    fn rows(&self, column: &str) -> Result<impl Iterator<Item = parquet::errors::Result<Row>> + '_, DataError> {
        let field = self.schema().get_fields().iter().find(|field| field.name() == column);
        let field = field.ok_or_else(|| self.damaged(format!("has no column `{column}`")))?;
        let only = Type::group_type_builder(self.schema().name()).with_fields(vec![Arc::clone(field)]).build();
        let only = only.map_err(|e| self.damaged(e))?;
        self.reader.get_row_iter(Some(only)).map_err(|e| self.damaged(e))
    }

    fn columns(&self, labelled: bool) -> Result<Columns, DataError> {
        let known = self.features();
        let kind = |name: &str| known.get(name).and_then(|feature| feature["_type"].as_str());
        let names: Vec<&str> = self.schema().get_fields().iter().map(|field| field.name()).collect();
        let find = |wanted: &str, usual: &[&str]| {
            let said = names.iter().find(|name| kind(name) == Some(wanted));
            said.or_else(|| names.iter().find(|name| usual.contains(name))).map(|name| (*name).to_owned())
        };
        let image = find("Image", &["image", "img", "picture"])
            .ok_or_else(|| self.damaged(format!("has no column of pictures; its columns are {}", names.join(", "))))?;
        if !labelled {
            return Ok(Columns { image, label: None });
        }
        let texts = |names: &Value| names.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect();
        let label = find("ClassLabel", &["label", "labels"]).map(|column| {
            let names = known.get(&column).and_then(|feature| texts(&feature["names"]));
            (column, names)
        });
        Ok(Columns { image, label })
    }

    /// What the hub's library wrote about the columns.
    fn features(&self) -> serde_json::Map<String, Value> {
        let pairs = self.reader.metadata().file_metadata().key_value_metadata();
        let text = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == "huggingface")?.value.as_deref());
        let said: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
        said.and_then(|said| said["info"]["features"].as_object().cloned()).unwrap_or_default()
    }
}

/// The chosen rows of all tables, and the order of the classes.
fn list(
    path: &Path,
    tables: &[Table],
    columns: &Columns,
    config: &DataConfig,
) -> Result<(Vec<Item>, Vec<String>), DataError> {
    let mut classes = Vec::new();
    match &columns.label {
        None => {
            let rows: i64 = tables.iter().map(|table| table.reader.metadata().file_metadata().num_rows()).sum();
            classes.resize(usize::try_from(rows).unwrap_or(0), String::new());
        }
        Some((column, names)) => {
            for table in tables {
                for row in table.rows(column)? {
                    let row = row.map_err(|e| table.damaged(e))?;
                    let class = class(&row, names.as_deref());
                    classes.push(class.map_err(|e| table.damaged(format!("row {}: {e}", classes.len())))?);
                }
            }
        }
    }
    let mut order = columns.label.as_ref().and_then(|(_, names)| names.clone()).unwrap_or_else(|| classes.clone());
    if columns.label.as_ref().is_none_or(|(_, names)| names.is_none()) {
        // Numbers by their value, which their texts are not sorted by.
        order.sort_by_key(|class| (class.parse::<i64>().unwrap_or(i64::MAX), class.clone()));
        order.dedup();
    }
    let items = classes.into_iter().enumerate().map(|(source, class)| {
        let name = format!("{class}{}{source:05}", if class.is_empty() { "" } else { "/" });
        Item { name, class, source }
    });
    Ok((choose(path, config, items.collect())?, order))
}

/// The class in a row of labels.
fn class(row: &Row, names: Option<&[String]>) -> Result<String, String> {
    let field = row.get_column_iter().next().map(|(_, field)| field);
    let number = match field {
        Some(Field::Str(text)) if !text.is_empty() => return Ok(text.clone()),
        Some(Field::Byte(n)) => i64::from(*n),
        Some(Field::Short(n)) => i64::from(*n),
        Some(Field::Int(n)) => i64::from(*n),
        Some(Field::Long(n)) => *n,
        Some(Field::UByte(n)) => i64::from(*n),
        Some(Field::UShort(n)) => i64::from(*n),
        Some(Field::UInt(n)) => i64::from(*n),
        _ => return Err("its label is no number and no text; set class_depth = 0 to train without classes".into()),
    };
    match names {
        None => Ok(number.to_string()),
        Some(names) => {
            let name = usize::try_from(number).ok().and_then(|i| names.get(i));
            name.cloned().ok_or_else(|| format!("its label is {number}, but there are {} names", names.len()))
        }
    }
}

/// The bytes of the picture in a row.
fn picture(row: &Row) -> Result<&[u8], String> {
    let missing = || "holds no bytes of a picture".to_owned();
    match row.get_column_iter().next().map(|(_, field)| field).ok_or_else(missing)? {
        Field::Bytes(bytes) => Ok(bytes.data()),
        Field::Group(group) => {
            let member = group.get_column_iter().find(|(name, _)| name.as_str() == "bytes");
            match member.map(|(_, field)| field) {
                Some(Field::Bytes(bytes)) => Ok(bytes.data()),
                _ => Err(missing()),
            }
        }
        _ => Err(missing()),
    }
}
