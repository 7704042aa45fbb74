//! Objectives whose loss is more than MeanFlow's, against PyTorch in float64 (`tests/fixtures/objectives.py`): errors,
//! and the gradient of every parameter.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use meanflow::flow::{
    AdaptiveWeight, AlphaFlow, AverageVelocity, DecoupledMeanFlow, Models, Objective, PathSample, Residuals, Shortcut,
    TerminalVelocity, Times, interpolate,
};
use meanflow::net::TimeInputs;
use meanflow::{Net, NetConfig};

use crate::parity::Fixture;
use crate::parity_log::{ALPHA_FLOW, DECOUPLED, SHORTCUT, TERMINAL_VELOCITY};
use crate::support::{assert_close, autodiff_device, relative_error, values};

/// Relative error allowed between burn in f32 and PyTorch in f64.
const TOLERANCE: f64 = 1e-4;
/// And where a derivative is differentiated once more.
const SECOND: f64 = 3e-4;

/// Those of the script.
const BOUND: f64 = 0.6;
const ALPHA: f64 = 0.4;
const DECODER_DEPTH: usize = 2;
/// Rows of which have `r < t`; they come first.
const INTERVALS: usize = 4;
/// Values of an image.
const VALUES: f64 = 128.0;

fn fixture() -> Fixture {
    Fixture::read(include_bytes!("../fixtures/objectives.safetensors"))
}

/// The first rows of the batch.
fn batch(fixture: &Fixture, rows: usize) -> (PathSample, Times) {
    let [x, e] = ["x", "e"].map(|name| fixture.tensor::<4>(name).narrow(0, 0, rows));
    let [t, r] = ["t", "r"].map(|name| fixture.tensor::<1>(name).narrow(0, 0, rows));
    (interpolate(x, e, t.clone()), Times { t, r, intervals: INTERVALS })
}

fn all(residuals: Residuals) -> Tensor<1> {
    Tensor::cat([residuals.interval, residuals.instant].into_iter().flatten().collect(), 0)
}

/// The live network and the averaged one.
fn networks(fixture: &Fixture, tape: &Device) -> [Net; 2] {
    let live = fixture.net(&fixture.config, "live.parameter", tape);
    [live, fixture.net(&fixture.config, "average.parameter", tape).valid()]
}

fn terminal_velocity(fixture: &Fixture, tape: &Device, through_derivative: bool) {
    let [live, average] = networks(fixture, tape);
    let (path, times) = batch(fixture, 6);
    let objective = Objective::TerminalVelocity(TerminalVelocity { through_derivative, ..Default::default() });
    let models = Models { online: &live, detached: &live.valid(), ema: &average };
    let errors = all(objective.residuals(models, path, times, None, 0));
    let name = if through_derivative { "terminal" } else { "terminal_detached" };
    TERMINAL_VELOCITY.close("residuals", &values(errors.clone()), fixture.values(&format!("{name}.errors")), TOLERANCE);
    let tolerance = if through_derivative { SECOND } else { TOLERANCE };
    let prefix = format!("{name}.gradient");
    fixture.assert_gradients(&live, &errors.sum().backward(), &prefix, &TERMINAL_VELOCITY, tolerance);
}

#[test]
fn terminal_velocity_matching_has_the_gradient_through_its_derivative_or_not() {
    let fixture = fixture();
    for through_derivative in [false, true] {
        terminal_velocity(&fixture, &autodiff_device(), through_derivative);
    }
    // They are far apart, so neither passes for the other.
    let [one, other] = ["terminal", "terminal_detached"]
        .map(|name| fixture.values(&format!("{name}.gradient.blocks.1.mlp.fc1.weight")).to_vec());
    assert!(relative_error(&one, &other) > 0.1);
}

/// A tape that computes anew what it did not keep is another one, and must be the one of the derivative too.
#[test]
fn the_derivative_is_on_the_tape_of_the_network() {
    terminal_velocity(&fixture(), &autodiff_device().inner().autodiff().gradient_checkpointing(), true);
}

/// The logarithm of the mean squares has the gradient of the adaptive weight with `p = 1`.
#[test]
fn decoupled_mean_flow_has_the_gradient_of_the_logarithm() {
    let fixture = fixture();
    let config = NetConfig { times: TimeInputs::T, decoder_depth: Some(DECODER_DEPTH), ..fixture.config.clone() };
    let net = fixture.net(&config, "decoupled.parameter", &autodiff_device());
    let (path, times) = batch(&fixture, 6);
    let u = net.u(path.z.clone().into(), times.r.clone().into(), times.t.clone().into(), None).primal;
    DECOUPLED.close("u", &values(u), fixture.values("decoupled.u"), TOLERANCE);
    let objective = Objective::DecoupledMeanFlow(DecoupledMeanFlow::default());
    let residuals = objective.residuals(Models::all(&net), path, times, None, 0);
    let loss = AdaptiveWeight { p: 1.0, c: 0.01 * VALUES }.apply(&residuals);
    DECOUPLED.close("residuals", &values(all(residuals)), fixture.values("decoupled.errors"), TOLERANCE);
    fixture.assert_gradients(&net, &loss.backward(), "decoupled.gradient", &DECOUPLED, TOLERANCE);
}

/// `α` of their schedule at step 600 of 1000.
fn alpha_flow(clamp: Option<f64>) -> Objective {
    let gamma = (1.0 / ALPHA - 1.0).ln() / 0.1;
    let config = AlphaFlow { start: 0, end: 1000, gamma, clamp, ..AlphaFlow::default() };
    assert!((config.alpha_at(600) - ALPHA).abs() < 1e-12);
    Objective::AlphaFlow(config)
}

/// The authors weigh by `α/(m + ε)`; ours has the residual over α, whose square is `1/α²` times as large.
#[test]
fn alpha_flow_with_its_clamp_is_as_published() {
    let fixture = fixture();
    let [live, average] = networks(&fixture, &autodiff_device());
    let (path, times) = batch(&fixture, INTERVALS);
    let models = Models { online: &live, detached: &live.valid(), ema: &average };
    let residuals = |clamp| alpha_flow(clamp).residuals(models, path.clone(), times.clone(), None, 600);
    let bounded = residuals(Some(BOUND));
    let theirs: Vec<f32> =
        fixture.values("alpha.errors").iter().map(|m| (f64::from(*m) * VALUES / (ALPHA * ALPHA)) as f32).collect();
    let loss = AdaptiveWeight { p: 1.0, c: 1e-3 * VALUES / (ALPHA * ALPHA) }.apply(&bounded);
    ALPHA_FLOW.close("residuals", &values(all(bounded)), &theirs, TOLERANCE);
    fixture.assert_gradients(&live, &loss.backward(), "alpha.gradient", &ALPHA_FLOW, TOLERANCE);
    // The clamp is active here, and one that is not changes nothing.
    let [free, loose] = [None, Some(1e6)].map(|clamp| values(all(residuals(clamp))));
    assert!(relative_error(&free, &theirs) > 0.01);
    assert_close("a bound that nothing reaches", &loose, &free, 1e-5);
}

#[test]
fn shortcuts_with_their_clamps_are_as_published() {
    let fixture = fixture();
    let [live, average] = networks(&fixture, &autodiff_device());
    let (path, times) = batch(&fixture, INTERVALS);
    let models = Models { online: &live, detached: &live.valid(), ema: &average };
    let errors = |clamp| {
        let objective = Objective::Shortcut(Shortcut { clamp, ..Shortcut::default() });
        all(objective.residuals(models, path.clone(), times.clone(), None, 0))
    };
    let bounded = errors(Some(BOUND));
    SHORTCUT.close("residuals", &values(bounded.clone()), fixture.values("shortcut.errors"), TOLERANCE);
    fixture.assert_gradients(&live, &bounded.sum().backward(), "shortcut.gradient", &SHORTCUT, TOLERANCE);
    let [free, loose] = [None, Some(1e6)].map(|clamp| values(errors(clamp)));
    assert!(relative_error(&free, fixture.values("shortcut.errors")) > 0.01);
    assert_eq!(loose, free);
}
