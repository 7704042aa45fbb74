//! Parquet files as the Hugging Face hub ships data sets: a column of encoded pictures, and one of labels.
//!
//! The schema's `huggingface` metadata says which column is which and how the labels are called. Without it, and unless
//! the settings name them, columns are found by what they are usually called. Labels are numbers, texts or truth
//! values. A picture is its bytes, a group with a member `bytes`, or a list of one of these. Names read `class/row`,
//! counted through all files.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use parquet::basic::{ConvertedType, Type as PhysicalType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use super::Format;
use crate::data::build::{Builder, Item, choose};
use crate::data::columns::{self, Cell, Columns};
use crate::data::error::DataError;
use crate::data::files::{Files, foreign, open_file};
use crate::data::{DataConfig, Visit, decode, paths};
use crate::io::catch_decoder_panic;

const MAGIC: &[u8] = b"PAR1";

pub(super) static FORMAT: Format = Format {
    name: "Parquet files",
    sniff: |head| head.raw.starts_with(MAGIC),
    claims: is_parquet,
    may_have_columns: true,
    load: load_parts,
};

/// Whether a file is called like one of images; the hub's folders of images may have one of their metadata.
fn is_parquet(name: &str) -> bool {
    let base = paths::base(name);
    base.len() > 8 && base.ends_with(".parquet") && base != "metadata.parquet"
}

/// One file of the set.
struct Table {
    path: PathBuf,
    reader: SerializedFileReader<File>,
}

/// Reads the set in parts of at most `most` pictures; returns the order of its classes.
fn load_parts(files: &Files, config: &DataConfig, most: usize, visit: &mut Visit) -> Result<Vec<String>, DataError> {
    let tables = open(files)?;
    let Some(first) = tables.first() else {
        return Err(DataError::damaged(&files.path, "holds no Parquet files that can be named"));
    };
    let columns = first.columns(config)?;
    columns.note_missing_labels(files, config);
    let (items, order) = list(files, &tables, &columns, config)?;
    let mut rest = items.into_iter().peekable();
    let mut part = Builder::of(config, rest.by_ref().take(most).collect())?;
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
                let next = Builder::of(config, rest.by_ref().take(most).collect())?;
                visit(std::mem::replace(&mut part, next).finish(&order))?;
                filled = 0;
            }
        }
    }
    visit(part.finish(&order)).map(|()| order)
}

/// The files, by name.
fn open(files: &Files) -> Result<Vec<Table>, DataError> {
    let open = |entry: &crate::data::files::Entry| {
        let Some(path) = files.place(entry) else {
            return Err(DataError::damaged(&files.path, "holds Parquet files; unpack it first"));
        };
        if let Some(reason) = foreign(path) {
            return Err(DataError::damaged(path, reason));
        }
        let file = open_file(path).map_err(|e| DataError::io(path, e))?;
        let length = file.metadata().map_err(|e| DataError::io(path, e))?.len();
        let reader = catch_decoder_panic(|| SerializedFileReader::new(file).map_err(|e| e.to_string()));
        let reader = reader.map_err(|e| DataError::damaged(path, e))?;
        // A row of nothing takes no bytes; a picture takes some.
        let rows = reader.metadata().file_metadata().num_rows();
        if u64::try_from(rows).is_ok_and(|rows| rows <= length) {
            return Ok(Table { path: path.into(), reader });
        }
        Err(DataError::damaged(path, format!("claims {rows} rows, but has only {length} bytes")))
    };
    files.claimed().into_iter().map(|entry| open(&files.entries[entry])).collect()
}

impl Table {
    fn damaged(&self, reason: impl ToString) -> DataError {
        DataError::damaged(&self.path, reason.to_string())
    }

    fn schema(&self) -> &Type {
        self.reader.metadata().file_metadata().schema()
    }

    /// The rows with nothing but one column.
    fn rows(&self, column: &str) -> Result<impl Iterator<Item = Result<Row, String>> + '_, DataError> {
        let field = self.schema().get_fields().iter().find(|field| field.name() == column);
        let field = field.ok_or_else(|| self.damaged(format!("has no column `{column}`")))?;
        let only = Type::group_type_builder(self.schema().name()).with_fields(vec![Arc::clone(field)]).build();
        let only = only.map_err(|e| self.damaged(e))?;
        let rows = catch_decoder_panic(|| self.reader.get_row_iter(Some(only)).map_err(|e| e.to_string()));
        let mut rows = rows.map_err(|e| self.damaged(e))?;
        let next = move || catch_decoder_panic(|| rows.next().transpose().map_err(|e| e.to_string())).transpose();
        Ok(std::iter::from_fn(next))
    }

    fn columns(&self, config: &DataConfig) -> Result<Columns, DataError> {
        let pairs = self.reader.metadata().file_metadata().key_value_metadata();
        let said = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == "huggingface")?.value.as_deref());
        let fields = self.schema().get_fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
        let candidates: Vec<&str> = fields.iter().filter(|f| may_hold_images(f)).map(|field| field.name()).collect();
        Columns::choose(&names, &candidates, said, config).map_err(|reason| self.damaged(reason))
    }
}

/// Whether a column is of bytes that are no text, or a group with such a member `bytes`.
fn may_hold_images(field: &Type) -> bool {
    match field.is_group() {
        true => field.get_fields().iter().any(|member| member.name() == "bytes" || may_hold_images(member)),
        false => {
            let is_text = field.get_basic_info().converted_type() == ConvertedType::UTF8;
            field.get_physical_type() == PhysicalType::BYTE_ARRAY && !is_text
        }
    }
}

/// The chosen rows of all tables, and the order of the classes.
fn list(
    files: &Files,
    tables: &[Table],
    columns: &Columns,
    config: &DataConfig,
) -> Result<(Vec<Item>, Vec<String>), DataError> {
    let mut of_row: Vec<Option<String>> = Vec::new();
    match &columns.label {
        None => {
            let rows: i64 = tables.iter().map(|table| table.reader.metadata().file_metadata().num_rows()).sum();
            of_row.resize(usize::try_from(rows).unwrap_or(0), None);
        }
        Some(label) => {
            for table in tables {
                for row in table.rows(&label.name)? {
                    let row = row.map_err(|e| table.damaged(e))?;
                    let class = cell(&row).class(label.classes.as_deref());
                    of_row.push(class.map_err(|e| table.damaged(format!("row {}: {e}", of_row.len())))?);
                }
            }
        }
    }
    let order = match columns.label.as_ref().and_then(|label| label.classes.clone()) {
        Some(classes) => classes,
        None => columns::sorted(of_row.iter().flatten().map(String::as_str)),
    };
    let mut items = columns::items(of_row);
    if let Some(caption) = &columns.caption {
        let mut row = 0;
        for table in tables {
            for found in table.rows(caption)? {
                let found = found.map_err(|e| table.damaged(e))?;
                if let (Some(item), Some((_, field))) = (items.get_mut(row), found.get_column_iter().next()) {
                    item.caption = text(field).unwrap_or_default();
                }
                row += 1;
            }
        }
    }
    let takes = files.choose_split(&splits(tables, columns, items.len())?, config, "rows")?;
    items.retain(|item| takes[item.source]);
    Ok((choose(&files.path, config, items)?, order))
}

/// The split of each of `count` rows, where a column tells it.
fn splits(tables: &[Table], columns: &Columns, count: usize) -> Result<Vec<Option<String>>, DataError> {
    let mut values = Vec::new();
    for (table, column) in tables.iter().zip(columns.split.iter().cycle()) {
        for row in table.rows(column)? {
            values.push(cell(&row.map_err(|e| table.damaged(e))?).text());
        }
    }
    Ok(columns::splits(&values).filter(|splits| splits.len() == count).unwrap_or_else(|| vec![None; count]))
}

/// A text, or those of a list, a line each.
fn text(field: &Field) -> Option<String> {
    match field {
        Field::Str(text) => Some(text.clone()),
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).ok().map(str::to_owned),
        Field::ListInternal(list) => Some(columns::joined(list.elements().iter().filter_map(text))),
        _ => None,
    }
}

/// The label in a row.
fn cell(row: &Row) -> Cell {
    match row.get_column_iter().next().map(|(_, field)| field) {
        None | Some(Field::Null) => Cell::Missing,
        Some(Field::Bool(value)) => Cell::Text(value.to_string()),
        Some(Field::Byte(n)) => Cell::Number((*n).into()),
        Some(Field::Short(n)) => Cell::Number((*n).into()),
        Some(Field::Int(n)) => Cell::Number((*n).into()),
        Some(Field::Long(n)) => Cell::Number(*n),
        Some(Field::UByte(n)) => Cell::Number((*n).into()),
        Some(Field::UShort(n)) => Cell::Number((*n).into()),
        Some(Field::UInt(n)) => Cell::Number((*n).into()),
        Some(Field::ULong(n)) => i64::try_from(*n).map_or(Cell::Other, Cell::Number),
        Some(Field::Float(x)) => Cell::from(f64::from(*x)),
        Some(Field::Double(x)) => Cell::from(*x),
        Some(field @ (Field::Str(_) | Field::Bytes(_))) => {
            text(field).map_or(Cell::Other, |text| Cell::from(text.as_str()))
        }
        Some(_) => Cell::Other,
    }
}

/// The bytes of the picture in a row.
fn picture(row: &Row) -> Result<&[u8], String> {
    let field = row.get_column_iter().next().map(|(_, field)| field);
    field.map_or_else(|| Err("holds no image".into()), bytes)
}

/// The bytes of a picture: they themselves, a group with a member `bytes`, or a list of one of these.
fn bytes(field: &Field) -> Result<&[u8], String> {
    match field {
        Field::Bytes(bytes) => Ok(bytes.data()),
        Field::Group(group) => {
            let member = |wanted: &str| group.get_column_iter().find(|(name, _)| name.as_str() == wanted);
            match (member("bytes"), member("path")) {
                (Some((_, Field::Bytes(bytes))), _) => Ok(bytes.data()),
                (_, Some((_, Field::Str(path)))) => Err(format!("is not in the table, but in the file {path}")),
                _ => Err("holds no bytes of an image".into()),
            }
        }
        Field::ListInternal(list) => match list.elements() {
            [only] => bytes(only),
            several => Err(format!("holds a list of {} images, not of one", several.len())),
        },
        Field::Null => Err("holds no image".into()),
        _ => Err("holds no bytes of an image".into()),
    }
}
