//! From chosen items to [`Images`]: `include` and `exclude`, the pixels, the labels, and the 1 % rule.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use image::RgbaImage;

use super::error::DataError;
use super::{DataConfig, Images, Skipped, convert, paths};

/// An image still to be read.
pub(super) struct Item {
    /// Its name inside the set.
    pub name: String,
    /// Its class; empty when it has none.
    pub class: String,
    /// Where the format's reader finds it.
    pub source: usize,
}

/// Images being put into their places, which are in the order of the items whatever the order of reading.
pub(super) struct Builder<'a> {
    pub items: Vec<Item>,
    path: PathBuf,
    config: &'a DataConfig,
    pixels: Vec<u8>,
    /// Why an item is not there; `None` once it is.
    missing: Vec<Option<String>>,
}

impl<'a> Builder<'a> {
    /// Room for the items that `include` and `exclude` choose.
    pub fn new(path: &Path, config: &'a DataConfig, items: Vec<Item>) -> Result<Self, DataError> {
        Ok(Self::of(path, config, choose(path, config, items)?))
    }

    /// Room for items that are chosen already.
    pub fn of(path: &Path, config: &'a DataConfig, items: Vec<Item>) -> Self {
        let pixels = vec![0; items.len() * config.values()];
        let missing = items.iter().map(|_| Some("was not found again".into())).collect();
        Self { items, path: path.into(), config, pixels, missing }
    }

    /// The image of item `i`, or the reason why there is none.
    pub fn put(&mut self, i: usize, image: Result<RgbaImage, String>) {
        let values = self.config.values();
        self.missing[i] = match image {
            Ok(image) => {
                let fitted = convert::fit(image, self.config);
                convert::write_planes(&fitted, self.config, &mut self.pixels[i * values..(i + 1) * values]);
                None
            }
            Err(reason) => Some(reason),
        };
    }

    /// Closes the gaps that unreadable images left; `classes` gives the order of the classes, of which those without
    /// images are dropped.
    pub fn finish(mut self, classes: &[String]) -> Result<Images, DataError> {
        let (values, total) = (self.config.values(), self.items.len());
        let (mut names, mut of_class, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (item, missing)) in self.items.into_iter().zip(self.missing).enumerate() {
            match missing {
                Some(reason) => skipped.push(Skipped { name: item.name, reason }),
                None => {
                    self.pixels.copy_within(i * values..(i + 1) * values, names.len() * values);
                    names.push(item.name);
                    of_class.push(item.class);
                }
            }
        }
        if skipped.len() * 100 > total {
            return Err(DataError::TooManyUnreadable { path: self.path, total, skipped });
        }
        self.pixels.truncate(names.len() * values);
        let (labels, classes) = label(&of_class, classes);
        let (size, channels) = (self.config.size, self.config.channels);
        Ok(Images { size, channels, pixels: self.pixels, labels, classes, names, skipped, ..Images::default() })
    }
}

/// The items that `include` and `exclude` choose.
///
/// # Errors
/// A pattern that matches nothing, or nothing left.
pub(super) fn choose(path: &Path, config: &DataConfig, mut items: Vec<Item>) -> Result<Vec<Item>, DataError> {
    let no_images = |reason| DataError::NoImages { path: path.into(), reason };
    let total = items.len();
    let matched = |pattern: &&String| items.iter().any(|item| paths::matches(pattern, &item.name));
    if let Some(pattern) = config.include.iter().find(|pattern| !matched(pattern)) {
        return Err(no_images(format!("include = \"{pattern}\" matches none of its {total} images")));
    }
    let any = |patterns: &[String], name: &str| patterns.iter().any(|pattern| paths::matches(pattern, name));
    items.retain(|item| {
        (config.include.is_empty() || any(&config.include, &item.name)) && !any(&config.exclude, &item.name)
    });
    match items.is_empty() {
        true => Err(no_images(format!("include and exclude leave none of its {total} images"))),
        false => Ok(items),
    }
}

/// Labels, and the classes they index: those in `order` that occur. An empty name is of no class.
pub(crate) fn label(of_class: &[String], order: &[String]) -> (Vec<u32>, Vec<String>) {
    let used: HashSet<&String> = of_class.iter().filter(|class| !class.is_empty()).collect();
    let classes: Vec<String> = order.iter().filter(|class| used.contains(class)).cloned().collect();
    let index: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
    let labels = of_class.iter().map(|class| index.get(class.as_str()).copied().unwrap_or(0)).collect();
    (labels, classes)
}
