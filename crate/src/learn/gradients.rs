//! Gradients of all parameters together: their norm, and a bound on it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::net::Net;

/// The Euclidean norm of all gradients, `[1]`, still on the device; `None` where there are none.
pub fn norm(net: &Net, gradients: &GradientsParams) -> Option<Tensor<1>> {
    let mut sum = Squares { gradients, total: None };
    net.visit(&mut sum);
    sum.total.map(Tensor::sqrt)
}

/// Scales all gradients alike so that their norm is at most `limit`, where there is one; nothing waits for the device.
pub fn clip(net: &Net, gradients: GradientsParams, limit: Option<f64>) -> GradientsParams {
    let Some(limit) = limit else { return gradients };
    let Some(norm) = norm(net, &gradients) else { return gradients };
    // The small number keeps gradients of zero what they are.
    let factor = ((norm + 1e-12).recip() * limit).clamp_max(1.0);
    let mut scale = Scale { gradients, factor, scaled: GradientsParams::new() };
    net.visit(&mut scale);
    scale.scaled
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    total: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        let squares = (gradient.clone() * gradient).sum();
        self.total = Some(match self.total.take() {
            Some(total) => total + squares,
            None => squares,
        });
    }
}

struct Scale {
    gradients: GradientsParams,
    factor: Tensor<1>,
    scaled: GradientsParams,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.scaled.register(param.id, gradient * self.factor.clone().reshape([1; D]));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::NetConfig;

    #[test]
    fn a_norm_beyond_the_bound_is_brought_to_it_and_no_other() {
        let config = NetConfig {
            width: 16,
            depth: 1,
            heads: 2,
            ..NetConfig::preset("browser-s", 8, 3, 0).expect("it is known")
        };
        let net = config.init(0, &Device::flex());
        let ones = || {
            struct Ones(GradientsParams);
            impl ModuleVisitor for Ones {
                fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                    self.0.register(param.id, param.val().ones_like());
                }
            }
            let mut ones = Ones(GradientsParams::new());
            net.visit(&mut ones);
            ones.0
        };
        let size = |gradients: &GradientsParams| {
            let norm = norm(&net, gradients).expect("there are gradients");
            f64::from(norm.try_into_scalar::<f32>().expect("a number"))
        };
        let whole = (config.parameters() as f64).sqrt();
        assert!((size(&ones()) - whole).abs() < 1e-3 * whole);
        for (limit, expected) in [(0.5, 0.5), (0.9 * whole, 0.9 * whole), (2.0 * whole, whole)] {
            let clipped = size(&clip(&net, ones(), Some(limit)));
            assert!((clipped - expected).abs() < 1e-3 * expected, "{clipped}, not {expected}");
        }
    }
}
