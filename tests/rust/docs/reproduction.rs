//! The scripts of docs/reproduction are programs: they run here as they stand, on a few images and for a few steps.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cli::Place;

/// Images of the set, which are more than the features that distances are measured on.
const IMAGES: u32 = 80;

/// Fashion-MNIST's two files, with bars and bands in ten classes.
fn write_images(folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    let head = |magic: u32, sizes: &[u32]| {
        [&[magic], sizes].concat().iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>()
    };
    let mut images = head(0x803, &[IMAGES, 28, 28]);
    let mut labels = head(0x801, &[IMAGES]);
    for i in 0..IMAGES {
        labels.push((i % 10) as u8);
        let pixel = |at: u32| {
            let (x, y) = (at % 28, at / 28);
            if (x + i) % (2 + i % 10) < 2 { 40 + 3 * i as u8 } else { (y * (i % 7)) as u8 }
        };
        images.extend((0..28 * 28).map(pixel));
    }
    fs::write(folder.join("train-images-idx3-ubyte"), images).expect("it writes");
    fs::write(folder.join("train-labels-idx1-ubyte"), labels).expect("it writes");
}

/// The names of the settings in a folder.
fn settings(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| entry.path().file_stem().expect("a name").to_string_lossy().into_owned()).collect()
}

#[test]
fn every_objective_and_ablation_is_trained_measured_and_tabulated() {
    let place = Place::new();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reproduction");
    let here = place.dir.path().join("reproduction");
    for folder in ["objectives", "ablations"] {
        fs::create_dir_all(here.join(folder)).expect("a folder");
        for entry in fs::read_dir(docs.join(folder)).expect("a folder").flatten() {
            fs::copy(entry.path(), here.join(folder).join(entry.file_name())).expect("it copies");
        }
    }
    for file in ["train.sh", "measure.sh", "tables.sh", "fashion-mnist.features.safetensors"] {
        fs::copy(docs.join(file), here.join(file)).expect("it copies");
    }
    let data = place.dir.path().join("fashion-mnist");
    write_images(&data);

    let run = |script: &str, arguments: &[&str]| {
        let mut command = Command::new("bash");
        command.arg(here.join(script)).args(arguments).env("MEANFLOW", env!("CARGO_BIN_EXE_meanflow"));
        let output = command.env("STEPS", "2").env("COUNT", "80").env("CALLS", "1,2").output().expect("bash runs");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "{script} {arguments:?}: {said}");
    };
    let (data, out) = (data.to_string_lossy(), place.path("out"));
    for folder in ["objectives", "ablations"] {
        run("train.sh", &[folder, "0", &data, &format!("{out}/{folder}")]);
        for name in settings(&here.join(folder)) {
            let log = here.join(format!("logs/{folder}-{name}-0.jsonl"));
            let text = fs::read_to_string(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
            assert!(text.lines().last().is_some_and(|line| line.contains("\"step\":2,")), "{name}: {text}");
        }
    }
    run("measure.sh", &[&data, &out]);
    run("tables.sh", &[]);
    for (folder, file) in [("objectives", "objectives-0"), ("ablations", "ablations")] {
        let results = fs::read_to_string(here.join(format!("results/{file}.jsonl"))).expect("results");
        let record = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        let measured: BTreeSet<String> =
            results.lines().map(|line| record(line)["model"].as_str().expect("a name").to_owned()).collect();
        // Those that others begin with are a step on the way to these.
        let text =
            |name: &String| fs::read_to_string(here.join(folder).join(format!("{name}.toml"))).expect("settings");
        let all = settings(&here.join(folder));
        let begun_with = |name: &String| all.iter().any(|other| text(other).contains(&format!("# init: {name}\n")));
        let expected = all.iter().filter(|name| !begun_with(name)).count();
        assert_eq!(measured.len(), expected, "{folder}: {measured:?}");
        let table = fs::read_to_string(here.join(format!("{folder}.md"))).expect("a table");
        assert!(measured.iter().all(|name| table.contains(name.as_str())), "{table}");
    }
    assert!(fs::read_to_string(here.join("quality-by-calls.svg")).expect("a plot").contains("<svg"));
}
