//! What each parameter of a network is for, and its name and shape.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

use crate::weights::params::ParamPath;

/// What a parameter is for. Each says it where it is made ([`Init`](super::init::Init)); which optimizer trains it and
/// in which numbers it is multiplied follow from it.
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

/// One parameter of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSpec {
    /// Its name in files, such as `blocks.0.mlp.fc1.weight`.
    pub name: String,
    /// Its path in the module, as burn's [`ParamGroup`](burn::module::ParamGroup) knows it: the name, with the kind of
    /// network.
    pub path: String,
    /// Its shape: `[in, out]` of a linear layer, `[out, in, height, width]` of a convolution.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: ParamRole,
}

impl ParamSpec {
    /// How many numbers it holds.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The roles of a network's parameters, by their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles(Arc<BTreeMap<String, ParamRole>>);

impl Roles {
    /// Of a network that was just made, from what its parameters said then.
    pub fn new(net: &impl Module, made: &HashMap<ParamId, ParamRole>) -> Self {
        let mut roles = BTreeMap::new();
        walk(net, |place, id, _| {
            let role = made.get(&id).expect("every parameter is made by `Init`, which takes its role");
            roles.insert(place.name(), *role);
        });
        Self(Arc::new(roles))
    }

    pub fn get(&self, name: &str) -> Option<ParamRole> {
        self.0.get(name).copied()
    }

    /// The parameters of the network that these are of.
    pub fn specs(&self, net: &impl Module) -> Vec<ParamSpec> {
        let mut specs = Vec::new();
        walk(net, |place, _, shape| {
            let name = place.name();
            let role = self.get(&name).expect("the roles are of this network");
            specs.push(ParamSpec { path: place.path(), shape: shape.to_vec(), role, name });
        });
        specs
    }
}

/// Calls `each` with the place, the id and the shape of every parameter; none of them is computed.
fn walk(net: &impl Module, each: impl FnMut(&ParamPath, ParamId, &[usize])) {
    struct Walk<F>(ParamPath, F);

    impl<F: FnMut(&ParamPath, ParamId, &[usize])> ModuleVisitor for Walk<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.exit();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            (self.1)(&self.0, param.id, param.lazy_shape().as_slice());
        }
    }

    net.visit(&mut Walk(ParamPath::default(), each));
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::net::{Architecture, NetConfig};

    /// Of a small network of each kind, with all that it may have.
    fn specs(preset: &str) -> (NetConfig, Vec<ParamSpec>) {
        let known = NetConfig::preset(preset, 32, 3, 5).expect("it is known");
        let mut config = match preset {
            "unet" => NetConfig { width: 16, depth: 1, ..known },
            _ => NetConfig { width: 16, depth: 2, heads: 2, velocity_head: Some(1), ..known },
        };
        if let Architecture::InContext(parts) = &mut config.architecture {
            parts.hidden = 24;
        }
        config.validate().expect("it fits");
        (config.clone(), config.init(0, &Device::flex()).param_specs())
    }

    #[test]
    fn every_parameter_is_listed_and_counted_once() {
        for preset in ["dit-b/4", "imf-b/2", "pmf-b/16", "unet"] {
            let (config, specs) = specs(preset);
            assert_eq!(specs.iter().map(ParamSpec::count).sum::<usize>(), config.parameters(), "{preset}");
            let vectors = |spec: &&ParamSpec| (spec.role == ParamRole::Vector) != (spec.shape.len() == 1);
            assert_eq!(specs.iter().find(vectors), None, "{preset}: vectors are what has one dimension");
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
            let (_, specs) = specs(preset);
            for (name, role) in expected {
                let found = specs.iter().find(|spec| spec.name == *name).map(|spec| spec.role);
                assert_eq!(found, Some(*role), "{preset}: {name}");
            }
        }
    }
}
