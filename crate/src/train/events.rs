//! Event files for TensorBoard, written without it: length-framed records with checksums (TFRecord) of protocol
//! buffers, of which only the few fields that numbers and pictures need are here.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use prost::Message;

use super::log::Record;
use crate::io;

/// The file's name; TensorBoard looks for `tfevents` in it.
pub const NAME: &str = "events.out.tfevents.meanflow";

/// An entry of the file; `tensorflow/core/util/event.proto`.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, optional, tag = "1")]
    wall_time: Option<f64>,
    #[prost(int64, optional, tag = "2")]
    step: Option<i64>,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// What was measured; `tensorflow/core/framework/summary.proto`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

/// `Summary.Value` of the schema.
#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, optional, tag = "1")]
    tag: Option<String>,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<SummaryImage>,
}

/// `Summary.Image` of the schema.
#[derive(Clone, PartialEq, Message)]
struct SummaryImage {
    #[prost(int32, optional, tag = "1")]
    height: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    width: Option<i32>,
    /// 4 stands for RGBA.
    #[prost(int32, optional, tag = "3")]
    colorspace: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    encoded_image_string: Option<Vec<u8>>,
}

/// Appends the numbers of a line of the log.
///
/// # Errors
/// When the disk refuses.
pub fn append(folder: &Path, record: &Record) -> Result<()> {
    let scalar = |(tag, value): (&str, f64)| SummaryValue {
        tag: Some(tag.into()),
        simple_value: Some(value as f32),
        ..SummaryValue::default()
    };
    append_summary(folder, record.step, scalars(record).map(scalar).collect())
}

/// Appends a grid of samples, which lies in a PNG file.
///
/// # Errors
/// When the file cannot be read, or the disk refuses.
pub fn append_picture(folder: &Path, step: u64, file: &Path) -> Result<()> {
    let unreadable = || format!("cannot read {}", file.display());
    let png = std::fs::read(file).with_context(unreadable)?;
    let (width, height) = image::image_dimensions(file).with_context(unreadable)?;
    let image = SummaryImage {
        height: Some(height as i32),
        width: Some(width as i32),
        colorspace: Some(4),
        encoded_image_string: Some(png),
    };
    let value = SummaryValue { tag: Some("samples".into()), image: Some(image), ..SummaryValue::default() };
    append_summary(folder, step, vec![value])
}

fn append_summary(folder: &Path, step: u64, value: Vec<SummaryValue>) -> Result<()> {
    let path = folder.join(NAME);
    let mut bytes = Vec::new();
    let event = Event { wall_time: Some(now()), ..Event::default() };
    if !path.exists() {
        bytes.extend(frame(&Event { file_version: Some("brain.Event:2".into()), ..event.clone() }.encode_to_vec()));
    }
    let event = Event { step: Some(step as i64), summary: Some(Summary { value }), ..event };
    bytes.extend(frame(&event.encode_to_vec()));
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

/// The step of an event; 0 for the version.
fn step_of(event: &[u8]) -> u64 {
    Event::decode(event).ok().and_then(|event| event.step).map_or(0, |step| step as u64)
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
