//! Sets that hold a file per image, in folders that may name classes.

use super::build::{Builder, Item};
use super::error::DataError;
use super::files::Files;
use super::{DataConfig, Images, convert, paths};

pub(super) fn load(files: &Files, config: &DataConfig) -> Result<Images, DataError> {
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
    let mut builder = Builder::new(&files.path, config, items)?;
    let sources: Vec<usize> = builder.items.iter().map(|item| item.source).collect();
    let mut classes: Vec<String> = builder.items.iter().map(|item| item.class.clone()).collect();
    check_classes(files, &builder.items)?;
    classes.sort();
    classes.dedup();

    files.read_images(&sources, &mut |i, content| {
        builder.put(i, content.and_then(|bytes| convert::decode(&bytes)));
    })?;
    builder.finish(&classes)
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
