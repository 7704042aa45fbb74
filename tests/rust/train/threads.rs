//! Work that is shared out among the threads of a pool never waits for a thread that it keeps itself: with pools of
//! one, two and three threads and more parts than these, everything ends, and in time.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use meanflow::data::Images;
use meanflow::train::{Sampler, Trainer};

use crate::cli::Place;
use crate::support::{device, random, random_net, tiny_config, values};
use crate::train::config;

/// Runs a command with a pool of so many threads, which must end within two minutes.
#[track_caller]
fn ends(command: &mut Command, threads: usize) {
    let command = command.env("RAYON_NUM_THREADS", threads.to_string());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let began = Instant::now();
    let status = loop {
        match child.try_wait().expect("it can be asked") {
            Some(status) => break status,
            None if began.elapsed() > Duration::from_secs(120) => {
                child.kill().expect("SIGKILL");
                panic!("with {threads} threads it hangs: {command:?}");
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut message = String::new();
    let _ = std::io::Read::read_to_string(&mut child.stderr.take().expect("it is piped"), &mut message);
    assert!(status.success(), "with {threads} threads: {message}");
}

/// Sample grids of 64 pictures, eight parts, while training and by themselves.
#[test]
fn sampling_ends_with_any_number_of_threads() {
    let place = Place::new();
    let (data, _) = place.images();
    let settings = "[data]\nsize = 8\n[net]\npatch = 4\nwidth = 16\ndepth = 1\nheads = 2\n[train]\nsteps = 2\nbatch_size = 16\n\
                    [log]\nsample_every = 1\nsamples = 64\n";
    let config = place.file("settings.toml", settings);
    let program = || Command::new(env!("CARGO_BIN_EXE_meanflow"));
    let mut pictures = Vec::new();
    for threads in [1, 2, 3] {
        for devices in [&["--devices", "0"][..], &[]] {
            let run = place.path(&format!("run-{threads}-{}", devices.len()));
            ends(program().args(["train", "--data", &data, "--config", &config, "--out", &run]).args(devices), threads);
        }
        let (run, weights) = (place.path("run-1-2"), place.path("weights.safetensors"));
        ends(program().args(["export", &run, "--out", &weights]), threads);
        for flag in [&[][..], &["--threads", "3"]] {
            let picture = place.path("picture.png");
            ends(program().args(["sample", &weights, "--out", &picture, "--count", "64"]).args(flag), threads);
            pictures.push(fs::read(picture).expect("it is there"));
        }
    }
    assert!(pictures.windows(2).all(|pair| pair[0] == pair[1]), "pictures depend on the number of threads");
}

/// What a process with a small pool of its own does; see [`more_parts_than_threads_end`].
#[test]
#[ignore = "a part of more_parts_than_threads_end, which runs it with pools of its own"]
fn child_of_more_parts_than_threads_end() {
    // Eight parts of a call, from a thread of the pool and from elsewhere.
    let net = random_net(&tiny_config(3, 0), &device());
    let (z, t) = (random(1, [64, 3, 8, 8]), Tensor::<1>::ones([64], &device()));
    let forward = || values(net.forward(z.clone().into(), t.zeros_like().into(), t.clone().into(), None).primal);
    let inside = rayon::scope(|_| forward());
    assert!(inside == forward());
    // A batch in four parts, each with a backward pass.
    let mut config = config(4);
    (config.train.batch_size, config.train.flow_matching_steps, config.train.ramp_steps) = (16, 0, 0);
    let images = Images::random(&config.data, 32);
    let mut sampler = Sampler::new(&images, &config.train, false);
    let network = config.net_config(0).expect("a network");
    let devices: [Device; 3] = std::array::from_fn(|_| device());
    let mut trainer = Trainer::new(&config, &network, &device()).with_helpers(&devices);
    for step in 0..40 {
        let loss = trainer.step(sampler.batch(step, &device()).expect("pictures")).loss;
        assert!(values(loss)[0].is_finite());
    }
}

#[test]
fn more_parts_than_threads_end() {
    let program = std::env::current_exe().expect("this program");
    for threads in [1, 2, 3] {
        ends(
            Command::new(&program).args(["--ignored", "--exact", "threads::child_of_more_parts_than_threads_end"]),
            threads,
        );
    }
}
