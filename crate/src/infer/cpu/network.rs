//! A model's weights, and the operations of a picture's way through its network.

use super::loader::{WeightSource, Weights, Zeros};
use super::scratch::Scratch;
use crate::error::Error;
use crate::infer::conditions::{CallInputs, ConditionCache, SLOTS, outputs};
use crate::infer::layers::{Linear, Param};
use crate::infer::network;
use crate::infer::ops::{Activation, Gate, Modulation, Ops};
use crate::kernels::attention::attend;
use crate::kernels::lanes::map;
use crate::kernels::rows::{GELU, Gate as Sigmoid, normalise, rms_normalise};
use crate::kernels::{COLUMNS, Matrix, product};
use crate::model::tables::{MIN_DIVISOR, NORM_EPSILON};
use crate::model::{Condition, NetConfig, Output};
use crate::rng;

/// A network with its weights.
#[derive(Debug)]
pub(super) struct Network {
    config: NetConfig,
    layers: network::Network,
    weights: Weights,
    /// What is added to each patch's token; empty where nothing is.
    positions: Vec<f32>,
    /// Cosine and sine of each token's rotary positions, where it is turned.
    rotary: Vec<[f32; 2]>,
    /// Which value of an image each value of its patches is.
    places: Vec<usize>,
}

impl Network {
    /// Reads the weights.
    ///
    /// # Errors
    /// Another network than the page's engines have, or a file that lacks a tensor.
    pub fn read(file: &dyn WeightSource, config: &NetConfig) -> Result<Self, Error> {
        let params = config.params();
        let layers = network::Network::new(config, &params)?;
        let weights = Weights::read(file, &params)?;
        Ok(Self {
            positions: layers.positions(config, &weights.values),
            rotary: layers.rotary(config),
            layers,
            weights,
            places: places(config),
            config: config.clone(),
        })
    }

    /// Memory for a picture's way.
    pub fn work(&self) -> Scratch {
        Scratch::new(self.places.len())
    }

    /// The velocity `u(z, r, t)` of one image, `[channels, size, size]`, into `work.u`.
    pub fn velocity(
        &self,
        z: &[f32],
        inputs: CallInputs,
        class: &Condition,
        conditions: &mut Conditions,
        work: &mut Scratch,
    ) {
        let conditions = conditions.find(self, inputs, class);
        self.layers.forward(&mut Call { network: self, z, t: inputs.t, conditions, work });
    }
}

/// One network call on one image. Operations are not inlined: browsers compile them while a visitor waits, and take
/// more than twice as long for a function of twice the size.
struct Call<'a> {
    network: &'a Network,
    z: &'a [f32],
    t: f64,
    /// The tokens in front of the patches or the text tokens beside them, where there are such, then the modulations of
    /// all layers.
    conditions: &'a [Vec<f32>],
    work: &'a mut Scratch,
}

impl<'a> Call<'a> {
    /// `x W + b` of every row: `emit` gets pieces of `[rows, outputs]` with the place and the column that each begins
    /// at.
    fn product(&mut self, layer: &Linear, x: &[f32], mut emit: impl FnMut(usize, usize, &[f32])) {
        let Weights { values, packed } = &self.network.weights;
        let bias = layer.bias.map_or(&[][..], |bias| &values[bias]);
        let mut first = 0;
        for weight in layer.weights().map(|weight| &packed[weight]) {
            product(Matrix::of_rows(x, layer.inputs), weight, &mut self.work.rows, |row, column, sums| {
                let column = first + column;
                let mut piece = [0.0; COLUMNS];
                let piece = &mut piece[..sums.len()];
                piece.copy_from_slice(sums);
                let bias = bias.get(column..).unwrap_or_default();
                piece.iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
                emit(row * layer.outputs + column, column, piece);
            });
            first += weight.columns;
        }
    }

    /// The same, into `out`.
    #[inline(never)]
    fn store(&mut self, layer: &Linear, x: &[f32], out: &mut [f32]) {
        self.product(layer, x, |at, _, piece| out[at..][..piece.len()].copy_from_slice(piece));
    }

    /// The same, into memory of its own; that of `x` is free again.
    fn stored(&mut self, layer: &Linear, x: Vec<f32>) -> Vec<f32> {
        let mut out = self.work.take(x.len() / layer.inputs * layer.outputs);
        self.store(layer, &x, &mut out);
        self.work.give(x);
        out
    }

    /// Values of the tokens in front of the patches.
    fn prefix(&self) -> usize {
        self.network.layers.prefix() * self.network.config.width
    }

    /// Values of the text tokens beside the patches.
    fn text_values(&self) -> usize {
        self.network.layers.text_tokens() * self.network.config.width
    }

    /// A part of a modulation, `[width]`.
    fn part(&self, modulation: &Modulation, part: usize) -> &'a [f32] {
        let width = self.network.config.width;
        &self.conditions[1 + modulation.index][part * width..][..width]
    }

    /// Normalised and modulated tokens, behind so many values of text tokens, which are normalised alone.
    #[inline(never)]
    fn modulated(&mut self, x: &[f32], modulation: &Modulation, part: usize, text: usize) -> Vec<f32> {
        let [shift, scale] = [part, part + 1].map(|part| self.part(modulation, part));
        let mut out = self.work.take(text + x.len());
        let (beside, tokens) = out.split_at_mut(text);
        beside.copy_from_slice(&self.conditions[0][..text]);
        tokens.copy_from_slice(x);
        for row in beside.chunks_exact_mut(shift.len()) {
            normalise(row, NORM_EPSILON as f32);
        }
        for row in tokens.chunks_exact_mut(shift.len()) {
            normalise(row, NORM_EPSILON as f32);
            row.iter_mut().zip(shift.iter().zip(scale)).for_each(|(x, (shift, scale))| *x = *x * (1.0 + scale) + shift);
        }
        out
    }
}

impl Ops for Call<'_> {
    type Value = Vec<f32>;

    #[inline(never)]
    fn patches(&mut self) -> Vec<f32> {
        let places = &self.network.places;
        let mut patches = self.work.take(places.len());
        patches.iter_mut().zip(places).for_each(|(x, &place)| *x = self.z[place]);
        patches
    }

    #[inline(never)]
    fn linear(&mut self, x: Vec<f32>, layer: &Linear, activation: Activation) -> Vec<f32> {
        let mut out = self.stored(layer, x);
        match activation {
            Activation::Identity | Activation::Heads => {}
            Activation::Gelu => map(&mut out, Sigmoid::new(GELU[0] as f32, GELU[1] as f32)),
        }
        out
    }

    #[inline(never)]
    fn swiglu(&mut self, x: Vec<f32>, gate: &Linear, up: &Linear) -> Vec<f32> {
        let length = x.len() / gate.inputs * gate.outputs;
        let [mut out, mut other] = [self.work.take(length), self.work.take(length)];
        self.store(gate, &x, &mut out);
        map(&mut out, Sigmoid::new(1.0, 0.0));
        self.store(up, &x, &mut other);
        out.iter_mut().zip(&other).for_each(|(out, other)| *out *= other);
        self.work.give(x);
        self.work.give(other);
        out
    }

    #[inline(never)]
    fn tokens(&mut self, x: Vec<f32>, layer: &Linear) -> Vec<f32> {
        let prefix = self.prefix();
        let mut tokens = self.work.take(prefix + x.len() / layer.inputs * layer.outputs);
        let (conditioning, patches) = tokens.split_at_mut(prefix);
        conditioning.copy_from_slice(&self.conditions[0][..prefix]);
        self.store(layer, &x, patches);
        patches.iter_mut().zip(&self.network.positions).for_each(|(x, position)| *x += position);
        self.work.give(x);
        tokens
    }

    #[inline(never)]
    fn rms_norm(&mut self, x: &Vec<f32>, gain: Param) -> Vec<f32> {
        let gain = &self.network.weights.values[gain];
        let mut out = self.work.take(x.len());
        out.copy_from_slice(x);
        for row in out.chunks_exact_mut(gain.len()) {
            rms_normalise(row, NORM_EPSILON as f32);
            row.iter_mut().zip(gain).for_each(|(x, gain)| *x *= gain);
        }
        out
    }

    #[inline(never)]
    fn rotary(&mut self, mut qkv: Vec<f32>, gains: [Param; 2]) -> Vec<f32> {
        let NetConfig { width, heads, .. } = self.network.config;
        let half = width / heads / 2;
        let turns = self.network.rotary.chunks_exact(half);
        for (row, turns) in qkv.chunks_exact_mut(3 * width).zip(turns) {
            for (part, gain) in row.chunks_exact_mut(width).zip(gains) {
                let gain = self.network.weights.values[gain].as_chunks::<2>().0;
                for head in part.chunks_exact_mut(2 * half) {
                    rms_normalise(head, NORM_EPSILON as f32);
                    let pairs = head.as_chunks_mut::<2>().0.iter_mut().zip(gain);
                    for ((pair, gain), [cos, sin]) in pairs.zip(turns) {
                        let [a, b] = [pair[0] * gain[0], pair[1] * gain[1]];
                        *pair = [a * cos - b * sin, b * cos + a * sin];
                    }
                }
            }
        }
        qkv
    }

    #[inline(never)]
    fn modulate(&mut self, x: &Vec<f32>, modulation: &Modulation, part: usize) -> Vec<f32> {
        self.modulated(x, modulation, part, 0)
    }

    fn modulate_beside_text(&mut self, x: &Vec<f32>, modulation: &Modulation, part: usize) -> Vec<f32> {
        self.modulated(x, modulation, part, self.text_values())
    }

    #[inline(never)]
    fn attention(&mut self, qkv: Vec<f32>) -> Vec<f32> {
        let NetConfig { width, heads, .. } = self.network.config;
        let text = self.text_values();
        let mut out = self.work.take(qkv.len() / 3 - text);
        for head in (0..width).step_by(width / heads) {
            // Text tokens ask for nothing.
            let [q, k, v] = [3 * text, width, 2 * width].map(|part| Matrix {
                values: &qkv[part + head..],
                next_row: 3 * width,
                next_column: 1,
                rows: (qkv.len() - part).div_ceil(3 * width),
                columns: width / heads,
            });
            attend(q, k, v, &mut self.work.attention, &mut out[head..], width);
        }
        self.work.give(qkv);
        out
    }

    #[inline(never)]
    fn add(&mut self, mut x: Vec<f32>, gate: Gate, branch: Vec<f32>, layer: &Linear) -> Vec<f32> {
        let gate = match gate {
            Gate::Modulation(modulation, part) => self.part(modulation, part),
            Gate::Learned(gain) => &self.network.weights.values[gain],
        };
        self.product(layer, &branch, |at, column, piece| {
            let gated = piece.iter().zip(&gate[column..]).map(|(x, gate)| x * gate);
            x[at..].iter_mut().zip(gated).for_each(|(x, branch)| *x += branch);
        });
        self.work.give(branch);
        x
    }

    #[inline(never)]
    fn output(&mut self, x: Vec<f32>, layer: &Linear) {
        let mut patches = self.work.take(self.network.places.len());
        self.store(layer, &x[self.prefix()..], &mut patches);
        self.work.give(x);
        let divisor = self.t.max(MIN_DIVISOR) as f32;
        let Network { places, config, .. } = self.network;
        for (x, &place) in patches.iter().zip(places) {
            self.work.u[place] = match config.output {
                Output::Velocity => *x,
                Output::Image => (self.z[place] - x) / divisor,
            };
        }
        self.work.give(patches);
    }
}

/// Which value of an image, `[channels, size, size]`, each value of its patches is: patches row by row, the values of
/// one in the order (row, column, channel).
fn places(config: &NetConfig) -> Vec<usize> {
    let NetConfig { image_size: size, channels, patch, .. } = *config;
    let (side, values) = (config.side(), config.patch_values());
    let place = |i: usize| {
        let (at, inside) = (i / values, i % values);
        let (row, column, channel) = (inside / channels / patch, inside / channels % patch, inside % channels);
        (channel * size + at / side * patch + row) * size + at % side * patch + column
    };
    (0..channels * size * size).map(place).collect()
}

/// The modulations of the conditions that were used last.
#[derive(Debug)]
pub(super) struct Conditions {
    slots: ConditionCache,
    kept: [Vec<Vec<f32>>; SLOTS],
}

impl Conditions {
    pub fn new() -> Self {
        Self { slots: ConditionCache::new(), kept: std::array::from_fn(|_| Vec::new()) }
    }

    /// The tokens in front of the patches or the text tokens beside them, then those of all layers.
    #[inline(never)]
    fn find(&mut self, network: &Network, inputs: CallInputs, class: &Condition) -> &[Vec<f32>] {
        let values = &network.weights.values;
        let mut assigned = self.slots.assign(&network.layers, values, inputs, std::slice::from_ref(class));
        let kept = &mut self.kept[assigned.slots[0] as usize];
        if let (Some(conditions), Some(prefix)) = (assigned.conditions.pop(), assigned.prefixes.pop()) {
            kept.clear();
            kept.push(prefix);
            for Modulation { layer, condition, .. } in network.layers.modulations() {
                kept.push(outputs(values, layer, &conditions[*condition]).collect());
            }
        }
        kept
    }
}

/// Calls that are enough for the compilers of today's browsers.
const WARM_UPS: usize = 8;

/// Draws with a small network of zeros. Browsers compile wasm when it is first called, quickly, and well what has run
/// for a while: so all is ready when the weights are, for which there is nothing to do but wait.
///
/// # Errors
/// None.
pub fn warm_up() -> Result<(), Error> {
    let config = NetConfig { depth: 1, width: WARM_UP_WIDTH, heads: 2, ..NetConfig::preset("browser-s", 32, 4, 0)? };
    let network = Network::read(&Zeros, &config)?;
    let (mut conditions, mut work) = (Conditions::new(), network.work());
    let z = rng::noise(0, work.u.len());
    let inputs = CallInputs { r: 0.0, t: 1.0, guidance: 1.0 };
    (0..WARM_UPS).for_each(|_| network.velocity(&z, inputs, &Condition::Any, &mut conditions, &mut work));
    Ok(())
}

/// The width of that network.
const WARM_UP_WIDTH: usize = 64;
