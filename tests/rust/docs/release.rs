//! What a release is made of: one version in all places, a crate that carries what it needs, archives, and workflows
//! whose steps are known to the byte.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::Place;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let package: serde_json::Value = serde_json::from_str(&read("web/package/package.json")).expect("JSON");
    assert_eq!(package["version"], version, "web/package/package.json");
    assert!(read("README.md").contains(&format!("version = {{{version}}}")), "the citation in README.md");
    let changelog = read("docs/CHANGELOG.md");
    let newest = changelog.lines().find(|line| line.starts_with("## ")).expect("a version");
    let date = newest.strip_prefix(&format!("## {version} (")).and_then(|rest| rest.strip_suffix(')'));
    let is_date = |date: &str| date.len() == 10 && date.split('-').all(|part| part.parse::<u32>().is_ok());
    assert!(date.is_some_and(|date| date == "unreleased" || is_date(date)), "docs/CHANGELOG.md begins with `{newest}`");
    assert!(read("Cargo.lock").contains(&format!("name = \"meanflow\"\nversion = \"{version}\"\n")), "Cargo.lock");
}

/// The sources that files of the program are made of, by their paths in the crate.
fn included(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            included(&entry, found);
            continue;
        }
        if entry.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&entry).expect("a source");
        // What tests read stays in the repository.
        let program = text.split("#[cfg(test)]").next().unwrap_or_default();
        for macro_name in ["include_str!(\"", "include_bytes!(\""] {
            for name in program.split(macro_name).skip(1).filter_map(|rest| rest.split('"').next()) {
                let path = entry.parent().expect("a folder").join(name);
                // The folder of what a build makes first may not be there: a program that needs it would not compile.
                let Ok(parent) = path.parent().expect("a folder").canonicalize() else { continue };
                found.insert(parent.join(path.file_name().expect("a name")));
            }
        }
        found.insert(entry.canonicalize().expect("it is there"));
    }
}

#[test]
fn the_crate_carries_what_it_needs_and_nothing_large() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().expect("the crate");
    let listed = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline", "-p", "meanflow"])
        .current_dir(repository())
        .output()
        .expect("cargo starts");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8_lossy(&listed.stdout).replace('\\', "/");
    let files: BTreeSet<&str> = text.lines().collect();
    let mut needed = BTreeSet::new();
    included(&crate_folder.join("src"), &mut needed);
    for path in &needed {
        let name = path.strip_prefix(&crate_folder).expect("it lies in the crate").to_string_lossy().replace('\\', "/");
        // A release has made the page before; whoever has not, packs none.
        let is_optional = name == "page/page.tar.br" && !path.exists();
        assert!(is_optional || files.contains(&*name), "the crate lacks {name}");
    }
    assert!(needed.len() > 150, "only {} files are needed", needed.len());
    for name in
        ["LICENSE-MIT", "LICENSE-APACHE", "README.md", "Cargo.lock", "configs/emoji.toml", "examples/minimal.rs"]
    {
        assert!(files.contains(name), "the crate lacks {name}");
    }
    let mut total = 0;
    for name in &files {
        let bytes = fs::metadata(crate_folder.join(name)).map_or(0, |file| file.len());
        assert!(bytes < 600_000, "{name} has {bytes} bytes");
        total += bytes;
    }
    assert!(total < 4_000_000, "{total} bytes, and the registry takes 10 MB when compressed");
}

/// The page's licences are the repository's own files, which a package holds as files.
#[test]
fn the_licences_of_the_crate_are_those_of_the_repository() {
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let own = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a licence");
        // Where a checkout makes no links, their text is the place that they mean.
        let means = format!("../{name}").into_bytes();
        assert!(own == means || own == fs::read(repository().join(name)).expect("a licence"), "{name}");
    }
}

/// `cargo binstall` looks for the archives where the release leaves them.
#[test]
fn an_archive_is_named_as_installers_look_for_it() {
    let place = Place::new();
    let target = "x86_64-unknown-linux-gnu";
    let script = repository().join(".github/archive.sh");
    let made =
        Command::new("bash").arg(script).args([env!("CARGO_BIN_EXE_meanflow"), target, &place.path("out")]).output();
    let made = made.expect("bash starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let manifest: toml::Table = read("crate/Cargo.toml").parse().expect("TOML");
    let binstall = &manifest["package"]["metadata"]["binstall"];
    let filled = |key: &str| {
        let text = binstall[key].as_str().expect("text");
        [
            ("{ repo }/", ""),
            ("{ version }", env!("CARGO_PKG_VERSION")),
            ("{ target }", target),
            ("{ archive-suffix }", ".tar.gz"),
            ("{ bin }", "meanflow"),
            ("{ binary-ext }", ""),
        ]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    let archive = filled("pkg-url").rsplit_once('/').expect("a path").1.to_owned();
    let path = place.dir.path().join("out").join(&archive);
    let sum = fs::read_to_string(place.dir.path().join("out").join(format!("{archive}.sha256"))).expect("a checksum");
    assert!(sum.len() > 64 && sum.trim_end().ends_with(&archive), "{sum}");
    let tar = flate2::read::GzDecoder::new(fs::File::open(path).expect("the archive"));
    let names: BTreeSet<String> = tar::Archive::new(tar)
        .entries()
        .expect("a tar")
        .map(|entry| entry.expect("an entry").path().expect("a path").to_string_lossy().into_owned())
        .collect();
    let folder = format!("meanflow-{}-{target}", env!("CARGO_PKG_VERSION"));
    assert!(names.contains(&filled("bin-dir")), "{names:?}");
    for name in ["man/meanflow-train.1", "completions/meanflow.zsh", "LICENSE-MIT", "THIRD_PARTY.md"] {
        assert!(names.contains(&format!("{folder}/{name}")), "no {name} in {names:?}");
    }
}

/// A tag can be moved to other code; a digest cannot.
#[test]
fn workflows_take_actions_by_digest_and_ask_for_few_rights() {
    let folder = repository().join(".github/workflows");
    let mut actions = 0;
    for path in fs::read_dir(folder).expect("workflows").map(|entry| entry.expect("an entry").path()) {
        let text = fs::read_to_string(&path).expect("a workflow");
        let name = path.display();
        assert!(text.contains("\npermissions:\n  contents: read\n"), "{name} asks for more rights than it needs");
        for line in text.lines().filter_map(|line| line.split("uses: ").nth(1)) {
            let (digest, version) =
                line.split_once('@').and_then(|(_, rest)| rest.split_once(" # v")).unwrap_or_default();
            let is_digest = digest.len() == 40 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_digest && !version.is_empty(), "{name}: `{line}` is no digest with its version");
            actions += 1;
        }
    }
    assert!(actions >= 10, "{actions} actions were found");
    assert!(!read(".github/workflows/ci.yml").contains("secrets."), "tests need no secret");
}
