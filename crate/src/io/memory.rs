//! How much memory may be asked for: whatever a file or a setting says, it is computed before it is taken.

use std::fmt::Display;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sysinfo::System;

use crate::error::Error;

/// Pixels of the largest picture that is read or written: beyond it Pillow, and with it most of the field's programs,
/// takes a file for a decompression bomb (twice its `MAX_IMAGE_PIXELS`).
pub const MAX_PIXELS: u64 = 178_956_970;

/// What `--max-memory` says; 0 where it does not.
static CHOSEN: AtomicU64 = AtomicU64::new(0);

/// Sets the most memory, in bytes, that the program may plan to take.
pub fn set_max_memory(bytes: u64) {
    CHOSEN.store(bytes, Ordering::Relaxed);
}

/// The most memory, in bytes, that the program may plan to take: as chosen, or what the machine, or the container, had
/// free at the first question.
pub fn max_memory() -> u64 {
    match CHOSEN.load(Ordering::Relaxed) {
        0 => available(),
        chosen => chosen,
    }
}

/// Refuses what takes more memory than there may be; `sizes` are multiplied without overflow and end in the bytes of
/// one value.
///
/// # Errors
/// Says what takes how much, and what to do.
pub fn check_memory(what: impl Display, sizes: &[u64]) -> Result<(), Error> {
    let bytes = sizes.iter().fold(1_u128, |product, &size| product.saturating_mul(size.into()));
    let most = max_memory();
    if bytes <= u128::from(most) {
        return Ok(());
    }
    let limit = match CHOSEN.load(Ordering::Relaxed) {
        0 => format!("{} are free (--max-memory sets another limit)", in_words(most.into())),
        _ => format!("--max-memory is {}", in_words(most.into())),
    };
    Err(Error::Request(format!("{what} would take {} of memory, but {limit}", in_words(bytes))))
}

/// Bytes from text such as `8GB`, `512MiB` or `2000000000`.
///
/// # Errors
/// What is no size above 0.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let units = [("kib", 10), ("mib", 20), ("gib", 30), ("tib", 40)].map(|(unit, power)| (unit, 2_f64.powi(power)));
    let metric = [("kb", 3), ("mb", 6), ("gb", 9), ("tb", 12), ("k", 3), ("m", 6), ("g", 9), ("t", 12), ("b", 0)];
    let metric = metric.map(|(unit, power)| (unit, 10_f64.powi(power)));
    let lower = text.trim().to_ascii_lowercase();
    let known = units.iter().chain(&metric).find_map(|&(unit, bytes)| Some((lower.strip_suffix(unit)?, bytes)));
    let (number, unit) = known.unwrap_or((&lower, 1.0));
    match number.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number * unit >= 1.0 => Ok((number * unit) as u64),
        _ => Err("a size is a number with GB, GiB, MB or MiB, such as 8GB".into()),
    }
}

fn available() -> u64 {
    static AVAILABLE: OnceLock<u64> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let mut system = System::new();
        system.refresh_memory();
        let machine = match system.available_memory() {
            // A system that does not say.
            0 => u64::MAX,
            bytes => bytes,
        };
        system.cgroup_limits().map_or(machine, |container| machine.min(container.free_memory.max(1 << 20)))
    })
}

fn in_words(bytes: u128) -> String {
    match bytes as f64 {
        bytes if bytes < 1e6 => format!("{:.0} kB", (bytes / 1e3).ceil()),
        bytes if bytes < 1e9 => format!("{:.0} MB", bytes / 1e6),
        bytes if bytes < 1e12 => format!("{:.1} GB", bytes / 1e9),
        bytes if bytes < 1e15 => format!("{:.1} TB", bytes / 1e12),
        _ => "more than 1000 TB".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_kinds_of_units() {
        for (text, bytes) in [("8GB", 8_000_000_000), ("1.5 GiB", 3 << 29), ("512m", 512_000_000), ("4096", 4096)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "GB", "-1GB", "0", "1e400", "NaN", "8 apples"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn products_that_no_number_holds_are_too_much() {
        assert!(check_memory("a row", &[1000, 4]).is_ok());
        let error = check_memory("the set", &[u64::MAX, u64::MAX, u64::MAX]).expect_err("too much").to_string();
        assert!(error.starts_with("the set would take more than 1000 TB of memory"), "{error}");
    }
}
