//! Event files for TensorBoard, written without it: length-framed records with checksums (TFRecord) of small protocol
//! buffers, of which only the few fields that scalars need are written.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::log::Record;

/// The file's name; TensorBoard looks for `tfevents` in it.
pub const NAME: &str = "events.out.tfevents.meanflow";

/// Appends the numbers of a line of the log. After a run that went on from an earlier step, TensorBoard takes the later of
/// two records of a step.
///
/// # Errors
/// When the disk refuses.
pub fn append(folder: &Path, record: &Record) -> Result<()> {
    let path = folder.join(NAME);
    let mut bytes = Vec::new();
    if !path.exists() {
        let mut version = Message::default();
        version.double(1, now()).text(3, "brain.Event:2");
        bytes.extend(frame(&version.0));
    }
    let mut event = Message::default();
    event.double(1, now()).integer(2, record.step);
    let mut summary = Message::default();
    for (tag, value) in scalars(record) {
        let mut scalar = Message::default();
        scalar.text(1, tag).float(2, value as f32);
        summary.message(1, &scalar);
    }
    event.message(5, &summary);
    bytes.extend(frame(&event.0));
    let open = OpenOptions::new().create(true).append(true).open(&path);
    open.and_then(|mut file| file.write_all(&bytes)).with_context(|| format!("cannot write {}", path.display()))
}

fn scalars(record: &Record) -> impl Iterator<Item = (&'static str, f64)> {
    let all = [
        ("loss", Some(record.loss)),
        ("residual/all", Some(record.residual)),
        ("residual/interval", record.residual_interval),
        ("residual/instant", record.residual_instant),
        ("learning_rate", Some(record.learning_rate)),
        ("images_per_second", Some(record.images_per_second)),
    ];
    all.into_iter().filter_map(|(tag, value)| Some((tag, value?)))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A protocol buffer, field by field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn integer(&mut self, field: u64, value: u64) -> &mut Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn double(&mut self, field: u64, value: f64) -> &mut Self {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(&mut self, field: u64, value: f32) -> &mut Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(&mut self, field: u64, text: &str) -> &mut Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(&mut self, field: u64, message: &Self) -> &mut Self {
        self.bytes(field, &message.0)
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) -> &mut Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }
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
mod tests {
    use super::*;

    /// RFC 3720 has the checksum of thirty-two zeros.
    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(masked(&[0; 32]), 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }
}
