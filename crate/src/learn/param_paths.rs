//! Parameters by their names in files and as burn knows them.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::net::weights_file::ParamPath;

/// The path of every parameter in the module, as burn's [`ParamGroup`](burn::module::ParamGroup) knows it, by its name
/// in files.
pub(super) fn param_paths(net: &impl Module) -> HashMap<String, String> {
    let mut paths = HashMap::new();
    walk(net, |place, _| {
        paths.insert(place.name(), place.names.join("."));
    });
    paths
}

/// Calls `each` with the place and the shape of every parameter; none of them is computed.
fn walk(net: &impl Module, each: impl FnMut(&ParamPath, &[usize])) {
    struct Walk<F>(ParamPath, F);

    impl<F: FnMut(&ParamPath, &[usize])> ModuleVisitor for Walk<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.exit();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            (self.1)(&self.0, param.lazy_shape().as_slice());
        }
    }

    net.visit(&mut Walk(ParamPath::default(), each));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::Device;

    use super::*;
    use crate::model::params::tests::small;

    /// Networks are made of the listed parameters, all of them and no others.
    #[test]
    fn every_listed_parameter_is_in_the_network() {
        for preset in ["dit-b/4", "imf-b/2", "pmf-b/16", "unet"] {
            let config = small(preset);
            let mut held = BTreeMap::new();
            walk(&config.init(0, &Device::flex()), |place, shape| {
                held.insert(place.name(), (shape.to_vec(), place.is_transposed()));
            });
            let listed = config.params().into_iter().map(|spec| (spec.name, (spec.shape, spec.is_linear)));
            assert_eq!(held, listed.collect(), "{preset}");
        }
    }
}
