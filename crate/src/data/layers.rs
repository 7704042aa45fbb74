//! Pictures laid over one another: a set of a few hundred parts that holds millions of pictures.

use std::collections::BTreeSet;

use image::{RgbaImage, imageops};
use serde::{Deserialize, Serialize};

use super::build::{self, Builder, Item};
use super::error::DataError;
use super::files::Files;
use super::formats::pictures;
use super::{DataConfig, Visit, convert, decode, paths};
use crate::rng::{Purpose, Stream};

/// How parts become pictures: the `[data.layers]` table of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layers {
    /// Folders inside the set, written like [`DataConfig::include`]; the first lies at the bottom.
    pub folders: Vec<String>,
    /// How many pictures are drawn, each with one part of every folder.
    pub count: usize,
    /// The folder whose part is a picture's class; without it there are no classes.
    #[serde(default)]
    pub class: Option<String>,
    /// Which pictures are drawn: another seed gives others of the same parts, to measure with.
    #[serde(default)]
    pub seed: u64,
}

/// What lies in one of the folders.
struct Layer {
    /// Names without their folder, extension, and what all names of the layer begin with.
    names: Vec<String>,
    parts: Vec<RgbaImage>,
}

impl Layers {
    /// # Errors
    /// Fewer than two layers, no pictures to draw, or a class that is no layer.
    pub(super) fn validate(&self) -> Result<(), DataError> {
        let wrong = |reason: String| Err(DataError::Config(format!("layers: {reason}")));
        match &self.class {
            _ if self.folders.len() < 2 => wrong(format!("needs two folders or more, not {}", self.folders.len())),
            _ if self.count == 0 => wrong("count must be 1 or more".into()),
            Some(class) if !self.folders.contains(class) => {
                wrong(format!("class = \"{class}\" is none of the folders"))
            }
            _ => Ok(()),
        }
    }

    /// For each layer the part of it that picture `i` has; a picture does not depend on how many there are.
    fn draw(&self, i: usize, layers: &[Layer]) -> Vec<usize> {
        let mut stream = Stream::new(self.seed, Purpose::Layers, i as u64);
        layers.iter().map(|layer| stream.below(layer.parts.len())).collect()
    }
}

/// As [`pictures::load_parts`](super::formats::pictures::load_parts), of the pictures that `layers` draws.
pub(super) fn load_parts(
    files: &Files,
    config: &DataConfig,
    layers: &Layers,
    most: usize,
    visit: &mut Visit,
) -> Result<Vec<String>, DataError> {
    let parts = read(files, config, &layers.folders)?;
    let of_class = layers.class.as_ref().and_then(|class| layers.folders.iter().position(|folder| folder == class));
    let classes: BTreeSet<String> = of_class.iter().flat_map(|&layer| parts[layer].names.iter().cloned()).collect();
    let classes: Vec<String> = classes.into_iter().collect();
    build::check_memory(most.min(layers.count), config)?;
    for first in (0..layers.count).step_by(most.min(layers.count)) {
        let drawn: Vec<Vec<usize>> =
            (first..layers.count.min(first.saturating_add(most))).map(|i| layers.draw(i, &parts)).collect();
        let item = |drawn: &Vec<usize>| {
            let name = |layer: usize| parts[layer].names[drawn[layer]].as_str();
            let names: Vec<&str> = (0..parts.len()).map(name).collect();
            Item { class: of_class.map(name).unwrap_or_default().into(), ..Item::new(names.join(" + "), 0) }
        };
        let mut builder = Builder::of(config, drawn.iter().map(item).collect())?;
        for (i, drawn) in drawn.iter().enumerate() {
            builder.put(i, Ok::<_, String>(stack(&parts, drawn)));
        }
        visit(builder.finish(&classes))?;
    }
    Ok(classes)
}

/// One picture: its parts over one another.
fn stack(layers: &[Layer], drawn: &[usize]) -> RgbaImage {
    let mut parts = layers.iter().zip(drawn).map(|(layer, &part)| &layer.parts[part]);
    let mut picture = parts.next().cloned().unwrap_or_default();
    parts.for_each(|part| imageops::overlay(&mut picture, part, 0, 0));
    picture
}

/// Reads what lies in the folders, once. Of a few parts each is in many pictures, so that none may be missing.
fn read(files: &Files, config: &DataConfig, folders: &[String]) -> Result<Vec<Layer>, DataError> {
    if files.format.is_packed() {
        return Err(DataError::Config(format!("layers: {} holds no file for each picture", files.path.display())));
    }
    let (mut items, _) = pictures::list(files, &DataConfig { class_depth: 0, ..config.clone() })?;
    let lies_in = |item: &Item, folder: &str| item.matches(folder);
    if let Some(folder) = folders.iter().find(|folder| !items.iter().any(|item| lies_in(item, folder))) {
        let reason = format!("layers: folder \"{folder}\" matches none of its images");
        return Err(DataError::NoImages { path: files.path.clone(), reason });
    }
    items.retain(|item| folders.iter().any(|folder| lies_in(item, folder)));
    let sources: Vec<usize> = items.iter().map(|item| item.source).collect();
    let mut parts = vec![Err("was not found again".to_owned()); items.len()];
    files.read_images(&sources, &mut |i, content| {
        parts[i] = content.and_then(|bytes| Ok(decode::decode(&bytes)?.pixels))
    })?;
    let fitted = |(source, part): (&usize, Result<RgbaImage, String>)| {
        part.map(|part| convert::fit(part, config)).map_err(|reason| files.damaged(*source, reason))
    };
    let parts: Vec<RgbaImage> = sources.iter().zip(parts).map(fitted).collect::<Result<_, _>>()?;
    let layer = |folder: &String| {
        let own = || items.iter().zip(&parts).filter(|(item, _)| lies_in(item, folder));
        Layer {
            names: short_names(own().map(|(item, _)| item.name.as_str())),
            parts: own().map(|(_, part)| part.clone()).collect(),
        }
    };
    Ok(folders.iter().map(layer).collect())
}

/// `heads/head-crab.png` and `heads/head-owl.png` to `crab` and `owl`: the names without folder, extension, and the
/// words that all of them begin with.
fn short_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let base = |name: &'a str| paths::base(name).rsplit_once('.').map_or(paths::base(name), |(stem, _)| stem);
    let names: Vec<&str> = names.map(base).collect();
    if names.len() == 1 {
        return names.into_iter().map(String::from).collect();
    }
    let first = names.first().copied().unwrap_or_default();
    let shared = first.match_indices(['-', '_', ' ']).map(|(at, _)| at + 1);
    let shared = shared.take_while(|&end| names.iter().all(|name| name.starts_with(&first[..end]) && name.len() > end));
    let skip = shared.last().unwrap_or(0);
    names.into_iter().map(|name| name[skip..].into()).collect()
}
