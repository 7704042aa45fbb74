//! Hostile files and settings: each ends in a message and the exit code 1, within ten seconds and two gigabytes of
//! memory.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use crate::cli::Place;
use crate::support::{device, random_net, tiny_config};
use crate::weights::info;

/// Most seconds and bytes that a refusal takes.
const SECONDS: u64 = 10;
const MEMORY: u64 = 2_000_000_000;

/// The most memory that a process has had.
fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| 1024 * kilobytes)
}

/// Fails with a message that has all of `words`, in bounded time and memory.
#[track_caller]
fn refuses(arguments: &[&str], words: &[&str]) {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_meanflow"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut peak = 0;
    while child.try_wait().expect("it is a child").is_none() {
        peak = peak_memory(child.id()).unwrap_or(0).max(peak);
        if peak > MEMORY || started.elapsed() > Duration::from_secs(SECONDS) {
            child.kill().expect("it is a child");
            panic!("{arguments:?} took {peak} bytes and {:?}", started.elapsed());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("it has ended");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
    assert!(!message.contains("panicked"), "{message}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: `{message}` does not say `{word}`");
    }
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name);
    path.to_string_lossy().into_owned()
}

fn settings(size: usize, more: &str) -> String {
    format!(
        "name = \"tiny\"\n[data]\nsize = {size}\nchannels = 4\n{more}\n[net]\npatch = {}\nwidth = 16\ndepth = 1\nheads = 2\n\
         [train]\nsteps = 20\nbatch_size = 8\n[log]\nevery = 5\nsample_every = 10\nsamples = 4\ncheckpoint_every = 10\n",
        size / 4
    )
}

#[track_caller]
fn refuses_to_train(place: &Place, data: &str, config: &str, words: &[&str]) {
    let run = place.path("run");
    refuses(&["train", "--data", data, "--out", &run, "--config", config, "--dry-run"], words);
    assert!(!Path::new(&run).exists(), "a dry run left a folder");
}

/// Zeros, packed by an encoder, after a beginning.
fn zeros<W: Write>(mut packed: W, head: &[u8], megabytes: usize) -> W {
    packed.write_all(head).expect("it writes");
    let piece = vec![0; 1 << 20];
    (0..megabytes).for_each(|_| packed.write_all(&piece).expect("it writes"));
    packed
}

fn gzip(head: &[u8], megabytes: usize) -> Vec<u8> {
    zeros(GzEncoder::new(Vec::new(), Compression::default()), head, megabytes).finish().expect("it ends")
}

/// A zip archive with one deflated entry of zeros, which its directory lists under several names.
fn zip(names: &[String], megabytes: usize) -> Vec<u8> {
    let content =
        zeros(DeflateEncoder::new(Vec::new(), Compression::default()), &[], megabytes).finish().expect("it ends");
    let size = (megabytes << 20) as u32;
    let mut crc = flate2::Crc::new();
    let piece = vec![0; 1 << 20];
    (0..megabytes).for_each(|_| crc.update(&piece));
    let common = |name: &str| {
        let mut bytes = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0];
        for number in [crc.sum(), content.len() as u32, size] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    };
    let mut archive =
        [b"PK\x03\x04".to_vec(), common(&names[0]), names[0].clone().into_bytes(), content.clone()].concat();
    let start = archive.len();
    for name in names {
        archive.extend([b"PK\x01\x02\x14\x00".to_vec(), common(name), vec![0; 14], name.clone().into_bytes()].concat());
    }
    let length = (archive.len() - start) as u32;
    let count = (names.len() as u16).to_le_bytes();
    archive.extend(b"PK\x05\x06\x00\x00\x00\x00");
    archive.extend([count, count].concat());
    archive.extend([length.to_le_bytes(), (start as u32).to_le_bytes()].concat());
    archive.extend([0, 0]);
    archive
}

#[test]
fn archives_that_grow_without_end_are_refused() {
    let place = Place::new();
    let (flat, folders) =
        (place.file("flat.toml", settings(8, "class_depth = 0")), place.file("c.toml", settings(8, "")));
    // Images of MNIST's kind, 300 MB of zeros as 300 kB.
    let head = [[0, 0, 8, 3], 307_200_u32.to_be_bytes(), 32_u32.to_be_bytes(), 32_u32.to_be_bytes()].concat();
    let idx = place.file("train-images-idx3-ubyte.gz", gzip(&head, 300));
    refuses_to_train(&place, &idx, &flat, &["train-images-idx3-ubyte.gz", "decompression bomb"]);
    let cifar = place.file("cifar.zip", zip(&["data_batch_1.bin".into()], 300));
    refuses_to_train(&place, &cifar, &folders, &["decompression bomb"]);
    let pictures = place.file("pictures.zip", zip(&["a/0.png".into()], 300));
    refuses_to_train(&place, &pictures, &folders, &["0.png", "decompression bomb"]);
    // One entry under thousands of names.
    let names: Vec<String> = (0..20_000).map(|i| format!("{i:06}.png")).collect();
    let overlap = place.file("overlap.zip", zip(&names, 20));
    refuses_to_train(&place, &overlap, &flat, &["overlap.zip", "overlap"]);
    // Names of 300 MB, as GNU and as POSIX write long ones.
    for kind in [tar::EntryType::GNULongName, tar::EntryType::XHeader, tar::EntryType::GNULongLink] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(300 << 20);
        header.set_path("././@LongLink").expect("a name");
        header.set_cksum();
        let tar = place.file("names.tar.gz", gzip(header.as_bytes(), 300));
        refuses_to_train(&place, &tar, &folders, &["names.tar.gz", "name or header of 314572800 bytes"]);
    }
}

#[test]
fn tables_that_claim_more_rows_than_they_hold_are_refused() {
    let place = Place::new();
    let config = place.file("tiny.toml", settings(8, ""));
    let flat = place.file("flat.toml", settings(8, "class_depth = 0"));
    for (name, config) in [("rows_2_30", &flat), ("rows_2_40", &flat), ("fuzz_parquet_57c0c34d", &config)] {
        fs::create_dir_all(place.path(name)).expect("a folder");
        let table = format!("{}/train.parquet", place.path(name));
        fs::copy(fixture(&format!("hostile/{name}.parquet")), &table).expect("it copies");
        refuses_to_train(&place, &place.path(name), config, &["train.parquet"]);
    }
}

#[test]
fn pictures_that_no_memory_holds_are_refused_by_their_headers() {
    let place = Place::new();
    let config = place.file("tiny.toml", settings(8, ""));
    fs::create_dir_all(place.path("pictures/a")).expect("a folder");
    // 16384 × 16384 grey with alpha: half a gigabyte of zeros, 1 GB as RGBA, and more while it is made smaller.
    let chunk = |kind: &[u8], content: &[u8]| {
        let body = [kind, content].concat();
        let mut crc = flate2::Crc::new();
        crc.update(&body);
        [&(content.len() as u32).to_be_bytes()[..], &body, &crc.sum().to_be_bytes()].concat()
    };
    let edge = 16_384_u32.to_be_bytes();
    let head = [&edge[..], &edge, &[8, 4, 0, 0, 0]].concat();
    let rows =
        zeros(flate2::write::ZlibEncoder::new(Vec::new(), Compression::default()), &[], 513).finish().expect("it ends");
    let png =
        [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &head), chunk(b"IDAT", &rows), chunk(b"IEND", &[])].concat();
    place.file("pictures/a/0.png", png);
    refuses_to_train(&place, &place.path("pictures"), &config, &["0.png", "million pixels"]);
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let place = Place::new();
    let latents = place.file("latents.toml", settings(32, ""));
    for name in ["latents-wrap34", "latents-wrap40"] {
        let file = fixture(&format!("hostile/{name}.safetensors"));
        refuses(
            &["train", "--data", &file, "--out", &place.path("run"), "--config", &latents, "--dry-run"],
            &[name, "truncated"],
        );
    }
    let out = place.path("x.safetensors");
    for name in [
        "import-ic_scalar_y.safetensors",
        "import-scalar_fc1.safetensors",
        "import-scalar_y.safetensors",
        "import-unet_70.safetensors",
        "import-unet_scalar.safetensors",
        "many1g.pth",
        "pkl99.pth",
        "stride9gb.pth",
    ] {
        refuses(&["import", &fixture(&format!("hostile/{name}")), "--heads", "2", "--out", &out], &[name]);
    }
    // Tensors of the autoencoder without axes, one after the other.
    let (images, _) = place.images();
    let bytes = fs::read(fixture("vae.safetensors")).expect("it is in the tree");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("it reads");
    for scalar in ["encoder.down_blocks.0.resnets.0.conv1.weight", "post_quant_conv.weight", "quant_conv.bias"] {
        let views = file.iter().map(|(name, view)| match name == scalar {
            true => (
                name,
                safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![], &[0; 4]).expect("a scalar"),
            ),
            false => (name, view),
        });
        let vae = place.file("vae.safetensors", safetensors::serialize(views, None).expect("it encodes"));
        refuses(
            &["encode", "--data", &images, "--vae", &vae, "--config", &latents, "--out", &out],
            &["vae.safetensors"],
        );
    }
    assert!(!Path::new(&out).exists());
}

#[test]
fn files_that_have_no_end_are_not_read() {
    let place = Place::new();
    let out = place.path("x.safetensors");
    let endless = PathBuf::from("/dev/zero");
    let endless = endless.to_string_lossy();
    let pipe = place.path("pipe.safetensors");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    // A file of a terabyte that takes no room on the disk.
    let sparse = place.path("sparse.safetensors");
    fs::File::create(&sparse).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    for (file, words) in [(&*endless, "no regular file"), (&pipe, "no regular file"), (&sparse, "sparse.safetensors")] {
        for command in
            [&["inspect", file][..], &["import", file, "--out", &out], &["sample", file, "--out", &place.path("x.png")]]
        {
            refuses(command, &[words]);
        }
    }
}

#[test]
fn settings_of_any_size_are_refused_before_memory_is_asked_for() {
    let place = Place::new();
    let (images, _) = place.images();
    let base = settings(8, "");
    for (from, to, words) in [
        ("batch_size = 8", "batch_size = 1000000000000", &["batch_size", "memory"][..]),
        ("batch_size = 8", "batch_size = 9000000000000000000", &["batch_size", "memory"]),
        ("size = 8", "size = 1000000000000", &["image_size"]),
        ("[train]", "[weight]\np = inf\n[train]", &["[weight]", "p is inf"]),
        ("[train]", "[weight]\nc = nan\n[train]", &["[weight]", "c is NaN"]),
        ("[train]", "[times]\nmean = -inf\n[train]", &["[times]", "mean is -inf"]),
        ("steps = 20", "steps = 9000000000000000000", &["steps"]),
        ("depth = 1", "depth = 1000000000", &["depth"]),
    ] {
        let config = place.file("huge.toml", base.replacen(from, to, 1));
        refuses_to_train(&place, &images, &config, words);
    }
    let config = place.file("tiny.toml", &base);
    let train = ["train", "--data", &images, "--out", &place.path("run"), "--config", &config];
    refuses(&[&train[..], &["--steps", "9223372036854775808"]].concat(), &["steps"]);
    assert!(!Path::new(&place.path("run")).exists(), "a refused start left a folder");
    // One budget for all.
    refuses(&[&train[..], &["--max-memory", "100kB"]].concat(), &["--max-memory is 100 kB"]);
    refuses(
        &["inspect", &fixture("networks.pth"), "--max-memory", "500kB"],
        &["networks.pth", "--max-memory is 500 kB"],
    );
    let net = tiny_config(4, 2);
    let bytes =
        meanflow::net::encode(&random_net(&net, &device()), &info(net), meanflow::model::weights::Precision::F16);
    let weights = place.file("w.safetensors", bytes.expect("it encodes"));
    let grid = place.path("g.png");
    refuses(&["sample", &weights, "--count", "4096", "--scale", "32", "--out", &grid], &["million"]);
    refuses(&["sample", &weights, "--count", "1000000000000", "--out", &grid], &["million"]);
    let folder = place.path("many");
    refuses(&["sample", &weights, "--count", "1000000000000", "--format", "npz", "--out", &folder], &["100000000"]);
}
