//! What the folders of a set mean: wrappers and splits are no classes.
//!
//! A folder that holds all else is a wrapper, and so is what it holds alone: `ILSVRC/Data/CLS-LOC`. Folders beside one
//! another are splits where one is called like a training split and one like another (`train`, `val`, `test2017`), or
//! all are called like splits; they may lie inside classes too (`cat/train`). Of files that hold many images the name
//! may tell the split.

use std::collections::{BTreeMap, HashSet};

use super::error::DataError;
use super::files::Entry;
use super::notes::Notes;
use super::paths;

/// The split to train on.
pub(super) const TRAIN: &str = "train";
/// Stands for all splits in the settings.
const ALL: &str = "all";

/// Where a file of a set belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Its path without wrappers and splits.
    pub name: String,
    /// Its split: `train`, `validation`, `test`, or what the folder beside those is called.
    pub split: Option<String>,
}

/// The split that a word names.
fn split_of(word: &str) -> Option<&'static str> {
    let word = word.trim_matches(|c: char| !c.is_ascii_alphabetic()).to_ascii_lowercase();
    match word.as_str() {
        "train" | "training" => Some(TRAIN),
        "val" | "valid" | "validation" | "dev" => Some("validation"),
        "test" | "testing" | "eval" | "evaluation" => Some("test"),
        _ => None,
    }
}

/// The split that the name of a file tells, such as `train-00000-of-00002.parquet` or MNIST's `t10k-images-idx3-ubyte`.
pub(super) fn split_of_file(name: &str) -> Option<&'static str> {
    let mut words = paths::base(name).split(|c: char| !c.is_ascii_alphanumeric());
    words.find_map(|word| split_of(word).or((word == "t10k").then_some("test")))
}

/// Where each file belongs by the folders on its path.
pub(super) fn arrange(paths: &[&str]) -> Vec<Place> {
    let parts: Vec<Vec<&str>> = paths.iter().map(|path| path.split('/').collect()).collect();
    let mut found = Found { splits: vec![None; paths.len()], dropped: vec![Vec::new(); paths.len()], parts };
    found.descend((0..paths.len()).collect(), 0, true);
    let Found { parts, splits, dropped } = found;
    let name = |(parts, dropped): (Vec<&str>, Vec<usize>)| {
        let kept = parts.into_iter().enumerate().filter(|(depth, _)| !dropped.contains(depth));
        kept.map(|(_, part)| part).collect::<Vec<_>>().join("/")
    };
    let names = parts.into_iter().zip(dropped).map(name);
    names.zip(splits).map(|(name, split)| Place { name, split }).collect()
}

/// Splits by the names of files, where no folder told them: of files that hold many images each by its own name, of
/// images only where all names begin with one, such as `train_0001.png`.
pub(super) fn split_by_file_names(places: &mut [Place], is_packed: bool) {
    let first = |place: &Place| {
        let word = paths::base(&place.name).split(['-', '_', '.']).next();
        word.and_then(split_of)
    };
    let all = || places.iter().map(first);
    let are_called_so = all().all(|split| split.is_some()) && all().any(|split| split == Some(TRAIN));
    if !is_packed && !are_called_so {
        return;
    }
    for place in places.iter_mut().filter(|place| place.split.is_none()) {
        place.split = split_of_file(&place.name).map(str::to_owned);
    }
}

/// Leaves out the folders of runs: what training wrote is no data. Where the set itself is one, what a run writes goes.
pub(super) fn leave_out_runs(entries: &mut Vec<Entry>, notes: &Notes) {
    const SETTINGS: &str = "config.toml";
    const WRITTEN: [&str; 3] = ["checkpoints/", "samples/", "data/"];
    let folders: HashSet<&str> = entries
        .iter()
        .filter_map(|entry| entry.path.split_once("checkpoints/"))
        .filter_map(|(folder, _)| (folder.is_empty() || folder.ends_with('/')).then_some(folder))
        .collect();
    let is_run = |folder: &&str| entries.iter().any(|entry| entry.path == format!("{folder}{SETTINGS}"));
    let runs: Vec<String> = folders.into_iter().filter(is_run).map(str::to_owned).collect();
    for run in runs {
        let is_its = |path: &str| match path.strip_prefix(&run) {
            Some(_) if !run.is_empty() => true,
            Some(inner) => WRITTEN.iter().any(|written| inner.starts_with(written)),
            None => false,
        };
        entries.retain(|entry| !is_its(&entry.path));
        notes.leave_out("folders of training runs", if run.is_empty() { "." } else { run.trim_end_matches('/') });
    }
}

struct Found<'a> {
    parts: Vec<Vec<&'a str>>,
    splits: Vec<Option<String>>,
    /// The parts of each path that are wrappers or splits.
    dropped: Vec<Vec<usize>>,
}

impl Found<'_> {
    /// Looks at the folders at `depth` of some files, which share all folders above it; `is_top` while no class was
    /// met.
    fn descend(&mut self, files: Vec<usize>, depth: usize, is_top: bool) {
        let total = files.len();
        let mut folders: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for file in files {
            if self.parts[file].len() > depth + 1 {
                folders.entry(self.parts[file][depth]).or_default().push(file);
            }
        }
        let is_alone = folders.len() == 1 && folders.values().all(|files| files.len() == total);
        let are_splits = are_splits(folders.keys().copied(), folders.values().map(Vec::len).sum::<usize>() == total);
        for (folder, files) in folders {
            let split = split_of(folder).map_or_else(|| folder.to_lowercase(), str::to_owned);
            let is_dropped = are_splits || is_top && is_alone;
            for &file in &files {
                if is_dropped {
                    self.dropped[file].push(depth);
                }
                if is_dropped && (are_splits || split_of(folder).is_some()) && self.splits[file].is_none() {
                    self.splits[file] = Some(split.clone());
                }
            }
            self.descend(files, depth + 1, is_top && is_dropped);
        }
    }
}

/// Whether folders beside one another are splits; `hold_all` where no file lies beside them.
fn are_splits<'a>(folders: impl Iterator<Item = &'a str> + Clone, hold_all: bool) -> bool {
    let named = |wanted: bool| folders.clone().filter_map(split_of).any(|split| (split == TRAIN) == wanted);
    let mut all = folders.clone().map(split_of);
    (named(true) && named(false)) || (hold_all && folders.clone().count() > 1 && all.all(|split| split.is_some()))
}

/// Which of the files to take, given their splits and the setting, and a line that says so where others stay.
pub(super) fn choose(
    splits: &[Option<String>],
    wanted: Option<&str>,
    what: &str,
    notes: &Notes,
) -> Result<Vec<bool>, DataError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for split in splits.iter().flatten() {
        *counts.entry(split).or_default() += 1;
    }
    let without = splits.iter().filter(|split| split.is_none()).count();
    let present = counts.keys().copied().collect::<Vec<_>>().join(", ");
    let wanted_name = wanted.map(|wanted| split_of(wanted).map_or_else(|| wanted.to_lowercase(), str::to_owned));
    let chosen: Option<&str> = match wanted_name.as_deref() {
        Some(ALL) => return Ok(vec![true; splits.len()]),
        Some(name) => match counts.get_key_value(name) {
            Some((&name, _)) => Some(name),
            None if counts.is_empty() => {
                return Err(DataError::Config(format!("split = \"{name}\", but no folder or file names a split")));
            }
            None => return Err(DataError::Config(format!("split = \"{name}\", but the splits are {present}"))),
        },
        None if counts.contains_key(TRAIN) => Some(TRAIN),
        // Beside a test file, a file without a word is what to train on.
        None if counts.is_empty() || without > 0 => None,
        None if counts.len() == 1 => return Ok(vec![true; splits.len()]),
        None => {
            let reason = format!("holds the splits {present} but no train; choose one with split = \"…\", or \"all\"");
            return Err(DataError::Config(reason));
        }
    };
    let takes: Vec<bool> = splits.iter().map(|split| split.as_deref() == chosen).collect();
    if takes.contains(&false) {
        let taken = takes.iter().filter(|&&taken| taken).count();
        let others = counts.iter().filter(|(name, _)| Some(**name) != chosen);
        let mut others: Vec<String> = others.map(|(name, count)| format!("{name} ({count})")).collect();
        if chosen.is_some() && without > 0 {
            others.push(format!("outside of the splits ({without})"));
        }
        let chosen = chosen.map_or_else(|| "what is of no split".to_owned(), |name| format!("the split {name}"));
        notes.say(format!("takes {chosen} ({taken} {what}), not {}; [data] split chooses", others.join(", ")));
    }
    Ok(takes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Vec<String> {
        arrange(paths).into_iter().map(|place| format!("{}:{}", place.split.unwrap_or_default(), place.name)).collect()
    }

    #[test]
    fn wrappers_and_splits_are_no_classes() {
        assert_eq!(names(&["w/my images/cat/a", "w/my images/dog/b"]), [":cat/a", ":dog/b"]);
        assert_eq!(
            names(&["I/D/train/cat/a", "I/D/train/dog/a", "I/D/val/cat/a"]),
            ["train:cat/a", "train:dog/a", "validation:a",]
        );
        assert_eq!(names(&["train/images/a", "test/images/b"]), ["train:a", "test:b"]);
        assert_eq!(
            names(&["train2017/a", "val2017/b", "unlabeled2017/c", "d"]),
            ["train:a", "validation:b", "unlabeled2017:c", ":d",]
        );
        assert_eq!(names(&["cat/train/a", "cat/test/b", "dog/train/a"]), ["train:cat/a", "test:cat/b", ":dog/train/a"]);
        // A class may be called like a split.
        assert_eq!(names(&["bus/a", "train/b"]), [":bus/a", ":train/b"]);
        assert_eq!(names(&["a", "test/b"]), [":a", ":test/b"]);
    }

    #[test]
    fn file_names_tell_splits() {
        let splits = ["train-00000-of-00002.parquet", "mnist_test.npz", "t10k-images-idx3-ubyte", "contest.parquet"];
        assert_eq!(splits.map(split_of_file), [Some(TRAIN), Some("test"), Some("test"), None]);
    }
}
