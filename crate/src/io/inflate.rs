//! Decompression that stops at what no data compresses to.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes may come of nothing: blank pictures and the like.
const FREE: u64 = 64 << 20;
/// Times beyond which a compressed file has grown only by being made to: deflate ends at 1032, images and arrays of
/// numbers at a few.
const MAX_RATIO: u64 = 200;

/// What a decoder makes of compressed bytes. It ends in an error where it is a decompression bomb.
pub struct Inflated<D> {
    decoder: D,
    /// Compressed bytes that were read.
    read: Arc<AtomicU64>,
    made: u64,
    /// How many bytes it makes, where that was said before.
    size: u64,
}

impl<D: Read> Inflated<D> {
    /// Of a stream, which `decoder` reads.
    pub fn of<R: Read>(compressed: R, decoder: impl FnOnce(Counted<R>) -> io::Result<D>) -> io::Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let decoder = decoder(Counted { inner: compressed, read: read.clone() })?;
        Ok(Self { decoder, read, made: 0, size: u64::MAX })
    }

    /// Of so many compressed bytes, which `decoder` has at hand and of which an archive says that they become `size`.
    ///
    /// # Errors
    /// When that is what only a decompression bomb becomes; then nothing is decompressed.
    pub fn of_bytes(compressed: u64, size: u64, decoder: D) -> io::Result<Self> {
        match is_bomb(size, compressed) {
            true => Err(bomb()),
            false => Ok(Self { decoder, read: Arc::new(AtomicU64::new(compressed)), made: 0, size }),
        }
    }
}

impl<D: Read> Read for Inflated<D> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(bytes)?;
        self.made += count as u64;
        if is_bomb(self.made, self.read.load(Ordering::Relaxed)) {
            return Err(bomb());
        }
        if self.made > self.size {
            let reason = format!("it holds more than the {} bytes that its archive says", self.size);
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(count)
    }
}

fn bomb() -> io::Error {
    let reason = format!("it is a decompression bomb: it grows to more than {MAX_RATIO} times its size");
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Whether so many bytes are more than what was compressed into so few.
pub fn is_bomb(made: u64, compressed: u64) -> bool {
    made > FREE && made > compressed.saturating_mul(MAX_RATIO)
}

/// Bytes that are counted as they are read.
pub struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(bytes)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use flate2::Compression;
    use flate2::bufread::GzDecoder;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn a_bomb_stops_early_and_blank_pictures_do_not() {
        let inflate = |bytes: &[u8]| {
            let gzip = Inflated::of(bytes, |bytes| Ok(GzDecoder::new(BufReader::new(bytes)))).expect("it begins");
            io::copy(&mut { gzip }, &mut io::sink())
        };
        let zeros = |megabytes: usize| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            (0..megabytes).for_each(|_| gzip.write_all(&vec![0; 1 << 20]).expect("it writes"));
            gzip.finish().expect("it ends")
        };
        assert_eq!(inflate(&zeros(60)).expect("blank"), 60 << 20);
        let error = inflate(&zeros(200)).expect_err("a bomb").to_string();
        assert!(error.contains("decompression bomb"), "{error}");
        // What an archive says of a member counts before any of it is decompressed, and is held to.
        assert!(Inflated::of_bytes(4 << 20, 4 << 30, io::empty()).is_err());
        let mut longer = Inflated::of_bytes(8, 4, &b"longer"[..]).expect("it may be");
        let error = io::copy(&mut longer, &mut io::sink()).expect_err("it is longer").to_string();
        assert!(error.contains("more than the 4 bytes"), "{error}");
    }
}
