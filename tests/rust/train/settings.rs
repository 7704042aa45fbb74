//! The files of settings that follow a paper, against the authors' own files (`tests/fixtures/settings.py`), and the
//! page that shows both.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use meanflow::train::TrainConfig;
use serde::Deserialize;
use toml::{Table, Value};

/// Settings of a paper's file that no paper has: what the model is called and says of itself, and what is written how
/// often.
const OURS: [&str; 3] = ["name", "card.", "log."];

/// What the authors have of one file: the repository at its commit, and value and place of each setting.
#[derive(Deserialize)]
struct Published {
    repository: String,
    settings: BTreeMap<String, Setting>,
}

#[derive(Deserialize)]
struct Setting {
    published: serde_json::Value,
    source: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn published() -> BTreeMap<String, Published> {
    serde_json::from_str(include_str!("../../fixtures/settings.json")).expect("the table reads")
}

fn text(file: &str) -> String {
    let path = root().join("crate/configs").join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Values by their full keys, such as `train.steps`.
fn flat(table: &Table) -> BTreeMap<String, Value> {
    let below = |(key, value): (&String, &Value)| match value {
        Value::Table(inner) => {
            flat(inner).into_iter().map(|(name, value)| (format!("{key}.{name}"), value)).collect::<Vec<_>>()
        }
        value => vec![(key.clone(), value.clone())],
    };
    table.iter().flat_map(below).collect()
}

fn is_same(ours: &Value, theirs: &serde_json::Value) -> bool {
    let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|x| x as f64));
    match (number(ours), theirs.as_f64()) {
        // 1 − 0.75 and its like.
        (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-12 * theirs.abs(),
        (None, None) => {
            ours.as_str().is_some_and(|ours| Some(ours) == theirs.as_str())
                || ours.as_bool().is_some_and(|ours| Some(ours) == theirs.as_bool())
        }
        _ => false,
    }
}

/// Every file with a paper behind it is in the table, every value of the table is in the file, and nothing else is but
/// what is ours and what the other files of its kind say themselves.
#[test]
fn the_settings_of_the_papers_are_those_of_their_authors() {
    let published = published();
    let folder = fs::read_dir(root().join("crate/configs/imagenet")).expect("it is in the tree");
    for file in folder {
        let name = format!("imagenet/{}", file.expect("it lists").file_name().to_string_lossy());
        assert!(published.contains_key(&name), "{name} is not in tests/fixtures/settings.py");
    }
    for (file, Published { settings, .. }) in &published {
        TrainConfig::from_toml(&text(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let ours = flat(&text(file).parse::<Table>().expect("TOML"));
        for (key, Setting { published, source }) in settings {
            let value = ours.get(key).unwrap_or_else(|| panic!("{file} does not say {key}, {published} in {source}"));
            assert!(is_same(value, published), "{file}: {key} is {value}, but {published} in {source}");
        }
        // Their default is ours, not the authors'.
        let latents = ours.get("data.channels").and_then(Value::as_integer) == Some(4);
        for (key, needed) in [("data.fit", file.starts_with("imagenet/")), ("data.normalization", latents)] {
            assert!(!needed || settings.contains_key(key), "tests/fixtures/settings.py: {file} lacks {key}");
        }
        for key in ours.keys() {
            let is_ours = OURS.iter().any(|ours| key.starts_with(ours));
            assert!(is_ours || settings.contains_key(key), "{file}: where is {key} from?");
        }
    }
}

/// Each line of the files says where its value is from.
#[test]
fn every_line_names_its_source() {
    for file in published().keys() {
        let mut section = String::new();
        for line in text(file).lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[') {
                section = format!("{}.", name.split(']').next().unwrap_or_default());
                continue;
            }
            let key = format!("{section}{}", line.split(" =").next().unwrap_or_default());
            let is_ours = OURS.iter().any(|ours| key.starts_with(ours));
            // The averages' lines stand under a comment of their own.
            assert!(is_ours || line.contains(" # ") || section == "train.averages.", "{file}: {line}");
        }
    }
}

/// `docs/published.md`, which `make parity` writes.
fn page() -> String {
    let mut page = String::from(
        "# Published settings\n\n\
         The files of [`crate/configs`](../crate/configs) that follow a paper, beside the files of its authors.\n\
         `make parity` makes this page of `tests/fixtures/settings.json`, which\n\
         [`settings.py`](../tests/fixtures/settings.py) reads out of the authors' repositories at the commits named\n\
         here; a test holds every value of ours to it. Besides, a file has its name, its card, and `[log]`.\n\n\
         Left out on purpose: the perceptual losses of pixel MeanFlow, which need networks trained on ImageNet's\n\
         labels. Other than the authors', whatever the settings:\n\n\
         - the random numbers;\n\
         - rows with `r = t` are a share of the batch rounded at random, theirs rounded down on each device;\n\
         - a warm-up begins at the rate of its first step, theirs at 0;\n\
         - on CIFAR-10 the averages follow every step, theirs every sixteenth;\n\
         - Muon's momentum is without optax's correction of bias, which is gone after some 60 steps.\n",
    );
    for (file, Published { repository, settings }) in published() {
        let _ = write!(page, "\n## {file}\n\n{repository}\n\n| setting | published | where |\n|---|---|---|\n");
        for (key, Setting { published, source }) in settings {
            let _ = writeln!(page, "| `{key}` | {published} | {source} |");
        }
    }
    page
}

#[test]
fn the_page_is_made_of_the_published_settings() {
    crate::parity_log::assert_page("docs/published.md", &page());
}
