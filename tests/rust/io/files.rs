//! Files that are written: whole or not at all, where they were meant to go, and never onto what is read. And text that
//! others chose, where it is shown.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use meanflow::eval::{plot, read_records, tables};
use meanflow::io::{AtomicFile, AtomicFolder, write_atomic};
use meanflow::model::weights::Precision;
use meanflow::net::encode;

use crate::cli::{Place, fails, succeeds};
use crate::support::{device, random_net, tiny_config};
use crate::weights::info;

/// The names in a folder, hidden ones too.
fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A small model with classes of these names.
fn model(place: &Place, file: &str, name: &str, classes: [&str; 2]) -> String {
    let config = tiny_config(4, 2);
    let mut info = info(config.clone());
    (info.name, info.classes) = (name.into(), classes.map(str::to_owned).to_vec());
    place.file(file, encode(&random_net(&config, &device()), &info, Precision::F16).expect("it encodes"))
}

const RECORD: &str = r##"{"model": "<script>alert(1)</script>\"&'|x|\n# h", "seed": 0, "solver": "mean-flow", "nfe": 1, "images": 10,
    "real": 10, "metric": "FD<script>", "features": "f\u001b[31m", "distance": 1.0, "kernel": 0.0, "kernel_std": 0.0,
    "precision": 0.1, "recall": 0.1, "seconds": 0.1}"##;

fn record() -> String {
    RECORD.replace("\n    ", " ") + "\n"
}

/// Runs the program where no file may grow: every write fails, as on a full disk.
fn on_a_full_disk(arguments: &[&str]) -> Output {
    Command::new("sh")
        .args(["-c", "ulimit -f 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_meanflow")])
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn a_full_disk_leaves_every_file_as_it_was_and_nothing_beside_it() {
    let place = Place::new();
    let weights = model(&place, "w.safetensors", "tiny", ["a", "b"]);
    let results = place.file("r.jsonl", record());
    let (_, config) = place.images();
    let run = place.path("run");
    succeeds(&["train", "--data", &place.path("images"), "--config", &config, "--out", &run, "--steps", "2"]);
    let checkpoint = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/published.pth");
    let checkpoint = checkpoint.to_string_lossy();
    let net = r#"{"image_size":8,"channels":1,"patch":4,"width":16,"depth":1,"heads":2}"#;
    let [table, figure, page, picture, exported, graph] =
        ["t.md", "f.svg", "p.html", "g.png", "e.safetensors", "o.onnx"]
            .map(|name| place.file(name, format!("old {name}")));
    let commands: [&[&str]; 11] = [
        &["compare", &results, "--table", &table],
        &["compare", &results, "--table", &page.replace("html", "txt"), "--plot", &figure],
        &["report", &run, "--out", &page],
        &["playground", "--steps", "1", "--out", &figure],
        &["sample", &weights, "--count", "2", "--out", &picture],
        &[
            "neighbours",
            &weights,
            "--data",
            &place.path("images"),
            "--config",
            &config,
            "--count",
            "2",
            "--out",
            &picture,
        ],
        &["random-weights", "--net", net, "--out", &exported],
        &["repack", &weights, "--out", &exported],
        &["repack", &weights, "--onnx", &graph],
        &["export", &run, "--out", &exported],
        &["import", &checkpoint, "--heads", "2", "--pixels", "--prefix", "ema.", "--out", &exported],
    ];
    let before = names(place.dir.path());
    for command in commands {
        let output = on_a_full_disk(command);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {message}");
        assert!(message.contains("cannot write") && !message.contains("panicked"), "{command:?}: {message}");
        assert_eq!(names(place.dir.path()), before, "{command:?} left something behind");
        for file in [&table, &figure, &page, &picture, &exported, &graph] {
            let name = Path::new(file).file_name().expect("a name").to_string_lossy();
            assert_eq!(fs::read_to_string(file).expect("it is there"), format!("old {name}"), "{command:?}");
        }
    }
}

#[test]
fn links_modes_pipes_and_the_files_of_others_stay_what_they_are() {
    let place = Place::new();
    let folder = place.dir.path();
    // A file of the user's with the name that a temporary one might have, and a planted link.
    let theirs = place.file("x.svg.partial", "mine");
    let target = place.file("target.svg", "old");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).expect("a mode");
    symlink("target.svg", folder.join("x.svg")).expect("a link");
    write_atomic(&folder.join("x.svg"), "new").expect("it writes");
    assert_eq!(fs::read_link(folder.join("x.svg")).expect("still a link"), Path::new("target.svg"));
    assert_eq!(fs::read_to_string(&target).expect("a file"), "new");
    assert_eq!(fs::metadata(&target).expect("a file").permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_to_string(theirs).expect("a file"), "mine");
    // What a link names may not be there yet.
    symlink("later.svg", folder.join("dangling.svg")).expect("a link");
    write_atomic(&folder.join("dangling.svg"), "new").expect("it writes");
    assert_eq!(fs::read_to_string(folder.join("later.svg")).expect("a file"), "new");
    // A new file has the mode of any other, which the user's mask decides.
    fs::write(folder.join("usual"), "").expect("it writes");
    let mode = |name: &str| fs::metadata(folder.join(name)).expect("a file").permissions().mode();
    assert_eq!(mode("later.svg"), mode("usual"));

    let pipe = place.path("pipe.svg");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe)
    });
    write_atomic(Path::new(&pipe), "through the pipe").expect("it writes");
    assert_eq!(reader.join().expect("it reads").expect("text"), "through the pipe");
    let picture = place.path("pipe.png");
    assert!(Command::new("mkfifo").arg(&picture).status().expect("mkfifo").success());
    let reader = std::thread::spawn({
        let picture = picture.clone();
        move || fs::read(picture)
    });
    let weights = model(&place, "w.safetensors", "m", ["a", "b"]);
    succeeds(&["sample", &weights, "--out", &picture, "--count", "1"]);
    assert!(reader.join().expect("it reads").expect("bytes").starts_with(b"\x89PNG"));
    let results = place.file("r.jsonl", record());
    assert!(succeeds(&["compare", &results, "--table", "/dev/stdout"]).contains("FD"));

    for (path, reason) in [("no/such.svg", "there is no folder"), ("", "it is a folder"), ("new/", "no name of a file")]
    {
        let error = write_atomic(&folder.join(path), "x").expect_err(path).to_string();
        assert!(error.starts_with("cannot write") && error.contains(reason), "{error}");
    }
    let before = names(folder);
    drop(AtomicFile::create(&folder.join("begun.svg")).expect("it begins"));
    drop(AtomicFolder::create(&folder.join("begun")).expect("it begins"));
    assert_eq!(names(folder), before, "what was not finished is still there");
}

#[test]
fn a_program_that_is_ended_while_it_writes_leaves_nothing() {
    let place = Place::new();
    let weights = model(&place, "w.safetensors", "tiny", ["a", "b"]);
    let out = place.path("pictures");
    let before = names(place.dir.path());
    // As `nohup` starts it: that the terminal goes away does not end it.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_meanflow")])
        .args(["sample", &weights, "--format", "png", "--count", "100000000", "--out", &out])
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let started = std::time::Instant::now();
    while names(place.dir.path()) == before && started.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let id = child.id().to_string();
    let send = |signal: &str| Command::new("kill").args([signal, &id]).status().expect("kill runs");
    assert!(send("-HUP").success());
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(child.try_wait().expect("its state").is_none(), "it ended with its terminal");
    assert!(send("-TERM").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(names(place.dir.path()), before);
}

#[test]
fn nothing_is_written_onto_what_is_read_under_whatever_name() {
    let place = Place::new();
    let folder = place.dir.path();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/vae.safetensors");
    let checkpoint = place.path("p.safetensors");
    fs::copy(fixture, &checkpoint).expect("it copies");
    let bytes = fs::read(&checkpoint).expect("it is there");
    fs::hard_link(&checkpoint, folder.join("hard.safetensors")).expect("a link");
    symlink("p.safetensors", folder.join("soft.safetensors")).expect("a link");
    let (images, config) = place.images();
    for name in ["p.safetensors", "./p.safetensors", "hard.safetensors", "soft.safetensors", "images/../p.safetensors"]
    {
        let out = place.path(name);
        fails(&["import", &checkpoint, "--out", &out], &["same file as the input", "choose another"]);
        fails(
            &["encode", "--data", &images, "--vae", &checkpoint, "--config", &config, "--out", &out],
            &["same file as the input"],
        );
        assert!(fs::read(&checkpoint).expect("it is there") == bytes, "{name}");
    }
    let weights = model(&place, "w.safetensors", "tiny", ["a", "b"]);
    let picture = place.path("images/moss/0.png");
    let before = fs::read(&picture).expect("it is there");
    fails(
        &["neighbours", &weights, "--data", &images, "--config", &config, "--out", &picture],
        &["one of the files of the input"],
    );
    assert!(fs::read(&picture).expect("it is there") == before);
    let results = place.file("r.jsonl", record());
    fails(&["compare", &results, "--table", &results], &["Markdown"]);
    let text = place.file("r.txt", record());
    fails(&["compare", &text, "--table", &text], &["same file as the input"]);
}

#[test]
fn a_page_is_exported_only_where_nothing_is_lost() {
    let place = Place::new();
    let folder = place.dir.path();
    let (images, config) = place.images();
    let run = place.path("run");
    succeeds(&["train", "--data", &images, "--config", &config, "--out", &run, "--steps", "2"]);
    let site = place.path("dist");
    fs::create_dir_all(folder.join("dist/web/engine")).expect("a folder");
    for file in ["dist/index.html", "dist/web/mean-flow.js", "dist/web/engine/worker.js"] {
        fs::write(folder.join(file), file).expect("it writes");
    }
    fs::create_dir(folder.join("theirs")).expect("a folder");
    place.file("theirs/notes.txt", "mine");
    symlink("dist", folder.join("link")).expect("a link");
    let export = |to: &str, words: &[&str]| {
        let to = place.path(to);
        let command = ["export", &run, "--web", &to, "--site", &site];
        match words {
            [] => drop(succeeds(&command)),
            words => fails(&command, words),
        }
    };
    let before = (names(&site), names(folder), names(&run));
    for to in ["dist", "dist/web/x", "link/x", "theirs/../dist/new", ".", "run", "run/web"] {
        export(to, &["overlaps"]);
    }
    export("theirs", &["not empty"]);
    assert_eq!((names(&site), names(folder), names(&run)), before);
    assert_eq!(names(folder.join("dist/web")), ["engine", "mean-flow.js"]);
    export("page", &[]);
    // Again, onto what an export has left.
    export("page", &[]);
    assert_eq!(names(folder.join("page")), ["index.html", "page.css", "poster.png", "tiny.safetensors", "web"]);
    assert_eq!(
        fs::read_to_string(folder.join("page/web/engine/worker.js")).expect("a file"),
        "dist/web/engine/worker.js"
    );
    place.file("page/notes.txt", "mine");
    export("page", &["not empty"]);
}

#[test]
fn endings_that_do_not_fit_are_refused_before_anything_is_opened() {
    let place = Place::new();
    let kept = ["old.jpg", "old.pth", "old.png", "old.html", "old.json"].map(|name| place.file(name, "keep"));
    let [jpg, pth, png, html, json] = &kept;
    // None of the inputs is there.
    for (command, out, what) in [
        (&["sample", "no.safetensors", "--out"][..], jpg, "PNG"),
        (&["export", "no-run", "--out"], pth, "safetensors"),
        (&["export", "no-run", "--onnx"], pth, "ONNX"),
        (&["repack", "no.safetensors", "--out"], png, "safetensors"),
        (&["import", "no.pth", "--out"], pth, "safetensors"),
        (&["compare", "no.jsonl", "--plot"], html, "SVG"),
        (&["compare", "no.jsonl", "--table"], json, "Markdown"),
        (&["playground", "--out"], png, "SVG"),
        (&["report", "no-run", "--out"], json, "HTML"),
        (&["random-weights", "--net", "{}", "--out"], jpg, "safetensors"),
        (&["classifier", "--data", "no", "--out"], jpg, "safetensors"),
        (&["encode", "--data", "no", "--vae", "no", "--config", "no", "--out"], jpg, "safetensors"),
        (&["neighbours", "no.safetensors", "--data", "no", "--out"], jpg, "PNG"),
        (&["eval", "no.safetensors", "--data", "no", "--features", "no", "--out"], png, "lines of JSON"),
    ] {
        fails(&[command, &[out.as_str()]].concat(), &["what is written is", what, "nothing was written"]);
        assert_eq!(fs::read_to_string(out).expect("it is there"), "keep");
    }
    fails(&["sample", "no.safetensors", "--out", &place.path("folder")], &["ends in .png", "--format png"]);
    fails(&["sample", "no.safetensors", "--format", "png", "--out", png], &["is a file", "into a folder"]);
}

#[test]
fn single_pictures_are_those_of_the_grid_in_any_number() {
    let place = Place::new();
    let weights = model(&place, "w.safetensors", "tiny", ["a", "b"]);
    let sample = |more: &[&str]| succeeds(&[&["sample", &weights, "--nfe", "1"], more].concat());
    let (single, packed) = (place.path("single"), place.path("packed"));
    // More than are drawn at once.
    sample(&["--count", "300", "--seed", "7", "--format", "png", "--out", &single]);
    sample(&["--count", "300", "--seed", "7", "--format", "npz", "--out", &packed]);
    assert_eq!(names(&single).len(), 300);
    assert_eq!(names(&packed), ["samples.npz"]);
    let mut zip = zip::ZipArchive::new(fs::File::open(Path::new(&packed).join("samples.npz")).expect("a file"));
    let mut array = Vec::new();
    let zip = zip.as_mut().expect("an archive");
    zip.by_name("arr_0.npy").expect("an array").read_to_end(&mut array).expect("it reads");
    let start = 10 + usize::from(u16::from_le_bytes([array[8], array[9]]));
    let header = String::from_utf8_lossy(&array[10..start]).into_owned();
    assert!(header.contains("'descr': '|u1'") && header.contains("'shape': (300, 8, 8, 4)"), "{header}");
    assert_eq!(array.len() - start, 300 * 8 * 8 * 4);
    for (i, values) in array[start..].chunks_exact(8 * 8 * 4).enumerate() {
        let picture = image::open(Path::new(&single).join(format!("{:06}.png", 7 + i))).expect("a picture");
        assert!(picture.to_rgba8().as_raw() == values, "picture {i}");
    }
    let alone = place.path("alone.png");
    sample(&["--count", "1", "--seed", "290", "--out", &alone]);
    let [alone, in_folder] = [alone, format!("{single}/000290.png")].map(|file| image::open(file).expect("a picture"));
    let apart = alone.to_rgba8().iter().zip(in_folder.to_rgba8().iter()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(apart <= Some(1), "a seed gives another picture in another batch: {apart:?}");

    // Somebody's folder stays theirs, and pictures of two calls do not mix.
    fails(&["sample", &weights, "--format", "png", "--out", &single], &["cannot write", "not empty"]);
    assert_eq!(names(&single).len(), 300);
    fails(
        &["sample", &weights, "--count", "4096", "--scale", "32", "--out", &place.path("g.png")],
        &["pixels", "fewer"],
    );
    fails(&["sample", &weights, "--count", "0", "--format", "npz", "--out", &packed], &["0 pictures"]);
}

#[test]
fn text_that_others_chose_cannot_act_where_it_is_shown() {
    let place = Place::new();
    let evil = "\u{1b}]0;PWNED\u{7}\u{1b}[31mRED\u{202e}gnp\u{9b}31m\u{7f}";
    let weights = model(&place, "w.safetensors", evil, ["\u{1b}[30mc\u{202e}", "a\nerror: b"]);
    let acts =
        |text: &str| text.chars().any(|c| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)));
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_meanflow")).args(arguments).output().expect("the program starts");
        let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
        assert!(!acts(&out) && !acts(&error), "{arguments:?}: {out:?} {error:?}");
        (out, error)
    };
    let (out, _) = run(&["inspect", &weights]);
    let said: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(said["name"], evil, "what is escaped means the same");
    let (_, error) = run(&["sample", &weights, "--class", "zz", "--out", &place.path("x.png")]);
    assert!(error.contains(r"\u001b[30mc\u202e") && !error.contains("\nerror: b"), "{error}");
    // Names of files.
    let folder = place.dir.path().join("pictures/a");
    fs::create_dir_all(&folder).expect("a folder");
    for name in ["\u{1b}[31mred\u{1b}[0m.png", "\u{202e}gnp.exe.png"] {
        fs::write(folder.join(name), "no picture").expect("it writes");
    }
    let (_, error) = run(&["train", "--data", &place.path("pictures"), "--out", &place.path("run")]);
    assert!(error.contains(r"\u001b[31mred"), "{error}");

    let results = place.file("r.jsonl", record());
    let records = read_records(&[&results]).expect("it reads");
    let (svg, table) = (plot(&records), tables(&records));
    assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;") && !acts(&svg), "{svg}");
    assert!(!table.contains("<script") && !table.contains("|x|") && !acts(&table), "{table}");
    let columns = |line: &&str| line.starts_with('|');
    let pipes = |line: &str| line.replace("\\|", "").matches('|').count();
    let rows: Vec<usize> = table.lines().filter(columns).map(pipes).collect();
    assert_eq!(rows, [4, 4, 4, 9, 9, 9], "{table}");
    let (out, _) = run(&["compare", &results]);
    assert!(out.contains("&lt;script&gt;"), "{out}");
}
