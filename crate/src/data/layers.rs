//! Pictures laid over one another: a set of a few hundred parts that holds millions of pictures.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use image::{RgbaImage, imageops};
use serde::{Deserialize, Serialize};

use super::build::{self, Builder, Item};
use super::error::DataError;
use super::files::Files;
use super::formats::pictures;
use super::{DataConfig, Images, Visit, convert, decode, normalize_text as normalize, paths};
use crate::model::text::words;
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
    /// What describes a picture, with `{heads}` standing for the name of the part that it has of the folder `3-heads`;
    /// without it pictures have no captions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// Combinations that training never shows, to measure with; without it there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
}

/// Combinations of parts that are held out: those of some folders, chosen by their names. The training split has none
/// of them, the splits `validation` and `test` nothing else, and `all` takes no notice of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldOut {
    /// The folders whose parts make up a combination.
    pub folders: Vec<String>,
    /// The share of combinations that are held out, above 0 and below 1.
    pub share: f64,
}

impl HeldOut {
    /// Whether a combination is held out: it depends on the names of its parts alone.
    fn holds(&self, names: &[&str]) -> bool {
        let hash = twox_hash::XxHash64::oneshot(0, names.join("\n").as_bytes());
        (hash as f64 / u64::MAX as f64) < self.share
    }
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
            _ => self.validate_held_out(),
        }
    }

    fn validate_held_out(&self) -> Result<(), DataError> {
        let Some(HeldOut { folders, share }) = &self.held_out else { return Ok(()) };
        let unknown = folders.iter().find(|folder| !self.folders.contains(folder));
        let reason = match unknown {
            Some(folder) => format!("held_out.folders: \"{folder}\" is none of the folders"),
            None if folders.is_empty() => "held_out.folders names no folder".into(),
            None if !(*share > 0.0 && *share < 1.0) => {
                format!("held_out.share must be above 0 and below 1, not {share}")
            }
            None => return Ok(()),
        };
        Err(DataError::Config(format!("layers: {reason}")))
    }

    /// For each layer the part of it that picture `i` has; a picture does not depend on how many there are.
    ///
    /// # Errors
    /// When no combination is found that the split has.
    fn draw(&self, i: usize, layers: &[Layer], split: Option<&str>) -> Result<Vec<usize>, DataError> {
        let mut stream = Stream::new(self.seed, Purpose::Layers, i as u64);
        for _ in 0..MOST_DRAWS {
            let drawn: Vec<usize> = layers.iter().map(|layer| stream.below(layer.parts.len())).collect();
            if self.is_of_split(&drawn, layers, split) {
                return Ok(drawn);
            }
        }
        Err(DataError::Config("layers: held_out leaves no combination for this split".into()))
    }

    fn is_of_split(&self, drawn: &[usize], layers: &[Layer], split: Option<&str>) -> bool {
        let Some(held_out) = &self.held_out else { return true };
        let of = |folder: &String| {
            let layer = self.folders.iter().position(|known| known == folder)?;
            Some(layers[layer].names[drawn[layer]].as_str())
        };
        let is_held_out = held_out.holds(&held_out.folders.iter().filter_map(of).collect::<Vec<_>>());
        match split {
            Some("all") => true,
            Some("validation" | "test") => is_held_out,
            _ => !is_held_out,
        }
    }

    /// The layer of a folder, or of its name in captions.
    ///
    /// # Errors
    /// Names the layers that there are; a name that several have.
    pub(super) fn position(&self, name: &str) -> Result<usize, DataError> {
        if let Some(layer) = self.folders.iter().position(|folder| folder == name) {
            return Ok(layer);
        }
        let called = |(_, folder): &(usize, &String)| self::name(folder) == name;
        match self.folders.iter().enumerate().filter(called).collect::<Vec<_>>()[..] {
            [(layer, _)] => Ok(layer),
            [] => {
                let known = self.folders.join(", ");
                Err(DataError::Config(format!("layers: \"{name}\" is none of the folders, which are {known}")))
            }
            [(_, a), (_, b), ..] => {
                Err(DataError::Config(format!("layers: \"{name}\" may be {a} or {b}; give the folder")))
            }
        }
    }

    /// The template with each placeholder replaced by the name that its layer has.
    fn filled<'n>(&self, template: &str, name: impl Fn(usize) -> &'n str) -> String {
        self.folders
            .iter()
            .enumerate()
            .fold(template.to_owned(), |text, (layer, folder)| text.replace(&placeholder(folder), name(layer)))
    }

    /// Refuses a template with what stands for no folder.
    fn check_caption(&self) -> Result<(), DataError> {
        let Some(template) = &self.caption else { return Ok(()) };
        let rest = self.filled(template, |_| "");
        match rest.contains(['{', '}']) || rest == *template {
            true => {
                let known: Vec<String> = self.folders.iter().map(|folder| placeholder(folder)).collect();
                Err(DataError::Config(format!("layers: caption = \"{template}\" must be made of {}", known.join(", "))))
            }
            false => Ok(()),
        }
    }
}

/// Draws of a picture until its combination is of the split: beyond that there is none.
const MOST_DRAWS: usize = 10_000;

/// What a folder's layer is called: its name without leading digits, `heads` for `v0/3-heads`.
pub(super) fn name(folder: &str) -> String {
    let name = paths::base(folder.trim_end_matches('/'));
    let rest = name.trim_start_matches(|c: char| c.is_ascii_digit() || "-_ ".contains(c));
    if rest.is_empty() { name } else { rest }.to_owned()
}

/// What stands for a folder in a caption: `{heads}` for `v0/3-heads`.
fn placeholder(folder: &str) -> String {
    format!("{{{}}}", name(folder))
}

/// The pictures that parts can make: which parts there are, and what chosen ones of them look like.
/// [`load`](super::load) gives those that the settings draw.
pub struct LayerSet {
    config: DataConfig,
    layers: Layers,
    parts: Vec<Layer>,
}

/// Two combinations of parts of two layers that differ in which of them has which word: red glasses with a green body,
/// and green glasses with a red body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// For each combination the parts of both layers.
    pub parts: [[usize; 2]; 2],
    /// The words, as the layers have them in the first combination.
    pub words: [String; 2],
}

impl LayerSet {
    /// Reads the parts at `path`.
    ///
    /// # Errors
    /// Settings without `[data.layers]`, and as [`load`](super::load).
    pub fn open(path: &Path, config: &DataConfig) -> Result<Self, DataError> {
        config.validate()?;
        let Some(layers) = &config.layers else {
            return Err(DataError::Config("the settings have no [data.layers]".into()));
        };
        Self::read(&Files::open(path, &config.for_files())?, config, layers)
    }

    fn read(files: &Files, config: &DataConfig, layers: &Layers) -> Result<Self, DataError> {
        layers.check_caption()?;
        let parts = read(files, config, &layers.folders)?;
        Ok(Self { config: config.clone(), layers: layers.clone(), parts })
    }

    /// For each layer the part of it that picture `i` has.
    ///
    /// # Errors
    /// When no combination is found that the split has.
    pub fn draw(&self, i: usize) -> Result<Vec<usize>, DataError> {
        self.layers.draw(i, &self.parts, self.config.split.as_deref())
    }

    /// Whether the split has a combination, one part of each layer.
    pub fn holds(&self, combination: &[usize]) -> bool {
        self.layers.is_of_split(combination, &self.parts, self.config.split.as_deref())
    }

    /// The layer of a folder, or of its name in captions.
    ///
    /// # Errors
    /// Names the layers that there are.
    pub fn layer(&self, name: &str) -> Result<usize, DataError> {
        self.layers.position(name)
    }

    /// What stands for a layer in captions: `heads` for the folder `*/3-heads`.
    pub fn layer_name(&self, layer: usize) -> String {
        name(&self.layers.folders[layer])
    }

    /// The name of a part.
    pub fn part_name(&self, layer: usize, part: usize) -> &str {
        &self.parts[layer].names[part]
    }

    /// The names of the parts that say what class a picture is of, in alphabetical order; none without classes.
    fn classes(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.class_layer().iter().flat_map(|&layer| &self.parts[layer].names).collect();
        names.into_iter().cloned().collect()
    }

    fn class_layer(&self) -> Option<usize> {
        self.layers.class.as_ref().and_then(|class| self.layers.folders.iter().position(|folder| folder == class))
    }

    /// The pictures of combinations, with their captions.
    ///
    /// # Errors
    /// More of them than there may be memory for.
    pub fn pictures(&self, combinations: &[Vec<usize>]) -> Result<Images, DataError> {
        let item = |combination: &Vec<usize>| {
            let name = |layer: usize| self.part_name(layer, combination[layer]);
            let names: Vec<&str> = (0..self.parts.len()).map(name).collect();
            let caption = self.layers.caption.as_ref().map(|template| self.layers.filled(template, name));
            Item {
                class: self.class_layer().map(name).unwrap_or_default().into(),
                caption: caption.unwrap_or_default(),
                ..Item::new(names.join(" + "), 0)
            }
        };
        let mut builder = Builder::of(&self.config, combinations.iter().map(item).collect())?;
        for (i, combination) in combinations.iter().enumerate() {
            builder.put(i, Ok::<_, String>(stack(&self.parts, combination)));
        }
        Ok(builder.finish(&self.classes()))
    }

    /// All pairs of combinations of two layers whose names exchange a word, each once: both layers have parts of either
    /// word that are called alike but for it.
    pub fn exchanges(&self, layers: [usize; 2]) -> Vec<Exchange> {
        let split = |layer: usize| -> Vec<Vec<String>> {
            let names = self.parts[layer].names.iter().map(|name| normalize(name));
            names.map(|name| words(&name).map(str::to_owned).collect()).collect()
        };
        let [first, second] = layers.map(split);
        let places = |names: &[Vec<String>]| -> HashMap<Vec<String>, usize> {
            names.iter().cloned().enumerate().map(|(i, name)| (name, i)).rev().collect()
        };
        let [places_first, places_second] = [&first, &second].map(|names| places(names));
        let replaced = |name: &[String], from: &String, to: &String| -> Vec<String> {
            name.iter().map(|word| if word == from { to.clone() } else { word.clone() }).collect()
        };
        let mut found = Vec::new();
        for ((i, a), (j, b)) in first.iter().enumerate().flat_map(|a| second.iter().enumerate().map(move |b| (a, b))) {
            for (x, y) in a.iter().flat_map(|x| b.iter().map(move |y| (x, y))) {
                if a.contains(y) || b.contains(x) {
                    continue;
                }
                let others = (places_first.get(&replaced(a, x, y)), places_second.get(&replaced(b, y, x)));
                // Of parts that are called alike the first, and of both directions one.
                if let (Some(&k), Some(&l)) = others
                    && (places_first[a], places_second[b]) == (i, j)
                    && (i, j) < (k, l)
                {
                    found.push(Exchange { parts: [[i, j], [k, l]], words: [x.clone(), y.clone()] });
                }
            }
        }
        found
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
    let set = LayerSet::read(files, config, layers)?;
    build::check_memory(most.min(layers.count), config)?;
    for first in (0..layers.count).step_by(most.min(layers.count)) {
        let indices = first..layers.count.min(first.saturating_add(most));
        let drawn: Vec<Vec<usize>> = indices.map(|i| set.draw(i)).collect::<Result<_, _>>()?;
        visit(set.pictures(&drawn)?)?;
    }
    Ok(set.classes())
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
    let (mut items, _) = pictures::list(files, &DataConfig { class_depth: 0, ..config.for_files() })?;
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
/// words that all of them begin with. A first word that nearly all begin with goes too.
fn short_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let base = |name: &'a str| paths::base(name).rsplit_once('.').map_or(paths::base(name), |(stem, _)| stem);
    let names: Vec<&str> = names.map(base).collect();
    if names.len() == 1 {
        return names.into_iter().map(String::from).collect();
    }
    let first = names.first().copied().unwrap_or_default();
    let begin =
        |prefix: &str| names.iter().filter(|name| name.starts_with(prefix) && name.len() > prefix.len()).count();
    let prefixes = || first.match_indices(['-', '_', ' ']).map(|(at, _)| &first[..=at]);
    let of_all = prefixes().take_while(|prefix| begin(prefix) == names.len()).last();
    let of_most = || prefixes().next().filter(|prefix| 10 * begin(prefix) > 9 * names.len());
    let prefix = of_all.or_else(of_most).unwrap_or_default();
    names.into_iter().map(|name| name.strip_prefix(prefix).unwrap_or(name).into()).collect()
}
