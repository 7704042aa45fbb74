//! Every command that a document of the project prints is run as it is printed, on small stand-ins for what it needs;
//! one whose files have no stand-in fails. `make` only says what it would do (but for `make reproduction`, which is
//! run), and [`OVERRIDES`] are the only changes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cli::succeeds;
use crate::stand_ins::{Sandbox, repository};

/// What would take minutes or hours, with what is run instead: the document, a part of its text, and that part as it is
/// run. A setting goes into a stand-in of the settings file where there is one; these commands have none.
const OVERRIDES: &[(&str, &str, &str)] = &[
    // It ends by a signal only.
    (
        "docs/guide/program.md",
        "serve run\n",
        "serve run --port 0 > .served & until grep -s http .served || ! kill -0 $!; do sleep 0.1; done; kill $!; \
         wait $! || [ $? = 130 ]\n",
    ),
    ("README.md", "train --data my-images --out run", "train --data my-images --steps 1 --out run"),
    ("docs/guide/train.md", "train --data my-images --out run", "train --data my-images --steps 1 --out run"),
    (
        "docs/guide/train.md",
        "train --data my-images --init mine.safetensors",
        "train --data my-images --steps 1 --init mine.safetensors",
    ),
    (
        "docs/guide/import.md",
        "train --data my-images --init mine.safetensors",
        "train --data my-images --steps 1 --init mine.safetensors",
    ),
    ("docs/guide/scale.md", "train --data my-images --config mine.toml", "train --data my-images --steps 1"),
    ("docs/guide/train.md", "playground --out two-moons.svg", "playground --steps 3 --out two-moons.svg"),
    (
        "docs/guide/evaluate.md",
        "eval a.safetensors b.safetensors",
        "eval --count 80 --nfe 1,2 a.safetensors b.safetensors",
    ),
    // Of few pictures not every head is there.
    ("docs/guide/evaluate.md", "--layer heads --layer glasses", "--layer glasses"),
    ("docs/guide/evaluate.md", "--swap glasses,bodies --out", "--count 4 --swap glasses,bodies --out"),
    ("docs/guide/evaluate.md", "--format npz --count 50000", "--format npz --count 50"),
    ("static/models/nouns.md", "--count 1000", "--count 80"),
];

/// Programs whose commands are run.
const PROGRAMS: [&str; 5] = ["meanflow", "make", "cargo", "bash", "mpirun"];

/// A command or a block of commands, with the line where it begins.
struct Printed {
    line: usize,
    text: String,
}

/// What a document prints in code.
#[derive(Default)]
struct Document {
    /// Blocks of `sh`, and commands inside the text.
    commands: Vec<Printed>,
    /// Flags that the text speaks of.
    flags: Vec<Printed>,
}

impl Document {
    fn of(name: &str, text: &str) -> Self {
        let mut document = Self::default();
        let (mut fence, mut block, mut prose) = (None, String::new(), String::new());
        for (at, line) in text.lines().enumerate() {
            let opens = line.trim_start().strip_prefix("```");
            match (&fence, opens) {
                (None, Some(language)) => {
                    document.spans(&prose);
                    prose = "\n".repeat(at + 1);
                    fence = Some((language.trim().to_owned(), at + 2));
                }
                (Some((language, line)), Some(_)) => {
                    let runs = |program: &&str| {
                        block.lines().any(|line| line.trim_start().starts_with(&format!("{program} ")))
                    };
                    match language.as_str() {
                        "sh" => document.commands.push(Printed { line: *line, text: std::mem::take(&mut block) }),
                        other => assert!(
                            !PROGRAMS.iter().any(runs),
                            "{name}:{line}: commands in a block of `{other}`, not sh"
                        ),
                    }
                    (fence, block, prose) = (None, String::new(), "\n".repeat(at + 1));
                }
                (Some(_), None) => block += &format!("{line}\n"),
                (None, None) => prose += &format!("{line}\n"),
            }
        }
        assert!(fence.is_none(), "{name}: a block of code does not end");
        document.spans(&prose);
        document
    }

    /// The commands and flags inside prose that begins on the first line.
    fn spans(&mut self, prose: &str) {
        for (i, span) in prose.split('`').enumerate().filter(|(i, _)| i % 2 == 1) {
            let before: usize = prose.split('`').take(i).map(|part| part.matches('\n').count()).sum();
            let text = span.split_whitespace().collect::<Vec<_>>().join(" ");
            let printed = Printed { line: before + 1, text };
            let first = printed.text.split(' ').next().unwrap_or_default();
            match first {
                flag if flag.starts_with("--") => self.flags.push(printed),
                program if PROGRAMS.contains(&program) && printed.text != program => self.commands.push(printed),
                _ => {}
            }
        }
    }
}

/// Whether a command only names a subcommand, alone or with flags, as prose does.
fn is_name(text: &str) -> bool {
    let mut words = text.split(' ');
    words.next() == Some("meanflow") && words.next().is_some() && words.all(|word| word.starts_with("--"))
}

/// The documents, by their paths inside the repository.
fn documents() -> Vec<String> {
    let root = repository();
    let mut found: Vec<PathBuf> =
        ["README.md", "THIRD_PARTY.md", "web/package/README.md"].map(|name| root.join(name)).into();
    let mut folders = vec![root.join("docs"), root.join("static/models")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of documents") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true if path.ends_with("node_modules") => {}
                true => folders.push(path),
                false if path.extension().is_some_and(|e| e == "md") => found.push(path),
                false => {}
            }
        }
    }
    let name = |path: PathBuf| path.strip_prefix(&root).expect("it is inside").to_string_lossy().into_owned();
    let mut names: Vec<String> = found.into_iter().map(name).collect();
    names.sort();
    names
}

/// The text of a script that runs what a document prints, one command after the other in one shell.
fn script(name: &str, text: &str) -> String {
    let text =
        OVERRIDES.iter().filter(|(document, ..)| *document == name).fold(text.to_owned(), |text, (_, from, to)| {
            assert!(text.contains(from), "{name} no longer prints `{from}`, which an override speaks of");
            text.replace(from, to)
        });
    let mut script = "set -Eeuo pipefail\ntrap 'echo \"$at: failed: $BASH_COMMAND\" >&2' ERR\n".to_owned();
    for Printed { line, text } in Document::of(name, &text).commands {
        script += &format!("at={name}:{line}\n");
        if is_name(&text) {
            // Each flag that is named is one of the command's.
            let words: Vec<&str> = text.split(' ').collect();
            script += &format!("help=$(meanflow {} --help)\n", words[1]);
            for flag in &words[2..] {
                script += &format!("[[ $help == *'{flag}'* ]]\n");
            }
        } else {
            script += &format!("{text}\n");
        }
    }
    script
}

#[test]
fn every_printed_command_runs_as_printed() {
    let base = Sandbox::new();
    let names = documents();
    let results: Vec<(String, Result<(), String>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = names
            .iter()
            .filter_map(|name| {
                let text = fs::read_to_string(repository().join(name)).expect("a document");
                let script = script(name, &text);
                script.contains("\nat=").then_some((name, script))
            })
            .map(|(name, script)| {
                let base = &base;
                scope.spawn(move || (name.clone(), run(base, name, &script)))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let failed: Vec<String> =
        results.iter().filter_map(|(name, result)| result.as_ref().err().map(|e| format!("{name}:\n{e}"))).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(results.len() >= 20, "only {} documents print commands", results.len());
}

/// Runs a document's script in a sandbox of its own.
fn run(base: &Sandbox, name: &str, script: &str) -> Result<(), String> {
    let place = base.copy_for(name);
    let path = format!("{}:{}", place.join(".programs").display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-c", script])
        .current_dir(&place)
        .env("PATH", path)
        .env("MEANFLOW", env!("CARGO_BIN_EXE_meanflow"))
        .env("REPOSITORY", fs::canonicalize(repository()).expect("the repository"))
        .env("MAKE_PROGRAM", program("make"))
        // Images that docs/reproduction/measure.sh generates for each result.
        .env("COUNT", "70")
        .output()
        .map_err(|e| format!("bash does not start: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Where a program is, for its stand-in to call.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|place| place.is_file());
    found.unwrap_or_else(|| panic!("no {name} on the PATH"))
}

#[test]
fn every_flag_that_a_document_names_exists() {
    let help = succeeds(&["--help"]);
    let commands =
        help.split("Commands:").nth(1).expect("commands").lines().skip(1).map_while(|line| {
            line.strip_prefix("  ").and_then(|line| line.split_whitespace().next().map(str::to_owned))
        });
    // A line that goes on with a description is indented further.
    let commands: BTreeSet<String> =
        commands.filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-')).collect();
    let mut known: BTreeSet<String> = ["--features".into()].into();
    for command in &commands {
        let output =
            Command::new(env!("CARGO_BIN_EXE_meanflow")).args([command, "--help"]).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        known.extend(flags_in(&text));
    }
    for name in documents() {
        let text = fs::read_to_string(repository().join(&name)).expect("a document");
        for Printed { line, text } in Document::of(&name, &text).flags {
            for flag in flags_in(&text) {
                // Custom properties of styles are written alike.
                assert!(
                    known.contains(&flag) || flag.starts_with("--mean-flow-"),
                    "{name}:{line}: no command has {flag}"
                );
            }
        }
    }
}

fn flags_in(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|word| word.len() > 2 && word.starts_with("--")).map(str::to_owned).collect()
}

/// Files that a document links to, without their addresses elsewhere and without places inside them.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    targets.map(|target| target.split('#').next().unwrap_or_default()).filter(|file| {
        let is_elsewhere = file.contains("://") || file.starts_with("mailto:");
        !file.is_empty() && !is_elsewhere
    })
}

#[test]
fn every_file_that_a_document_links_to_is_there() {
    let mut found = 0;
    for name in documents() {
        let path = repository().join(&name);
        let text = fs::read_to_string(&path).expect("a document");
        let folder = path.parent().expect("it is in a folder");
        for link in links(&text) {
            assert!(folder.join(link).exists(), "{name} links to {link}");
            found += 1;
        }
    }
    assert!(found > 200, "{found} links were found");
}

/// The method can be read in an hour: loss, network, sampler, step and loop; and no example is long.
#[test]
fn the_files_to_read_first_are_few_and_short() {
    let text = fs::read_to_string(repository().join("docs/architecture.md")).expect("a document");
    let section = text.split("## Read these first").nth(1).and_then(|rest| rest.split("\n## ").next());
    let items = section.expect("the section").split("\n1. ").nth(1).expect("a list");
    let lines = |file: &PathBuf| fs::read_to_string(file).expect("a file").lines().count();
    let files: Vec<PathBuf> = links(items).map(|link| repository().join("docs").join(link)).collect();
    let total: usize = files.iter().map(lines).sum();
    assert!((3..=5).contains(&files.len()) && total <= 900, "{} files of {total} lines", files.len());
    for example in fs::read_dir(repository().join("crate/examples")).expect("a folder") {
        let file = example.expect("an entry").path();
        assert!(lines(&file) <= 125, "{} has {} lines", file.display(), lines(&file));
    }
}

#[test]
fn commands_are_found_in_blocks_and_in_prose() {
    let text = "a\n```sh\nmake x\nmeanflow y\n```\n\
                Run `meanflow export\nrun --web d`, or `meanflow eval`; `--flag 3`, `make`.\n";
    let document = Document::of("t.md", text);
    let found: Vec<(usize, &str)> = document.commands.iter().map(|c| (c.line, c.text.as_str())).collect();
    assert_eq!(found, [(3, "make x\nmeanflow y\n"), (6, "meanflow export run --web d"), (7, "meanflow eval")]);
    assert_eq!(document.flags[0].text, "--flag 3");
    assert!(is_name("meanflow repack --onnx") && !is_name("meanflow export run --web d"));
    let place = tempfile::tempdir().expect("a folder");
    let failing = script("t.md", "`meanflow sample nothing.safetensors --out x.png`");
    let ran = Command::new("bash").args(["-c", &failing]).current_dir(place.path()).output().expect("bash starts");
    assert!(!ran.status.success(), "a command without its files must fail");
}
