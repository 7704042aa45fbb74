//! Steps of AdamW and Muon against PyTorch's own optimizers in float64 (`tests/fixtures/optimizers.py`).

use burn::optim::Optimizer;
use burn::tensor::{Tensor, TensorData};
use meanflow::train::{AdamW, Muon, MuonScale, Optimization};
use safetensors::SafeTensors;

use crate::parity_log::{ADAMW, ADAMW_NESTEROV, Comparison, MUON};
use crate::support::{device, values};

const BYTES: &[u8] = include_bytes!("../../fixtures/optimizers.safetensors");
/// Those of the script.
const RATE: f64 = 0.02;
const STEPS: usize = 3;

/// Largest difference of a change by these steps, over the largest change. The weights' rounding is a part of it.
const ADAMW_TOLERANCE: f64 = 1e-4;
/// Newton–Schulz iterations let the rounding of small singular values grow.
const MUON_TOLERANCE: f64 = 3e-4;

fn settings() -> Optimization {
    Optimization { beta1: 0.9, beta2: 0.95, weight_decay: 0.1, ..Optimization::default() }
}

fn stored(name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = SafeTensors::deserialize(BYTES).expect("it reads");
    let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let numbers = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")));
    (view.shape().to_vec(), numbers.collect())
}

/// Takes the steps of a weight, in our layout, and compares how far it has come after each.
fn assert_steps<const D: usize>(
    optimizer: &impl Optimizer,
    [name, rule]: [&str; 2],
    comparison: &Comparison,
    quantity: &str,
    bound: f64,
) {
    let (shape, first) = stored(&format!("{name}.weight"));
    // A linear layer is `[in, out]` here, `[out, in]` there; a kernel is the same in both.
    let turned = |tensor: Tensor<D>| if D == 2 { tensor.transpose() } else { tensor };
    let ours = |numbers: &[f32]| -> Tensor<D> {
        turned(Tensor::from_data(TensorData::new(numbers.to_vec(), shape.clone()), &device()))
    };
    let [(_, gradients), (_, changes)] = ["gradients", rule].map(|part| stored(&format!("{name}.{part}")));
    assert_eq!(changes.len(), STEPS * first.len());
    let start = ours(&first);
    let (mut weight, mut state) = (start.clone(), None);
    for (gradient, change) in gradients.chunks(first.len()).zip(changes.chunks(first.len())) {
        (weight, state) = optimizer.step(RATE, weight, ours(gradient), state);
        comparison.close(quantity, &values(turned(weight.clone() - start.clone())), change, bound);
    }
}

/// The same of every weight.
fn assert_all(optimizer: &impl Optimizer, rule: &str, comparison: &Comparison, quantity: &str, bound: f64) {
    for name in ["wide", "tall", "square"] {
        assert_steps::<2>(optimizer, [name, rule], comparison, quantity, bound);
    }
    for name in ["kernel", "tall_kernel"] {
        assert_steps::<4>(optimizer, [name, rule], comparison, quantity, bound);
    }
}

#[test]
fn adamw_takes_the_steps_of_pytorch_with_nesterovs_momentum_or_without() {
    let adamw = |nesterov| AdamW::new(&Optimization { nesterov, ..settings() });
    assert_all(&adamw(false), "adamw", &ADAMW, "three steps", ADAMW_TOLERANCE);
    assert_all(&adamw(true), "nesterov", &ADAMW_NESTEROV, "three steps", ADAMW_TOLERANCE);
}

#[test]
fn muon_takes_the_steps_of_pytorch_with_either_scale() {
    for (scale, rule, quantity) in [
        (MuonScale::Spectral, "spectral", "three steps of √max(1, out/in)"),
        (MuonScale::MatchRmsAdamw, "match_rms_adamw", "three steps of 0.2 √max(in, out)"),
    ] {
        let muon = Muon::new(&Optimization { muon_scale: scale, ..settings() });
        assert_all(&muon, rule, &MUON, quantity, MUON_TOLERANCE);
    }
}
