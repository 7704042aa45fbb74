//! `meanflow doctor`: the table for people and the JSON for programs say the same of this machine.

use std::process::Command;

use serde_json::Value;

use crate::cli::succeeds;

/// Keys of an object, sorted.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn the_json_has_its_documented_keys_and_the_table_says_the_same() {
    let report: Value = serde_json::from_str(&succeeds(&["doctor", "--json", "--threads", "1"])).expect("JSON");
    let shape = |at: &str| keys(&report[at]).join(" ");
    assert_eq!(
        keys(&report).join(" "),
        "adapters advice cpu devices disk format_version memory program system used",
        "docs/guide/program.md describes other keys"
    );
    assert_eq!(report["format_version"], 1);
    assert_eq!(report["program"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((shape("cpu"), shape("disk")), ("cores features name".into(), "folder free".into()));
    assert_eq!((shape("memory"), shape("program")), ("free total".into(), "optimized page version".into()));
    assert_eq!(
        (shape("system"), shape("used")),
        ("arch kernel name".into(), "device memory threads vector_bits".into())
    );
    let memory = ["total", "free"].map(|key| report["memory"][key].as_u64().expect("bytes"));
    assert!(memory[0] >= memory[1] && memory[1] > 0, "{memory:?}");
    let devices = report["devices"].as_array().expect("devices");
    assert!(devices.iter().any(|device| device["name"] == "cpu" && device["compiled"] == true), "{devices:?}");
    assert!(report["used"]["vector_bits"].as_u64().is_some_and(|bits| bits >= 32), "{report}");
    let cores = report["cpu"]["cores"].as_u64().expect("a number");
    assert_eq!(report["used"]["threads"], 1);
    let of_cores =
        report["advice"].as_array().expect("a list").iter().filter(|text| text.to_string().contains("cores"));
    assert_eq!(of_cores.count(), usize::from(cores > 1));

    let table = succeeds(&["doctor", "--threads", "1"]);
    let folder = report["disk"]["folder"].as_str().expect("a folder");
    for said in [env!("CARGO_PKG_VERSION"), folder, "1 threads", "chrome://gpu"] {
        assert!(table.contains(said), "no `{said}` in\n{table}");
    }
    let adapters = report["adapters"].as_array().expect("a list");
    for adapter in adapters {
        assert!(table.contains(adapter["name"].as_str().expect("a name")), "{table}");
    }
    assert_eq!(table.matches("\nadvice").count(), report["advice"].as_array().expect("a list").len());
    for line in table.lines() {
        assert!(line.len() > 16 && line.is_char_boundary(16) && line[..16].ends_with(' '), "no two columns: {line}");
    }
}

#[test]
fn a_limit_of_memory_is_what_may_be_planned_for() {
    let told = succeeds(&["doctor", "--json", "--max-memory", "512MB"]);
    let report: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(report["used"]["memory"], 512_000_000);
    assert!(report["advice"].to_string().contains("0.5 GB"), "{}", report["advice"]);
}

/// Where no driver can be found the command still tells the rest.
#[test]
fn a_machine_without_a_gpu_driver_is_told_about() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meanflow"));
    let nothing = [("VK_ICD_FILENAMES", "/nowhere"), ("VK_DRIVER_FILES", "/nowhere"), ("DISPLAY", "")];
    let output = command.args(["doctor", "--json"]).envs(nothing).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    if cfg!(target_os = "linux") && report["adapters"].as_array().is_some_and(Vec::is_empty) {
        assert!(report["advice"].to_string().contains("no GPU driver was found"), "{}", report["advice"]);
    }
}
