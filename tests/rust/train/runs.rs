//! Runs as people have them: stopped before their first checkpoint, given other data, started twice, in folders of
//! others, with disks that damage what they keep and terminals that go away. Nothing is lost, and nothing goes on
//! silently wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use meanflow::data::Images;
use meanflow::generator::Generator;
use meanflow::model::Request;
use meanflow::model::weights::Precision;
use meanflow::net::encode;
use meanflow::train::{CheckpointSelector, PRIMARY_EMA, Pretrained, RunFolder};

use crate::cli::{Place, fails, succeeds};
use crate::support::{assert_close, device, relative_error, values};
use crate::train::{Listener, config, folder, images};

/// Settings of a run that has learnt nothing for long.
const LONG: &str = "[data]\nsize = 8\n[net]\npatch = 4\nwidth = 16\ndepth = 1\nheads = 1\n[train]\nsteps = 1000000\nbatch_size = 2\n\
    [log]\nevery = 1\nsample_every = 1000000\ncheckpoint_every = 1000000\nsamples = 4\n";

fn meanflow(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meanflow"));
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits until something holds; a minute is more than any of it takes.
#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
        sleep(Duration::from_millis(10));
    }
}

/// How a program ends, which it must within two minutes.
#[track_caller]
fn ending(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("the program ends", || {
        status = child.try_wait().expect("it can be asked");
        status.is_some()
    });
    status.expect("it ended")
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill runs").success());
}

fn has_log(run: &str) -> bool {
    fs::metadata(Path::new(run).join("log.jsonl")).is_ok_and(|meta| meta.len() > 0)
}

/// Begins a long run, and comes back when it has taken steps.
fn begin_long(data: &str, config: &str, run: &str) -> Child {
    let child = meanflow(&["train", "--data", data, "--config", config, "--out", run]).spawn().expect("it starts");
    wait_until("a run takes steps", || has_log(run));
    child
}

/// Every file below a folder with its content.
fn contents(folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => drop(found.insert(path.clone(), fs::read(path).expect("it reads"))),
            }
        }
    }
    found
}

/// The steps of the checkpoints of a run.
fn checkpoints(run: &str) -> Vec<u64> {
    let entries = fs::read_dir(Path::new(run).join("checkpoints")).expect("a folder");
    let step = |entry: fs::DirEntry| entry.file_name().to_string_lossy().strip_prefix("step-")?.parse().ok();
    let mut steps: Vec<u64> = entries.flatten().filter_map(step).collect();
    steps.sort_unstable();
    steps
}

fn json(path: impl AsRef<Path>) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).expect("it reads")).expect("JSON")
}

/// A run of six steps on the two classes of [`Place::images`].
fn trained(place: &Place) -> [String; 3] {
    let (data, config) = place.images();
    let run = place.path("run");
    succeeds(&["train", "--data", &data, "--config", &config, "--out", &run]);
    [data, config, run]
}

#[test]
fn a_run_that_never_came_to_a_checkpoint_is_begun_by_resume_or_moved_aside() {
    let place = Place::new();
    let (data, _) = place.images();
    let (config, run) = (place.file("long.toml", LONG), place.path("run"));
    let mut child = begin_long(&data, &config, &run);
    child.kill().expect("SIGKILL");
    child.wait().expect("it ends");
    fails(
        &["train", "--data", &data, "--config", &config, "--out", &run],
        &["already holds a run", "--resume", "--overwrite"],
    );

    let again = ["train", "--data", &data, "--out", &run, "--resume", "--steps", "4"];
    let said = succeeds(&again);
    assert!(said.contains("has no checkpoint yet: beginning") && said.contains("done: 4 steps"), "{said}");
    let log = fs::read_to_string(Path::new(&run).join("log.jsonl")).expect("a log");
    assert_eq!(log.lines().count(), 4, "what the first process logged was taken again");

    let said = succeeds(&["train", "--data", &data, "--config", &config, "--out", &run, "--steps", "2", "--overwrite"]);
    assert!(said.contains("run.old-1"), "{said}");
    assert_eq!((checkpoints(&run), checkpoints(&place.path("run.old-1"))), (vec![2], vec![4]));
}

/// Its checkpoints are all that is left of it.
#[test]
fn a_run_without_its_settings_is_left_alone() {
    let place = Place::new();
    let [data, config, run] = trained(&place);
    fs::remove_file(Path::new(&run).join("config.toml")).expect("it was there");
    let before = contents(&run);
    for more in [&["--config", &config][..], &["--config", &config, "--resume", "--steps", "9"], &["--resume"]] {
        let command = [&["train", "--data", &data, "--out", &run][..], more].concat();
        fails(&command, &["config.toml is missing", "state.json"]);
    }
    assert!(contents(&run) == before, "a refused start changed the run");
}

/// What a scheduler does: the same command again and again.
#[test]
fn resume_begins_where_nothing_is_yet() {
    let place = Place::new();
    let (data, config) = place.images();
    let run = place.path("run");
    let command =
        ["train", "--data", &data, "--config", &config, "--out", &run, "--seed", "3", "--steps", "5", "--resume"];
    assert!(succeeds(&command).contains("done: 5 steps"));
    let said = succeeds(&command);
    assert!(said.contains("continuing at step 5") && said.contains("done: 5 steps"), "{said}");
    let said = succeeds(&[&command[..9], &["--steps", "7", "--resume"]].concat());
    assert!(said.contains("continuing at step 5") && said.contains("done: 7 steps"), "{said}");
}

#[test]
fn what_a_failed_start_made_or_moved_is_as_it_was() {
    let place = Place::new();
    let [data, config, run] = trained(&place);
    let before = contents(&run);
    let missing = place.path("missing");
    fails(&["train", "--data", &missing, "--config", &config, "--out", &run, "--overwrite"], &["missing"]);
    assert!(contents(&run) == before && !Path::new(&place.path("run.old-1")).exists());
    let fresh = place.path("fresh");
    fails(&["train", "--data", &missing, "--config", &config, "--out", &fresh, "--stream"], &["missing"]);
    assert!(!Path::new(&fresh).exists());
    fails(&["train", "--data", &data, "--config", &config, "--out", &run], &["already holds a run"]);
    assert!(contents(&run) == before);
}

#[test]
fn other_classes_are_refused_and_nothing_is_changed() {
    let place = Place::new();
    let [data, config, run] = trained(&place);
    let before = contents(&run);
    let resume = ["train", "--data", &data, "--out", &run, "--resume", "--steps", "8"];
    let moss = Path::new(&data).join("moss");

    // A class more: the network has no row for it.
    let ash = Path::new(&data).join("ash");
    fs::create_dir(&ash).expect("a folder");
    fs::copy(moss.join("0.png"), ash.join("0.png")).expect("it copies");
    fails(&resume, &["moss, rust", "ash, moss, rust", "--init"]);
    fails(&[&resume[..], &["--data-changed"]].concat(), &["ash, moss, rust"]);
    assert!(contents(&run) == before, "a refused resume changed the run");
    let weights = place.path("two.safetensors");
    succeeds(&["export", &run, "--out", &weights]);
    // With its weights another run begins, each class with the row of its name.
    let wider = place.path("wider");
    succeeds(&["train", "--data", &data, "--config", &config, "--out", &wider, "--init", &weights, "--steps", "2"]);
    let info = json(Path::new(&wider).join("model.json"));
    assert_eq!(info["classes"], serde_json::json!(["ash", "moss", "rust"]));
    assert!(info["training"]["init"].as_str().is_some_and(|init| init.starts_with("tiny, step 6")), "{info}");
    fs::remove_dir_all(&ash).expect("it goes");

    // Another name for a class: in the order of the names `rust` would come to stand where `moss` was.
    fs::rename(&moss, Path::new(&data).join("slate")).expect("it renames");
    fails(&resume, &["moss, rust", "rust, slate", "class `moss` is gone", "class `slate` is new"]);
    assert!(contents(&run) == before, "a refused resume changed the run");
    let said = succeeds(&[&resume[..], &["--data-changed"]].concat());
    assert!(said.contains("`slate` takes the place of `moss`"), "{said}");
    assert_eq!(json(Path::new(&run).join("model.json"))["classes"], serde_json::json!(["slate", "rust"]));
    assert!(succeeds(&["train", "--data", &data, "--out", &run, "--resume", "--steps", "9"]).contains("done: 9"));
}

#[test]
fn a_class_that_is_added_leaves_the_others_their_rows() {
    let (dir, images) = (folder(), images());
    let first = RunFolder::create(&dir.path().join("first"), &config(20)).expect("a new run");
    Listener::default().train(&config(20), &images, &first).expect("it trains");
    let model = |run: &RunFolder| {
        run.averaged(CheckpointSelector::Newest, PRIMARY_EMA, &device(), |text| panic!("{text}")).expect("it reads")
    };
    let (net, info) = model(&first);
    let file = dir.path().join("first.safetensors");
    fs::write(&file, encode(&net, &info, Precision::F32).expect("it encodes")).expect("it writes");

    let labels = images.labels.iter().enumerate().map(|(i, label)| if i == 9 { 1 } else { 2 * label }).collect();
    let classes = ["dark", "grey", "light"].map(String::from).to_vec();
    let more = Images { labels, classes, ..images };
    // A learning rate that changes nothing that can be seen.
    let mut still = config(1);
    still.train.learning_rate = 1e-9;
    let start = Pretrained::read(&file, &still, &more, &device()).expect("it suits");
    let second = RunFolder::create(&dir.path().join("second"), &still).expect("a new run").beginning_with(start);
    Listener::default().train(&still, &more, &second).expect("it trains");

    let pictures = |run: &RunFolder, class: &str| {
        let (net, info) = model(run);
        let class = Some(info.class_index(class).expect("it is known")).into();
        let request = Request { seed: 0, count: 4, class, nfe: 1 };
        values(Generator::new(net, info, &device()).images(request).expect("fair"))
    };
    for class in ["dark", "light"] {
        assert_close(class, &pictures(&second, class), &pictures(&first, class), 1e-4);
    }
    assert!(relative_error(&pictures(&second, "grey"), &pictures(&second, "dark")) > 1e-3);
}

#[test]
fn other_images_are_refused_until_that_is_meant() {
    let place = Place::new();
    let [data, _, run] = trained(&place);
    let before = contents(&run);
    let resume = ["train", "--data", &data, "--out", &run, "--resume", "--steps", "8"];
    let [moss, rust] = ["moss", "rust"].map(|class| Path::new(&data).join(class));
    fs::copy(moss.join("5.png"), moss.join("0.png")).expect("it copies");
    fails(&resume, &["hold other pixels", "--data-changed"]);
    fs::copy(rust.join("0.png"), rust.join("9.png")).expect("it copies");
    fails(&resume, &["12 images then, 13 now", "`rust` had 6 images and has 7"]);
    assert!(contents(&run) == before, "a refused resume changed the run");
    assert!(succeeds(&[&resume[..], &["--data-changed"]].concat()).contains("done: 8 steps"));
    // Now it is what the run was trained on.
    assert!(succeeds(&["train", "--data", &data, "--out", &run, "--resume", "--steps", "9"]).contains("done: 9 steps"));
}

#[test]
fn a_copy_of_the_data_is_the_same_data() {
    let place = Place::new();
    let [data, _, run] = trained(&place);
    let copy = place.path("copy");
    for class in ["moss", "rust"] {
        fs::create_dir_all(Path::new(&copy).join(class)).expect("a folder");
        for i in 0..6 {
            let file = |root: &str| Path::new(root).join(class).join(format!("{i}.png"));
            fs::copy(file(&data), file(&copy)).expect("it copies");
        }
    }
    assert!(succeeds(&["train", "--data", &copy, "--out", &run, "--resume", "--steps", "8"]).contains("done: 8 steps"));
    // In a file instead of in memory, it still is.
    let streamed = ["train", "--data", &data, "--out", &run, "--resume", "--stream", "--steps", "9"];
    assert!(succeeds(&streamed).contains("done: 9 steps"));
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let place = Place::new();
    let (data, config) = place.images();
    let foreign = place.path("thesis");
    let files = ["notes.txt", "checkpoints/step-500/weights.bin", "model.json"];
    for file in files {
        let path = Path::new(&foreign).join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, "mine").expect("it writes");
    }
    let before = contents(&foreign);
    for more in [&[][..], &["--resume"], &["--overwrite"], &["--stream"]] {
        let command = ["train", "--data", &data, "--config", &config, "--out", &foreign];
        fails(&[&command[..], more].concat(), &["thesis", "is not empty and holds no run"]);
    }
    assert!(contents(&foreign) == before);
    let mut there: Vec<_> =
        fs::read_dir(&foreign).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    there.sort();
    assert_eq!(there, ["checkpoints", "model.json", "notes.txt"]);
    let file = place.file("file", "mine");
    fails(&["train", "--data", &data, "--config", &config, "--out", &file], &["file"]);
    // An empty folder is nobody's.
    let empty = place.path("empty");
    fs::create_dir(&empty).expect("a folder");
    succeeds(&["train", "--data", &data, "--config", &config, "--out", &empty, "--steps", "2"]);
}

#[test]
fn a_run_has_one_process() {
    let place = Place::new();
    let (data, _) = place.images();
    let (config, run) = (place.file("long.toml", LONG), place.path("run"));
    let mut child = begin_long(&data, &config, &run);
    let holder = format!("process {}", child.id());
    let command = ["train", "--data", &data, "--config", &config, "--out", &run];
    for more in [&["--resume"][..], &["--stream"], &["--overwrite"], &["--resume", "--stream"]] {
        fails(&[&command[..], more].concat(), &["is in use by", &holder]);
    }
    assert!(!Path::new(&run).join("data").exists());
    signal(&child, "-TERM");
    assert!(ending(&mut child).success());
    // Who is killed holds nothing.
    let mut child = meanflow(&["train", "--data", &data, "--out", &run, "--resume"]).spawn().expect("it starts");
    wait_until("it takes the lock", || fs::metadata(Path::new(&run).join("run.lock")).is_ok_and(|meta| meta.len() > 0));
    child.kill().expect("SIGKILL");
    child.wait().expect("it ends");
    let step = checkpoints(&run)[0] + 1;
    succeeds(&["train", "--data", &data, "--out", &run, "--resume", "--steps", &step.to_string()]);
}

#[test]
fn the_steps_of_a_resumed_run_are_written_down() {
    let place = Place::new();
    let [data, _, run] = trained(&place);
    let resume = ["train", "--data", &data, "--out", &run, "--resume"];
    let mut child = meanflow(&[&resume[..], &["--steps", "1000000"]].concat()).spawn().expect("it starts");
    wait_until("it goes on", || checkpoints(&run).last().is_some_and(|step| *step > 6));
    signal(&child, "-TERM");
    assert!(ending(&mut child).success());
    let config = fs::read_to_string(Path::new(&run).join("config.toml")).expect("it reads");
    assert!(config.contains("steps = 1000000"), "{config}");
    let before = checkpoints(&run).last().copied();
    let mut child = meanflow(&resume).spawn().expect("it starts");
    wait_until("it goes on", || checkpoints(&run).last().copied() > before);
    signal(&child, "-TERM");
    assert!(ending(&mut child).success());
}

#[test]
fn settings_that_a_run_keeps_are_refused_by_name() {
    let place = Place::new();
    let [data, config, run] = trained(&place);
    let before = contents(&run);
    let resume = ["train", "--data", &data, "--out", &run, "--resume", "--steps", "8"];
    fails(&[&resume[..], &["--seed", "7"]].concat(), &["[train] seed was 0 and is now 7"]);
    fails(&[&resume[..], &["--batch-size", "2"]].concat(), &["[train] batch_size was 4 and is now 2"]);
    let other =
        place.file("other.toml", fs::read_to_string(&config).expect("it reads").replace("width = 16", "width = 32"));
    fails(&[&resume[..], &["--config", &other]].concat(), &["[net] width was 16 and is now 32"]);
    // Also where somebody changed them in the run's own file.
    let own = Path::new(&run).join("config.toml");
    let settings = fs::read_to_string(&own).expect("it reads");
    fs::write(&own, settings.replace("seed = 0", "seed = 5")).expect("it writes");
    fails(&resume, &["[train] seed was 0 and is now 5"]);
    fs::write(&own, settings).expect("it writes");
    assert!(contents(&run) == before, "a refused resume changed the run");
    succeeds(&[&resume[..], &["--seed", "0", "--lr", "0.0005", "--config", &config]].concat());
    let settings = fs::read_to_string(&own).expect("it reads");
    assert!(settings.contains("learning_rate = 0.0005") && settings.contains("steps = 8"), "{settings}");
}

#[test]
fn averages_may_be_added_when_a_run_goes_on() {
    let (dir, images, mut config) = (folder(), images(), config(20));
    let run = RunFolder::create(dir.path(), &config).expect("a new run");
    Listener::default().train(&config, &images, &run).expect("it trains");
    config.train.steps = 24;
    config.train.averages.insert("slow".into(), meanflow::train::EmaDecay::Constant { decay: 0.5 });
    let (run, _) = RunFolder::open(dir.path()).expect("the run");
    let mut listener = Listener::default();
    listener.train(&config, &images, &run).expect("it goes on");
    assert!(listener.notices.iter().any(|text| text.contains("the average `slow` is new")), "{:?}", listener.notices);
    let step = |name| {
        run.averaged(CheckpointSelector::Newest, name, &device(), |text| panic!("{text}"))
            .expect("it reads")
            .1
            .training
            .step
    };
    assert_eq!((step("slow"), step(PRIMARY_EMA)), (24, 24));
}

#[test]
fn a_streamed_set_that_changed_is_converted_again() {
    let place = Place::new();
    let (data, config) = place.images();
    let run = place.path("run");
    let command = ["train", "--data", &data, "--out", &run, "--stream"];
    succeeds(&[&command[..], &["--config", &config]].concat());
    let pixels = Path::new(&run).join("data/pixels.bin");
    let made = |path: &Path| fs::metadata(path).expect("it is there").modified().expect("a time");
    let first = made(&pixels);
    succeeds(&[&command[..], &["--resume", "--steps", "7"]].concat());
    assert_eq!(made(&pixels), first, "the same set was converted twice");

    let [moss, rust] = ["moss", "rust"].map(|class| Path::new(&data).join(class));
    fs::copy(rust.join("0.png"), moss.join("0.png")).expect("it copies");
    let resume = [&command[..], &["--resume", "--steps", "8"]].concat();
    let before = contents(&run);
    fails(&resume, &["hold other pixels"]);
    assert!(contents(&run) == before, "a refused resume changed the run");
    succeeds(&[&resume[..], &["--data-changed"]].concat());
    let is_pixels = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "bin");
    let entries = fs::read_dir(Path::new(&run).join("data")).expect("a folder");
    let all: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).filter(is_pixels).collect();
    let [pixels] = &all[..] else { panic!("{all:?}") };
    let bytes = fs::read(pixels).expect("it reads");
    let images = meanflow::data::load(Path::new(&data), &meanflow::data::DataConfig { size: 8, ..Default::default() });
    assert!(bytes == images.expect("it loads").pixels);
}

#[test]
fn a_dry_run_of_a_streamed_set_writes_nothing() {
    let place = Place::new();
    let (data, config) = place.images();
    let run = place.path("run");
    let said = succeeds(&["train", "--data", &data, "--config", &config, "--out", &run, "--stream", "--dry-run"]);
    assert!(said.contains("12 images of") && said.contains("no run was begun"), "{said}");
    assert!(!Path::new(&run).exists());
}

/// `| head`, `| tee` and Ctrl-C, a full disk behind `> log`.
#[cfg(unix)]
#[test]
fn standard_output_may_go_away() {
    let place = Place::new();
    let (data, config) = place.images();
    let train = |run: &str, steps: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meanflow"));
        command.args(["train", "--data", &data, "--config", &config, "--out", run, "--steps", steps]);
        command
    };
    // Nobody reads, of either.
    let gone = place.path("gone");
    let mut child = train(&gone, "40").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop((child.stdout.take(), child.stderr.take()));
    assert!(ending(&mut child).success());
    assert_eq!(checkpoints(&gone).last(), Some(&40));

    // Ctrl-C ends `tee` too, so what the program says of it reaches nobody.
    let teed = place.path("teed");
    let mut child = train(&teed, "1000000").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    wait_until("a checkpoint", || Path::new(&teed).join("checkpoints").exists() && !checkpoints(&teed).is_empty());
    drop((child.stdout.take(), child.stderr.take()));
    signal(&child, "-INT");
    assert!(ending(&mut child).success());

    if Path::new("/dev/full").exists() {
        let full = place.path("full");
        let disk = fs::OpenOptions::new().write(true).open("/dev/full").expect("it opens");
        let output = train(&full, "12").stdout(disk).output().expect("it starts");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!message.contains("panicked") && message.contains("standard output"), "{message}");
        assert_eq!(checkpoints(&full).last(), Some(&12));
    }
}

#[test]
fn a_checkpoint_comes_before_the_samples_that_can_fail() {
    let place = Place::new();
    let (data, _) = place.images();
    let config = LONG.replace("sample_every = 1000000", "sample_every = 3").replace("steps = 1000000", "steps = 6");
    let (config, run) = (place.file("samples.toml", config), place.path("run"));
    let samples = Path::new(&run).join("samples");
    succeeds(&["train", "--data", &data, "--config", &config, "--out", &run, "--steps", "2"]);
    // A folder that somebody removed is made again.
    fs::remove_dir_all(&samples).expect("it goes");
    succeeds(&["train", "--data", &data, "--out", &run, "--resume", "--steps", "4"]);
    assert!(samples.join("step-00000003.png").exists());
    // In whose place there is something else.
    fs::remove_dir_all(&samples).expect("it goes");
    fs::write(&samples, "no folder").expect("it writes");
    fails(&["train", "--data", &data, "--out", &run, "--resume", "--steps", "9"], &["samples"]);
    assert_eq!(checkpoints(&run).last(), Some(&6), "the steps before the samples are lost");
}

/// The system's own record of what reaches the disk when: every file of a checkpoint, then their names, then the
/// checkpoint's, then that it has this name. `make test` installs strace; without it the unit test of
/// `train::checkpoint` stands alone.
#[cfg(target_os = "linux")]
#[test]
fn the_system_is_asked_for_content_before_names() {
    let place = Place::new();
    let (data, config) = place.images();
    let (run, calls) = (place.path("run"), place.path("calls"));
    let traced = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=fsync,rename,renameat,renameat2", "-o", &calls, env!("CARGO_BIN_EXE_meanflow")])
        .args(["train", "--data", &data, "--config", &config, "--out", &run, "--steps", "1"])
        .output();
    let Ok(output) = traced else { return println!("skipped: there is no strace") };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let calls = fs::read_to_string(calls).expect("a record");
    let files = ["net.bpk", "ema.bpk", "optimizer.bpk", "state.json"];
    let expected: Vec<String> = files
        .iter()
        .map(|file| format!("checkpoints/.writing-00000001/{file}>"))
        .chain(["checkpoints/.writing-00000001>", "checkpoints/step-00000001\"", "run/checkpoints>"].map(String::from))
        .collect();
    let found: Vec<&str> = calls.lines().filter(|line| line.contains("checkpoints")).collect();
    let as_expected = found.iter().zip(&expected).all(|(line, part)| line.contains(part.as_str()));
    assert!(as_expected && found.len() == expected.len(), "{found:#?}");
}

/// One bit in any file of a checkpoint.
#[test]
fn a_flipped_bit_is_named_and_the_checkpoint_before_is_used() {
    let (dir, images, config) = (folder(), images(), config(20));
    let run = RunFolder::create(dir.path(), &config).expect("a new run");
    Listener::default().train(&config, &images, &run).expect("it trains");
    let newest = dir.path().join("checkpoints/step-00000020");
    let files = ["net.bpk", "ema.bpk", "optimizer.bpk", "state.json"];
    for file in files {
        let path = newest.join(file);
        let whole = fs::read(&path).expect("it reads");
        let bits = 8 * whole.len();
        // The first, the last, and some between them.
        for bit in (0..12).map(|i| i * (bits - 1) / 11) {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, damaged).expect("it writes");
            if file != "optimizer.bpk" && file != "net.bpk" {
                let mut warnings = Vec::new();
                let (_, info) = run
                    .averaged(CheckpointSelector::Newest, PRIMARY_EMA, &device(), |text| warnings.push(text))
                    .expect("the one before");
                assert_eq!(info.training.step, 10, "{file}, bit {bit}");
                assert!(warnings[0].contains("step-00000020") && warnings[0].contains(file), "{warnings:?}");
            }
            let (run, config) = RunFolder::open(dir.path()).expect("the run");
            let mut listener = Listener { stop_after: Some(11), ..Listener::default() };
            listener.train(&config, &images, &run).expect("it resumes");
            let notices = listener.notices.join("\n");
            assert!(notices.contains("continuing at step 10"), "{file}, bit {bit}: {notices}");
            assert!(notices.contains("not usable") && notices.contains(file), "{file}, bit {bit}: {notices}");
            fs::remove_dir_all(dir.path().join("checkpoints/step-00000011")).expect("it was stopped there");
        }
        fs::write(&path, whole).expect("it writes");
    }
}

#[test]
fn what_other_trainers_take_as_flags_is_taken_or_pointed_to() {
    let place = Place::new();
    let (data, _) = place.images();
    let run = place.path("run");
    let net = place.file("net.toml", "[net]\npatch = 4\nwidth = 16\ndepth = 1\nheads = 1\n[log]\nsamples = 4\n");
    let command = [
        "train",
        "--data",
        &data,
        "--out",
        &run,
        "--config",
        &net,
        "--size",
        "8",
        "--channels",
        "3",
        "--batch-size",
        "2",
    ];
    succeeds(&[&command[..], &["--lr", "0.0005", "--threads", "1", "--steps", "2"]].concat());
    let settings = fs::read_to_string(Path::new(&run).join("config.toml")).expect("it reads");
    for line in ["size = 8", "channels = 3", "batch_size = 2", "learning_rate = 0.0005", "threads = 1"] {
        assert!(settings.lines().any(|own| own == line), "no `{line}` in {settings}");
    }
    fails(
        &["train", "--data", &data, "--out", &place.path("x"), "--batch-size", "0"],
        &["batch_size must be at least 1"],
    );
    for (flag, hint) in [
        ("--ema-decay", "[train] ema_decay"),
        ("--weight_decay=0.1", "[train] weight_decay"),
        ("--patch", "[net] patch"),
        ("--keep-every", "[log] keep_every"),
        ("--class-depth", "[data] class_depth"),
        ("--epochs", "--steps"),
        ("--model", "[net] preset"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_meanflow")).args(["train", "--data", &data, flag, "1"]).output();
        let output = output.expect("it starts");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("hint: ") && message.contains(hint), "{flag}: {message}");
    }
}

/// The bar of a run that is stopped, as a terminal shows it.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_leaves_the_bar_where_it_is() {
    let place = Place::new();
    let (data, _) = place.images();
    let (config, run) = (place.file("long.toml", LONG), place.path("run"));
    let typescript = place.path("typescript");
    let command =
        format!("exec '{}' train --data '{data}' --config '{config}' --out '{run}'", env!("CARGO_BIN_EXE_meanflow"));
    let mut child = Command::new("script")
        .args(["-qefc", &command, &typescript])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("util-linux has `script`");
    wait_until("a run takes steps", || has_log(&run));
    let holder = json(Path::new(&run).join("run.lock"))["process"].as_u64().expect("a process");
    assert!(Command::new("kill").args(["-INT", &holder.to_string()]).status().expect("kill runs").success());
    assert!(ending(&mut child).success());
    let shown = String::from_utf8_lossy(&fs::read(&typescript).expect("it reads")).into_owned();
    assert!(shown.contains("of 1000000") && !shown.contains("100%"), "{shown}");
}

/// As the first command of a person who stands in the folder of pictures.
#[test]
fn a_run_inside_its_data_is_no_data() {
    let place = Place::new();
    let (_, config) = place.images();
    let pictures = Path::new(&place.path("images")).join("moss");
    let train = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meanflow"));
        let output =
            command.current_dir(&pictures).args(["train", "--data", ".", "--out", "run"]).args(arguments).output();
        let output = output.expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(train(&["--config", &config]).contains("6 images"));
    let said = train(&["--resume", "--steps", "8"]);
    assert!(said.contains("6 images") && said.contains("done: 8 steps"), "{said}");
}
