//! A closed-form flow: data N(m, s²) per coordinate, where `v`, `u`, the flow map and the density are known.

use burn::tensor::{Tensor, TensorData};
use meanflow::Dual;
use meanflow::flow::AverageVelocity;
use meanflow::net::Labels;
use meanflow::rng::{Purpose, Stream};

use crate::support::{device, random};

/// Mean of the data.
pub const M: f64 = 0.3;
/// Its standard deviation.
pub const S: f64 = 0.6;
/// Shape of a batch of the tests.
pub const SHAPE: [usize; 4] = [64, 1, 4, 4];

/// `u(z, r, t) = (z − z_r)/(t − r)` with `z_r = (1 − r) m + σ_r/σ_t (z − (1 − t) m)`, `σ_t² = (1 − t)² s² + t²`.
///
/// Written over duals, so its derivative is exact. At `r = t` it is `v`, which the formula below reaches as the limit.
#[derive(Clone)]
pub struct Gaussian;

/// `σ_t²` of a dual time.
fn variance(t: Dual<4>) -> Dual<4> {
    let data = t.clone().scale(-1.0).shift(1.0).scale(S);
    data.clone() * data + t.clone() * t
}

/// `1/√x` and `1/x`-like powers of duals are not among the network's rules, so the oracle brings its own.
fn power(x: Dual<4>, p: f64) -> Dual<4> {
    let tangent = x.tangent.map(|dx| {
        // Rows that stand still come last.
        let place = x.primal.clone().narrow(0, 0, dx.dims()[0]);
        place.powf_scalar(p - 1.0) * p * dx
    });
    Dual { primal: x.primal.powf_scalar(p), tangent }
}

impl AverageVelocity for Gaussian {
    fn u(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, _: Option<Labels>) -> Dual<4> {
        let [batch, ..] = z.dims();
        let (r, t) = (r.reshape([batch, 1, 1, 1]), t.reshape([batch, 1, 1, 1]));
        // (1 − σ_r/σ_t)/(t − r), rationalised to be exact for any r ≤ t, r = t included:
        // (σ_t² − σ_r²)/(t − r) = (1 + s²)(t + r) − 2 s², over σ_t (σ_t + σ_r).
        let slope = (t.clone() + r.clone()).scale(1.0 + S * S).shift(-2.0 * S * S);
        let (sigma_t, sigma_r) = (power(variance(t.clone()), 0.5), power(variance(r), 0.5));
        let rate = slope * power(sigma_t.clone() * (sigma_t + sigma_r), -1.0);
        let centred = z + t.shift(-1.0).scale(M);
        rate * centred - Dual::constant(Tensor::full([1, 1, 1, 1], M, &device()))
    }
}

/// The same number for each image.
pub fn constant(value: f64) -> Tensor<1> {
    Tensor::full([SHAPE[0]], value, &device())
}

/// `z_t` of the flow, `r < t` and the marginal velocity `v(z, t)`.
pub fn situation() -> (Tensor<4>, Tensor<1>, Tensor<1>, Tensor<4>) {
    let mut stream = Stream::new(5, Purpose::Times, 0);
    let times: Vec<[f32; 2]> = (0..SHAPE[0]).map(|_| [stream.uniform() as f32, stream.uniform() as f32]).collect();
    let tensor = |f: fn(f32, f32) -> f32| {
        let values: Vec<f32> = times.iter().map(|[a, b]| f(*a, *b)).collect();
        Tensor::from_data(TensorData::new(values, [SHAPE[0]]), &device())
    };
    let (r, t): (Tensor<1>, Tensor<1>) = (tensor(f32::min), tensor(f32::max));
    let z = random(7, SHAPE);
    let v = Gaussian.u(z.clone().into(), t.clone().into(), t.clone().into(), None).primal;
    (z, r, t, v)
}
