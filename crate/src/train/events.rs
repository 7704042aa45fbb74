//! Event files for TensorBoard, written without it: length-framed records with checksums (TFRecord) of small protocol
//! buffers, of which only the few fields that numbers and pictures need are written.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::log::Record;
use crate::io;
use crate::io::protobuf::Message;

/// The file's name; TensorBoard looks for `tfevents` in it.
pub const NAME: &str = "events.out.tfevents.meanflow";

/// Appends the numbers of a line of the log.
///
/// # Errors
/// When the disk refuses.
pub fn append(folder: &Path, record: &Record) -> Result<()> {
    let mut summary = Message::default();
    for (tag, value) in scalars(record) {
        let mut scalar = Message::default();
        scalar.text(1, tag).float(2, value as f32);
        summary.message(1, &scalar);
    }
    append_summary(folder, record.step, &summary)
}

/// Appends a grid of samples, which lies in a PNG file.
///
/// # Errors
/// When the file cannot be read, or the disk refuses.
pub fn append_picture(folder: &Path, step: u64, file: &Path) -> Result<()> {
    let unreadable = || format!("cannot read {}", file.display());
    let png = std::fs::read(file).with_context(unreadable)?;
    let (width, height) = image::image_dimensions(file).with_context(unreadable)?;
    let mut picture = Message::default();
    // 4 stands for RGBA.
    picture.integer(1, height.into()).integer(2, width.into()).integer(3, 4).bytes(4, &png);
    let mut value = Message::default();
    value.text(1, "samples").message(4, &picture);
    let mut summary = Message::default();
    summary.message(1, &value);
    append_summary(folder, step, &summary)
}

fn append_summary(folder: &Path, step: u64, summary: &Message) -> Result<()> {
    let path = folder.join(NAME);
    let mut bytes = Vec::new();
    if !path.exists() {
        let mut version = Message::default();
        version.double(1, now()).text(3, "brain.Event:2");
        bytes.extend(frame(version.as_bytes()));
    }
    let mut event = Message::default();
    event.double(1, now()).integer(2, step).message(5, summary);
    bytes.extend(frame(event.as_bytes()));
    Ok(io::append(&path, &bytes)?)
}

/// Takes out the records of steps that will be taken again, and one that was cut off.
///
/// # Errors
/// When the disk refuses.
pub fn rewind(folder: &Path, step: u64) -> Result<()> {
    let path = folder.join(NAME);
    if !path.exists() {
        return Ok(());
    }
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut kept = 0;
    while let Some(length) = frame_length(&bytes[kept..]) {
        if step_of(&bytes[kept + 12..kept + length - 4]) > step {
            break;
        }
        kept += length;
    }
    match kept == bytes.len() {
        true => Ok(()),
        false => Ok(io::write_atomic(&path, &bytes[..kept])?),
    }
}

/// Bytes of the whole record at the beginning of some; `None` where there is none.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(*bytes.first_chunk::<8>()?).checked_add(16)?;
    usize::try_from(length).ok().filter(|&length| length <= bytes.len())
}

/// The step of an event: the integer after its time; 0 for the version.
fn step_of(event: &[u8]) -> u64 {
    let Some([0x10, varint @ ..]) = event.get(9..) else { return 0 };
    let mut step = 0;
    for (i, &byte) in varint.iter().take(10).enumerate() {
        step |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            break;
        }
    }
    step
}

fn scalars(record: &Record) -> impl Iterator<Item = (&'static str, f64)> {
    let all = [
        ("loss", Some(record.loss)),
        ("residual/all", Some(record.residual)),
        ("residual/interval", record.residual_interval),
        ("residual/instant", record.residual_instant),
        ("learning_rate", Some(record.learning_rate)),
        ("images_per_second", Some(record.images_per_second)),
        ("peak_memory", record.peak_memory.map(|bytes| bytes as f64)),
    ];
    all.into_iter().filter_map(|(tag, value)| Some((tag, value?)))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A record: its length and its bytes, each with a checksum.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut framed = length.to_vec();
    framed.extend(masked(&length).to_le_bytes());
    framed.extend(bytes);
    framed.extend(masked(bytes).to_le_bytes());
    framed
}

/// CRC-32C, rotated and shifted, so that checksums of what holds checksums differ.
fn masked(bytes: &[u8]) -> u32 {
    let crc = !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    });
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_rewound_to_whole_records_of_steps_that_stay() {
        let folder = std::env::temp_dir().join(format!("meanflow-events-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let record = |step| Record {
            optimizers: None,
            step,
            loss: 1.0,
            residual: 2.0,
            residual_interval: None,
            residual_instant: Some(2.0),
            learning_rate: 1e-3,
            images_per_second: 3.0,
            seconds: 4.0,
            peak_memory: None,
            rows: [0, 1],
        };
        for step in [100, 200, 300] {
            append(&folder, &record(step)).expect("it writes");
        }
        let path = folder.join(NAME);
        let whole = std::fs::read(&path).expect("it reads");
        rewind(&folder, 300).expect("nothing to do");
        assert_eq!(std::fs::read(&path).expect("it reads"), whole);
        // Cut off in the middle of the last record, and a step taken back.
        std::fs::write(&path, &whole[..whole.len() - 5]).expect("it writes");
        rewind(&folder, 250).expect("it rewinds");
        append(&folder, &record(300)).expect("it writes");
        let mended = std::fs::read(&path).expect("it reads");
        assert_eq!(mended.len(), whole.len());
        rewind(&folder, 0).expect("it rewinds");
        let version = std::fs::read(&path).expect("it reads");
        assert_eq!(frame_length(&version), Some(version.len()), "only the version stays");
        std::fs::remove_dir_all(&folder).expect("it goes");
    }

    /// RFC 3720 has the checksum of thirty-two zeros.
    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(masked(&[0; 32]), 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }
}
