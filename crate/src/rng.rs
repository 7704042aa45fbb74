//! Seeds are data: counter-based random numbers that are the same bits on every platform.
//!
//! Noise is drawn on the CPU from a `u64` seed with ChaCha8 and Box–Muller over [`libm`] (pure Rust), so the same seed
//! gives the same noise natively and in a browser, whatever the backend. Training draws from `(seed, step, purpose)`,
//! so a step can be repeated without its predecessors.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

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

/// A reproducible stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of `seed` for one purpose and step.
    pub fn new(seed: u64, purpose: Purpose, step: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(fold_in(fold_in(seed, purpose as u64), step)))
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform integer in `0..bound` (`bound` > 0); the bias of at most `bound / 2⁶⁴` is far below notice.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Two independent standard normals (Box–Muller).
    pub fn normal_pair(&mut self) -> [f64; 2] {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.uniform());
        [radius * cos, radius * sin]
    }

    /// `count` standard normals.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            values.extend(self.normal_pair().map(|z| z as f32));
        }
        values.truncate(count);
        values
    }
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
