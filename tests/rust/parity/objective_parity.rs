//! Objectives other than MeanFlow's own, and guidance, against PyTorch in float64 (`tests/fixtures/objectives.py`):
//! errors, and the gradient of every parameter.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use meanflow::flow::{
    AdaptiveWeight, AlphaFlow, AverageVelocity, Consistency, DecoupledMeanFlow, Guidance, GuidanceDraws, Models,
    MomentMatching, ObjectiveConfig, PathSample, Residuals, Shortcut, StepInputs, TerminalVelocity, Times, interpolate,
};
use meanflow::model::{GuidanceInputs, Output, TimeInputs};
use meanflow::net::GuidanceScale;
use meanflow::{Net, NetConfig};

use crate::parity::Fixture;
use crate::parity_log::{
    ALPHA_FLOW, CONSISTENCY, Comparison, DECOUPLED, GUIDANCE, GUIDANCE_INPUT, IMPROVED_HEAD, IMPROVED_OBJECTIVE,
    MOMENT_MATCHING, PIXEL_OBJECTIVE, SHORTCUT, TERMINAL_VELOCITY,
};
use crate::support::{assert_close, autodiff_device, relative_error, values};

/// Relative error allowed between burn in f32 and PyTorch in f64.
const TOLERANCE: f64 = 1e-4;
/// And where a derivative is differentiated once more.
const SECOND: f64 = 3e-4;

/// Those of the script.
const BOUND: f64 = 0.6;
const ALPHA: f64 = 0.4;
const DECODER_DEPTH: usize = 2;
const CLASSES: usize = 3;
const OMEGA: f64 = 0.5;
const KAPPA: f64 = 0.6;
const INTERVAL: [f64; 2] = [0.05, 0.95];
const GAP: f64 = 0.25;
/// Rows of which have `r < t`; they come first.
const INTERVALS: usize = 4;
/// Values of an image.
const VALUES: f64 = 128.0;

fn fixture() -> Fixture {
    Fixture::read(include_bytes!("../../fixtures/objectives.safetensors"))
}

/// The first rows of the batch.
fn batch(fixture: &Fixture, rows: usize) -> (PathSample, Times) {
    let [x, e] = ["x", "e"].map(|name| fixture.tensor::<4>(name).narrow(0, 0, rows));
    let [t, r] = ["t", "r"].map(|name| fixture.tensor::<1>(name).narrow(0, 0, rows));
    (interpolate(x, e, t.clone()), Times { t, r, intervals: INTERVALS })
}

/// The errors of the average velocity, and of an auxiliary head after them.
fn all(residuals: Residuals) -> Tensor<1> {
    let Residuals { interval, instant, auxiliary } = residuals;
    Tensor::cat([interval, instant, auxiliary].into_iter().flatten().collect(), 0)
}

/// Residuals, each of which is to be as near as the largest: some of pixel MeanFlow's are a thousand times as large as
/// others.
fn assert_each(residuals: Residuals, reference: &[f32], quantity: &str, comparison: &Comparison) {
    let ours = values(all(residuals));
    assert_eq!(ours.len(), reference.len(), "rows");
    let farthest = ours.iter().zip(reference).map(|(ours, theirs)| relative_error(&[*ours], &[*theirs]));
    comparison.within(quantity, farthest.fold(0.0, f64::max), TOLERANCE);
}

/// Residuals, and gradients of the loss as MeanFlow weighs them.
fn assert_weighed(fixture: &Fixture, net: &Net, residuals: Residuals, name: &str, comparison: &Comparison) {
    let loss = AdaptiveWeight { p: 1.0, c: 0.01 }.apply(&residuals);
    assert_each(residuals, fixture.values(&format!("{name}.errors")), "residuals, each by itself", comparison);
    fixture.assert_gradients(net, &loss.backward(), &format!("{name}.gradient"), comparison, TOLERANCE);
}

/// The live network and the averaged one.
fn networks(fixture: &Fixture, tape: &Device) -> [Net; 2] {
    let live = fixture.net(&fixture.config, "live.parameter", tape);
    [live, fixture.net(&fixture.config, "average.parameter", tape).valid()]
}

fn terminal_velocity(fixture: &Fixture, tape: &Device, through_derivative: bool) {
    let [live, average] = networks(fixture, tape);
    let (path, times) = batch(fixture, 6);
    let objective = ObjectiveConfig::TerminalVelocity(TerminalVelocity { through_derivative, ..Default::default() });
    let models = Models { online: &live, detached: &live.valid(), ema: &average };
    let errors = all(objective.residuals(models, StepInputs::new(path, times, None), 0));
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
    let objective = ObjectiveConfig::DecoupledMeanFlow(DecoupledMeanFlow::default());
    let residuals = objective.residuals(Models::all(&net), StepInputs::new(path, times, None), 0);
    let loss = AdaptiveWeight { p: 1.0, c: 0.01 * VALUES }.apply(&residuals);
    DECOUPLED.close("residuals", &values(all(residuals)), fixture.values("decoupled.errors"), TOLERANCE);
    fixture.assert_gradients(&net, &loss.backward(), "decoupled.gradient", &DECOUPLED, TOLERANCE);
}

/// `α` of their schedule at step 600 of 1000.
fn alpha_flow(clamp: Option<f64>) -> ObjectiveConfig {
    let gamma = (1.0 / ALPHA - 1.0).ln() / 0.1;
    let config = AlphaFlow { start: 0, end: 1000, gamma, clamp, ..AlphaFlow::default() };
    assert!((config.alpha_at(600) - ALPHA).abs() < 1e-12);
    ObjectiveConfig::AlphaFlow(config)
}

/// The authors weigh by `α/(m + ε)`; ours has the residual over α, whose square is `1/α²` times as large.
#[test]
fn alpha_flow_with_its_clamp_is_as_published() {
    let fixture = fixture();
    let [live, average] = networks(&fixture, &autodiff_device());
    let (path, times) = batch(&fixture, INTERVALS);
    let models = Models { online: &live, detached: &live.valid(), ema: &average };
    let residuals =
        |clamp| alpha_flow(clamp).residuals(models, StepInputs::new(path.clone(), times.clone(), None), 600);
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
        let objective = ObjectiveConfig::Shortcut(Shortcut { clamp, ..Shortcut::default() });
        all(objective.residuals(models, StepInputs::new(path.clone(), times.clone(), None), 0))
    };
    let bounded = errors(Some(BOUND));
    SHORTCUT.close("residuals", &values(bounded.clone()), fixture.values("shortcut.errors"), TOLERANCE);
    fixture.assert_gradients(&live, &bounded.sum().backward(), "shortcut.gradient", &SHORTCUT, TOLERANCE);
    let [free, loose] = [None, Some(1e6)].map(|clamp| values(errors(clamp)));
    assert!(relative_error(&free, fixture.values("shortcut.errors")) > 0.01);
    assert_eq!(loose, free);
}

/// Along the network's own velocity, by `u(z, t, t)` or by a second head, which learns the path's velocity.
#[test]
fn improved_mean_flow_is_as_published_with_a_second_head_or_without() {
    let fixture = fixture();
    let (path, times) = batch(&fixture, 6);
    for (velocity_head, name, comparison) in
        [(None, "improved", &IMPROVED_OBJECTIVE), (Some(1), "improved_head", &IMPROVED_HEAD)]
    {
        let config = NetConfig { velocity_head, ..fixture.config.clone() };
        let net = fixture.net(&config, "live.parameter", &autodiff_device());
        let residuals = |objective: ObjectiveConfig| {
            let frozen = net.valid();
            let nets = Models { online: &net, detached: &frozen, ema: &frozen };
            objective.residuals(nets, StepInputs::new(path.clone(), times.clone(), None), 0)
        };
        assert_weighed(
            &fixture,
            &net,
            residuals(ObjectiveConfig::ImprovedMeanFlow(Default::default())),
            name,
            comparison,
        );
        // Along the path's velocity it is another objective.
        let other = values(all(residuals(ObjectiveConfig::MeanFlow(Default::default()))));
        assert!(relative_error(&other, fixture.values(&format!("{name}.errors"))) > 0.01);
    }
}

/// Two rows have times below the least divisor, one of them with `r < t`.
#[test]
fn pixel_mean_flow_divides_as_published() {
    let fixture = fixture();
    let objective = ObjectiveConfig::PixelMeanFlow(Default::default());
    let residuals = |net: &Net| {
        let times = Times { t: fixture.tensor("pixel.t"), r: fixture.tensor("pixel.r"), intervals: INTERVALS };
        let path = objective.path(fixture.tensor("x"), fixture.tensor("e"), times.t.clone());
        let frozen = net.valid();
        objective.residuals(
            Models { online: net, detached: &frozen, ema: &frozen },
            StepInputs::new(path, times, None),
            0,
        )
    };
    let config = NetConfig { output: Output::Image, ..fixture.config.clone() };
    let net = fixture.net(&config, "live.parameter", &autodiff_device());
    let quantity = "residuals, each by itself, without a second head";
    assert_each(residuals(&net), fixture.values("pixel.errors"), quantity, &PIXEL_OBJECTIVE);
    let net = fixture.net(&NetConfig { velocity_head: Some(1), ..config }, "live.parameter", &autodiff_device());
    assert_weighed(&fixture, &net, residuals(&net), "pixel_head", &PIXEL_OBJECTIVE);
}

/// Rows after the interval and within it, with `r < t` and with `r = t`, and one without a class.
#[test]
fn guidance_in_the_target_is_as_published() {
    let fixture = fixture();
    let config = NetConfig { classes: CLASSES, ..fixture.config.clone() };
    let net = fixture.net(&config, "live.parameter", &autodiff_device());
    let frozen = net.valid();
    let (path, times) = batch(&fixture, 6);
    let labels = fixture.labels(&[0, 1, 2, 3, 4, 5]).expect("it has labels");
    let [start, end] = INTERVAL;
    let guided = |omega, kappa| {
        let guidance = Guidance { omega, kappa, start, end, input: None };
        guidance.apply(&frozen, path.clone(), &times.t, &labels, CLASSES)
    };
    GUIDANCE.close("v, κ = 0", &values(guided(2.0, 0.0).v), fixture.values("guided_alone.v"), TOLERANCE);
    let path = guided(OMEGA, KAPPA);
    GUIDANCE.close("v, κ = 0.6", &values(path.v.clone()), fixture.values("guided.v"), TOLERANCE);
    let nets = Models { online: &net, detached: &frozen, ema: &frozen };
    let residuals = ObjectiveConfig::default().residuals(nets, StepInputs::new(path, times, Some(labels)), 0);
    assert_weighed(&fixture, &net, residuals, "guided", &GUIDANCE);
}

/// Rows after their interval, within it, before it, within it; two of all times, of which the second has no class.
#[test]
fn guidance_as_an_input_is_as_published() {
    let fixture = fixture();
    let config = NetConfig { classes: CLASSES, guidance: GuidanceInputs::ScaleAndInterval, ..fixture.config.clone() };
    let net = fixture.net(&config, "live.parameter", &autodiff_device());
    let frozen = net.valid();
    let (path, times) = batch(&fixture, 6);
    let [scale, start, end] = ["scale", "start", "end"].map(|name| fixture.tensor(&format!("input.{name}")));
    let labels = fixture.labels(&[0, 1, 2, 3, 4, 5]).expect("it has labels");
    let labels = labels.guided(GuidanceScale { scale, start, end });
    let guidance = Guidance { input: Some(GuidanceDraws::default()), ..Guidance::default() };
    let path = guidance.apply(&frozen, path, &times.t, &labels, CLASSES);
    GUIDANCE_INPUT.close("v", &values(path.v.clone()), fixture.values("input.v"), TOLERANCE);
    let nets = Models { online: &net, detached: &frozen, ema: &frozen };
    let residuals = ObjectiveConfig::ImprovedMeanFlow(Default::default()).residuals(
        nets,
        StepInputs::new(path, times, Some(labels)),
        0,
    );
    assert_each(residuals, fixture.values("input.errors"), "residuals, each by itself", &GUIDANCE_INPUT);
}

/// The authors' loss is the distance over `t − s`; ours, with `p = 0.5`, has its value and twice its gradient, since
/// the weight is held.
#[test]
fn consistency_is_the_distance_over_the_gap() {
    let fixture = fixture();
    let net = fixture.net(&fixture.config, "live.parameter", &autodiff_device());
    let config = Consistency { steps_per_stage: 1, ..Consistency::default() };
    assert_eq!(config.gap_at(1), GAP);
    let (path, Times { t, intervals, .. }) = batch(&fixture, INTERVALS);
    let times = Times { r: t.zeros_like(), t, intervals };
    let frozen = net.valid();
    let nets = Models { online: &net, detached: &frozen, ema: &frozen };
    let residuals = ObjectiveConfig::Consistency(config).residuals(nets, StepInputs::new(path, times, None), 1);
    let loss = AdaptiveWeight { p: 0.5, c: 1e-12 }.apply(&residuals);
    let theirs = fixture.values("consistency.errors");
    let distance = theirs.iter().map(|square| square.sqrt()).sum::<f32>() / INTERVALS as f32;
    CONSISTENCY.close("residuals", &values(all(residuals)), theirs, TOLERANCE);
    CONSISTENCY.close("loss", &values(loss.clone()), &[distance], TOLERANCE);
    fixture.assert_gradients(&net, &(loss * 0.5).backward(), "consistency.gradient", &CONSISTENCY, TOLERANCE);
}

/// Two groups of two, of one of which the teacher's time is where the jumps land.
#[test]
fn moment_matching_is_the_weighted_discrepancy_of_its_groups() {
    let fixture = fixture();
    let net = fixture.net(&fixture.config, "live.parameter", &autodiff_device());
    let times = Times { t: fixture.tensor("moments.t"), r: fixture.tensor("moments.r"), intervals: INTERVALS };
    let [x, e] = ["x", "e"].map(|name| fixture.tensor::<4>(name).narrow(0, 0, INTERVALS));
    let path = interpolate(x, e, times.t.clone());
    let objective = ObjectiveConfig::MomentMatching(MomentMatching { group: 2, k: 6, b: 5.0 });
    let frozen = net.valid();
    let nets = Models { online: &net, detached: &frozen, ema: &frozen };
    let errors = all(objective.residuals(nets, StepInputs::new(path, times, None), 0));
    MOMENT_MATCHING.close("residuals", &values(errors.clone()), fixture.values("moments.errors"), TOLERANCE);
    fixture.assert_gradients(&net, &errors.mean().backward(), "moments.gradient", &MOMENT_MATCHING, TOLERANCE);
}
