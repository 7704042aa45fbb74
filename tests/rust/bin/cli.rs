//! The command line as a person meets it: the whole road, and every mistake with its message and exit code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub use crate::place::Place;
use crate::place::TINY;

fn meanflow(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meanflow")).args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
pub fn succeeds(arguments: &[&str]) -> String {
    let output = meanflow(arguments);
    assert!(output.status.success(), "{arguments:?} failed: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Fails with a non-zero code and a message that has all of `words`, without a panic.
#[track_caller]
pub fn fails(arguments: &[&str], words: &[&str]) {
    let output = meanflow(arguments);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
    assert!(!message.contains("panicked"), "{message}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: `{message}` does not say `{word}`");
    }
}

#[test]
fn from_a_folder_of_images_to_pictures() {
    let place = Place::new();
    let (images, config) = place.images();
    let (run, weights, grid) = (place.path("run"), place.path("tiny.safetensors"), place.path("grid.png"));
    let told = succeeds(&["train", "--data", &images, "--out", &run, "--config", &config, "--seed", "3"]);
    assert!(told.contains("12 images") && told.contains("2 classes") && told.contains("done: 6 steps"), "{told}");

    succeeds(&["train", "--data", &images, "--out", &run, "--resume", "--steps", "8"]);
    succeeds(&["export", &run, "--out", &weights]);
    let info: serde_json::Value = serde_json::from_str(&succeeds(&["inspect", &weights])).expect("JSON");
    assert_eq!(info["classes"], serde_json::json!(["moss", "rust"]));
    assert_eq!((&info["training"]["step"], &info["training"]["seed"]), (&8.into(), &3.into()));
    assert_eq!((&info["data"]["license"], &info["data"]["images"]), (&"CC0-1.0".into(), &12.into()));
    assert_eq!((&info["format_version"], &info["net"]["width"]), (&1.into(), &16.into()));

    succeeds(&["sample", &weights, "--out", &grid, "--count", "4", "--seed", "9", "--class", "rust", "--nfe", "2"]);
    let picture = image::open(&grid).expect("a PNG");
    assert_eq!((picture.width(), picture.height()), (18, 18), "2 × 2 pictures with a gap of 2");
    succeeds(&["sample", &weights, "--out", &grid, "--count", "4", "--columns", "4"]);
    let row = image::open(&grid).expect("a PNG");
    assert_eq!((row.width(), row.height()), (38, 8), "4 pictures in a row");

    let heun = ["sample", &weights, "--out", &grid, "--count", "1", "--solver", "heun", "--nfe", "8"];
    assert!(succeeds(&heun).contains("8 network calls"));
    assert!(succeeds(&[&heun[..], &["--guidance", "2"]].concat()).contains("8 network calls"));
    let adaptive = ["sample", &weights, "--out", &grid, "--solver", "dormand-prince", "--tolerance", "1e-3"];
    assert!(succeeds(&adaptive).contains("network calls"));

    let likelihood = ["likelihood", &weights, "--data", &images, "--tolerance", "1e-3"];
    let bits = |more: &[&str]| -> f64 {
        let told = succeeds(&[&likelihood[..], more].concat());
        assert!(told.contains("over 12 images"), "{told}");
        told.split(' ').next().and_then(|bits| bits.parse().ok()).expect("a number")
    };
    // The flow of a network that knows next to nothing is the standard normal's: log₂(127.5 √(2π)) + E x²/2 / ln 2
    // bits.
    let (exact, estimated) = (bits(&["--probes", "0"]), bits(&["--probes", "4"]));
    assert!((8.0..10.0).contains(&exact) && (exact - estimated).abs() < 0.1, "{exact}, estimated {estimated}");
}

#[test]
fn a_seed_gives_the_same_file_and_another_seed_another() {
    let place = Place::new();
    let (images, config) = place.images();
    let (run, weights) = (place.path("run"), place.path("tiny.safetensors"));
    succeeds(&["train", "--data", &images, "--out", &run, "--config", &config]);
    succeeds(&["export", &run, "--out", &weights, "--dtype", "f32"]);
    let sample = |name: &str, seed: &str| {
        let out = place.path(name);
        succeeds(&["sample", &weights, "--out", &out, "--count", "1", "--seed", seed]);
        fs::read(out).expect("a file")
    };
    let first = sample("a.png", "1");
    assert!(first == sample("b.png", "1"));
    assert!(first != sample("c.png", "2"));
    let picture = image::load_from_memory(&first).expect("a PNG");
    assert_eq!((picture.width(), picture.height()), (8, 8), "one picture alone has no border");
}

#[test]
fn ctrl_c_stops_with_a_checkpoint_that_resumes() {
    let place = Place::new();
    let (images, config) = place.images();
    let run = place.path("run");
    let mut child = Command::new(env!("CARGO_BIN_EXE_meanflow"))
        .args(["train", "--data", &images, "--out", &run, "--config", &config, "--steps", "1000000"])
        // Not a pipe: nobody would read it, and a full one stops the program.
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    // Any checkpoint: on a fast machine the first is soon replaced by newer ones.
    let is_checkpoint = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("step-");
    let saved = || fs::read_dir(Path::new(&run).join("checkpoints")).is_ok_and(|all| all.flatten().any(is_checkpoint));
    let started = std::time::Instant::now();
    while !saved() && started.elapsed().as_secs() < 120 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(interrupted.success());
    assert!(child.wait().expect("it ends").success());
    let step = |path: PathBuf| path.file_name().and_then(|n| n.to_string_lossy()[5..].parse::<u64>().ok());
    let entries = fs::read_dir(Path::new(&run).join("checkpoints")).expect("a folder");
    let last = entries.filter_map(|e| step(e.expect("an entry").path())).max().expect("a checkpoint");
    let steps = (last + 1).to_string();
    let told = succeeds(&["train", "--data", &images, "--out", &run, "--resume", "--steps", &steps]);
    assert!(told.contains(&format!("continuing at step {last}")), "{told}");
}

#[test]
fn damaged_and_foreign_weights_are_named() {
    let place = Place::new();
    let (images, config) = place.images();
    let (run, weights, out) = (place.path("run"), place.path("tiny.safetensors"), place.path("x.png"));
    succeeds(&["train", "--data", &images, "--out", &run, "--config", &config]);
    succeeds(&["export", &run, "--out", &weights]);
    let bytes = fs::read(&weights).expect("a file");
    let cut = place.file("cut.safetensors", &bytes[..bytes.len() / 2]);
    let page = place.file("page.safetensors", "<html>not found</html>");
    for command in ["sample", "inspect"] {
        let more: &[&str] = if command == "sample" { &["--out", &out] } else { &[] };
        let with = |file| [&[command, file], more].concat();
        fails(&with(&cut), &["cut.safetensors", "truncated"]);
        fails(&with(&page), &["page.safetensors", "safetensors file"]);
        fails(&with("no/such/file"), &["no/such/file", "cannot read"]);
    }
    fails(&["sample", &weights, "--out", &out, "--class", "moos"], &["moos", "moss, rust"]);
    fails(&["sample", &weights, "--out", &out, "--count", "0"], &["0 pictures"]);
    fails(&["sample", &weights, "--out", &out, "--solver", "heun", "--nfe", "3"], &["heun", "2 or 4"]);
    let adaptive = ["sample", &weights, "--out", &out, "--solver", "dormand-prince"];
    fails(&[&adaptive[..], &["--nfe", "8"]].concat(), &["--nfe", "--tolerance"]);
    fails(&[&adaptive[..], &["--tolerance", "1"]].concat(), &["1e-6 to 0.1"]);
    fails(&["sample", &weights, "--out", &out, "--tolerance", "1e-3"], &["mean-flow has no --tolerance"]);
    fails(&["sample", &weights, "--out", &out, "--guidance", "2"], &["mean-flow has no guidance", "euler"]);
    let interval = ["sample", &weights, "--out", &out, "--guidance-interval", "0.4,0.65"];
    fails(&interval, &["--guidance-interval", "give --guidance too"]);
    fails(&["likelihood", &weights, "--data", &images, "--count", "0"], &["0 images"]);
    fs::rename(Path::new(&images).join("moss"), Path::new(&images).join("lichen")).expect("it renames");
    fails(&["likelihood", &weights, "--data", &images], &["lichen", "moss, rust"]);
    fails(&["sample", &weights, "--out", &out, "--device", "tpu"], &["tpu", "cpu"]);
    assert!(!Path::new(&out).exists(), "a failed command left a file");
}

#[test]
fn unusable_data_and_settings_are_named() {
    let place = Place::new();
    let (images, _) = place.images();
    let run = place.path("run");
    let train = |data: &str, more: &[&str]| [&["train", "--data", data, "--out", &run], more].concat().join("\0");
    let fails_to_train = |data: &str, more: &[&str], words: &[&str]| {
        let joined = train(data, more);
        fails(&joined.split('\0').collect::<Vec<_>>(), words);
        assert!(!Path::new(&run).exists(), "a failed start left a run folder");
    };
    fails_to_train("no/such/folder", &[], &["no/such/folder"]);
    let empty = place.file("empty.zip", "");
    fails_to_train(&empty, &[], &["empty.zip"]);
    let words = place.file("words.png", "these are words");
    fails_to_train(&words, &[], &["words.png"]);
    let settings = place.file("bad.toml", "[train]\nstepz = 3");
    fails_to_train(&images, &["--config", &settings], &["bad.toml", "stepz"]);
    fails_to_train(&images, &["--config", "no.toml"], &["no.toml"]);
    // Settings with which nothing would be learnt, or another objective than they name.
    let shortcuts = "objective = { kind = \"shortcut\" }\ntimes = { interval_probability = 1.0 }";
    let at_once = TINY.replace("flow_matching_steps = 2, ramp_steps = 2", "flow_matching_steps = 0, ramp_steps = 0");
    let shortcuts = place.file("shortcuts.toml", format!("{shortcuts}\n{at_once}"));
    fails_to_train(&images, &["--config", &shortcuts], &["shortcuts.toml", "interval_probability", "--init"]);
    let moments = place.file("moments.toml", format!("objective = {{ kind = \"moment-matching\" }}\n{TINY}"));
    fails_to_train(&images, &["--config", &moments], &["moments.toml", "groups of 4", "batch_size"]);
    fails(&["export", &run, "--out", &place.path("x")], &["holds no run"]);
}

#[test]
fn a_dry_run_says_what_a_run_would_take_and_writes_nothing() {
    let place = Place::new();
    let (data, config) = place.images();
    let run = place.path("dry");
    let said = succeeds(&["train", "--data", &data, "--config", &config, "--out", &run, "--dry-run"]);
    for words in ["images of", "M parameters", "a step:", "steps of", "no run was begun"] {
        assert!(said.contains(words), "`{said}` does not say `{words}`");
    }
    assert!(said.contains("AdamW trains") && !said.contains("Muon"), "{said}");
    let muon = ["--optimizer", "muon", "--dry-run"];
    let said = succeeds(&[&["train", "--data", &data, "--config", &config, "--out", &run][..], &muon].concat());
    assert!(said.contains("Muon trains") && said.contains("AdamW trains"), "{said}");
    assert!(!Path::new(&run).exists());
    fails(&["train", "--data", &place.path("missing"), "--out", &run, "--dry-run"], &["missing", "no such file"]);
}

#[test]
fn a_report_is_one_page_that_holds_the_run() {
    let place = Place::new();
    let (data, config) = place.images();
    let (run, page) = (place.path("run"), place.path("report.html"));
    fails(&["report", &run], &["config.toml"]);
    succeeds(&["train", "--data", &data, "--config", &config, "--out", &run]);
    succeeds(&["report", &run, "--out", &page]);
    let html = fs::read_to_string(&page).expect("a page");
    for part in ["<title>tiny</title>", "Step 6", "12 images", "polyline", "data:image/png;base64,", "batch_size = 4"] {
        assert!(html.contains(part), "the page does not hold `{part}`");
    }
    assert!(!html.contains("http"), "the page fetches something");
    succeeds(&["report", &run]);
    assert!(Path::new(&run).join("report.html").exists());
}
