//! The parameters of a network, listed once: name, shape, role and first values of each.
//!
//! [`NetConfig::params`] makes the list. Counting it gives the size of a network; burn's networks are made from it;
//! the page's engines read tensors of these names and shapes; which optimizer trains a parameter, and in which numbers
//! it is stored and multiplied, follow from its role.

mod dit;
mod in_context;
pub(crate) mod unet;

use super::{Architecture, NetConfig};
use crate::rng::{Purpose, Stream};

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ParamRole {
    /// Weights of the first layers, from the values of a patch or pixel to features.
    Input,
    /// Weights between features inside a block, of every token or pixel: attention and MLP, or convolutions.
    Hidden,
    /// Weights from the embedded conditioning to shifts, scales and gates (adaLN), or to what is added to channels
    /// (U-Net): once an image.
    Modulation,
    /// Weights of the MLPs that embed times, guidance and augmentation: once an image.
    Conditioning,
    /// Rows that are learned: of classes, of tokens, of positions.
    Embedding,
    /// Weights of the last layer, from features to the values of a patch or pixel.
    Output,
    /// Biases, and the gains of normalisations and residual branches.
    Vector,
}

/// How the values of a parameter start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initializer {
    /// One number everywhere.
    Constant(f32),
    /// Normal, with this standard deviation.
    Normal(f64),
    /// Uniform between minus this bound and the bound.
    Uniform(f64),
}

impl Initializer {
    /// `U(−a, a)` with `a = √(6 / (inputs + outputs))` (Xavier).
    pub(crate) fn xavier(inputs: usize, outputs: usize) -> Self {
        Self::Uniform((6.0 / (inputs + outputs) as f64).sqrt())
    }
}

/// All zero.
pub(crate) const ZEROS: Initializer = Initializer::Constant(0.0);

/// One parameter of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Its name in files, such as `blocks.0.mlp.fc1.weight`.
    pub name: String,
    /// Its shape: `[in, out]` of a linear layer, `[out, in, height, width]` of a convolution.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: ParamRole,
    /// Whether it is the weights of a linear layer, which files have as PyTorch does, `[out, in]`.
    pub is_linear: bool,
    /// How it starts.
    pub initializer: Initializer,
    /// Which of the network's random streams its first values come from. Each has its own, so that none depends on when
    /// another is drawn; constants share those of others.
    stream: u64,
}

impl ParamSpec {
    /// How many numbers it holds.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its shape in files.
    pub fn stored_shape(&self) -> Vec<usize> {
        match self.is_linear {
            true => self.shape.iter().rev().copied().collect(),
            false => self.shape.clone(),
        }
    }

    /// The values that it starts with, for a seed: the same numbers on every device.
    pub fn initial_values(&self, seed: u64) -> Vec<f32> {
        let mut stream = Stream::new(seed, Purpose::Weights, self.stream);
        match self.initializer {
            Initializer::Constant(value) => vec![value; self.count()],
            Initializer::Normal(deviation) => {
                stream.normals(self.count()).into_iter().map(|z| deviation as f32 * z).collect()
            }
            Initializer::Uniform(bound) => {
                (0..self.count()).map(|_| (bound * (2.0 * stream.uniform() - 1.0)) as f32).collect()
            }
        }
    }
}

/// Lists parameters by scope, as candle's `VarBuilder` names them. What it does for every layer is not inlined:
/// browsers download it.
#[derive(Debug, Default)]
pub(crate) struct ParamList {
    scope: String,
    specs: Vec<ParamSpec>,
    drawn: u64,
}

impl ParamList {
    /// What was listed.
    pub fn into_specs(self) -> Vec<ParamSpec> {
        self.specs
    }

    /// Lists the parameters of a part of the network.
    pub fn scope(&mut self, name: &str, list: impl FnOnce(&mut Self)) {
        let outside = self.enter(name);
        list(self);
        self.leave(outside);
    }

    #[inline(never)]
    fn enter(&mut self, name: &str) -> usize {
        let outside = self.scope.len();
        self.scope.push_str(name);
        self.scope.push('.');
        outside
    }

    #[inline(never)]
    fn leave(&mut self, outside: usize) {
        self.scope.truncate(outside);
    }

    /// Lists the parameters of so many parts alike.
    pub fn repeat(&mut self, name: &str, count: usize, list: impl Fn(&mut Self, usize)) {
        self.scope(name, |params| (0..count).for_each(|i| params.scope(&i.to_string(), |params| list(params, i))));
    }

    /// A linear layer with bias zero.
    #[inline(never)]
    pub fn linear(&mut self, name: &str, role: ParamRole, shape: [usize; 2], initializer: Initializer) {
        self.scope(name, |params| {
            params.add("weight", role, &shape, initializer, true);
            params.vector("bias", shape[1], 0.0);
        });
    }

    /// A linear layer without bias.
    #[inline(never)]
    pub fn linear_without_bias(&mut self, name: &str, role: ParamRole, shape: [usize; 2], initializer: Initializer) {
        self.scope(name, |params| params.add("weight", role, &shape, initializer, true));
    }

    /// Learned rows.
    #[inline(never)]
    pub fn table(&mut self, name: &str, rows: usize, width: usize, initializer: Initializer) {
        self.scope(name, |params| params.add("weight", ParamRole::Embedding, &[rows, width], initializer, false));
    }

    /// A vector that is one number everywhere.
    #[inline(never)]
    pub fn vector(&mut self, name: &str, length: usize, value: f32) {
        self.add(name, ParamRole::Vector, &[length], Initializer::Constant(value), false);
    }

    /// Any other parameter.
    #[inline(never)]
    pub fn add(&mut self, name: &str, role: ParamRole, shape: &[usize], initializer: Initializer, is_linear: bool) {
        let name = [&self.scope, name].concat();
        self.specs.push(ParamSpec { name, shape: shape.to_vec(), role, is_linear, initializer, stream: self.drawn });
        // A number for each matrix, drawn or not: the numbers of a seed must never change.
        self.drawn += u64::from(role != ParamRole::Vector);
    }
}

impl NetConfig {
    /// All parameters of the network, in the order in which they are drawn.
    pub fn params(&self) -> Vec<ParamSpec> {
        let mut params = ParamList::default();
        match &self.architecture {
            Architecture::Dit => dit::list(self, &mut params),
            Architecture::InContext(parts) => in_context::list(self, parts, &mut params),
            Architecture::Unet(parts) if cfg!(feature = "burn") => unet::list(self, parts, &mut params),
            // The page's engines leave it to burn.
            Architecture::Unet(_) => {}
        }
        params.into_specs()
    }

    /// How many numbers its parameters are.
    pub fn parameters(&self) -> usize {
        self.params().iter().map(ParamSpec::count).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::{Architecture, NetConfig};

    /// A small network of a kind, with all that it may have.
    pub(crate) fn small(preset: &str) -> NetConfig {
        let known = NetConfig::preset(preset, 32, 3, 5).expect("it is known");
        let mut config = match preset {
            "unet" => NetConfig { width: 16, depth: 1, ..known },
            _ => NetConfig { width: 16, depth: 2, heads: 2, velocity_head: Some(1), ..known },
        };
        if let Architecture::InContext(parts) = &mut config.architecture {
            parts.hidden = 24;
        }
        config.validate().expect("it fits");
        config
    }

    #[test]
    fn vectors_are_what_has_one_dimension() {
        for preset in ["dit-b/4", "imf-b/2", "pmf-b/16", "unet"] {
            let specs = small(preset).params();
            let odd = |spec: &&ParamSpec| (spec.role == ParamRole::Vector) != (spec.shape.len() == 1);
            assert_eq!(specs.iter().find(odd), None, "{preset}");
        }
    }

    #[test]
    fn parameters_are_for_what_their_layer_does() {
        use ParamRole::{Conditioning, Embedding, Hidden, Input, Modulation, Output};
        let expected: [(&str, &[(&str, ParamRole)]); 4] = [
            (
                "dit-b/4",
                &[
                    ("patch.weight", Input),
                    ("time_t.fc1.weight", Conditioning),
                    ("label.weight", Embedding),
                    ("blocks.1.modulation.weight", Modulation),
                    ("blocks.1.attention.qkv.weight", Hidden),
                    ("velocity.blocks.0.mlp.fc2.weight", Hidden),
                    ("head.modulation.weight", Modulation),
                    ("head.linear.weight", Output),
                ],
            ),
            (
                "imf-b/2",
                &[
                    ("patch.weight", Input),
                    ("guidance.start.fc2.weight", Conditioning),
                    ("prefix.class.weight", Embedding),
                    ("blocks.0.q.weight", Hidden),
                    ("blocks.1.gate.weight", Hidden),
                    ("velocity.blocks.0.down.weight", Hidden),
                    ("head.linear.weight", Output),
                ],
            ),
            (
                "pmf-b/16",
                &[("widen.weight", Input), ("places.weight", Embedding), ("velocity.head.linear.weight", Output)],
            ),
            (
                "unet",
                &[
                    ("times0.weight", Conditioning),
                    ("label.weight", Embedding),
                    ("input.weight", Input),
                    ("encoder.0.conv0.weight", Hidden),
                    ("encoder.0.affine.weight", Modulation),
                    ("encoder.0.skip.weight", Hidden),
                    ("decoder.0.qkv.weight", Hidden),
                    ("output.weight", Output),
                ],
            ),
        ];
        for (preset, expected) in expected {
            let specs = small(preset).params();
            for (name, role) in expected {
                let found = specs.iter().find(|spec| spec.name == *name).map(|spec| spec.role);
                assert_eq!(found, Some(*role), "{preset}: {name}");
            }
        }
    }
}
