//! Sets that hold a file per image, in folders that may name classes.

use std::collections::BTreeMap;

use super::Format;
use crate::data::build::{Builder, Item, choose};
use crate::data::error::DataError;
use crate::data::files::Files;
use crate::data::labels::{self, Labels};
use crate::data::{DataConfig, Images, Visit, archive, columns, decode, paths};

/// The format of folders and archives; a file is none of them by itself.
pub(super) static FORMAT: Format = Format {
    name: "image files",
    sniff: |_| false,
    claims: paths::has_image_extension,
    may_have_columns: true,
    load: load_parts,
};

/// Reads the set in parts of at most `most` images; returns the order of its classes.
fn load_parts(files: &Files, config: &DataConfig, most: usize, visit: &mut Visit) -> Result<Vec<String>, DataError> {
    let (mut items, classes) = list(files, config)?;
    while !items.is_empty() {
        let rest = items.split_off(most.min(items.len()));
        visit(read(files, config, std::mem::replace(&mut items, rest), &classes)?)?;
    }
    Ok(classes)
}

/// The images that the settings choose, in the order of their names, and their classes.
pub(in crate::data) fn list(files: &Files, config: &DataConfig) -> Result<(Vec<Item>, Vec<String>), DataError> {
    let found = labels::read(files, config)?;
    let Labels { source: labelled, mut classes, mut captions, mut splits, used, other_split, ignores_folders, .. } =
        found;
    let mut items = Vec::new();
    let mut not_looked_at: BTreeMap<String, usize> = BTreeMap::new();
    for (source, entry) in files.entries.iter().enumerate() {
        if !entry.is_image {
            if archive::is_archive(&entry.path) {
                files.notes.leave_out("archives inside the set, which are not opened", &entry.path);
            } else if !used.contains(&source) {
                *not_looked_at.entry(paths::extension(&entry.path)).or_default() += 1;
            }
            continue;
        }
        if other_split.contains(&source) && !classes.contains_key(&source) {
            continue;
        }
        let name = files.name_of(entry).to_owned();
        let mut item = Item::new(name, source);
        item.path = (entry.path != item.name).then(|| entry.path.clone());
        item.caption = captions.remove(&source).unwrap_or_default();
        match (&labelled, classes.remove(&source)) {
            (Some(_), Some(class)) => item.class = class,
            (Some(labelled), None) => item.problem = Some(format!("has no class in {labelled}")),
            (None, _) if ignores_folders => {}
            (None, _) => item.class = paths::class_of(&entry.name, config.class_depth),
        }
        items.push(item);
    }
    if !not_looked_at.is_empty() {
        let kind = |(extension, count): (&String, &usize)| match extension.as_str() {
            "" => format!("{count} without extension"),
            extension => format!("{count} .{extension}"),
        };
        let kinds: Vec<String> = not_looked_at.iter().map(kind).collect();
        files.notes.say(format!("files not looked at: {}", kinds.join(", ")));
    }
    if items.is_empty() {
        let lines = std::iter::once("holds no images (png, jpeg, gif, bmp, webp, tiff or pnm)".to_owned());
        let reason = lines.chain(files.notes.lines()).collect::<Vec<_>>().join("\n  ");
        return Err(DataError::NoImages { path: files.path.clone(), reason });
    }
    let of_item: Vec<Option<String>> = items.iter().map(|item| splits.remove(&item.source)).collect();
    let mut takes = files.choose_split(&of_item, config, "images")?.into_iter();
    items.retain(|_| takes.next().unwrap_or(true));
    let items = choose(&files.path, config, items)?;
    if labelled.is_some() {
        let classes = columns::sorted(items.iter().map(|item| item.class.as_str()));
        return Ok((items, classes));
    }
    check_classes(files, &items)?;
    let mut classes: Vec<String> = items.iter().map(|item| item.class.clone()).collect();
    classes.sort();
    classes.dedup();
    Ok((items, classes))
}

fn read(files: &Files, config: &DataConfig, items: Vec<Item>, classes: &[String]) -> Result<Images, DataError> {
    let mut builder = Builder::of(config, items)?;
    let sources: Vec<usize> = builder.items.iter().map(|item| item.source).collect();
    files.read_images(&sources, &mut |i, content| {
        builder.put(i, content.and_then(|bytes| decode::decode(&bytes)));
    })?;
    Ok(builder.finish(classes))
}

/// Either every image has a class or none has.
fn check_classes(files: &Files, items: &[Item]) -> Result<(), DataError> {
    let without = items.iter().find(|item| item.class.is_empty());
    let with = items.iter().find(|item| !item.class.is_empty());
    match (without, with) {
        (Some(file), Some(other)) => Err(DataError::MixedClasses {
            path: files.path.clone(),
            file: file.name.clone(),
            other: other.name.clone(),
        }),
        _ => Ok(()),
    }
}
