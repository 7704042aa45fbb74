//! Hostile weights: whatever a file holds, reading it ends in a model or in an error, never in a panic or in memory gone.
//!
//! `MEANFLOW_FUZZ=1000000 cargo test --release --test suite -- fuzz` tries a million files.

use std::panic::{AssertUnwindSafe, catch_unwind};

use meanflow::error::Error;
use meanflow::rng::{Purpose, Stream};
use meanflow::weights::{Precision, encode};
use meanflow::{Generator, cpu};

use crate::support::{device, random_net, tiny_config};
use crate::weights::info;

/// Files that are tried where the environment does not say otherwise.
const FILES: u64 = 4_000;

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
    let mut loading = cpu::Loading::new(announced);
    bytes.chunks(length).for_each(|piece| loading.push(piece));
    loading.finish().map(|_| ())
}

/// What is wrong, where readers differ in how they put it: the page's passes over where in a text a character is wrong, and of wrong
/// tensors it names the first.
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
    let files = std::env::var("MEANFLOW_FUZZ").map_or(FILES, |count| count.parse().expect("a number of files"));
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
