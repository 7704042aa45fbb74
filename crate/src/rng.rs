//! Seeds are data: counter-based random numbers that are the same bits on every platform.
//!
//! Noise is drawn on the CPU from a `u64` seed with ChaCha8 and Box–Muller over [`libm`] (pure Rust), so the same seed
//! gives the same noise natively and in a browser, whatever the backend. Training draws from `(seed, step, purpose)`,
//! so a step can be repeated without its predecessors.

/// What a stream of random numbers is for; streams of one seed never overlap.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Which images make up a batch.
    Batch = 1,
    /// The noise `e`.
    Noise = 2,
    /// The times `(r, t)`.
    Times = 3,
    /// Which labels are dropped.
    Dropout = 4,
    /// Horizontal flips.
    Flip = 5,
    /// Initial weights.
    Weights = 6,
    /// The class of an image that was not asked for by name.
    Class = 7,
    /// The fresh noise of restarts.
    Restart = 8,
    /// Random signs that estimate a trace.
    Probe = 9,
    /// Where inside its interval a byte's value lies.
    Dequantisation = 10,
    /// Which features are compared.
    Subsets = 11,
    /// Which features are dropped in training.
    Features = 12,
    /// How strongly each image is guided in training.
    Guidance = 13,
    /// Which latent of its distribution an image is.
    Latents = 14,
    /// How images are changed.
    Augmentation = 15,
    /// Which parts make up a picture of layers.
    Layers = 16,
    /// Which caption an image has in a batch, and which words of it.
    Captions = 17,
}

/// A reproducible stream of random numbers: ChaCha with 8 rounds (Bernstein 2008). By hand, as the crate for it is four
/// times as large in what browsers download, and draws noise there half as fast.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 8],
    /// Blocks that were made.
    blocks: u64,
    /// The last one.
    block: [u32; 16],
    /// Numbers of it that were given, of 64 bits each.
    at: usize,
}

impl Stream {
    /// The stream of `seed` for one purpose and step.
    pub fn new(seed: u64, purpose: Purpose, step: u64) -> Self {
        Self { key: key_of(fold_in(fold_in(seed, purpose as u64), step)), blocks: 0, block: [0; 16], at: 8 }
    }

    /// Uniform over all numbers of 64 bits.
    fn next_u64(&mut self) -> u64 {
        if self.at == 8 {
            self.block = chacha(&self.key, self.blocks);
            self.blocks += 1;
            self.at = 0;
        }
        let [low, high] = [0, 1].map(|i| u64::from(self.block[2 * self.at + i]));
        self.at += 1;
        high << 32 | low
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform integer in `0..bound` (`bound` > 0); the bias of at most `bound / 2⁶⁴` is far below notice.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Two independent standard normals (Box–Muller).
    pub fn normal_pair(&mut self) -> [f64; 2] {
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.uniform());
        [radius * cos, radius * sin]
    }

    /// `count` standard normals.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        let mut values = vec![0.0; count.next_multiple_of(2)];
        for pair in values.chunks_exact_mut(2) {
            pair.copy_from_slice(&self.normal_pair().map(|z| z as f32));
        }
        values.truncate(count);
        values
    }
}

/// The key of a seed, by the PCG of 32 bits (O'Neill 2014).
fn key_of(mut state: u64) -> [u32; 8] {
    [(); 8].map(|()| {
        // Advanced first, so that a seed of few bits shows in the first word.
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0xa176_54e4_6fbe_17f3);
        let shifted = (((state >> 18) ^ state) >> 27) as u32;
        shifted.rotate_right((state >> 59) as u32)
    })
}

/// A quarter of a round.
#[inline(always)]
fn quarter(x: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    x[a] = x[a].wrapping_add(x[b]);
    x[d] = (x[d] ^ x[a]).rotate_left(16);
    x[c] = x[c].wrapping_add(x[d]);
    x[b] = (x[b] ^ x[c]).rotate_left(12);
    x[a] = x[a].wrapping_add(x[b]);
    x[d] = (x[d] ^ x[a]).rotate_left(8);
    x[c] = x[c].wrapping_add(x[d]);
    x[b] = (x[b] ^ x[c]).rotate_left(7);
}

/// A block of a key's numbers.
fn chacha(key: &[u32; 8], block: u64) -> [u32; 16] {
    let mut start = [0; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    start[4..12].copy_from_slice(key);
    start[12..14].copy_from_slice(&[block as u32, (block >> 32) as u32]);
    let mut x = start;
    for _ in 0..4 {
        quarter(&mut x, [0, 4, 8, 12]);
        quarter(&mut x, [1, 5, 9, 13]);
        quarter(&mut x, [2, 6, 10, 14]);
        quarter(&mut x, [3, 7, 11, 15]);
        quarter(&mut x, [0, 5, 10, 15]);
        quarter(&mut x, [1, 6, 11, 12]);
        quarter(&mut x, [2, 7, 8, 13]);
        quarter(&mut x, [3, 4, 9, 14]);
    }
    x.iter_mut().zip(start).for_each(|(x, start)| *x = x.wrapping_add(start));
    x
}

/// Mixes two numbers into one seed (the finaliser of SplitMix64, Steele et al. 2014).
pub fn fold_in(seed: u64, data: u64) -> u64 {
    let mut z = seed ^ data.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The noise `e` of the picture with this seed: `count` standard normals, the same bits everywhere.
pub fn noise(seed: u64, count: usize) -> Vec<f32> {
    Stream::new(seed, Purpose::Noise, 0).normals(count)
}

/// The class, below `classes`, of the picture with this seed when none is asked for.
pub fn class_of(seed: u64, classes: usize) -> usize {
    Stream::new(seed, Purpose::Class, 0).below(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_chacha_with_8_rounds() {
        // Of the key zero, by Strombergson's test vectors.
        let known = [
            0x2fef_003e,
            0xd640_5f89,
            0xe8b8_5b7f,
            0xa1a5_091f,
            0xc30e_842c,
            0x3b7f_9ace,
            0x88e1_1b18,
            0x1e1a_71ef,
            0x72e1_4c98,
            0x416f_21b9,
            0x6753_449f,
            0x1956_6d45,
            0xa342_4a31,
            0x01b0_86da,
            0xb8fd_7b38,
            0x42fe_0c0e,
        ];
        assert_eq!(chacha(&[0; 8], 0), known);
        assert_ne!(chacha(&[0; 8], 1 << 32), known);
    }

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        assert_eq!(noise(7, 4), [-0.408_922_43, 0.750_798_46, 1.266_873_4, -1.068_249_1]);
        // In the third block.
        assert_eq!(noise(u64::MAX, 19)[18], 0.300_662_3);
        assert_eq!([0, 1, 2, 3].map(|seed| class_of(seed, 9)), [4, 7, 6, 2]);
    }
}
