//! From chosen items to [`Images`]: `include` and `exclude`, the pixels, and the labels.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::decode::Picture;
use super::error::DataError;
use super::summary::Tally;
use super::{DataConfig, Images, Skipped, convert, paths};
use crate::io;

/// An image still to be read.
pub(super) struct Item {
    /// Its name inside the set.
    pub name: String,
    /// The path of its file, where that differs from the name.
    pub path: Option<String>,
    /// Its class; empty when it has none.
    pub class: String,
    /// What describes it; empty when nothing does.
    pub caption: String,
    /// Where the format's reader finds it.
    pub source: usize,
    /// Why it cannot be used, whatever its file holds.
    pub problem: Option<String>,
}

impl Item {
    /// An image by its name, without a class.
    pub fn new(name: String, source: usize) -> Self {
        Self { name, path: None, class: String::new(), caption: String::new(), source, problem: None }
    }

    /// One of many images in a file: its name is its class, where it has one, and a number.
    pub fn numbered(class: String, number: usize, source: usize) -> Self {
        let name = format!("{class}{}{number:05}", if class.is_empty() { "" } else { "/" });
        Self { class, ..Self::new(name, source) }
    }

    /// Whether a pattern names it, or a folder that holds it.
    pub fn matches(&self, pattern: &str) -> bool {
        paths::matches(pattern, &self.name) || self.path.as_ref().is_some_and(|path| paths::matches(pattern, path))
    }
}

/// Images being put into their places, which are in the order of the items whatever the order of reading.
pub(super) struct Builder<'a> {
    pub items: Vec<Item>,
    config: &'a DataConfig,
    pixels: Vec<u8>,
    /// Why an item is not there; `None` once it is.
    missing: Vec<Option<String>>,
    tally: Tally,
}

impl<'a> Builder<'a> {
    /// Room for the items that `include` and `exclude` choose.
    pub fn new(path: &Path, config: &'a DataConfig, items: Vec<Item>) -> Result<Self, DataError> {
        Self::of(config, choose(path, config, items)?)
    }

    /// Room for items that are chosen already.
    ///
    /// # Errors
    /// More of them than there may be memory for.
    pub fn of(config: &'a DataConfig, items: Vec<Item>) -> Result<Self, DataError> {
        check_memory(items.len(), config)?;
        let pixels = vec![0; items.len() * config.values()];
        let missing = items.iter().map(|_| Some("was not found again".into())).collect();
        Ok(Self { items, config, pixels, missing, tally: Tally::default() })
    }

    /// The image of item `i`, or the reason why there is none.
    pub fn put(&mut self, i: usize, image: Result<impl Into<Picture>, String>) {
        let values = self.config.values();
        let image = match self.items[i].problem.take() {
            Some(problem) => Err(problem),
            None => image,
        };
        self.missing[i] = match image {
            Ok(image) => {
                let Picture { pixels: image, is_dark } = image.into();
                self.tally.add(&self.items[i].name, image.dimensions(), is_dark, self.config);
                let fitted = convert::fit(image, self.config);
                convert::write_planes(&fitted, self.config, &mut self.pixels[i * values..(i + 1) * values]);
                None
            }
            Err(reason) => Some(reason),
        };
    }

    /// Closes the gaps that unreadable images left; `classes` gives the order of the classes, of which those without
    /// images are dropped.
    pub fn finish(mut self, classes: &[String]) -> Images {
        let values = self.config.values();
        let (mut names, mut of_class, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        let mut captions = Vec::new();
        for (i, (item, missing)) in self.items.into_iter().zip(self.missing).enumerate() {
            match missing {
                Some(reason) => skipped.push(Skipped { name: item.name, reason }),
                None => {
                    self.pixels.copy_within(i * values..(i + 1) * values, names.len() * values);
                    names.push(item.name);
                    of_class.push(item.class);
                    captions.push(item.caption);
                }
            }
        }
        if captions.iter().all(String::is_empty) {
            captions.clear();
        }
        self.pixels.truncate(names.len() * values);
        let (labels, classes) = label(&of_class, classes);
        let (size, channels) = (self.config.size, self.config.planes());
        Images {
            size,
            channels,
            pixels: self.pixels,
            labels,
            classes,
            names,
            captions,
            skipped,
            tally: self.tally,
            ..Images::default()
        }
    }
}

/// Refuses more images than there may be memory for.
///
/// # Errors
/// Says how much they would take, and what to do.
pub(super) fn check_memory(images: usize, config: &DataConfig) -> Result<(), DataError> {
    // An image, and its name.
    let each = (config.values() as u64).saturating_add(64);
    io::check_memory(format_args!("{images} images"), &[images as u64, each])
        .map_err(|e| DataError::Config(format!("{e}; --stream keeps them in a file instead")))
}

/// The items that `include` and `exclude` choose.
///
/// # Errors
/// A pattern that matches nothing, or nothing left.
pub(super) fn choose(path: &Path, config: &DataConfig, mut items: Vec<Item>) -> Result<Vec<Item>, DataError> {
    let no_images = |reason| DataError::NoImages { path: path.into(), reason };
    let total = items.len();
    let matched = |pattern: &&String| items.iter().any(|item| item.matches(pattern));
    if let Some(pattern) = config.include.iter().find(|pattern| !matched(pattern)) {
        return Err(no_images(format!("include = \"{pattern}\" matches none of its {total} images")));
    }
    let any = |patterns: &[String], item: &Item| patterns.iter().any(|pattern| item.matches(pattern));
    items.retain(|item| (config.include.is_empty() || any(&config.include, item)) && !any(&config.exclude, item));
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
