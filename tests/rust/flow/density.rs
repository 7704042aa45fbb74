//! The flow as a density: where the answer is known in closed form, and where the trace is.

use burn::tensor::{Tensor, TensorData};
use meanflow::Dual;
use meanflow::flow::{AverageVelocity, Divergence, Integrator, bits_per_dimension, dequantise, log_density, one_step};
use meanflow::net::Labels;

use crate::oracle::{Gaussian, M, S, SHAPE};
use crate::parity_log::LIKELIHOOD;
use crate::support::{device, random, random_net, tiny_config, values};

const ADAPTIVE: Integrator = Integrator::Adaptive { tolerance: 1e-5 };

/// `Σ log N(x; m, s²)` over the pixels of each image.
fn closed_form(x: Tensor<4>) -> Vec<f32> {
    let pixels = SHAPE[1..].iter().product();
    let log = |x: f32| {
        let z = (f64::from(x) - M) / S;
        -0.5 * z * z - S.ln() - 0.5 * std::f64::consts::TAU.ln()
    };
    values(x).chunks(pixels).map(|image| image.iter().map(|&x| log(x)).sum::<f64>() as f32).collect()
}

#[test]
fn the_likelihood_of_the_closed_form_flow_is_that_of_its_data() {
    let e = random(3, SHAPE);
    let x = one_step(&Gaussian, e.clone(), None);
    let exact = log_density(&Gaussian, x.clone(), None, Divergence::Exact, ADAPTIVE).expect("it integrates");
    LIKELIHOOD.close("log p(x)", &values(exact.log_density), &closed_form(x.clone()), 1e-4);
    LIKELIHOOD.close("noise", &values(exact.noise), &values(e), 1e-3);
    // The Jacobian is a multiple of one, of which random signs give the trace exactly.
    let estimate = Divergence::Hutchinson { probes: 1, seed: 0 };
    let estimated = log_density(&Gaussian, x.clone(), None, estimate, ADAPTIVE).expect("it integrates");
    LIKELIHOOD.close("log p(x) by random signs", &values(estimated.log_density), &closed_form(x), 1e-4);
    assert_eq!(exact.passes, 16 * estimated.passes, "an exact trace takes a pass per pixel");
}

/// `v = A z + diag(1, …, d) z` with `A` everywhere 0.05: the flow is linear, its divergence `Σ i + 0.05 d`.
struct Linear;

impl Linear {
    fn matrix() -> Tensor<2> {
        let values = (0..16).map(|i| 0.05 + if i / 4 == i % 4 { 0.1 * (i / 4) as f32 } else { 0.0 }).collect();
        Tensor::from_data(TensorData::new::<f32, _>(values, [4, 4]), &device())
    }
}

impl AverageVelocity for Linear {
    fn u(&self, z: Dual<4>, _: Dual<1>, _: Dual<1>, _: Option<Labels>) -> Dual<4> {
        let shape = z.dims();
        z.reshape([shape[0], 4]).matmul(Dual::constant(Self::matrix())).reshape(shape)
    }
}

/// A constant divergence: `log p(x) = log N(z₁; 0, I) + trace`.
#[test]
fn the_trace_of_a_linear_flow_is_exact_and_random_signs_estimate_it() {
    let x = random(1, [200, 1, 2, 2]);
    let trace = 0.05 * 4.0 + 0.1 * 6.0;
    let of = |divergence| {
        let density = log_density(&Linear, x.clone(), None, divergence, ADAPTIVE).expect("it integrates");
        let energy: Vec<f32> = values(density.noise)
            .chunks(4)
            .map(|z| z.iter().map(|z| 0.5 * z * z + 0.5 * std::f32::consts::TAU.ln()).sum())
            .collect();
        values(density.log_density).into_iter().zip(energy).map(|(l, e)| f64::from(l + e)).collect::<Vec<_>>()
    };
    for exact in of(Divergence::Exact) {
        assert!((exact - trace).abs() < 1e-4, "{exact} is not {trace}");
    }
    // One probe's standard deviation is √(4 · 3 / 2 · (2 · 0.05)²) = 0.245; the mean of 200 images × 16 probes has
    // 0.0043.
    let estimates = of(Divergence::Hutchinson { probes: 16, seed: 1 });
    let mean = estimates.iter().sum::<f64>() / 200.0;
    assert!((mean - trace).abs() < 0.015, "{mean} is not {trace}");
    assert!(estimates.iter().any(|e| (e - trace).abs() > 0.01), "the signs are not random");
    assert_ne!(estimates, of(Divergence::Hutchinson { probes: 16, seed: 2 }));
}

/// Probabilities sum to one: the likelihood of a network's own flow integrates to 1 over a small space.
#[test]
fn the_density_of_a_network_integrates_to_one() {
    let config = meanflow::NetConfig { image_size: 1, patch: 1, ..tiny_config(1, 0) };
    let net = random_net(&config, &device());
    let (count, from, to) = (400, -8.0_f32, 8.0_f32);
    let cell = (to - from) / count as f32;
    let grid: Vec<f32> = (0..count).map(|i| from + (i as f32 + 0.5) * cell).collect();
    let x = Tensor::from_data(TensorData::new(grid, [count, 1, 1, 1]), &device());
    let density = log_density(&net, x, None, Divergence::Exact, ADAPTIVE).expect("it integrates");
    let total: f64 = values(density.log_density).into_iter().map(|l| f64::from(l).exp() * f64::from(cell)).sum();
    assert!((total - 1.0).abs() < 2e-3, "the density integrates to {total}");
}

/// A density that is even over all 256 bytes takes 8 bits, whatever the number of values.
#[test]
fn bits_per_dimension_count_bytes() {
    for values_per_image in [1, 48, 3072] {
        let even = values_per_image as f64 * (127.5_f64 / 256.0).ln();
        let bits = values(bits_per_dimension(Tensor::full([2], even, &device()), values_per_image));
        assert!(bits.iter().all(|bits| (bits - 8.0).abs() < 1e-4), "{bits:?}");
    }
}

/// Every byte keeps its interval, and fills it.
#[test]
fn dequantised_values_round_to_their_bytes() {
    let bytes: Vec<u8> = (0..=255).cycle().take(2560).collect();
    let x: Vec<f32> = bytes.iter().map(|&b| meanflow::model::from_byte(b)).collect();
    let x = Tensor::from_data(TensorData::new(x, [10, 1, 16, 16]), &device());
    let spread = values(dequantise(x.clone(), 1));
    let offsets: Vec<f32> = spread.iter().zip(&bytes).map(|(x, &b)| 127.5 * x + 127.5 - f32::from(b)).collect();
    assert!(offsets.iter().all(|o| o.abs() <= 0.5001), "a value left its interval");
    let variance = offsets.iter().map(|o| o * o).sum::<f32>() / 2560.0;
    assert!((variance - 1.0 / 12.0).abs() < 0.005, "variance {variance}");
    assert_ne!(spread, values(dequantise(x, 2)));
}

#[test]
fn impossible_divergences_are_refused() {
    let x = random(1, [1, 3, 32, 32]);
    let error = log_density(&Gaussian, x.clone(), None, Divergence::Exact, ADAPTIVE).expect_err("too many").to_string();
    assert!(error.contains("3072") && error.contains("Hutchinson"), "{error}");
    let none = Divergence::Hutchinson { probes: 0, seed: 0 };
    assert!(log_density(&Gaussian, x, None, none, ADAPTIVE).is_err());
}
