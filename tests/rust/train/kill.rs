//! A run that is killed again and again ends like one that never was, and one without room for a checkpoint keeps the
//! last.
//!
//! `MEANFLOW_KILLS=200 cargo test --release --test suite -- kill` kills it two hundred times at least.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use meanflow::rng::{Purpose, Stream};

use crate::cli::{Place, succeeds};

/// Kills in the suite.
const KILLS: usize = 8;

const SETTINGS: &str = "[data]\nsize = 8\nchannels = 3\nclass_depth = 0\n[net]\npatch = 4\nwidth = 32\ndepth = 2\nheads = 2\n\
    [train]\nsteps = STEPS\nbatch_size = 8\nflow_matching_steps = 20\nramp_steps = 20\naverages = { slow = { half_life = 500 } }\n\
    [log]\nevery = 1\nsample_every = 1000000\ncheckpoint_every = 1\nkeep = 3\n";

fn train(config: &str, data: &str, run: &str, resume: bool) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meanflow"));
    command.args(["train", "--data", data, "--out", run]);
    match resume {
        true => command.arg("--resume"),
        false => command.args(["--config", config]),
    };
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
}

/// The weights of both averages.
fn weights(place: &Place, run: &str) -> Vec<Vec<u8>> {
    let file = place.path("exported.safetensors");
    ["main", "slow"]
        .map(|ema| {
            succeeds(&["export", run, "--out", &file, "--dtype", "f32", "--ema", ema]);
            std::fs::read(&file).expect("it is there")
        })
        .to_vec()
}

fn steps_in_log(run: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(Path::new(run).join("log.jsonl")).expect("a log");
    let step =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["step"].as_u64().expect("a step");
    text.lines().map(step).collect()
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_like_one_that_never_was() {
    let kills = std::env::var("MEANFLOW_KILLS").map_or(KILLS, |count| count.parse().expect("a number of kills"));
    // Ten steps or so between kills, each with a checkpoint, so that many hit one that is being written.
    let steps = 20 * kills as u64;
    let place = Place::new();
    let (data, _) = place.images();
    let config = place.file("run.toml", SETTINGS.replace("STEPS", &steps.to_string()));
    let [straight, killed] = ["straight", "killed"].map(|name| place.path(name));
    let began = Instant::now();
    assert!(train(&config, &data, &straight, false).wait().expect("it ends").success());
    let pace = began.elapsed() / steps as u32;

    let mut stream = Stream::new(1, Purpose::Batch, 0);
    let (mut resume, mut count) = (false, 0);
    loop {
        let mut child = train(&config, &data, &killed, resume);
        let checkpoints = Path::new(&killed).join("checkpoints");
        // Once there is a checkpoint at all, a moment that nobody chose.
        while !resume
            && std::fs::read_dir(&checkpoints).map_or(0, |entries| {
                entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("step-")).count()
            }) == 0
        {
            assert!(child.try_wait().expect("it runs").is_none_or(|status| status.success()), "it failed at once");
            sleep(Duration::from_millis(1));
        }
        resume = true;
        sleep(pace.mul_f64(30.0 * stream.uniform()));
        match child.try_wait().expect("it runs") {
            Some(status) => {
                assert!(status.success(), "a resumed run failed: {status}");
                break;
            }
            None => {
                child.kill().expect("SIGKILL");
                child.wait().expect("it ends");
                count += 1;
            }
        }
        // Enough: let it finish.
        if count >= 3 * kills {
            assert!(train(&config, &data, &killed, true).wait().expect("it ends").success());
            break;
        }
    }
    assert!(2 * count >= kills, "only {count} kills came in time");
    assert!(weights(&place, &killed) == weights(&place, &straight), "after {count} kills the weights differ");
    assert_eq!(steps_in_log(&killed), (1..=steps).collect::<Vec<_>>());
}

/// Runs the program with files limited to so many kilobytes, as a full disk would.
#[cfg(unix)]
#[test]
fn a_disk_without_room_is_named_and_the_checkpoint_before_is_kept() {
    let place = Place::new();
    let (data, _) = place.images();
    let config = place.file("run.toml", SETTINGS.replace("STEPS", "4"));
    let run = place.path("run");
    assert!(train(&config, &data, &run, false).wait().expect("it ends").success());
    let before = weights(&place, &run);

    let program = env!("CARGO_BIN_EXE_meanflow");
    // Without the trap the system would end the program instead of refusing the write.
    let script = "trap '' XFSZ; ulimit -f 24; exec \"$0\" train --data \"$1\" --out \"$2\" --resume --steps 9";
    let output = Command::new("bash").args(["-c", script, program, &data, &run]).output().expect("it starts");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("cannot write") && message.contains(".writing-00000005"), "{message}");
    assert!(weights(&place, &run) == before, "the checkpoint before is lost");

    // With room again it goes on, and what was begun is gone.
    succeeds(&["train", "--data", &data, "--out", &run, "--resume", "--steps", "6"]);
    let left = std::fs::read_dir(Path::new(&run).join("checkpoints")).expect("a folder");
    assert!(left.flatten().all(|entry| entry.file_name().to_string_lossy().starts_with("step-")));
    assert_eq!(steps_in_log(&run), (1..=6).collect::<Vec<_>>());
    // A file that somebody removed is named too, and an older checkpoint used.
    std::fs::remove_file(Path::new(&run).join("checkpoints/step-00000006/optimizer.bpk")).expect("it is there");
    let said = succeeds(&["train", "--data", &data, "--out", &run, "--resume", "--steps", "7"]);
    assert!(said.contains("optimizer.bpk") && said.contains("continuing at step 5"), "{said}");
}
