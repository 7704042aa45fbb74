//! `mpirun -n N meanflow train …`, as a cluster runs it: `make test-mpi`.
// Tests write into folders of their own.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

#[path = "rust/bin/place.rs"]
mod place;

use place::Place;

impl Place {
    /// The arguments of a run of so many steps, each batch in so many micro-batches.
    fn train(&self, run: &str, steps: u64, accumulate: usize) -> Vec<String> {
        let (images, _) = self.images();
        let text = format!(
            "data = {{ size = 8 }}\nnet = {{ patch = 4, width = 16, depth = 1, heads = 2 }}\n\
             train = {{ steps = {steps}, batch_size = 12, accumulate = {accumulate}, flow_matching_steps = 2, ramp_steps = 2 }}\n\
             log = {{ every = 2, sample_every = 1000000, samples = 4, checkpoint_every = 5 }}\n"
        );
        let settings = self.file(&format!("{steps}-{accumulate}.toml"), text);
        let (data, out) = (images.as_str(), self.path(run));
        ["train", "--data", data, "--config", &settings, "--out", &out, "--devices", "0"].map(String::from).into()
    }

    /// The weights that a run has come to, as they are exported.
    #[track_caller]
    fn learnt(&self, run: &str) -> Vec<u8> {
        let file = self.path(&format!("{run}.safetensors"));
        let mut command = Command::new(PROGRAM);
        command.arg("export").arg(self.path(run)).args(["--dtype", "f32", "--out"]).arg(&file);
        succeeds(command);
        // Behind the header, which also says how the run was computed.
        let bytes = fs::read(&file).expect("it reads");
        let (header, rest) = bytes.split_at(8);
        rest[u64::from_le_bytes(header.try_into().expect("eight bytes")) as usize..].to_vec()
    }
}

fn newest(run: &str) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(Path::new(run).join("checkpoints")).ok()?.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.join("state.json").exists());
    found.sort();
    found.pop()
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_meanflow");

/// `mpirun` with the processes that `parts` say: how many, and what they are told.
fn mpirun(transport: &[&str], parts: &[(usize, &[String])]) -> Command {
    let mut command = Command::new("mpirun");
    // Tests run as root in containers, and on machines of few cores.
    command.args(["--allow-run-as-root", "--oversubscribe"]).args(transport);
    for (i, (count, arguments)) in parts.iter().enumerate() {
        if i > 0 {
            command.arg(":");
        }
        command.args(["-n", &count.to_string(), PROGRAM]).args(*arguments);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn succeeds(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    assert!(status.success(), "{}", text(&stderr));
    text(&stdout)
}

/// Whether a program ends in time; its output after that.
#[track_caller]
fn ends(mut child: Child, within: Duration) -> Output {
    let began = Instant::now();
    while child.try_wait().expect("it is a child").is_none() {
        if began.elapsed() > within {
            let _ = child.kill();
            panic!("it still runs after {within:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.wait_with_output().expect("it has ended")
}

/// Starts a long run of three processes, waits until it has a checkpoint, and sends a signal to one of its processes.
#[track_caller]
fn signalled(place: &Place, signal: &str, transport: &[&str]) -> Output {
    let arguments = place.train("run", 1_000_000, 1);
    let mut command = mpirun(transport, &[(3, &arguments)]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let began = Instant::now();
    while newest(&place.path("run")).is_none() {
        assert!(child.try_wait().expect("it is a child").is_none(), "it has ended");
        assert!(began.elapsed() < Duration::from_secs(120), "no checkpoint came");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The last of the processes that mpirun has started.
    let children = Command::new("pgrep").args(["-P", &child.id().to_string()]).output().expect("pgrep starts");
    let rank = text(&children.stdout).lines().last().expect("it has children").to_owned();
    assert!(Command::new("kill").args([signal, &rank]).status().expect("kill starts").success());
    // What a pipe holds must be read, or the program waits for it.
    let stdout = child.stdout.take().expect("a pipe");
    std::thread::spawn(move || BufReader::new(stdout).lines().for_each(drop));
    ends(child, Duration::from_secs(30))
}

#[test]
fn ranks_learn_the_same_bits_as_one_process_with_as_many_micro_batches() {
    let place = Place::new();
    for ranks in [2, 3] {
        let [alone, together] = [format!("alone-{ranks}"), format!("together-{ranks}")];
        let mut command = Command::new(PROGRAM);
        command.args(place.train(&alone, 10, ranks));
        succeeds(command);
        let output = succeeds(mpirun(&[], &[(ranks, &place.train(&together, 10, 1))]));
        assert!(output.contains(&format!("{ranks} processes share every batch of 12 images")), "{output}");
        assert_eq!(output.matches("done: 10 steps").count(), 1, "{output}");
        assert!(place.learnt(&together) == place.learnt(&alone), "{ranks} ranks learn other weights");
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let place = Place::new();
    succeeds(mpirun(&[], &[(2, &place.train("run", 4, 1))]));
    let mut more = place.train("run", 10, 1);
    more.push("--resume".into());
    // The schedule's phases are those that it began with.
    more.extend(["--steps".into(), "10".into()]);
    let output = succeeds(mpirun(&["--mca", "btl", "tcp,self"], &[(3, &more)]));
    assert!(output.contains("continuing at step 4"), "{output}");
    assert!(newest(&place.path("run")).is_some_and(|newest| newest.ends_with("step-00000010")));
    let log = fs::read_to_string(place.path("run/log.jsonl")).expect("it reads");
    let step = |line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["step"].as_u64();
    // Every second step, and where there is a checkpoint.
    assert_eq!(log.lines().filter_map(step).collect::<Vec<_>>(), [2, 4, 5, 6, 8, 10]);
}

#[test]
fn ranks_with_other_settings_end_with_a_message_that_names_them() {
    let place = Place::new();
    let arguments = place.train("run", 4, 1);
    let other: Vec<String> = arguments.iter().cloned().chain(["--seed".into(), "7".into()]).collect();
    let output = mpirun(&[], &[(1, &arguments), (1, &other)]).output().expect("it starts");
    let message = text(&output.stderr);
    assert!(!output.status.success());
    assert!(message.contains("rank 1 has [train] seed 7 and not 0"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    assert!(newest(&place.path("run")).is_none());
}

#[test]
fn a_rank_without_its_images_ends_all() {
    let place = Place::new();
    let arguments = place.train("run", 4, 1);
    let missing = place.path("nowhere");
    let other: Vec<String> =
        arguments.iter().map(|text| if text.ends_with("images") { missing.clone() } else { text.clone() }).collect();
    let child = mpirun(&[], &[(1, &arguments), (1, &other)])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let output = ends(child, Duration::from_secs(30));
    let message = text(&output.stderr);
    assert!(!output.status.success());
    assert!(message.contains("error: rank 1") && message.contains("nowhere"), "{message}");
}

#[test]
fn a_rank_that_dies_ends_the_job_and_the_last_checkpoint_is_whole() {
    for transport in [&[][..], &["--mca", "btl", "tcp,self"]] {
        let place = Place::new();
        let output = signalled(&place, "-KILL", transport);
        assert!(!output.status.success());
        let message = text(&output.stderr) + &text(&output.stdout);
        assert!(message.contains("rank 2") && message.contains("signal 9"), "{message}");
        let newest = newest(&place.path("run")).expect("a checkpoint");
        let step: u64 = newest.to_string_lossy().rsplit('-').next().and_then(|step| step.parse().ok()).expect("a step");
        let mut more = place.train("run", 1_000_000, 1);
        more.extend(["--resume".into(), "--steps".into(), (step + 3).to_string()]);
        let output = succeeds(mpirun(transport, &[(3, &more)]));
        assert!(output.contains(&format!("continuing at step {step}")), "{output}");
    }
}

#[test]
fn a_rank_that_is_told_to_end_makes_all_stop_with_a_checkpoint() {
    let place = Place::new();
    let output = signalled(&place, "-TERM", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let log = fs::read_to_string(place.path("run/log.jsonl")).expect("it reads");
    let last: serde_json::Value = serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
    let newest = newest(&place.path("run")).expect("a checkpoint");
    let step: u64 = newest.to_string_lossy().rsplit('-').next().and_then(|step| step.parse().ok()).expect("a step");
    assert!(Some(step) >= last["step"].as_u64(), "the checkpoint is of step {step}, and the log of {}", last["step"]);
}
