//! What a network call of the page's engines is conditioned on: computed once, and kept in slots.

use super::layers::{Linear, Scope, Table};
use super::network::Network;
use super::ops::{ConditionOps, Time};
use crate::kernels::lanes::dot;
use crate::model::Condition;
use crate::model::tables::frequencies;

/// Conditions that are kept at once, and most pictures of one batch on the GPU: each picture may need its own.
pub(crate) const SLOTS: usize = 64;

/// The numbers and the class of one picture in one network call; the numbers as bits.
type Key = ([u32; 3], Condition);

/// The numbers that a network call is conditioned on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallInputs {
    /// Where its velocity lands.
    pub r: f64,
    /// Where it begins.
    pub t: f64,
    /// Scale of guidance; 1 is none.
    pub guidance: f32,
}

/// The layers that embed times and classes.
#[derive(Debug)]
pub(crate) struct Embeddings {
    /// As far as they are inputs of the network.
    times: Vec<(Time, TimeEmbedding)>,
    /// One row per class, and one for none.
    label: Option<Table>,
    /// Scale, start and end of guidance (improved MeanFlow, arXiv 2512.02012), as far as they are inputs.
    guidance: Vec<(Time, TimeEmbedding)>,
}

/// The times that may be inputs of the network, by the names of their embeddings.
const TIMES: [(&str, Time); 3] = [("time_t", Time::T), ("time_r", Time::R), ("time_h", Time::H)];
/// It holds at all times.
const GUIDANCE: [(&str, Time); 3] = [
    ("guidance.scale", Time::Guidance),
    ("guidance.start", Time::Constant(0.0)),
    ("guidance.end", Time::Constant(1.0)),
];

/// Two layers with SiLU between.
#[derive(Debug)]
pub(crate) struct TimeEmbedding {
    fc1: Linear,
    fc2: Linear,
}

impl TimeEmbedding {
    /// The embedding of this name, if the network has it.
    fn find(params: &Scope, name: &str) -> Option<Self> {
        let part = params.part(name);
        part.find("fc1.weight").map(|_| Self { fc1: part.linear("fc1"), fc2: part.linear("fc2") })
    }

    fn apply<O: ConditionOps>(&self, ops: &mut O, time: Time) -> O::Vector {
        let waves = ops.sinusoids(time);
        let hidden = ops.linear(waves, &self.fc1);
        let hidden = ops.silu(hidden);
        ops.linear(hidden, &self.fc2)
    }
}

impl Embeddings {
    /// Finds them.
    pub fn new(params: &Scope) -> Self {
        let find = |names: &[(&str, Time)]| {
            let found = names.iter().map(|&(name, time)| Some((time, TimeEmbedding::find(params, name)?)));
            found.flatten().collect()
        };
        Self { times: find(&TIMES), label: params.table("label"), guidance: find(&GUIDANCE) }
    }

    /// Each of them, for who stands at the time `at`: class, guidance, times.
    pub fn each<O: ConditionOps>(&self, ops: &mut O, at: Time) -> Vec<O::Vector> {
        let mut all: Vec<_> = self.label.iter().map(|table| ops.class(table)).collect();
        for (time, embedding) in self.guidance.iter().chain(&self.times) {
            all.push(embedding.apply(ops, if *time == Time::T { at } else { *time }));
        }
        all
    }
}

/// The conditions of one picture on the CPU.
struct Conditioning<'a> {
    /// The network's tensors.
    values: &'a [Vec<f32>],
    r: f32,
    t: f32,
    guidance: f32,
    class: &'a Condition,
}

/// What a layer whose weights are stored as files have them, `[outputs, inputs]`, makes of one row.
pub(crate) fn outputs(values: &[Vec<f32>], layer: &Linear, x: &[f32]) -> impl Iterator<Item = f32> {
    let bias = layer.bias.map_or(&[][..], |bias| &values[bias]);
    let rows = layer.weights().flat_map(|weight| values[weight].chunks_exact(layer.inputs));
    rows.zip(bias).map(|(row, bias)| dot(row, x) + bias)
}

impl ConditionOps for Conditioning<'_> {
    type Vector = Vec<f32>;

    fn sinusoids(&mut self, time: Time) -> Vec<f32> {
        let time = match time {
            Time::T => self.t,
            Time::R => self.r,
            Time::H => self.t - self.r,
            Time::Guidance => 1.0 - 1.0 / self.guidance,
            Time::Constant(time) => time,
        };
        let angles: Vec<f32> = frequencies().into_iter().map(|f| time * f).collect();
        let cosines = angles.iter().map(|&angle| libm::cosf(angle));
        cosines.chain(angles.iter().map(|&angle| libm::sinf(angle))).collect()
    }

    fn linear(&mut self, x: Vec<f32>, layer: &Linear) -> Vec<f32> {
        outputs(self.values, layer, &x).collect()
    }

    fn silu(&mut self, mut x: Vec<f32>) -> Vec<f32> {
        x.iter_mut().for_each(|x| *x /= 1.0 + libm::expf(-*x));
        x
    }

    fn class(&mut self, table: &Table) -> Vec<f32> {
        let Table { param, rows, width } = *table;
        let mut sum = vec![0.0; width];
        for (row, share) in self.class.shares(rows - 1) {
            let row = &self.values[param][row * width..][..width];
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += share * x);
        }
        sum
    }

    fn rows(&mut self, table: &Table, rows: usize) -> Vec<f32> {
        self.values[table.param][..rows * table.width].to_vec()
    }

    fn prompt(&mut self, table: &Table, tokens: usize) -> Vec<f32> {
        let Table { param, rows, width } = *table;
        let empty = vec![((rows - 1) as u32, 1.0)];
        let mut all = vec![0.0; tokens * width];
        let given = self.class.tokens().iter().chain(std::iter::repeat(&empty));
        for (sum, token) in all.chunks_exact_mut(width).zip(given) {
            for (row, factor) in token {
                // Of another model's prompt a row may not be there.
                let row = self.values[param].get(*row as usize * width..).unwrap_or_default();
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * x);
            }
        }
        all
    }

    fn sum(&mut self, tokens: Vec<f32>, width: usize) -> Vec<f32> {
        let mut sum = vec![0.0; width];
        tokens.chunks_exact(width).for_each(|token| sum.iter_mut().zip(token).for_each(|(sum, x)| *sum += x));
        sum
    }

    fn add(&mut self, mut a: Vec<f32>, b: Vec<f32>) -> Vec<f32> {
        a.chunks_exact_mut(b.len()).for_each(|a| a.iter_mut().zip(&b).for_each(|(a, b)| *a += b));
        a
    }

    fn concat(&mut self, groups: Vec<Vec<f32>>) -> Vec<f32> {
        groups.concat()
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
#[derive(Default)]
pub(crate) struct Assigned {
    /// The slot of each picture.
    pub slots: Vec<u32>,
    /// The slots to be filled first.
    pub fresh: Vec<u32>,
    /// The conditions of each of these, as [`Network::conditions`] gives them.
    pub conditions: Vec<Vec<Vec<f32>>>,
    /// The tokens in front of the patches of each of these, `[prefix · width]`.
    pub prefixes: Vec<Vec<f32>>,
}

impl ConditionCache {
    pub fn new() -> Self {
        Self { kept: [const { None }; SLOTS], used: [0; SLOTS], calls: 0 }
    }

    /// Finds or makes a place for the condition of each of at most [`SLOTS`] pictures. `values` are the tensors of the
    /// network's embeddings.
    pub fn assign(
        &mut self,
        network: &Network,
        values: &[Vec<f32>],
        CallInputs { r, t, guidance }: CallInputs,
        classes: &[Condition],
    ) -> Assigned {
        self.calls += 1;
        let [r, t] = [r, t].map(|time| time as f32);
        let key = |class: &Condition| ([r, t, guidance].map(f32::to_bits), class.clone());
        let mut assigned = Assigned::default();
        // Those that are kept first, so that none of them makes room for another.
        for class in classes {
            if let Some(slot) = self.find(&key(class)) {
                self.used[slot] = self.calls;
            }
        }
        for class in classes {
            let slot = self.find(&key(class)).unwrap_or_else(|| {
                let oldest = (0..SLOTS).min_by_key(|&slot| self.used[slot]).unwrap_or(0);
                self.kept[oldest] = Some(key(class));
                assigned.fresh.push(oldest as u32);
                let conditioning = &mut Conditioning { values, r, t, guidance, class };
                assigned.conditions.push(network.conditions(conditioning));
                assigned.prefixes.push(network.prefix_tokens(conditioning).unwrap_or_default());
                oldest
            });
            self.used[slot] = self.calls;
            assigned.slots.push(slot as u32);
        }
        assigned
    }

    fn find(&self, key: &Key) -> Option<usize> {
        self.kept.iter().position(|kept| kept.as_ref() == Some(key))
    }
}
