//! What the folders of a set mean: wrappers and splits are no classes.
//!
//! A folder that holds all else is a wrapper, and so is what it holds alone: `ILSVRC/Data/CLS-LOC`. Folders beside one
//! another are splits where one is called like a training split and one like another (`train`, `val`, `test2017`), or
//! all are called like splits; they may lie inside classes too (`cat/train`). In longer names the rest has to be the
//! same (`seg_train` and `seg_test`): a class may be called `train` or `test_tube`. Where several rests have both, as
//! in CycleGAN's `trainA`, `trainB`, `testA`, `testB`, the rest stays. Of files that hold many images the name may tell
//! the split.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

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
fn split_of_word(word: &str) -> Option<&'static str> {
    // `trainset`, `testdata`
    let word = ["set", "data", "split", "images"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
    match word {
        "train" | "training" => Some(TRAIN),
        "val" | "valid" | "validation" | "dev" => Some("validation"),
        "test" | "testing" | "eval" | "evaluation" | "holdout" => Some("test"),
        _ => None,
    }
}

/// What the words of a name beside that of a split may be without telling anything.
const GENERIC: [&str; 19] = [
    "set", "sets", "data", "dataset", "split", "partial", "image", "images", "img", "imgs", "picture", "pictures",
    "photo", "photos", "samples", "files", "folder", "part", "ds",
];

/// Where the words of a name are: runs of letters and digits, which also end before a capital (`trainA`) and where
/// another script begins.
pub(super) fn words(name: &str) -> Vec<Range<usize>> {
    let (mut words, mut start, mut last) = (Vec::new(), None, ' ');
    for (i, letter) in name.char_indices().chain([(name.len(), ' ')]) {
        let is_other = last.is_lowercase() && letter.is_uppercase() || last.is_ascii() != letter.is_ascii();
        let is_end = !letter.is_alphanumeric() || is_other;
        if let Some(begun) = start.filter(|_| is_end) {
            words.push(begun..i);
            start = None;
        }
        if letter.is_alphanumeric() && start.is_none() {
            start = Some(i);
        }
        last = letter;
    }
    words
}

/// A word as it counts: in lower case, without the numbers around it.
fn plain(word: &str) -> String {
    word.trim_matches(|c: char| c.is_ascii_digit()).to_lowercase()
}

/// A name with the word of a split.
struct Named {
    split: &'static str,
    /// The other words that tell something.
    rest: Vec<String>,
    /// The name without the word, as it is written.
    without: String,
}

impl Named {
    fn of(name: &str) -> Option<Self> {
        let words = words(name);
        let found = words.iter().find_map(|range| Some((range, split_of_word(&plain(&name[range.clone()]))?)));
        let (at, split) = found?;
        let rest = words.iter().filter(|range| *range != at).map(|range| plain(&name[range.clone()]));
        // Words of other scripts may be the same in another language.
        let tells = |word: &String| !word.is_empty() && word.is_ascii() && !GENERIC.contains(&word.as_str());
        let is_joint = |c: char| !c.is_alphanumeric();
        let (start, end) = (name[..at.start].trim_end_matches(is_joint), name[at.end..].trim_start_matches(is_joint));
        let joint = if start.is_empty() || end.is_empty() { "" } else { "_" };
        Some(Self { split, rest: rest.filter(tells).collect(), without: format!("{start}{joint}{end}") })
    }
}

/// The split that a name tells: a setting's, a value's, or a file's, such as `train-00000-of-00002.parquet` or MNIST's
/// `t10k-images-idx3-ubyte`.
pub(super) fn split_of_file(name: &str) -> Option<&'static str> {
    let base = paths::base(name);
    let words = words(base);
    let split = |word: &str| split_of_word(&plain(word)).or((word == "t10k").then_some("test"));
    words.into_iter().find_map(|range| split(&base[range]))
}

/// The split that a setting or a value of a table means: one of those known, or one of its own.
pub(super) fn split_named(name: &str) -> String {
    split_of_file(name).map_or_else(|| name.to_lowercase(), str::to_owned)
}

/// Where each file belongs by the folders on its path.
pub(super) fn arrange(paths: &[&str]) -> Vec<Place> {
    let parts: Vec<Vec<&str>> = paths.iter().map(|path| path.split('/').collect()).collect();
    let mut found = Found {
        splits: vec![None; paths.len()],
        are_wrappers: vec![false; paths.len()],
        instead: vec![Vec::new(); paths.len()],
        parts,
    };
    found.descend((0..paths.len()).collect(), 0, true);
    let Found { parts, splits, instead, .. } = found;
    let name = |(parts, instead): (Vec<&str>, Vec<(usize, String)>)| {
        let part = |(depth, part): (usize, &str)| {
            let other = instead.iter().find(|(at, _)| *at == depth);
            other.map_or_else(|| part.to_owned(), |(_, other)| other.clone())
        };
        let parts = parts.into_iter().enumerate().map(part).filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("/")
    };
    let names = parts.into_iter().zip(instead).map(name);
    names.zip(splits).map(|(name, split)| Place { name, split }).collect()
}

/// Splits by the names of files, where no folder told them: of files that hold many images each by its own name, of
/// images only where all names begin or all end with one, such as `train_0001.png` and `1_test.png`.
pub(super) fn split_by_file_names(places: &mut [Place], is_packed: bool) {
    type Choose = fn(&[Range<usize>]) -> Option<&Range<usize>>;
    let word = |place: &Place, choose: Choose| {
        let base = paths::base(&place.name);
        let stem = base.rfind('.').map_or(base, |dot| &base[..dot]);
        let words = words(stem);
        let named = words.iter().filter(|range| !plain(&stem[(*range).clone()]).is_empty()).cloned();
        choose(&named.collect::<Vec<_>>()).and_then(|range| split_of_word(&plain(&stem[range.clone()])))
    };
    for choose in [<[_]>::first as Choose, <[_]>::last] {
        let splits: Vec<Option<&str>> = match is_packed {
            true => places.iter().map(|place| split_of_file(&place.name)).collect(),
            false => places.iter().map(|place| word(place, choose)).collect(),
        };
        if is_packed || splits.iter().all(Option::is_some) && splits.contains(&Some(TRAIN)) {
            for (place, split) in places.iter_mut().zip(splits) {
                place.split = place.split.take().or_else(|| split.map(str::to_owned));
            }
            return;
        }
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
    /// Whether a split is only the name of a wrapper, which says less than folders beside one another.
    are_wrappers: Vec<bool>,
    /// What stands instead of the parts of each path that are wrappers or splits; nothing where it is empty.
    instead: Vec<Vec<(usize, String)>>,
}

impl Found<'_> {
    /// Looks at the folders at `depth` of some files, which share all folders above it; `is_top` while no class was
    /// met. Names are bounded in depth where they are read, and so is this.
    fn descend(&mut self, files: Vec<usize>, depth: usize, is_top: bool) {
        let total = files.len();
        let mut folders: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for file in files {
            if self.parts[file].len() > depth + 1 {
                folders.entry(self.parts[file][depth]).or_default().push(file);
            }
        }
        let is_alone = folders.len() == 1 && folders.values().all(|files| files.len() == total);
        let names: Vec<&str> = folders.keys().copied().collect();
        let splits = splits_of(&names, folders.values().map(Vec::len).sum::<usize>() == total);
        for (i, (folder, files)) in folders.into_iter().enumerate() {
            let wrapper =
                || Named::of(folder).filter(|named| named.rest.is_empty()).map(|named| named.split.to_owned());
            let (split, instead) = match splits.as_ref().map(|splits| splits[i].clone()) {
                Some((split, instead)) => (Some(split), Some(instead)),
                None if is_top && is_alone => (wrapper(), Some(String::new())),
                None => (None, None),
            };
            for &file in &files {
                if let Some(instead) = &instead {
                    self.instead[file].push((depth, instead.clone()));
                }
                if split.is_some() && (self.splits[file].is_none() || splits.is_some() && self.are_wrappers[file]) {
                    self.splits[file].clone_from(&split);
                    self.are_wrappers[file] = splits.is_none();
                }
            }
            // What stays of a split's name is a class.
            let is_still_top = is_top && instead.is_some_and(|instead| instead.is_empty());
            self.descend(files, depth + 1, is_still_top);
        }
    }
}

/// The split of each of some folders beside one another, and what stays of its name; `None` where they are no splits.
/// `hold_all` where no file lies beside them.
fn splits_of(folders: &[&str], hold_all: bool) -> Option<Vec<(String, String)>> {
    let named: Vec<Option<Named>> = folders.iter().map(|folder| Named::of(folder)).collect();
    let all = || named.iter().flatten();
    // What is left of both a training split's name and another's.
    let is_pair =
        |one: &&Named| all().any(|other| other.rest == one.rest && (other.split == TRAIN) != (one.split == TRAIN));
    let mut rests: BTreeSet<&[String]> = all().filter(is_pair).map(|named| &named.rest[..]).collect();
    if rests.is_empty() {
        let first = all().next()?;
        let are_all = hold_all && folders.len() > 1 && all().count() == folders.len();
        let are_alike = all().all(|named| named.rest == first.rest);
        let differ = first.rest.is_empty() || all().any(|named| named.split != first.split);
        if !(are_all && are_alike && differ) {
            return None;
        }
        rests.insert(&first.rest);
    }
    let of = |(folder, named): (&&str, &Option<Named>)| match named {
        Some(named) if rests.contains(&named.rest[..]) => {
            (named.split.to_owned(), if rests.len() > 1 { named.without.clone() } else { String::new() })
        }
        _ => (folder.to_lowercase(), String::new()),
    };
    Some(folders.iter().zip(&named).map(of).collect())
}

/// Of files that the hub calls by numbers, in a folder for each of several configurations of one set, those of one are
/// taken: each holds the same pictures in another form. Other folders are read as one set. Either is said.
pub(super) fn choose_configuration(places: &[Place], takes: &mut [bool], notes: &Notes) {
    let folder = |place: &Place| place.name.split_once('/').map_or("", |(folder, _)| folder).to_owned();
    let is_of_hub = |place: &Place| {
        let base = paths::base(&place.name);
        let stem = base.split('.').next().unwrap_or(base);
        stem.contains("-of-") || stem.bytes().all(|byte| byte.is_ascii_digit())
    };
    let taken = || places.iter().zip(&*takes).filter(|(_, takes)| **takes).map(|(place, _)| place);
    let folders: BTreeSet<String> = taken().map(folder).collect();
    let Some(first) = folders.first().filter(|_| folders.len() > 1) else { return };
    let listed = |folders: Vec<&String>| folders.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if first.is_empty() || !taken().all(is_of_hub) {
        notes.say(format!("the files of these folders are read as one set: {}", listed(folders.iter().collect())));
        return;
    }
    let chosen = folders.get("default").unwrap_or(first);
    let others = listed(folders.iter().filter(|folder| *folder != chosen).collect());
    notes.say(format!("takes the configuration {chosen}, not {others}; give the folder of another to take that"));
    for (place, takes) in places.iter().zip(takes) {
        *takes &= folder(place) == *chosen;
    }
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
    let wanted_name =
        wanted.map(|wanted| if counts.contains_key(wanted) { wanted.to_owned() } else { split_named(wanted) });
    let chosen: Option<&str> = match wanted_name.as_deref() {
        Some(ALL) => return Ok(vec![true; splits.len()]),
        Some(name) => match counts.get_key_value(name) {
            Some((&name, _)) => Some(name),
            None if counts.is_empty() => {
                let reason = format!("split = \"{name}\", but no folder, file or column names a split");
                return Err(DataError::Config(reason));
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
    fn splits_may_have_longer_names() {
        for (train, test) in [
            ("training_set/training_set", "test_set/test_set"),
            ("seg_train/seg_train", "seg_test/seg_test"),
            ("train_images", "test_images"),
            ("train_data", "test_data"),
            ("train_32x32", "test_32x32"),
            ("trainset", "testset"),
            ("TrainSet", "TestSet"),
            ("train-split", "test-split"),
            ("dataset-train", "dataset-test"),
            ("imagenet_train", "imagenet_test"),
            ("Training Data", "Testing Data"),
            ("train", "holdout"),
            ("train", "test_images"),
            ("partial-train", "partial-test"),
            ("训练train", "测试test"),
        ] {
            let paths = [format!("{train}/cat/0"), format!("{train}/dog/0"), format!("{test}/cat/0")];
            let found = names(&paths.each_ref().map(String::as_str));
            assert_eq!(found[..2], ["train:cat/0", "train:dog/0"], "{train}");
            assert!(found[2].starts_with("test:"), "{found:?}");
        }
        assert_eq!(
            names(&["trainA/0", "trainB/0", "testA/0", "testB/0"]),
            ["train:A/0", "train:B/0", "test:A/0", "test:B/0"]
        );
        // A wrapper says less than what lies in it.
        assert_eq!(names(&["test/train/a", "test/val/b"]), ["train:a", "validation:b"]);
        for class in ["plane", "test_tube", "valley", "devil", "evaluator", "contest"] {
            assert_eq!(names(&["train/a", &format!("{class}/b")]), [":train/a".to_owned(), format!(":{class}/b")]);
        }
        assert_eq!(names(&["train/a", "plane/b", "test_tube/c"]), [":train/a", ":plane/b", ":test_tube/c"]);
        assert_eq!(names(&["toy_train/a", "test_tube/b"]), [":toy_train/a", ":test_tube/b"]);
        assert_eq!(names(&["red_train/a", "blue_train/b"]), [":red_train/a", ":blue_train/b"]);
    }

    #[test]
    fn file_names_tell_splits() {
        let splits = [
            "train-00000-of-00002.parquet",
            "mnist_test.npz",
            "t10k-images-idx3-ubyte",
            "contest.parquet",
            "x_trainset.npz",
        ];
        assert_eq!(splits.map(split_of_file), [Some(TRAIN), Some("test"), Some("test"), None, Some(TRAIN)]);
    }
}
