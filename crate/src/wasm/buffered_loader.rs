//! A weights file that is read once all of it is there.

/// The bytes that have arrived, in order.
pub struct BufferedLoader(Vec<u8>);

impl BufferedLoader {
    /// Of a file of `total` bytes; 0 where that is not known.
    pub fn new(total: usize) -> Self {
        Self(Vec::with_capacity(total))
    }

    pub fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
