//! Hostile files of every kind: whatever one holds, reading it ends in what it holds or in an error, never in a panic
//! or in memory gone.
//!
//! `MEANFLOW_FUZZ=1000000 cargo test --release --test suite -- fuzz` tries a million files of each kind.

use std::fs;
use std::io::{Cursor, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use image::{DynamicImage, ImageFormat};
use meanflow::Generator;
use meanflow::data::{DataConfig, load};
use meanflow::error::Error;
use meanflow::import::{Checkpoint, ImportChoice, import};
use meanflow::infer::cpu;
use meanflow::model::weights::Precision;
use meanflow::net::encode;
use meanflow::rng::{Purpose, Stream};
use meanflow::train::{CheckpointSelector, RunFolder, report};

use crate::cli::{Place, succeeds};
use crate::support::{device, random_net, tiny_config};
use crate::weights::info;

/// Files that are tried where the environment does not say otherwise.
const FILES: u64 = 4_000;

fn files(usual: u64) -> u64 {
    std::env::var("MEANFLOW_FUZZ").map_or(usual, |count| count.parse().expect("a number of files"))
}

fn valid() -> Vec<u8> {
    let mut config = tiny_config(1, 2);
    (config.image_size, config.patch, config.width, config.depth) = (2, 1, 4, 1);
    encode(&random_net(&config, &device()), &info(config), Precision::F16).expect("it encodes")
}

/// Pieces that headers are made of, and what attackers put in their place.
const PIECES: [(&str, &str); 16] = [
    ("\"width\\\":4", "\"width\\\":4096"),
    ("\"depth\\\":1", "\"depth\\\":128"),
    ("\"width\\\":4", "\"width\\\":18446744073709551615"),
    ("\"image_size\\\":2", "\"image_size\\\":1024"),
    ("\"patch\\\":1", "\"patch\\\":0"),
    ("\"heads\\\":2", "\"heads\\\":0"),
    ("\"classes\\\":2", "\"classes\\\":100000"),
    ("\"channels\\\":1", "\"channels\\\":2"),
    ("\"mlp_ratio\\\":4", "\"mlp_ratio\\\":-1"),
    ("\"F16\"", "\"F64\""),
    ("\"shape\":[4", "\"shape\":[4294967295,4294967295,4"),
    ("\"shape\":[4", "\"shape\":[18446744073709551615"),
    ("\"data_offsets\":[", "\"data_offsets\":[9999999999,"),
    ("\"format_version\\\":1", "\"format_version\\\":2"),
    ("\"meanflow\":\"", "\"meanflow\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["),
    ("\"meanflow\"", "\"__metadata__\""),
];

/// A file that differs from a valid one in a few ways.
fn mutate(valid: &[u8], stream: &mut Stream) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..=stream.below(3) {
        match stream.below(8) {
            0 => bytes.truncate(stream.below(bytes.len() + 1)),
            1 | 2 if !bytes.is_empty() => {
                let at = stream.below(bytes.len());
                bytes[at] = stream.below(256) as u8;
            }
            3 if bytes.len() >= 8 => {
                let lengths = [0, 1, 7, 255, u64::from(u32::MAX), 1 << 33, u64::MAX, u64::MAX - 7];
                bytes[..8].copy_from_slice(&lengths[stream.below(lengths.len())].to_le_bytes());
            }
            4 if bytes.len() > 2 => {
                // Not a number, in a weight.
                let at = bytes.len() - 2 - 2 * stream.below(bytes.len() / 4);
                bytes[at..at + 2].copy_from_slice(&[0, 0x7e]);
            }
            5 => bytes.extend_from_slice(&[b'{'; 64]),
            _ => replace_piece(&mut bytes, stream),
        }
    }
    bytes
}

/// Puts another piece into the header, and mends its length half of the time.
fn replace_piece(bytes: &mut Vec<u8>, stream: &mut Stream) {
    let (from, to) = PIECES[stream.below(PIECES.len())];
    let Some(at) = bytes.windows(from.len()).position(|window| window == from.as_bytes()) else { return };
    bytes.splice(at..at + from.len(), to.bytes());
    if bytes.len() >= 8 && stream.below(4) > 0 {
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        let mended = length.wrapping_add(to.len() as u64).wrapping_sub(from.len() as u64);
        bytes[..8].copy_from_slice(&mended.to_le_bytes());
    }
}

/// Reads a file as a page does that is still downloading it; every third announces another length.
fn in_pieces(bytes: &[u8], length: usize) -> Result<(), Error> {
    let announced = if length.is_multiple_of(3) { length } else { bytes.len() };
    let mut loading = cpu::WeightsLoader::new(announced);
    bytes.chunks(length).for_each(|piece| loading.push(piece));
    loading.finish().map(|_| ())
}

/// What is wrong, where readers differ in how they put it: the page's passes over where in a text a character is wrong,
/// and of wrong tensors it names the first.
fn kind(error: &str) -> &str {
    let of_tensors = ["does not end", "truncated, or no safetensors file", "invalid ", "overflow", "tensor `"];
    match error {
        _ if error.contains("metadata: ") => "the description",
        _ if of_tensors.iter().any(|words| error.contains(words)) => "the tensors",
        other => other,
    }
}

#[test]
fn whatever_a_weights_file_holds_it_is_read_or_refused() {
    let files = files(FILES);
    let valid = valid();
    assert!(Generator::from_bytes(&valid, &device()).is_ok(), "the file that all others differ from is valid");
    let (mut read, mut refused) = (0, 0);
    for file in 0..files {
        let bytes = mutate(&valid, &mut Stream::new(1, Purpose::Batch, file));
        let burn = || Generator::from_bytes(&bytes, &device()).map(|_| ()).map_err(|e| e.to_string());
        let page = || in_pieces(&bytes, 1 + file as usize % 700).map_err(|e| e.to_string());
        match catch_unwind(AssertUnwindSafe(|| (burn(), page()))) {
            Ok((Ok(()), Ok(()))) => read += 1,
            Ok((Err(error), Err(on_page))) => {
                assert_eq!(kind(&error), kind(&on_page), "file {file}: {error}, but on the page {on_page}");
                refused += 1;
            }
            Ok(answers) => panic!("file {file}: {answers:?}"),
            Err(_) => panic!("file {file} made the reader panic"),
        }
    }
    // A changed bit of a weight leaves a valid file; most files are not.
    assert!(read > 0 && refused > files / 2, "{refused} of {files} were refused");
    println!("{files} files: {read} read, {refused} refused");
}

/// Bytes that differ from valid ones in a few places, of a kind that knows nothing of the format.
fn scramble(valid: &[u8], stream: &mut Stream) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..=stream.below(4) {
        let at = stream.below(bytes.len() + 1);
        let end = (at + stream.below(32)).min(bytes.len());
        match stream.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            3 | 4 => {
                // Lengths and offsets, at their ends.
                let numbers =
                    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX];
                let number = numbers[stream.below(numbers.len())];
                let width = [1, 2, 4, 8][stream.below(4)];
                let number =
                    if stream.below(2) == 0 { number.to_le_bytes() } else { number.swap_bytes().to_le_bytes() };
                bytes.iter_mut().skip(at).zip(number).take(width).for_each(|(byte, new)| *byte = new);
            }
            5 => drop(bytes.get_mut(at).map(|byte| *byte ^= 1 << stream.below(8))),
            _ => drop(bytes.get_mut(at).map(|byte| *byte = stream.below(256) as u8)),
        }
    }
    bytes
}

/// Reads many files that differ from valid ones, of which each is written to `path` and read by `read`.
fn reads_or_refuses(kind: &str, valid: &[Vec<u8>], path: &Path, usual: u64, read: impl Fn() -> Result<(), String>) {
    let (mut read_well, mut refused) = (0, 0);
    for (i, bytes) in valid.iter().enumerate() {
        fs::write(path, bytes).expect("it writes");
        assert_eq!(read(), Ok(()), "{kind}: the file {i}, which others differ from, is valid");
    }
    for file in 0..files(usual) {
        let mut stream = Stream::new(2, Purpose::Batch, file);
        let bytes = scramble(&valid[file as usize % valid.len()], &mut stream);
        fs::write(path, &bytes).expect("it writes");
        let started = Instant::now();
        match catch_unwind(AssertUnwindSafe(&read)) {
            Ok(Ok(())) => read_well += 1,
            Ok(Err(_)) => refused += 1,
            Err(_) => {
                let kept = std::env::temp_dir().join(format!("meanflow-fuzz-{kind}-{file}"));
                fs::write(&kept, &bytes).expect("it writes");
                panic!("{kind}: file {file} made the reader panic; it is kept as {}", kept.display());
            }
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{kind}: file {file} took {:?}", started.elapsed());
    }
    assert!(refused > 0, "{kind}: none was refused");
    println!("{kind}: {read_well} read, {refused} refused");
}

fn load_set(path: &Path, class_depth: usize) -> Result<(), String> {
    let config = DataConfig { size: 8, channels: 3, class_depth, ..DataConfig::default() };
    load(path, &config).map(|_| ()).map_err(|e| e.to_string())
}

/// A small picture in every format that can be written.
fn pictures() -> Vec<(&'static str, Vec<u8>)> {
    let pixel = |x: u32, y: u32| image::Rgb([(x * 20) as u8, (y * 25) as u8, (x * y) as u8]);
    let picture = DynamicImage::from(image::RgbImage::from_fn(11, 9, pixel));
    let formats = [
        ("png", ImageFormat::Png),
        ("jpg", ImageFormat::Jpeg),
        ("gif", ImageFormat::Gif),
        ("bmp", ImageFormat::Bmp),
        ("webp", ImageFormat::WebP),
    ];
    let encoded = formats.map(|(ending, format)| {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).expect("it encodes");
        (ending, bytes.into_inner())
    });
    encoded.to_vec()
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name);
    fs::read(path).expect("it is in the tree")
}

#[test]
fn whatever_a_picture_holds_it_is_read_or_refused() {
    for (ending, bytes) in pictures() {
        let place = Place::new();
        let folder = PathBuf::from(place.path("pictures"));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("0.{ending}"));
        reads_or_refuses(ending, &[bytes], &path, 1_000, || load_set(&folder, 0));
    }
}

#[test]
fn whatever_a_parquet_file_holds_it_is_read_or_refused() {
    let place = Place::new();
    let path = PathBuf::from(place.path("train.parquet"));
    let valid = [fixture("hub/train-00000-of-00002.parquet"), fixture("hub/train-00001-of-00002.parquet")];
    reads_or_refuses("parquet", &valid, &path, 2_000, || load_set(&path, 1));
}

#[test]
fn whatever_an_archive_holds_it_is_read_or_refused() {
    let place = Place::new();
    let png = pictures().swap_remove(0).1;
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["a/0.png", "a/1.png", "b/0.png"] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("it begins");
        zip.write_all(&png).expect("it writes");
        let mut header = tar::Header::new_gnu();
        header.set_size(png.len() as u64);
        tar.append_data(&mut header, name, &png[..]).expect("it writes");
    }
    let zip = zip.finish().expect("it ends").into_inner();
    let tar = tar.into_inner().expect("it ends");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).expect("it writes");
    let packed = gzip.finish().expect("it ends");
    for (name, valid) in [("set.zip", zip), ("set.tar", tar), ("set.tar.gz", packed)] {
        let path = PathBuf::from(place.path(name));
        reads_or_refuses(name, &[valid], &path, 2_000, || load_set(&path, 1));
    }
}

#[test]
fn whatever_a_checkpoint_of_pytorch_holds_it_is_read_or_refused() {
    let place = Place::new();
    let path = PathBuf::from(place.path("p.pth"));
    let choice = ImportChoice { prefix: Some("ema.".into()), heads: Some(2), ..ImportChoice::default() };
    let read = || {
        let checkpoint = Checkpoint::open(&path).map_err(|e| e.to_string())?;
        import(&checkpoint, &choice, &device()).map(|_| ()).map_err(|e| e.to_string())
    };
    reads_or_refuses("pth", &[fixture("published.pth")], &path, 1_000, read);
}

#[test]
fn whatever_a_folder_of_a_run_holds_it_is_read_or_refused() {
    let place = Place::new();
    let (images, config) = place.images();
    let run = PathBuf::from(place.path("run"));
    succeeds(&["train", "--data", &images, "--config", &config, "--out", &run.to_string_lossy(), "--steps", "2"]);
    let step = fs::read_dir(run.join("checkpoints")).expect("a folder").flatten().map(|entry| entry.path());
    let step = step.max().expect("a checkpoint");
    let parts = ["config.toml", "model.json", "log.jsonl"].map(|name| run.join(name));
    for path in parts.into_iter().chain(["state.json", "ema.bpk"].map(|name| step.join(name))) {
        let valid = fs::read(&path).expect("it is there");
        let kind = path.file_name().expect("a name").to_string_lossy().into_owned();
        let read = || {
            let (folder, _) = RunFolder::open(&run).map_err(|e| e.to_string())?;
            folder.averaged(CheckpointSelector::Newest, "main", &device(), drop).map_err(|e| e.to_string())?;
            report(&run).map(drop).map_err(|e| e.to_string())
        };
        let count = if kind == "log.jsonl" { 100 } else { 300 };
        // Lines of the log that do not read are passed over.
        match kind.as_str() {
            "log.jsonl" => (0..files(count)).for_each(|file| {
                fs::write(&path, scramble(&valid, &mut Stream::new(3, Purpose::Batch, file))).expect("it writes");
                let _ = read();
            }),
            _ => reads_or_refuses(&kind, std::slice::from_ref(&valid), &path, count, read),
        }
        fs::write(&path, valid).expect("it writes");
    }
}
