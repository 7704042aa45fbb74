//! Completions and manual pages: made of the command line, and read by the shells themselves where they are here.

use std::fs;
use std::process::{Command, Stdio};

use crate::cli::{Place, succeeds};

/// Whether a program is on this machine.
fn is_here(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

#[test]
fn every_shell_gets_the_commands_and_no_hidden_one() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = succeeds(&["completions", shell]);
        for word in ["export", "serve", "doctor", "max-memory", "threads"] {
            assert!(text.contains(word), "{shell} does not know {word}");
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_meanflow")).args(["completions", "csh"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn bash_completes_commands_and_flags() {
    if !is_here("bash") {
        return;
    }
    let place = Place::new();
    let file = place.file("meanflow.bash", succeeds(&["completions", "bash"]));
    let complete = |words: &str, current: usize| -> String {
        let script = format!(
            "source '{file}'; COMP_WORDS=({words}); COMP_CWORD={current}; \
             _meanflow meanflow \"${{COMP_WORDS[{current}]}}\" \"${{COMP_WORDS[{current}-1]}}\"; \
             echo \"${{COMPREPLY[*]}}\""
        );
        let output = Command::new("bash").args(["-c", &script]).output().expect("bash starts");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(complete("meanflow doc", 1), "doctor");
    assert_eq!(complete("meanflow train --dat", 2), "--data --data-changed");
    assert_eq!(complete("meanflow export run --dtype i", 4), "i8");
}

#[test]
fn each_command_has_a_manual_page() {
    let place = Place::new();
    let folder = place.path("man/man1");
    let told = succeeds(&["man", &folder]);
    let mut pages: Vec<String> = fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    pages.sort();
    assert!(told.contains(&format!("{} commands", pages.len() - 1)), "{told}");
    for name in ["meanflow.1", "meanflow-train.1", "meanflow-read-back.1", "meanflow-serve.1", "meanflow-doctor.1"] {
        assert!(pages.iter().any(|page| page == name), "no {name} in {pages:?}");
    }
    assert!(!pages.iter().any(|page| page.contains("bench") || page.contains("help")), "{pages:?}");
    let train = fs::read_to_string(format!("{folder}/meanflow-train.1")).expect("a page");
    for part in [".TH", ".SH NAME", ".SH SYNOPSIS", "\\-\\-data", "\\-\\-max\\-memory"] {
        assert!(train.contains(part), "no {part} in {train}");
    }
    if is_here("man") {
        let shown =
            Command::new("man").args(["-l", &format!("{folder}/meanflow-train.1")]).output().expect("it starts");
        let text = String::from_utf8_lossy(&shown.stdout);
        assert!(!shown.status.success() || text.contains("--data"), "{text}");
    }
}
