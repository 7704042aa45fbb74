//! Small stand-ins for all that the commands of the documents speak of: data, models, settings, programs. Files have
//! the names and formats that are printed; settings are those of the repository with a tiny network and a few steps.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use image::{Rgba, RgbaImage};
use toml::{Table, Value};

use crate::cli::succeeds;

/// The folder of the project.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What documents need, made once.
pub struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        let sandbox = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        let base = sandbox.dir.path().join("base");
        fs::create_dir_all(&base).expect("a folder");
        programs(&base);
        settings(&base);
        data(&base);
        models(&base);
        sandbox
    }

    /// A copy of it for a document to work in.
    pub fn copy_for(&self, document: &str) -> PathBuf {
        let place = self.dir.path().join(document.replace('/', "-"));
        copy(&self.dir.path().join("base"), &place);
        if ["docs/guide/embed.md", "docs/guide/import.md", "docs/guide/program.md"].contains(&document) {
            // They go on where docs/guide/train.md ends: with its run.
            copy(&self.dir.path().join("trained"), &place.join("run"));
        }
        if document == "static/models/nouns.md" {
            // It is measured there, at sixteen calls an image.
            fs::copy(place.join("nouns-tiny.safetensors"), place.join("static/models/nouns.safetensors"))
                .expect("it copies");
        }
        place
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        match path.is_dir() {
            true => copy(&path, &target),
            // With its permissions.
            false => drop(fs::copy(&path, &target).expect("it copies")),
        }
    }
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// `meanflow` is the tested program, `cargo` runs it, `make` says what it would do, and `mpirun` starts one process.
fn programs(base: &Path) {
    let cargo = r#"#!/usr/bin/env bash
case "$1 ${2:-}" in
  'run --release'*) [ "${3:-}" = --example ] && exec test -e "$REPOSITORY/crate/examples/$4.rs" ;;&
  'run --release') shift 2; [ "$1" = -- ] && shift; exec "$MEANFLOW" "$@" ;;
  'build --release' | 'doc --no-deps' | 'test --release') exit 0 ;;
  'tree --format') cd "$REPOSITORY" && exec "$CARGO" tree --offline "${@:2}" ;;
esac
echo "cargo $*: has no stand-in" >&2
exit 1
"#;
    let make = r#"#!/usr/bin/env bash
case "$*" in
  *reproduction) exec "$MAKE_PROGRAM" "$@" ;;
  *) exec "$MAKE_PROGRAM" -n "$@" ;;
esac
"#;
    let mpirun = r#"#!/usr/bin/env bash
[ "$1" = -n ] && [ "$3" = --hostfile ] && exec "${@:5}"
"#;
    let meanflow = "#!/usr/bin/env bash\nexec \"$MEANFLOW\" \"$@\"\n";
    for (name, text) in [("cargo", cargo), ("make", make), ("meanflow", meanflow), ("mpirun", mpirun)] {
        let path = base.join(".programs").join(name);
        write(&path, text);
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is made a program");
    }
    fs::copy(repository().join("Makefile"), base.join("Makefile")).expect("it copies");
}

/// The settings of the repository, made small in place.
fn settings(base: &Path) {
    let root = repository();
    let read = |path: &Path| -> Table {
        fs::read_to_string(path).expect("settings").parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let all = |folder: &str| {
        let files =
            fs::read_dir(root.join(folder)).expect("a folder of settings").map(|entry| entry.expect("an entry").path());
        files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect::<Vec<_>>()
    };
    for folder in
        ["crate/configs", "crate/configs/imagenet", "docs/reproduction/objectives", "docs/reproduction/ablations"]
    {
        for path in all(folder) {
            // Of the reproduction a few stand for all.
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            if folder.starts_with("docs")
                && !["mean-flow", "flow-matching", "base", "g-order-sort-mask"].contains(&&*stem)
            {
                continue;
            }
            let mut table = read(&path);
            shrink(&mut table, folder == "crate/configs/imagenet");
            write(&base.join(folder).join(path.file_name().expect("a name")), table.to_string());
        }
    }
    let mut unseen = read(&base.join("crate/configs/nouns.toml"));
    let layers = unseen["data"]["layers"].as_table_mut().expect("layers");
    layers.insert("seed".into(), 1.into());
    layers.insert("count".into(), 70.into());
    write(&base.join("unseen.toml"), unseen.to_string());
    for name in ["train.sh", "measure.sh", "tables.sh", "fashion-mnist.features.safetensors"] {
        let path = base.join("docs/reproduction").join(name);
        fs::copy(root.join("docs/reproduction").join(name), path).expect("it copies");
    }
    copy(&root.join("docs/reproduction/results"), &base.join("docs/reproduction/results"));
}

/// A tiny network, a few steps, and as few pictures.
fn shrink(settings: &mut Table, latents: bool) {
    let mut set = |table: &str, values: &[(&str, i64)]| {
        let table = settings.entry(table).or_insert_with(|| Value::Table(Table::new()));
        for (key, value) in values {
            table.as_table_mut().expect("a table").insert((*key).into(), (*value).into());
        }
    };
    set("net", &[("width", 16), ("depth", 1), ("heads", 1)]);
    set(
        "train",
        &[("steps", 2), ("batch_size", 2), ("flow_matching_steps", 0), ("ramp_steps", 0), ("warmup_steps", 0)],
    );
    set("log", &[("samples", 2), ("every", 1)]);
    if latents {
        set("data", &[("size", 8)]);
    }
    if let Some(layers) = settings.get_mut("data").and_then(|data| data.get_mut("layers")) {
        layers.as_table_mut().expect("a table").insert("count".into(), 12.into());
    }
}

fn png(edge: u32, seed: u32) -> Vec<u8> {
    let value = |x: u32, y: u32| ((x * (seed + 3) + 5 * y * seed) % 200) as u8;
    let picture = RgbaImage::from_fn(edge, edge, |x, y| Rgba([value(x, y), value(y, x), seed as u8, 255]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).expect("it writes");
    bytes.into_inner()
}

/// What the settings of a shipped model include.
fn included(base: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(base.join("crate/configs").join(format!("{name}.toml"))).expect("settings");
    let settings: Table = text.parse().expect("TOML");
    let list = settings["data"]["include"].as_array().expect("a list");
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The sets of pictures.
fn data(base: &Path) {
    let folders = |set: &str, folders: &[&str], count: u32, edge: u32| {
        for (place, folder) in folders.iter().enumerate() {
            for i in 0..count {
                write(&base.join(set).join(folder).join(format!("{i}.png")), png(edge, 40 * place as u32 + i));
            }
        }
    };
    folders("my-images", &["cats", "dogs"], 40, 32);
    folders("imagenet/train", &["n01440764", "n01443537"], 3, 20);
    let tiles = [
        "item/book",
        "item/potion",
        "item/scroll",
        "item/amulet",
        "item/wand",
        "dngn/altars",
        "dngn/gateways",
        "player/base",
    ];
    folders("crawl-tiles-32", &tiles, 2, 32);
    for (set, size) in [("people", 64), ("faces", 32), ("emoji-words", 32), ("emoji-faces", 32)] {
        for i in 0..4 {
            let picture = base.join(format!("runs/data/{set}/{i}.png"));
            write(&picture, png(size, i));
            write(&picture.with_extension("txt"), "brown skin, green mohawk\n");
            write(&picture.with_extension("json"), format!("{{\"face\": \"face {i}\"}}"));
        }
    }
    // As its project packs it: a second folder beside the one that the settings take from.
    let mut parts = included(base, "nouns");
    parts.retain(|name| name.ends_with(".png"));
    for folder in ["1-bodies/body", "2-accessories/accessory", "4-glasses/glasses"] {
        parts.extend(["a", "b"].map(|name| format!("v0/{folder}-{name}.png")));
    }
    parts.push("noundry/3-heads/head-tuba.png".into());
    let mut zip = zip::ZipWriter::new(fs::File::create(base.join("nouns-parts.zip")).expect("a file"));
    for (place, name) in parts.iter().enumerate() {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).expect("it writes");
        zip.write_all(&png(32, place as u32)).expect("it writes");
    }
    zip.finish().expect("it writes");
    let mnist = base.join("docs/reproduction/PATH/TO/fashion-mnist");
    for (name, count) in [("train", 80_u32), ("t10k", 20)] {
        let header = |magic: u32, sizes: &[u32]| -> Vec<u8> {
            std::iter::once(magic).chain(sizes.iter().copied()).flat_map(u32::to_be_bytes).collect()
        };
        let pixels = (0..count * 784).map(|i| (i * 7 % 251 + i / 784) as u8);
        let images = header(0x803, &[count, 28, 28]).into_iter().chain(pixels).collect::<Vec<_>>();
        // The documents name the file as its authors compress it.
        let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        compressed.write_all(&images).expect("it writes");
        let labels = header(0x801, &[count]).into_iter().chain((0..count).map(|i| (i % 10) as u8)).collect::<Vec<_>>();
        write(&mnist.join(format!("{name}-labels-idx1-ubyte")), labels);
        write(&mnist.join(format!("{name}-images-idx3-ubyte.gz")), compressed.finish().expect("it writes"));
    }
    let parquet = repository().join("tests/fixtures/sets/parquet/png_cls.parquet");
    fs::copy(parquet, base.join("pictures.parquet")).expect("it copies");
    fs::copy(repository().join("tests/fixtures/vae.safetensors"), base.join("vae.safetensors")).expect("it copies");
    // What `make build` leaves, as far as a folder for the web is copied from it.
    write(&base.join("dist/web/mean-flow.js"), "export {};\n");
}

/// Weights and features: the shipped models as they are, and tiny ones.
fn models(base: &Path) {
    let path = |name: &str| base.join(name).to_string_lossy().into_owned();
    let shipped = repository().join("static/models");
    for entry in fs::read_dir(&shipped).expect("the models").map(|entry| entry.expect("an entry").path()) {
        if entry.extension().is_some_and(|e| e == "safetensors" || e == "txt") {
            let target = base.join("static/models").join(entry.file_name().expect("a name"));
            fs::create_dir_all(base.join("static/models")).expect("a folder");
            fs::copy(&entry, target).expect("it copies");
        }
    }
    let tiny = "net = { patch = 8, width = 16, depth = 1, heads = 1 }\n\
                train = { steps = 1, batch_size = 2 }\nlog = { samples = 1 }\n";
    let guided =
        format!("{}guidance.input = {{}}\n", tiny.replace("heads = 1", "heads = 1, guidance = \"scale-and-interval\""));
    let train = |name: &str, settings: &str, seed: &str| {
        let (config, run) = (path(".stand-in.toml"), path(".stand-in"));
        write(Path::new(&config), settings);
        succeeds(&["train", "--data", &path("my-images"), "--config", &config, "--seed", seed, "--out", &run]);
        succeeds(&["export", &run, "--out", &path(name)]);
        fs::remove_dir_all(run).expect("it was written");
    };
    train("a.safetensors", tiny, "0");
    train("b.safetensors", tiny, "1");
    train("guided.safetensors", &guided, "0");
    // What docs/guide/train.md makes, for the guides that go on with it: of the size that settings have by default.
    let run = base.with_file_name("trained").to_string_lossy().into_owned();
    succeeds(&["train", "--data", &path("my-images"), "--steps", "1", "--out", &run]);
    succeeds(&["export", &run, "--out", &path("mine.safetensors")]);
    let (run, nouns) = (path(".stand-in"), path("crate/configs/nouns.toml"));
    succeeds(&["train", "--data", &path("nouns-parts.zip"), "--config", &nouns, "--out", &run]);
    succeeds(&["export", &run, "--out", &path("nouns-tiny.safetensors")]);
    fs::remove_dir_all(run).expect("it was written");
    let classifier = |data: &str, config: &str, out: &str| {
        succeeds(&[
            "classifier",
            "--data",
            &path(data),
            "--config",
            &path(config),
            "--epochs",
            "1",
            "--out",
            &path(out),
        ]);
    };
    classifier("nouns-parts.zip", "crate/configs/nouns.toml", "heads.features.safetensors");
}
