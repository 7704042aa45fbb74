//! A model's layers, and a picture's way through them.

use super::loader::{Weights, Zeros};
use super::scratch::Scratch;
use crate::error::Error;
use crate::infer::conditions::{ConditionCache, Embeddings, Layer as Rows, SLOTS, first_modulations, is_supported};
use crate::kernels::attention::attend;
use crate::kernels::lanes::map;
use crate::kernels::rows::{Gate, normalise};
use crate::kernels::{COLUMNS, Matrix, Packed, product};
use crate::model::Class;
use crate::model::tables::GELU;
use crate::model::tables::{MIN_DIVISOR, NORM_EPSILON, position_table};
use crate::model::{NetConfig, Output};
use crate::rng;

/// Vectors of a block's modulation: shift, scale and gate of attention, then of the MLP; the head has the first two.
const PARTS: usize = 6;

/// `x W + b`.
#[derive(Debug)]
struct Linear {
    inputs: usize,
    weight: Packed,
    bias: Vec<f32>,
}

impl Linear {
    /// Reads it as files have it, `[out, in]`.
    fn read(file: &dyn Weights, name: &str, inputs: usize, outputs: usize) -> Result<Self, Error> {
        let weight = file.packed(&format!("{name}.weight"), [outputs, inputs])?;
        Ok(Self { inputs, weight, bias: file.values(&format!("{name}.bias"), &[outputs])? })
    }

    /// Of every row of `x`: `emit` gets pieces of `[rows, outputs]` with the place and the column that each begins at.
    fn apply(&self, x: &[f32], rows: &mut Vec<f32>, mut emit: impl FnMut(usize, usize, &[f32])) {
        product(Matrix::of_rows(x, self.inputs), &self.weight, rows, |row, column, sums| {
            let mut piece = [0.0; COLUMNS];
            let piece = &mut piece[..sums.len()];
            let biased = sums.iter().zip(&self.bias[column..]).map(|(sum, bias)| sum + bias);
            piece.iter_mut().zip(biased).for_each(|(to, x)| *to = x);
            emit(row * self.bias.len() + column, column, piece);
        });
    }

    /// The same, into `out`. Not inlined, like the other steps of a picture's way: browsers compile them while a
    /// visitor waits, and take more than twice as long for a function of twice the size.
    #[inline(never)]
    fn store(&self, x: &[f32], rows: &mut Vec<f32>, out: &mut [f32]) {
        self.apply(x, rows, |at, _, piece| out[at..][..piece.len()].copy_from_slice(piece));
    }

    /// The same, times `gate`, added to `tokens`.
    #[inline(never)]
    fn add(&self, x: &[f32], rows: &mut Vec<f32>, gate: &[f32], tokens: &mut [f32]) {
        self.apply(x, rows, |at, column, piece| {
            let gated = piece.iter().zip(&gate[column..]).map(|(x, gate)| x * gate);
            tokens[at..].iter_mut().zip(gated).for_each(|(token, x)| *token += x);
        });
    }
}

/// Whether a tensor is the weights of a [`Linear`], which are read as panels for products: all but those of times and
/// classes, which meet one row at a time. This build has no module to ask for the roles of its parameters; a test holds
/// the names to them.
pub(super) fn is_multiplied(name: &str) -> bool {
    let of_tokens = [".attention.", ".mlp.", "patch.", "head.linear."].iter().any(|layer| name.contains(layer));
    of_tokens && name.ends_with(".weight")
}

/// The layers of a block, but for its modulation.
#[derive(Debug)]
struct Block {
    heads: usize,
    qkv: Linear,
    proj: Linear,
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    fn read(file: &dyn Weights, name: &str, config: &NetConfig) -> Result<Self, Error> {
        let (width, hidden) = (config.width, config.mlp_ratio * config.width);
        let read = |part, inputs, outputs| Linear::read(file, &format!("{name}.{part}"), inputs, outputs);
        Ok(Self {
            heads: config.heads,
            qkv: read("attention.qkv", width, 3 * width)?,
            proj: read("attention.proj", width, width)?,
            fc1: read("mlp.fc1", width, hidden)?,
            fc2: read("mlp.fc2", hidden, width)?,
        })
    }

    /// `x += gate · attention(modulate(x))`, then `x += gate · mlp(modulate(x))`, of the tokens in `work`.
    #[inline(never)]
    fn apply(&self, modulation: &[f32], work: &mut Scratch) {
        let Scratch { tokens, normed, wide, heads, rows, attention, .. } = work;
        let width = self.proj.inputs;
        let part = |i: usize| &modulation[i * width..][..width];

        modulate(tokens, normed, part(0), part(1));
        let wide = &mut wide[..3 * tokens.len()];
        self.qkv.store(normed, rows, wide);
        for head in (0..width).step_by(width / self.heads) {
            let [q, k, v] = [0, width, 2 * width].map(|part| Matrix {
                values: &wide[part + head..],
                next_row: 3 * width,
                next_column: 1,
                rows: tokens.len() / width,
                columns: width / self.heads,
            });
            attend(q, k, v, attention, &mut heads[head..], width);
        }
        self.proj.add(heads, rows, part(2), tokens);

        modulate(tokens, normed, part(3), part(4));
        let wide = &mut work.wide[..tokens.len() / width * self.fc2.inputs];
        self.fc1.store(normed, rows, wide);
        map(wide, Gate::new(GELU[0] as f32, GELU[1] as f32));
        self.fc2.add(wide, rows, part(5), tokens);
    }
}

/// `norm(x) · (1 + scale) + shift` of every token.
#[inline(never)]
fn modulate(tokens: &[f32], out: &mut [f32], shift: &[f32], scale: &[f32]) {
    out.copy_from_slice(tokens);
    for row in out.chunks_exact_mut(shift.len()) {
        normalise(row, NORM_EPSILON as f32);
        row.iter_mut().zip(shift.iter().zip(scale)).for_each(|(x, (shift, scale))| *x = *x * (1.0 + scale) + shift);
    }
}

/// All layers of a model.
#[derive(Debug)]
pub(super) struct Network {
    config: NetConfig,
    embeddings: Embeddings,
    /// From conditions, for the blocks and the head.
    modulations: Vec<Rows>,
    /// How many of these have the first condition; the others have the last one.
    first: usize,
    patch: Linear,
    positions: Vec<f32>,
    blocks: Vec<Block>,
    head: Linear,
    /// Which value of an image each value of its patches is.
    places: Vec<usize>,
}

impl Network {
    /// Reads the layers.
    ///
    /// # Errors
    /// Another network than a plain Diffusion Transformer, or a file that lacks a tensor.
    pub fn read(file: &dyn Weights, config: &NetConfig) -> Result<Self, Error> {
        if !is_supported(config) {
            return Err(Error::Device("this build has only plain Diffusion Transformers".into()));
        }
        let NetConfig { width, depth, .. } = *config;
        let pixels = config.patch_values();
        let modulation =
            |name: &str, parts: usize| Rows::read(file, &format!("{name}.modulation"), width, parts * width);
        let each = (0..depth).map(|i| modulation(&format!("blocks.{i}"), PARTS));
        Ok(Self {
            embeddings: Embeddings::read(file, config)?,
            modulations: each.chain([modulation("head", 2)]).collect::<Result<_, _>>()?,
            first: first_modulations(config),
            patch: Linear::read(file, "patch", pixels, width)?,
            positions: position_table(config.side(), width),
            blocks: (0..depth).map(|i| Block::read(file, &format!("blocks.{i}"), config)).collect::<Result<_, _>>()?,
            head: Linear::read(file, "head.linear", width, pixels)?,
            places: places(config),
            config: config.clone(),
        })
    }

    /// Memory for a picture's way.
    pub fn work(&self) -> Scratch {
        Scratch::new(&self.config)
    }

    /// The velocity `u(z, r, t)` of one image, `[channels, size, size]`, into `work.u`.
    pub fn velocity(&self, z: &[f32], [r, t]: [f64; 2], class: Class, conditions: &mut Conditions, work: &mut Scratch) {
        let width = self.config.width;
        let modulation = conditions.find(self, [r, t], class);
        let (of_blocks, of_head) = modulation.split_at(self.blocks.len() * PARTS * width);
        let Scratch { tokens, patches, rows, .. } = work;
        patches.iter_mut().zip(&self.places).for_each(|(x, &place)| *x = z[place]);
        self.patch.store(patches, rows, tokens);
        tokens.iter_mut().zip(&self.positions).for_each(|(x, position)| *x += position);

        let each = self.blocks.iter().zip(of_blocks.chunks_exact(PARTS * width));
        each.for_each(|(block, modulation)| block.apply(modulation, work));

        let Scratch { tokens, normed, patches, rows, u, .. } = work;
        let (shift, scale) = of_head.split_at(width);
        modulate(tokens, normed, shift, scale);
        self.head.store(normed, rows, patches);
        let divisor = t.max(MIN_DIVISOR) as f32;
        for (x, &place) in patches.iter().zip(&self.places) {
            u[place] = match self.config.output {
                Output::Velocity => *x,
                Output::Image => (z[place] - x) / divisor,
            };
        }
    }
}

/// Which value of an image, `[channels, size, size]`, each value of its patches is: patches row by row, the values of
/// one in the order (row, column, channel).
fn places(config: &NetConfig) -> Vec<usize> {
    let NetConfig { image_size: size, channels, patch, .. } = *config;
    let corners = (0..size).step_by(patch).flat_map(|y| (0..size).step_by(patch).map(move |x| (y, x)));
    let inside = |(y, x): (usize, usize)| {
        let pixels = (y..y + patch).flat_map(move |y| (x..x + patch).map(move |x| y * size + x));
        pixels.flat_map(move |pixel| (0..channels).map(move |channel| channel * size * size + pixel))
    };
    corners.flat_map(inside).collect()
}

/// The modulations of the conditions that were used last.
#[derive(Debug)]
pub(super) struct Conditions {
    slots: ConditionCache,
    kept: [Vec<f32>; SLOTS],
}

impl Conditions {
    pub fn new() -> Self {
        Self { slots: ConditionCache::new(), kept: std::array::from_fn(|_| Vec::new()) }
    }

    /// Those of all layers, one after the other.
    #[inline(never)]
    fn find(&mut self, network: &Network, [r, t]: [f64; 2], class: Class) -> &[f32] {
        let assigned = self.slots.assign(&network.embeddings, r, t, &[class]);
        let kept = &mut self.kept[assigned.slots[0] as usize];
        if !assigned.fresh.is_empty() {
            kept.clear();
            let [first, last] = &assigned.conditions;
            for (i, layer) in network.modulations.iter().enumerate() {
                kept.extend(layer.outputs(if i < network.first { first } else { last }));
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
    (0..WARM_UPS).for_each(|_| network.velocity(&z, [0.0, 1.0], Class::Any, &mut conditions, &mut work));
    Ok(())
}

/// The width of that network.
const WARM_UP_WIDTH: usize = 64;

#[cfg(all(test, feature = "burn"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::ParamRole::{Hidden, Input, Output};

    #[test]
    fn what_is_multiplied_is_what_acts_on_tokens() {
        let config = NetConfig::preset("browser-s", 8, 3, 4).expect("it is known");
        let specs = config.init(0, &Device::flex()).param_specs();
        assert!(specs.iter().filter(|spec| is_multiplied(&spec.name)).count() == 4 * config.depth + 2);
        for spec in specs {
            assert_eq!(is_multiplied(&spec.name), matches!(spec.role, Input | Hidden | Output), "{}", spec.name);
        }
    }
}
