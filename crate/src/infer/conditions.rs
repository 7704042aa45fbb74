//! What a network call of the page's engines is told besides the images: computed once, and kept in slots.

use super::weights::Source;
use crate::error::Error;
use crate::kernels::lanes::dot;
use crate::model::Class;
use crate::model::tables::{FREQUENCIES, frequencies};
use crate::model::{Architecture, GuidanceInputs, NetConfig};

/// Conditions that are kept at once, and most pictures of one batch on the GPU: each picture may need its own.
pub(crate) const SLOTS: usize = 64;

/// The times and the class of one picture in one network call: `(r, t, class)`, times as bits.
type Key = (u32, u32, Class);

/// Whether the bytes are a weights file, but of a network that the page's engines do not compute.
pub fn needs_fallback(bytes: &[u8]) -> bool {
    super::weights::open(bytes).is_ok_and(|(info, _)| !is_supported(&info.net))
}

/// Whether the page's engines compute such a network. It names every field, so that a new one must be considered here.
pub(crate) fn is_supported(config: &NetConfig) -> bool {
    let NetConfig {
        image_size: _,
        channels: _,
        patch: _,
        width: _,
        depth: _,
        heads: _,
        mlp_ratio: _,
        classes: _,
        times: _,
        output: _,
        architecture,
        guidance,
        velocity_head,
        decoder_depth: _,
        noise_scale: _,
    } = config;
    *architecture == Architecture::Dit && *guidance == GuidanceInputs::None && velocity_head.is_none()
}

/// Of the modulations of all blocks and of the head, how many follow from the first of [`Assigned::conditions`].
pub(crate) fn first_modulations(config: &NetConfig) -> usize {
    config.decoder_depth.map_or(config.depth + 1, |last| config.depth - last)
}

/// Embeddings of times and classes.
#[derive(Debug)]
pub(crate) struct Embeddings {
    width: usize,
    frequencies: Vec<f32>,
    /// Of `t`, `r` and `h`, where the network is told them.
    times: [Option<[Layer; 2]>; 3],
    /// One row per class.
    labels: Vec<f32>,
    /// Whether the last blocks are told `r` in place of `t`.
    decoupled: bool,
}

/// A linear layer as the file has it, `[out, in]`.
#[derive(Debug)]
pub(crate) struct Layer {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Layer {
    pub fn read(source: &dyn Source, name: &str, inputs: usize, outputs: usize) -> Result<Self, Error> {
        let weight = source.values(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(Self { weight, bias: source.values(&format!("{name}.bias"), &[outputs])? })
    }

    fn apply(&self, x: &[f32]) -> Vec<f32> {
        self.outputs(x).collect()
    }

    /// What it gives, one after the other.
    pub fn outputs(&self, x: &[f32]) -> impl Iterator<Item = f32> {
        let rows = self.weight.chunks_exact(x.len()).zip(&self.bias);
        rows.map(|(row, bias)| dot(row, x) + bias)
    }
}

fn silu(x: f32) -> f32 {
    x / (1.0 + libm::expf(-x))
}

impl Embeddings {
    /// # Errors
    /// When the file lacks a tensor.
    pub fn read(source: &dyn Source, config: &NetConfig) -> Result<Self, Error> {
        let width = config.width;
        let time = |name: &str, is_input: bool| {
            let layer = |part, inputs| Layer::read(source, &format!("time_{name}.{part}"), inputs, width);
            is_input.then(|| Ok([layer("fc1", FREQUENCIES)?, layer("fc2", width)?])).transpose()
        };
        let [t, r, h] = config.times.flags();
        let labels = match config.classes {
            0 => Vec::new(),
            classes => source.values("label.weight", &[classes + 1, width])?,
        };
        let times = [time("t", t)?, time("r", r)?, time("h", h)?];
        Ok(Self { width, frequencies: frequencies(), times, labels, decoupled: config.decoder_depth.is_some() })
    }

    /// The conditions of a call from `t` to `r` for a class, `[width]` each: of the first blocks and, where they are
    /// told something else, of the last ones.
    fn conditions(&self, key @ (r, _, class): Key) -> impl Iterator<Item = Vec<f32>> {
        let last = self.decoupled.then_some((r, r, class));
        [Some(key), last].into_iter().flatten().map(|key| self.condition(key))
    }

    /// What blocks are told that stand at `t` on the way to `r`, through SiLU.
    fn condition(&self, (r, t, class): Key) -> Vec<f32> {
        let [r, t] = [r, t].map(f32::from_bits);
        let mut sum = vec![0.0; self.width];
        if let Some(null) = (self.labels.len() / self.width).checked_sub(1) {
            for (row, share) in class.shares(null) {
                let row = &self.labels[row * self.width..][..self.width];
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += share * x);
            }
        }
        for (layers, time) in self.times.iter().zip([t, r, t - r]) {
            let Some([fc1, fc2]) = layers else { continue };
            let angles = || self.frequencies.iter().map(|f| time * f);
            let waves: Vec<f32> = angles().map(libm::cosf).chain(angles().map(libm::sinf)).collect();
            let hidden: Vec<f32> = fc1.apply(&waves).into_iter().map(silu).collect();
            sum.iter_mut().zip(fc2.apply(&hidden)).for_each(|(sum, x)| *sum += x);
        }
        sum.into_iter().map(silu).collect()
    }
}

/// Which condition is in which slot; the one longest out of use makes room.
#[derive(Debug)]
pub(crate) struct ConditionCache {
    kept: [Option<Key>; SLOTS],
    used: [u64; SLOTS],
    calls: u64,
}

/// What a network call needs of the slots.
pub(crate) struct Assigned {
    /// The slot of each picture.
    pub slots: Vec<u32>,
    /// The slots to be filled first.
    pub fresh: Vec<u32>,
    /// Their conditions, one after the other: those of the first blocks, and those of the last ones, of which there are
    /// none where all blocks have the same.
    pub conditions: [Vec<f32>; 2],
}

impl ConditionCache {
    pub fn new() -> Self {
        Self { kept: [None; SLOTS], used: [0; SLOTS], calls: 0 }
    }

    /// Finds or makes a place for the condition of each of at most [`SLOTS`] pictures.
    pub fn assign(&mut self, embeddings: &Embeddings, r: f64, t: f64, labels: &[Class]) -> Assigned {
        self.calls += 1;
        let [r, t] = [r, t].map(|time| (time as f32).to_bits());
        let mut assigned = Assigned { slots: Vec::new(), fresh: Vec::new(), conditions: Default::default() };
        // Those that are kept first, so that none of them makes room for another.
        for &label in labels {
            if let Some(slot) = self.find((r, t, label)) {
                self.used[slot] = self.calls;
            }
        }
        for &label in labels {
            let key = (r, t, label);
            let slot = self.find(key).unwrap_or_else(|| {
                let oldest = (0..SLOTS).min_by_key(|&slot| self.used[slot]).unwrap_or(0);
                self.kept[oldest] = Some(key);
                assigned.fresh.push(oldest as u32);
                assigned.conditions.iter_mut().zip(embeddings.conditions(key)).for_each(|(all, own)| all.extend(own));
                oldest
            });
            self.used[slot] = self.calls;
            assigned.slots.push(slot as u32);
        }
        assigned
    }

    fn find(&self, key: Key) -> Option<usize> {
        self.kept.iter().position(|&kept| kept == Some(key))
    }
}
