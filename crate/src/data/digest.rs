//! SHA-256 of much data, in pieces that several cores can take.

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use sha2::{Digest as _, Sha256};

/// Bytes of a piece.
const PIECE: usize = 4 << 20;

/// The SHA-256 of the SHA-256 of every 4 MiB, as they come.
#[derive(Default)]
pub(crate) struct Digest {
    /// Of the pieces that are whole.
    pieces: Sha256,
    /// Of the one that is not.
    piece: Sha256,
    filled: usize,
}

impl Digest {
    /// Takes the next bytes.
    pub fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(PIECE - self.filled));
            self.piece.update(now);
            self.filled += now.len();
            if self.filled == PIECE {
                self.pieces.update(std::mem::take(&mut self.piece).finalize());
                self.filled = 0;
            }
            bytes = rest;
        }
    }

    /// The digest of all of them, in hexadecimal.
    pub fn finish(mut self) -> String {
        if self.filled > 0 {
            self.pieces.update(self.piece.finalize());
        }
        hexadecimal(&self.pieces.finalize())
    }

    /// The same of bytes that are all here, by all cores.
    pub fn of(bytes: &[u8]) -> String {
        let mut pieces = Sha256::new();
        let each: Vec<_> = bytes.par_chunks(PIECE).map(Sha256::digest).collect();
        each.iter().for_each(|piece| pieces.update(piece));
        hexadecimal(&pieces.finalize())
    }
}

/// The plain SHA-256 of bytes, as `sha256sum` prints it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's example.
    #[test]
    fn the_digest_is_sha_256() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_digest_does_not_depend_on_how_the_bytes_come() {
        let bytes: Vec<u8> = (0..2 * PIECE + 5).map(|i| (i % 251) as u8).collect();
        let mut digest = Digest::default();
        for part in bytes.chunks(999_983) {
            digest.add(part);
        }
        let whole = Digest::of(&bytes);
        assert_eq!(digest.finish(), whole);
        let mut other = bytes.clone();
        other[PIECE + 1] ^= 1;
        assert_ne!(Digest::of(&other), whole);
    }
}
