//! Labels and captions that lie beside picture files.
//!
//! In this order, the first that has labels is taken:
//! 1. `dataset.json` of StyleGAN and EDM: `{"labels": [["00000/img00000000.png", 4], …]}`, or null for none.
//! 2. `metadata.csv` and `metadata.jsonl` of the Hugging Face hub's image folders: a column `file_name`, from their
//!    folder on.
//! 3. Any other `.csv`, `.tsv` or `.jsonl` file that names images in a column, also without their folder or extension.
//!    Its labels are in a column `label` or alike.
//! 4. Files called like an image: `key.cls`, and `key.json` with a key `label` or alike (WebDataset).
//!
//! Several files of one kind, such as one in each folder, complete one another. A column `split` chooses images.
//!
//! Captions are taken from a column or key `caption`, `text` or alike of the same files, and from `key.txt`.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::columns::{self, Cell};
use super::error::DataError;
use super::files::Files;
use super::{DataConfig, layout, paths};
use crate::io::lfs_pointer;

/// Size beyond which a file of labels beside one image is refused.
const MAX_SIDECAR: u64 = 1 << 20;

/// What columns with the names of images are usually called.
const FILE: [&str; 16] = [
    "file_name",
    "filename",
    "file",
    "image",
    "image_name",
    "imagename",
    "image_id",
    "image_path",
    "img",
    "img_path",
    "path",
    "filepath",
    "file_path",
    "name",
    "key",
    "id",
];

/// Labels and captions by the index of an image's entry.
#[derive(Default)]
pub(super) struct Labels {
    /// Where the labels are from; `None` where there are none.
    pub source: Option<String>,
    pub classes: HashMap<usize, String>,
    pub captions: HashMap<usize, String>,
    /// The split of each image, where a column tells it.
    pub splits: HashMap<usize, String>,
    /// The rank and the column of the tables that the labels are from, and how many there are after the first.
    table: Option<(Option<usize>, String)>,
    more_tables: usize,
    /// Entries that were read.
    pub used: HashSet<usize>,
    /// Images that only tables of other splits name.
    pub other_split: HashSet<usize>,
    /// Whether folders are no classes, whatever there is.
    pub ignores_folders: bool,
}

/// Reads what lies beside the pictures of a set.
pub(super) fn read(files: &Files, config: &DataConfig) -> Result<Labels, DataError> {
    let mut labels = Labels::default();
    let images = Images::of(files);
    let mut lists: Vec<usize> = (0..files.entries.len()).filter(|&i| rank(&files.entries[i].path).is_some()).collect();
    lists.sort_by_key(|&i| (rank(&files.entries[i].path), files.entries[i].path.clone()));
    lists.retain(|&i| !images.is_of_another_split(files, i));
    let splits: Vec<Option<&str>> = lists.iter().map(|&i| table_split(files, i)).collect();
    let has = |wanted: bool| splits.iter().flatten().any(|split| (*split == layout::TRAIN) == wanted);
    let are_split = has(true) && has(false);
    let contents = files.read_packed(&lists)?;
    for ((&entry, content), split) in lists.iter().zip(contents).zip(splits) {
        if let Some(reason) = lfs_pointer(&content) {
            return Err(files.damaged(entry, reason));
        }
        let text = paths::document(&content);
        let path = &files.entries[entry].path;
        let table = match paths::extension(path).as_str() {
            "json" => stylegan(&text, &mut labels),
            "jsonl" => json_lines(&text),
            _ => Ok(delimited(&text, path.ends_with(".tsv"), &images, folder(path))),
        };
        let read = table.and_then(|table| match table {
            Some(table) if are_split && split.is_some_and(|split| split != layout::TRAIN) => {
                images.leave_out_table(files, entry, &table, &mut labels);
                Ok(())
            }
            Some(table) => images.read_table(files, entry, &table, config, &mut labels),
            None => Ok(()),
        });
        match read {
            Err(reason) if rank(path).is_some_and(|rank| rank < 2) => return Err(files.damaged(entry, reason)),
            // It need not be about the images at all.
            Err(reason) => files.notes.say(format!("{path} is not read: {reason}")),
            Ok(()) => {}
        }
    }
    sidecars(files, config, &images, &mut labels)?;
    if config.class_depth == 0 {
        labels.classes.clear();
        labels.source = None;
    }
    if let (Some(source), 1..) = (&mut labels.source, labels.more_tables) {
        *source += &format!(" and {} more tables", labels.more_tables);
    }
    if let Some(source) = &labels.source {
        files.notes.say(format!("classes are from {source}"));
    }
    Ok(labels)
}

/// The split that a table is called after, where the images are in none: such tables tell which images are of which.
fn table_split(files: &Files, entry: usize) -> Option<&'static str> {
    let path = &files.entries[entry].path;
    let is_plain = files.split.is_none() && rank(path) == Some(2);
    if is_plain { layout::split_of_file(paths::base(path)) } else { None }
}

/// How early a file with a table is read, if it may be one.
fn rank(path: &str) -> Option<usize> {
    match (paths::base(path), paths::extension(path).as_str()) {
        ("dataset.json", _) => Some(0),
        ("metadata.csv" | "metadata.jsonl", _) => Some(1),
        (_, "csv" | "tsv" | "jsonl") => Some(2),
        _ => None,
    }
}

/// Whether a file may be one of those that tell labels or captions of images.
pub(super) fn may_describe(path: &str) -> bool {
    rank(path).is_some() || is_sidecar(path)
}

/// Whether a file may tell a label or a caption of the image that is called alike.
fn is_sidecar(path: &str) -> bool {
    matches!(paths::extension(path).as_str(), "cls" | "json" | "txt" | "caption")
}

/// The folder of a path, with its `/`.
fn folder(path: &str) -> &str {
    &path[..path.len() - paths::base(path).len()]
}

/// A name without its last extension.
fn stem(path: &str) -> &str {
    let base = paths::base(path);
    match base.rfind('.') {
        Some(dot) if dot > 0 => &path[..path.len() - base.len() + dot],
        _ => path,
    }
}

/// What WebDataset calls the key of a file: its name up to the first dot.
fn key(path: &str) -> &str {
    let base = paths::base(path);
    match base.find('.') {
        Some(dot) if dot > 0 => &path[..path.len() - base.len() + dot],
        _ => path,
    }
}

/// Rows of named values.
struct Table {
    rows: Vec<Map<String, Value>>,
    /// The column with the names of the images; looked for if not given.
    file_column: Option<String>,
    /// The column of labels, where it is no usual name.
    label_column: Option<String>,
    /// Whether the columns have names of their own.
    has_header: bool,
}

/// `{"labels": [[name, label], …]}`; another file may be called so.
fn stylegan(text: &str, labels: &mut Labels) -> Result<Option<Table>, String> {
    let value = serde_json::from_str::<Value>(text).map_err(|e| format!("is cut off or no JSON ({e})"))?;
    let Value::Object(object) = value else { return Ok(None) };
    let pairs: Vec<(String, Value)> = match object.get("labels") {
        Some(Value::Null) => Vec::new(),
        Some(Value::Array(pairs)) => {
            let pair = |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.clone()));
            let pairs: Option<Vec<_>> = pairs.iter().map(pair).collect();
            pairs.ok_or("has labels that are no pairs of a name and a label")?
        }
        Some(Value::Object(pairs)) => pairs.iter().map(|(name, label)| (name.clone(), label.clone())).collect(),
        _ => return Ok(None),
    };
    // Its folders only keep the number of files in each low.
    labels.ignores_folders = true;
    let row = |(name, label): (String, Value)| {
        Map::from_iter([("file_name".to_owned(), Value::String(name)), ("label".to_owned(), label)])
    };
    let rows = pairs.into_iter().map(row).collect();
    let (file_column, label_column) = (Some("file_name".into()), Some("label".into()));
    Ok(Some(Table { rows, file_column, label_column, has_header: true }))
}

/// An object a line.
fn json_lines(text: &str) -> Result<Option<Table>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(number, line): (usize, &str)| {
        serde_json::from_str::<Map<String, Value>>(line).map_err(|e| format!("line {}: {e}", number + 1))
    };
    let rows = lines.map(row).collect::<Result<_, _>>()?;
    Ok(Some(Table { rows, file_column: None, label_column: None, has_header: true }))
}

/// Values between commas, semicolons or tabs, with a line of names or without.
fn delimited(text: &str, is_tsv: bool, images: &Images, folder: &str) -> Option<Table> {
    let text = text.trim_start_matches('\u{feff}');
    let first = text.lines().next().unwrap_or_default();
    let delimiter = match () {
        () if is_tsv || first.contains('\t') => '\t',
        () if first.contains(';') && !first.contains(',') => ';',
        () => ',',
    };
    let records = records(text, delimiter);
    let head = records.first()?;
    let is_image = |value: &String| paths::has_image_extension(value) && images.find(folder, value, true).is_some();
    let has_header = !head.iter().any(is_image);
    let names: Vec<String> = match has_header {
        true => head.iter().map(|name| name.trim().to_owned()).collect(),
        false => (0..head.len()).map(|i| format!("column {}", i + 1)).collect(),
    };
    let row = |record: &Vec<String>| {
        let pairs = names.iter().zip(record).map(|(name, value)| (name.clone(), Value::String(value.clone())));
        Map::from_iter(pairs)
    };
    let rows = records.iter().skip(usize::from(has_header)).map(row).collect();
    Some(Table { rows, file_column: None, label_column: None, has_header })
}

/// The values of each line (RFC 4180): those in quotes may hold delimiters, line ends, and quotes that are doubled.
fn records(text: &str, delimiter: char) -> Vec<Vec<String>> {
    let (mut records, mut record, mut value, mut is_quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.next_if_eq(&'"').is_some() => value.push('"'),
            '"' if is_quoted => is_quoted = false,
            '"' if value.is_empty() => is_quoted = true,
            _ if is_quoted => value.push(letter),
            '\r' if letters.peek() == Some(&'\n') => {}
            '\n' => {
                record.push(std::mem::take(&mut value));
                records.push(std::mem::take(&mut record));
            }
            _ if letter == delimiter => record.push(std::mem::take(&mut value)),
            _ => value.push(letter),
        }
    }
    if !value.is_empty() || !record.is_empty() {
        record.push(value);
        records.push(record);
    }
    // Empty lines are none.
    records.retain(|record| record.len() > 1 || record.first().is_some_and(|value| !value.is_empty()));
    records
}

/// The images of a set, to find them by what tables call them.
struct Images<'a> {
    by_path: HashMap<&'a str, usize>,
    /// By the name without folders, and that without its extension; those that are not unique lead nowhere.
    by_base: HashMap<&'a str, Option<usize>>,
    by_stem: HashMap<&'a str, Option<usize>>,
    /// The paths of images of splits that are not taken, and their names without folder and extension.
    others: HashSet<&'a str>,
}

impl<'a> Images<'a> {
    fn of(files: &'a Files) -> Self {
        let (mut by_path, mut by_base, mut by_stem) = (HashMap::new(), HashMap::new(), HashMap::new());
        let once = |map: &mut HashMap<&'a str, Option<usize>>, name: &'a str, i: usize| {
            map.entry(name).and_modify(|found| *found = None).or_insert(Some(i));
        };
        for (i, entry) in files.entries.iter().enumerate().filter(|(_, entry)| entry.is_image) {
            by_path.insert(entry.path.as_str(), i);
            once(&mut by_base, paths::base(&entry.path), i);
            once(&mut by_stem, stem(paths::base(&entry.path)), i);
        }
        let others = files.other_splits.iter().flat_map(|path| [path.as_str(), stem(paths::base(path))]).collect();
        Self { by_path, by_base, by_stem, others }
    }

    /// Whether what a table in `folder` calls `name` is of a split that is not taken.
    fn is_other(&self, folder: &str, name: &str) -> bool {
        let name = paths::normal(name.trim(), true);
        let base = paths::base(&name);
        [&format!("{folder}{name}"), name.as_str(), base, stem(base)].into_iter().any(|name| self.others.contains(name))
    }

    /// The image that a table in `folder` calls `name`; with `anywhere` also by its name alone.
    fn find(&self, folder: &str, name: &str, anywhere: bool) -> Option<usize> {
        let name = paths::normal(name.trim(), true);
        if name.is_empty() {
            return None;
        }
        let exact = || self.by_path.get(format!("{folder}{name}").as_str()).or_else(|| self.by_path.get(name.as_str()));
        let alone = || {
            let base = paths::base(&name);
            let found = self.by_base.get(base).or_else(|| self.by_stem.get(base));
            found.or_else(|| self.by_stem.get(stem(base))).copied().flatten()
        };
        exact().copied().or_else(|| if anywhere { alone() } else { None })
    }

    /// Whether a table lies with the images of a split that is not taken, or is called after one.
    fn is_of_another_split(&self, files: &Files, entry: usize) -> bool {
        let path = &files.entries[entry].path;
        let of_name = layout::split_of_file(paths::base(path));
        let is_other_name = match (&files.split, of_name) {
            (Some(split), Some(named)) => split != named,
            _ => false,
        };
        let folder = folder(path);
        let is_beside = |path: &str| !folder.is_empty() && path.starts_with(folder);
        let is_other_folder =
            files.other_splits.iter().any(|path| is_beside(path)) && !self.by_path.keys().any(|path| is_beside(path));
        is_other_name || is_other_folder
    }

    /// The column of a table that names images, if one does.
    fn file_column<'t>(&self, path: &str, table: &'t Table, config: &DataConfig) -> Option<&'t str> {
        let names: Vec<&str> = table.rows.first()?.keys().map(String::as_str).collect();
        let leads = |column: &str| {
            let is_found =
                |row: &&Map<String, Value>| self.find(folder(path), &text_of(row, column), !is_exact(path)).is_some();
            table.rows.iter().filter(is_found).count()
        };
        let setting = config.image_column.as_deref();
        let given =
            table.file_column.as_deref().or(setting).and_then(|name| names.iter().copied().find(|n| *n == name));
        let usual = || {
            let mut usual =
                FILE.iter().filter_map(|usual| names.iter().copied().find(|n| n.eq_ignore_ascii_case(usual)));
            usual.find(|column| leads(column) > 0)
        };
        // Numbers of a column that is called otherwise may equal the names of images by chance.
        let is_file = |column: &&str| {
            let first = table.rows.iter().map(|row| text_of(row, column)).find(|text| !text.is_empty());
            first.is_some_and(|text| paths::has_image_extension(&text)) && leads(column) > 0
        };
        let any = || names.iter().copied().find(is_file);
        given.filter(|column| leads(column) > 0).or_else(usual).or_else(any)
    }

    /// Keeps which images a table of another split names.
    fn leave_out_table(&self, files: &Files, entry: usize, table: &Table, labels: &mut Labels) {
        let path = &files.entries[entry].path;
        let Some(column) = self.file_column(path, table, &DataConfig::default()) else { return };
        labels.used.insert(entry);
        let images = table.rows.iter().filter_map(|row| self.find(folder(path), &text_of(row, column), true));
        labels.other_split.extend(images);
        files.notes.say(format!("images that only {path} names are of another split and left out"));
    }

    /// Takes the labels and captions of a table.
    fn read_table(
        &self,
        files: &Files,
        entry: usize,
        table: &Table,
        config: &DataConfig,
        labels: &mut Labels,
    ) -> Result<(), String> {
        let path = &files.entries[entry].path;
        let Some(first) = table.rows.first() else {
            labels.used.insert(entry);
            return Ok(());
        };
        let Some(file_column) = self.file_column(path, table, config) else { return Ok(()) };
        let others: Vec<&str> = first.keys().map(String::as_str).filter(|name| *name != file_column).collect();
        let settings = without_absent(config, &others);
        let caption = columns::caption(&others, &settings)?;
        let label = match &table.label_column {
            Some(column) => Some(column.clone()),
            None => columns::label(&others, &Map::new(), &settings)?.map(|label| label.name),
        };
        // A table of two columns has its labels in the other one, where it is called like labels or looks like some.
        let label = label.or_else(|| match others[..] {
            [only] if caption.is_none() && config.class_depth > 0 && table.may_be_labels(only) => Some(only.to_owned()),
            _ => None,
        });
        labels.used.insert(entry);
        let (mut classes, mut captions) = (HashMap::new(), HashMap::new());
        let (mut unknown, mut first_unknown) = (0, String::new());
        let of_row: Vec<Option<usize>> =
            table.rows.iter().map(|row| self.find(folder(path), &text_of(row, file_column), !is_exact(path))).collect();
        let split = columns::split(&others).and_then(|column| {
            let values: Vec<String> = table.rows.iter().map(|row| text_of(row, &column).trim().to_owned()).collect();
            columns::splits(&values).map(|splits| (column, splits))
        });
        if let Some((_, splits)) = &split {
            for (image, split) in of_row.iter().zip(splits) {
                labels.splits.extend(image.zip(split.clone()));
            }
        }
        for (row, image) in table.rows.iter().zip(of_row) {
            let Some(image) = image else {
                let name = text_of(row, file_column);
                if !self.is_other(folder(path), &name) {
                    unknown += 1;
                    first_unknown = if unknown == 1 { name } else { first_unknown };
                }
                continue;
            };
            if let Some(column) = &label {
                let cell = row.get(column).map_or(Cell::Missing, Cell::from);
                let class = cell.class(None).map_err(|e| format!("{}: {e}", text_of(row, file_column)))?;
                classes.extend(class.map(|class| (image, class)));
            }
            if let Some(column) = &caption {
                captions.insert(image, text_of(row, column));
            }
        }
        if unknown > 0 {
            let rows = table.rows.len();
            files.notes.say(format!(
                "{unknown} of {rows} rows of {path} name no image of the set, or several: {first_unknown}"
            ));
        }
        if let Some(column) = label.as_ref().filter(|_| !classes.is_empty()) {
            labels.add_table(files, path, column, classes);
        }
        captions.retain(|_, caption| !caption.is_empty());
        if let Some(column) = &caption {
            files.notes.say(format!("captions are from column {column} of {path}"));
        }
        if label.is_none() && caption.is_none() && config.class_depth > 0 {
            let others: Vec<&str> =
                others.into_iter().filter(|name| split.as_ref().is_none_or(|(column, _)| column != name)).collect();
            if !others.is_empty() {
                files.notes.say(columns::no_classes(path, &others));
            }
        }
        for (image, caption) in captions {
            labels.captions.entry(image).or_insert(caption);
        }
        Ok(())
    }
}

impl Labels {
    /// Takes the classes of a table. Tables of one kind, such as one in each folder, tell of different images; of the
    /// same image the first is right, and so is the first kind.
    fn add_table(&mut self, files: &Files, path: &str, column: &str, classes: HashMap<usize, String>) {
        let table = (rank(path), column.to_lowercase());
        match &self.table {
            None if self.source.is_none() => {
                self.classes = classes;
                self.source = Some(format!("column {column} of {path}"));
                self.table = Some(table);
            }
            Some(first) if *first == table => {
                let known = |image: &usize| self.classes.get(image);
                let differs = classes.iter().filter(|(image, class)| known(image).is_some_and(|known| known != *class));
                let (differing, count) = (differs.count(), self.classes.len());
                for (image, class) in classes {
                    self.classes.entry(image).or_insert(class);
                }
                self.more_tables += usize::from(self.classes.len() > count);
                if differing > 0 {
                    files.notes.say(format!("{path} tells other classes of {differing} images, which are not taken"));
                }
            }
            _ => {}
        }
    }
}

impl Table {
    /// Whether a column that is called unusually holds labels all the same: a table of sizes or addresses does not.
    fn may_be_labels(&self, column: &str) -> bool {
        if self.has_header {
            return columns::is_called_label(column);
        }
        let values: Vec<String> = self.rows.iter().map(|row| text_of(row, column)).collect();
        let distinct: HashSet<&String> = values.iter().collect();
        distinct.len() < values.len() || values.iter().all(|value| value.chars().all(char::is_alphabetic))
    }
}

/// Whether a table names images from its folder on, and nothing else.
fn is_exact(path: &str) -> bool {
    rank(path).is_some_and(|rank| rank < 2)
}

/// A value of a row as text.
fn text_of(row: &Map<String, Value>, column: &str) -> String {
    match row.get(column) {
        Some(Value::Number(number)) => number.to_string(),
        Some(value) => columns::captions_in(value),
        None => String::new(),
    }
}

/// The settings without columns that a table lacks: another may have them.
fn without_absent(config: &DataConfig, names: &[&str]) -> DataConfig {
    let present = |column: &Option<String>| column.clone().filter(|column| names.contains(&column.as_str()));
    DataConfig {
        label_column: present(&config.label_column),
        caption_column: present(&config.caption_column),
        ..config.clone()
    }
}

/// What lies beside each image under its own name.
fn sidecars(files: &Files, config: &DataConfig, images: &Images, labels: &mut Labels) -> Result<(), DataError> {
    let mut by_stem: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut by_key: HashMap<&str, Vec<usize>> = HashMap::new();
    for (&path, &i) in &images.by_path {
        by_stem.entry(stem(path)).or_default().push(i);
        by_key.entry(key(path)).or_default().push(i);
    }
    let mut found: Vec<(usize, &[usize])> = Vec::new();
    for (i, entry) in files.entries.iter().enumerate() {
        if !entry.is_image && is_sidecar(&entry.path) && !labels.used.contains(&i) {
            let beside = by_stem.get(stem(&entry.path)).or_else(|| by_key.get(key(&entry.path)));
            found.extend(beside.map(|beside| (i, beside.as_slice())));
        }
    }
    let entries: Vec<usize> = found.iter().map(|(entry, _)| *entry).collect();
    let mut texts: Vec<String> = vec![String::new(); entries.len()];
    let mut pointer = None;
    files.read(&entries, MAX_SIDECAR, &mut |i, content| {
        let content = content.unwrap_or_default();
        pointer = pointer.or_else(|| lfs_pointer(&content).map(|reason| (entries[i], reason)));
        texts[i] = paths::document(&content).trim().to_owned();
    })?;
    if let Some((entry, reason)) = pointer {
        return Err(files.damaged(entry, reason));
    }
    let (mut of_cls, mut of_json): (HashMap<usize, String>, HashMap<usize, String>) = Default::default();
    let (mut text_captions, mut json_captions, mut broken) = (0, 0, 0);
    let mut unread_keys: Option<String> = None;
    for ((entry, beside), text) in found.into_iter().zip(texts) {
        labels.used.insert(entry);
        match paths::extension(&files.entries[entry].path).as_str() {
            _ if text.is_empty() => {}
            "cls" => of_cls.extend(beside.iter().map(|&image| (image, text.clone()))),
            "json" => {
                let Ok(record) = serde_json::from_str::<Map<String, Value>>(&text) else {
                    broken += 1;
                    continue;
                };
                let names: Vec<&str> = record.keys().map(String::as_str).collect();
                let settings = without_absent(config, &names);
                let class = columns::label_of(&record, &settings).unwrap_or_default();
                let caption = columns::caption_of(&record, &settings).unwrap_or_default();
                if class.is_none() && caption.is_none() {
                    unread_keys.get_or_insert_with(|| names.join(", "));
                }
                for &image in beside {
                    of_json.extend(class.clone().map(|class| (image, class)));
                    if let Some(caption) = &caption {
                        labels.captions.entry(image).or_insert_with(|| caption.clone());
                        json_captions += 1;
                    }
                }
            }
            _ => {
                for &image in beside {
                    labels.captions.insert(image, text.clone());
                    text_captions += 1;
                }
            }
        }
    }
    for (classes, source) in [(of_cls, "files .cls beside the images"), (of_json, "files .json beside the images")] {
        if labels.source.is_none() && !classes.is_empty() {
            labels.classes = classes;
            labels.source = Some(source.into());
        }
    }
    for (count, kind) in [(text_captions, "text files"), (json_captions, "files .json")] {
        if count > 0 {
            files.notes.say(format!("captions are from {kind} beside the images"));
        }
    }
    if broken > 0 {
        files.notes.say(format!("{broken} files .json beside the images are cut off or no objects, and not read"));
    }
    if let Some(keys) = unread_keys.filter(|_| labels.source.is_none()) {
        files.notes.say(format!(
            "the files .json beside the images have no class that is called label or alike; their keys are {keys} \
             ([data] label_column and caption_column choose)"
        ));
    }
    Ok(())
}
