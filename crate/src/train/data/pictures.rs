//! Sets that hold a file per image, in folders that may name classes.

use super::build::{Builder, Item, choose};
use super::error::DataError;
use super::files::Files;
use super::format::Format;
use super::{DataConfig, Images, Visit, decode, paths};

/// The format of folders and archives; a file is none of them by itself.
pub(super) static FORMAT: Format =
    Format { name: "image files", sniff: |_| false, claims: paths::has_image_extension, load: load_parts };

/// Reads the set in parts of at most `most` images; returns the order of its classes.
fn load_parts(
    files: &Files,
    config: &DataConfig,
    most: usize,
    visit: &mut Visit,
) -> Result<Vec<String>, DataError> {
    let (mut items, classes) = list(files, config)?;
    while !items.is_empty() {
        let rest = items.split_off(most.min(items.len()));
        visit(read(files, config, std::mem::replace(&mut items, rest), &classes)?)?;
    }
    Ok(classes)
}

/// The images that the settings choose, in the order of their names, and their classes.
pub(super) fn list(files: &Files, config: &DataConfig) -> Result<(Vec<Item>, Vec<String>), DataError> {
    let images = files.entries.iter().enumerate().filter(|(_, entry)| entry.is_image);
    let items: Vec<Item> = images
        .map(|(source, entry)| Item {
            name: entry.name.clone(),
            class: paths::class_of(&entry.name, config.class_depth),
            source,
        })
        .collect();
    if items.is_empty() {
        let reason = "holds no images (png, jpeg, gif, bmp or webp)".into();
        return Err(DataError::NoImages { path: files.path.clone(), reason });
    }
    let items = choose(&files.path, config, items)?;
    check_classes(files, &items)?;
    let mut classes: Vec<String> = items.iter().map(|item| item.class.clone()).collect();
    classes.sort();
    classes.dedup();
    Ok((items, classes))
}

fn read(files: &Files, config: &DataConfig, items: Vec<Item>, classes: &[String]) -> Result<Images, DataError> {
    let mut builder = Builder::of(&files.path, config, items);
    let sources: Vec<usize> = builder.items.iter().map(|item| item.source).collect();
    files.read_images(&sources, &mut |i, content| {
        builder.put(i, content.and_then(|bytes| decode::decode(&bytes)));
    })?;
    builder.finish(classes)
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
