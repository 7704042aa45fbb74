//! Every objective on the closed-form flow: the law that its target obeys there, and its definition where that is no
//! law.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use meanflow::flow::{
    AdaptiveWeight, AlphaFlow, AverageVelocity, Consistency, DecoupledMeanFlow, Direction, FlowMatching,
    ImprovedMeanFlow, MeanFlow, Models, MomentMatching, ObjectiveConfig, PathSample, PixelMeanFlow, Residuals,
    Shortcut, StepInputs, TerminalVelocity, Times, TimesConfig, interpolate, step,
};
use meanflow::net::{Labels, Velocities, velocity_from_image};
use meanflow::rng::{Purpose, Stream};
use meanflow::{Dual, Net};

use crate::oracle::{Gaussian, M, S, SHAPE, constant, situation};
use crate::parity_log::EXACT_TARGETS;
use crate::support::{
    assert_close, autodiff_device, device, gradients, random, random_net, relative_error, tiny_config, values,
};

const BATCH: usize = SHAPE[0];

fn mean_flow(direction: Direction) -> ObjectiveConfig {
    MeanFlow { direction }.into()
}

fn improved(direction: Direction) -> ObjectiveConfig {
    ImprovedMeanFlow { direction }.into()
}

fn pixel() -> ObjectiveConfig {
    PixelMeanFlow::default().into()
}

fn terminal_velocity() -> ObjectiveConfig {
    ObjectiveConfig::TerminalVelocity(TerminalVelocity::default())
}

fn decoupled() -> ObjectiveConfig {
    ObjectiveConfig::DecoupledMeanFlow(DecoupledMeanFlow::default())
}

/// α of a half at step 500, a tenth at 588, none from 1000 on.
fn alpha_flow() -> AlphaFlow {
    AlphaFlow { start: 0, end: 1000, ..AlphaFlow::default() }
}

/// Errors of rows that all have `r < t`.
fn errors(
    objective: &ObjectiveConfig,
    models: Models<'_>,
    [z, v]: [Tensor<4>; 2],
    [r, t]: [Tensor<1>; 2],
    at: u64,
) -> Vec<f32> {
    let intervals = z.dims()[0];
    let residuals =
        objective.residuals(models, StepInputs::new(PathSample { z, v }, Times { t, r, intervals }, None), at);
    values(residuals.interval.expect("rows with r < t"))
}

/// The same at the true field with its marginal velocity.
fn at_the_true_field(objective: &ObjectiveConfig, at: u64) -> Vec<f32> {
    let (z, r, t, v) = situation();
    errors(objective, Models::all(&Gaussian), [z, v], [r, t], at)
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |m: f32, x| if x.is_nan() { f32::INFINITY } else { m.max(*x) })
}

fn root_mean(values: &[f32]) -> f64 {
    (values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64).sqrt()
}

/// Errors and gradients of a batch with both kinds of rows, beside those of each kind by itself.
#[test]
fn rows_of_both_kinds_are_one_pass_and_what_they_are_alone() {
    let config = meanflow::NetConfig { velocity_head: Some(1), ..tiny_config(3, 0) };
    let net = random_net(&config, &autodiff_device());
    let (z, v) = (random::<4>(1, [5, 3, 8, 8]), random::<4>(2, [5, 3, 8, 8]));
    let t = Tensor::<1>::from_data([0.9, 0.7, 0.8, 0.5, 0.1], &device());
    let r = Tensor::<1>::from_data([0.2, 0.4, 0.8, 0.5, 0.1], &device());
    for objective in [mean_flow(Direction::V01), improved(Direction::V01), pixel()] {
        let of = |start: usize, length: usize, intervals: usize| {
            let [z, v] = [&z, &v].map(|x| x.clone().narrow(0, start, length));
            let [t, r] = [&t, &r].map(|x| x.clone().narrow(0, start, length));
            objective.residuals(
                Models::all(&net),
                StepInputs::new(PathSample { z, v }, Times { t, r, intervals }, None),
                0,
            )
        };
        let (both, interval, instant) = (of(0, 5, 2), of(0, 2, 2), of(2, 3, 0));
        assert!(interval.instant.is_none() && instant.interval.is_none());
        let auxiliary = |part: &Residuals| values(part.auxiliary.clone().expect("there is a head"));
        assert_close("head", &auxiliary(&both), &[auxiliary(&interval), auxiliary(&instant)].concat(), 1e-5);
        let parts = [(both.interval, interval.interval), (both.instant, instant.instant)];
        let [mut joint, mut alone] = [Tensor::zeros([1], &autodiff_device()), Tensor::zeros([1], &autodiff_device())];
        for (one, other) in parts.map(|(one, other)| (one.expect("its rows"), other.expect("its rows"))) {
            assert_close("errors", &values(one.clone()), &values(other.clone()), 1e-5);
            (joint, alone) = (joint + one.sum(), alone + other.sum());
        }
        joint = joint + both.auxiliary.expect("there is a head").sum();
        alone = alone + interval.auxiliary.expect("it too").sum() + instant.auxiliary.expect("it too").sum();
        assert_close("gradients", &gradients(&net, joint), &gradients(&net, alone), 1e-5);
    }
}

#[test]
fn targets_that_are_exact_are_met_by_the_true_field() {
    let right = Direction::default();
    for (name, objective, at) in [
        ("MeanFlow", mean_flow(right), 0),
        ("improved MeanFlow", improved(right), 0),
        ("decoupled MeanFlow", decoupled(), 0),
        ("terminal velocity matching", terminal_velocity(), 0),
        ("Shortcut", ObjectiveConfig::Shortcut(Shortcut::default()), 0),
        ("α-Flow at α = 0", ObjectiveConfig::AlphaFlow(alpha_flow()), 1000),
    ] {
        let worst = largest(&at_the_true_field(&objective, at));
        EXACT_TARGETS.within(&format!("squared residual of {name}"), worst.into(), 1e-8);
    }
}

#[test]
fn the_wrong_directions_are_not_met_by_it() {
    for direction in [Direction::V00, Direction::V10, Direction::V11] {
        for objective in [mean_flow(direction), improved(direction)] {
            let worst = largest(&at_the_true_field(&objective, 0));
            assert!(worst > 0.1, "{objective:?}: {worst}");
        }
    }
}

/// A field that knows the velocity but not where a jump lands meets neither identity.
#[test]
fn the_velocity_alone_does_not_meet_the_targets_of_jumps() {
    let (z, r, t, v) = situation();
    for objective in [mean_flow(Direction::V01), decoupled(), terminal_velocity()] {
        let models = Models { online: &Instant, detached: &Instant, ema: &Instant };
        let worst = largest(&errors(&objective, models, [z.clone(), v.clone()], [r.clone(), t.clone()], 0));
        assert!(worst > 0.1, "{objective:?}: {worst}");
    }
}

/// `v` of the closed-form flow in place of `u`.
struct Instant;

impl AverageVelocity for Instant {
    fn u(&self, z: Dual<4>, _: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        Gaussian.u(z, t.clone(), t, labels)
    }
}

/// The residual by its definition, and what it would be with each of its parts wrong, which the true field does not
/// meet.
#[test]
fn terminal_velocity_is_asked_where_the_jump_lands_along_the_time_of_its_end() {
    let (z, r, t, v) = situation();
    let wide = |times: Tensor<1>| times.reshape([BATCH, 1, 1, 1]);
    let residual = |field: &dyn AverageVelocity, sign: f64, lands: bool, end: bool| {
        let moving = |time: &Tensor<1>, moves| match moves {
            true => Dual::new(time.clone(), time.ones_like()),
            false => time.clone().into(),
        };
        let u = field.u(z.clone().into(), moving(&r, end), moving(&t, !end), None);
        let span = wide(t.clone() - r.clone());
        let landing = if lands { z.clone() - span.clone() * u.primal.clone() } else { z.clone() };
        let velocity = Gaussian.u(landing.into(), r.clone().into(), r.clone().into(), None).primal;
        let residual = u.primal - span * u.tangent.expect("it moves") * sign - velocity;
        values((residual.clone() * residual).flatten::<2>(1, 3).sum_dim(1))
    };
    let right = Gaussian;
    assert!(largest(&residual(&right, 1.0, true, true)) < 1e-8);
    for (what, wrong) in [
        ("without the derivative", residual(&right, 0.0, true, true)),
        ("the derivative turned round", residual(&right, -1.0, true, true)),
        ("asked where the jump begins", residual(&right, 1.0, false, true)),
        ("along the time where it begins", residual(&right, 1.0, true, false)),
    ] {
        assert!(largest(&wrong) > 0.1, "{what}: {}", largest(&wrong));
    }
    // Off the true field too it is that, asked of the averaged network.
    let shifted = Shifted;
    let models = Models { online: &shifted, detached: &shifted, ema: &right };
    let ours = errors(&terminal_velocity(), models, [z.clone(), v], [r.clone(), t.clone()], 0);
    assert_close("errors", &ours, &residual(&shifted, 1.0, true, true), 1e-4);
}

/// Lengths of jumps are logit-normal, and where they end is drawn from the times that are left.
#[test]
fn terminal_velocity_draws_the_length_of_a_jump_and_then_its_end() {
    let config = TerminalVelocity { gap_mean: 0.5, gap_std: 0.7, ..TerminalVelocity::default() };
    let times = TimesConfig { mean: -0.4, std: 1.0, uniform: 0.0, ..TimesConfig::default() };
    let mut stream = Stream::new(3, Purpose::Times, 0);
    let drawn = ObjectiveConfig::TerminalVelocity(config).times(&times, [20_000, 0], 1.0, &mut stream, &device());
    let (r, t) = (values(drawn.r), values(drawn.t));
    let logit = |x: f32| f64::from(x).ln() - (1.0 - f64::from(x)).ln();
    let lengths: Vec<f64> = r.iter().zip(&t).map(|(r, t)| logit(t - r)).collect();
    let mean = lengths.iter().sum::<f64>() / 20_000.0;
    let deviation = (lengths.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0).sqrt();
    assert!((mean - 0.5).abs() < 0.02 && (deviation - 0.7).abs() < 0.02, "{mean}, {deviation}");
    // Of the normal below the last time that each length leaves, the share that lies before r is uniform.
    let below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
    let mut shares: Vec<f64> =
        r.iter().zip(&t).map(|(r, t)| below(logit(*r) + 0.4) / below(logit(1.0 - (t - r)) + 0.4)).collect();
    shares.sort_by(f64::total_cmp);
    let apart = shares.iter().enumerate().map(|(i, share)| (share - (i as f64 + 0.5) / 20_000.0).abs());
    let worst = apart.fold(0.0, f64::max);
    assert!(worst < 0.015, "the shares are not uniform: {worst}");
    assert!(r.iter().zip(&t).all(|(r, t)| 0.0 < *r && r < t && *t <= 1.0));
}

#[test]
fn decoupled_mean_flow_draws_times_of_their_own_for_rows_at_rest() {
    let config = DecoupledMeanFlow { instant_mean: 1.5, instant_std: 0.5 };
    let times = TimesConfig { mean: -2.0, std: 0.5, uniform: 0.0, ..TimesConfig::default() };
    let draw = |objective: ObjectiveConfig| {
        let mut stream = Stream::new(3, Purpose::Times, 0);
        let drawn = objective.times(&times, [4000, 0], 0.5, &mut stream, &device());
        (values(drawn.r), values(drawn.t))
    };
    let (plain, (r, t)) = (draw(ObjectiveConfig::default()), draw(ObjectiveConfig::DecoupledMeanFlow(config)));
    assert_eq!((&r[..2000], &t[..2000]), (&plain.0[..2000], &plain.1[..2000]));
    assert_eq!(r[2000..], t[2000..]);
    let mean = |times: &[f32]| times.iter().map(|t| (t / (1.0 - t)).ln()).sum::<f32>() / times.len() as f32;
    assert!((mean(&t[2000..]) - 1.5).abs() < 0.05 && (mean(&plain.1[2000..]) + 2.0).abs() < 0.05);
}

/// A conditional velocity is the marginal one and a deviation `n`, zero on average. At the true field MeanFlow's
/// residual is then `−σ_r/σ_t n`, since `n` enters the derivative too, and improved MeanFlow's is `−n`: both are zero
/// on average.
#[test]
fn the_residual_is_linear_in_the_conditional_velocity_and_the_tangent_decides_how() {
    let (z, r, t, v) = situation();
    let n = random(11, SHAPE);
    let squares = values((n.clone() * n.clone()).flatten::<2>(1, 3).sum_dim(1));
    let sigma = |t: &f32| ((1.0 - t) * (1.0 - t) * (S * S) as f32 + t * t).sqrt();
    let ratios: Vec<f32> = values(r.clone()).iter().zip(&values(t.clone())).map(|(r, t)| sigma(r) / sigma(t)).collect();
    let narrowed: Vec<f32> = squares.iter().zip(ratios).map(|(n, ratio)| n * ratio * ratio).collect();
    for sign in [1.0, -1.0] {
        let path = [z.clone(), v.clone() + n.clone() * sign];
        let of = |objective| errors(&objective, Models::all(&Gaussian), path.clone(), [r.clone(), t.clone()], 0);
        assert_close("mean-flow", &of(mean_flow(Direction::V01)), &narrowed, 1e-4);
        assert_close("improved-mean-flow", &of(improved(Direction::V01)), &squares, 1e-4);
        assert_close("pixel-mean-flow", &of(pixel()), &squares, 1e-4);
    }
}

/// The closed-form flow as a network whose output is an image.
struct Image;

impl AverageVelocity for Image {
    fn u(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        let [batch] = t.dims();
        let u = Gaussian.u(z.clone(), r, t.clone(), labels);
        let x = z.clone() - t.clone().reshape([batch, 1, 1, 1]) * u;
        velocity_from_image(z, x, t)
    }
}

#[test]
fn pixel_mean_flow_is_exact_through_the_conversion_where_it_is_not_clipped() {
    let (z, r, t, _) = situation();
    let t = t.clamp_min(0.06);
    let v = Gaussian.u(z.clone().into(), t.clone().into(), t.clone().into(), None).primal;
    let worst = largest(&errors(&pixel(), Models::all(&Image), [z, v], [r, t], 0));
    EXACT_TARGETS.within("squared residual of pixel MeanFlow", worst.into(), 1e-6);
}

#[test]
fn pixel_mean_flow_divides_the_velocity_of_the_path_as_its_network_does() {
    let (x, e) = (random(1, [2, 1, 2, 2]), random(2, [2, 1, 2, 2]));
    let t = Tensor::<1>::from_data(TensorData::new(vec![0.01_f32, 0.4], [2]), &device());
    let PathSample { z, v } = pixel().path(x.clone(), e.clone(), t.clone());
    let expected = velocity_from_image(z.into(), x.clone().into(), t.clone().into()).primal;
    assert_close("v", &values(v.clone()), &values(expected), 1e-5);
    let plain = ObjectiveConfig::default().path(x, e, t);
    assert_close("v at 0.4", &values(v.clone().narrow(0, 1, 1)), &values(plain.v.clone().narrow(0, 1, 1)), 1e-5);
    assert!(relative_error(&values(v), &values(plain.v)) > 0.1);
}

/// The target by its definition, `α v + (1 − α) u(z − α (t − r) v, r, t − α (t − r))`, and the residual over α.
#[test]
fn alpha_flow_regresses_on_a_point_before_and_becomes_mean_flow() {
    let (z, r, t, v) = situation();
    let objective = ObjectiveConfig::AlphaFlow(alpha_flow());
    let u = |z: Tensor<4>, t: Tensor<1>| Gaussian.u(z.into(), r.clone().into(), t.into(), None).primal;
    for at in [0, 500, 588] {
        let alpha = alpha_flow().alpha_at(at);
        let back = (t.clone() - r.clone()) * alpha;
        let z_back = z.clone() - back.clone().reshape([BATCH, 1, 1, 1]) * v.clone();
        let target = v.clone() * alpha + u(z_back, t.clone() - back) * (1.0 - alpha);
        let residual = (u(z.clone(), t.clone()) - target) / alpha;
        let expected = values((residual.clone() * residual).flatten::<2>(1, 3).sum_dim(1));
        assert_close(&format!("α = {alpha}"), &at_the_true_field(&objective, at), &expected, 1e-3);
    }
    // Its bias at the true field falls as α does: from a tenth to a fifth of that.
    let (coarse, fine) = (alpha_flow().alpha_at(588), alpha_flow().alpha_at(655));
    let fall = root_mean(&at_the_true_field(&objective, 588)) / root_mean(&at_the_true_field(&objective, 655));
    assert!((fall / (coarse / fine) - 1.0).abs() < 0.2, "α falls {:.2} times, the bias {fall:.2}", coarse / fine);
}

#[test]
fn alpha_goes_from_one_to_zero_and_snaps() {
    let config = AlphaFlow { start: 100, end: 1100, gamma: 25.0, snap: 0.005, clamp: None };
    assert_eq!([0, 99, 300].map(|at| config.alpha_at(at)), [1.0; 3]);
    assert_eq!([900, 1100, 5000].map(|at| config.alpha_at(at)), [0.0; 3]);
    assert!((config.alpha_at(600) - 0.5).abs() < 1e-12);
    assert!((config.alpha_at(640) - 1.0 / (1.0 + 1.0_f64.exp())).abs() < 1e-12);
}

fn path_of_a_net() -> ([Tensor<4>; 2], [Tensor<1>; 2]) {
    let PathSample { z, v } =
        interpolate(random(1, [4, 3, 8, 8]), random(2, [4, 3, 8, 8]), times([0.9, 0.7, 0.6, 0.3]));
    ([z, v], [times([0.1, 0.2, 0.5, 0.0]), times([0.9, 0.7, 0.6, 0.3])])
}

fn times(values: [f32; 4]) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [4]), &device())
}

/// Gradients of an objective's summed errors.
fn gradients_of(objective: &ObjectiveConfig, net: &Net, models: Models<'_>, at: u64) -> Vec<f32> {
    let ([z, v], [r, t]) = path_of_a_net();
    let residuals =
        objective.residuals(models, StepInputs::new(PathSample { z, v }, Times { t, r, intervals: 4 }, None), at);
    gradients(net, residuals.interval.expect("rows with r < t").sum())
}

/// The residual is divided by α, but its gradient is not: at a small α it is MeanFlow's.
#[test]
fn the_gradient_of_alpha_flow_becomes_that_of_mean_flow() {
    let net = random_net(&tiny_config(3, 0), &autodiff_device());
    let small = ObjectiveConfig::AlphaFlow(alpha_flow());
    let limit = gradients_of(&ObjectiveConfig::default(), &net, Models::all(&net), 0);
    assert_close("α = 0", &gradients_of(&small, &net, Models::all(&net), 1000), &limit, 1e-6);
    assert_close("α = 0.008", &gradients_of(&small, &net, Models::all(&net), 693), &limit, 0.05);
    assert!(relative_error(&gradients_of(&small, &net, Models::all(&net), 0), &limit) > 0.1);
}

fn all_objectives() -> Vec<(ObjectiveConfig, u64)> {
    let right = Direction::default();
    vec![
        (mean_flow(right), 0),
        (improved(right), 0),
        (pixel(), 0),
        (decoupled(), 0),
        (terminal_velocity(), 0),
        (ObjectiveConfig::TerminalVelocity(TerminalVelocity { through_derivative: false, ..Default::default() }), 0),
        (ObjectiveConfig::AlphaFlow(alpha_flow()), 500),
        (ObjectiveConfig::AlphaFlow(AlphaFlow { clamp: Some(1.0), ..alpha_flow() }), 500),
        (ObjectiveConfig::Shortcut(Shortcut::default()), 0),
        (ObjectiveConfig::Shortcut(Shortcut { clamp: Some(0.5), ..Shortcut::default() }), 0),
        (ObjectiveConfig::Consistency(Consistency::default()), 0),
        (ObjectiveConfig::MomentMatching(MomentMatching { group: 2, ..MomentMatching::default() }), 0),
    ]
}

/// Targets asked of networks on the tape give the gradients of targets asked of networks off it.
#[test]
fn no_gradient_flows_through_a_target() {
    let net = random_net(&tiny_config(3, 0), &autodiff_device());
    let frozen = net.valid();
    for (objective, at) in all_objectives() {
        let proper = gradients_of(&objective, &net, Models { online: &net, detached: &frozen, ema: &frozen }, at);
        let taped = gradients_of(&objective, &net, Models::all(&net), at);
        assert!(proper.iter().any(|g| g.abs() > 1e-3), "{objective:?} has no gradient");
        assert_close(&format!("{objective:?}"), &taped, &proper, 1e-3);
    }
}

/// `u` of the closed-form flow and one more.
#[derive(Clone)]
struct Shifted;

impl AverageVelocity for Shifted {
    fn u(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        Gaussian.u(z, r, t, labels).shift(1.0)
    }
}

#[test]
fn shortcuts_and_terminal_velocity_learn_from_the_averaged_network_and_improved_mean_flow_from_the_live_one() {
    let (right, wrong) = (Gaussian, Shifted);
    let (z, r, t, v) = situation();
    let error = |objective: &ObjectiveConfig, frozen: &dyn AverageVelocity, average: &dyn AverageVelocity| {
        let models = Models { online: &right, detached: frozen, ema: average };
        root_mean(&errors(objective, models, [z.clone(), v.clone()], [r.clone(), t.clone()], 0))
    };
    let (shortcut, improved) = (ObjectiveConfig::Shortcut(Shortcut::default()), improved(Direction::default()));
    for averaged in [shortcut, terminal_velocity()] {
        assert!(error(&averaged, &right, &wrong) > 0.5 && error(&averaged, &wrong, &right) < 1e-4);
    }
    assert!(error(&improved, &wrong, &right) > 0.1 && error(&improved, &right, &wrong) < 1e-4);
}

/// `(f(z_t, t) − f(z_s, s))/(t − s)` with the jump `f` to time 0.
#[test]
fn consistency_compares_the_jumps_from_two_times_of_a_path() {
    let config = Consistency { steps_per_stage: 10, stages: 8 };
    let objective = ObjectiveConfig::Consistency(config.clone());
    let z = random(1, [4, 1, 4, 4]);
    let v = random(2, [4, 1, 4, 4]);
    let (t, s) = (0.8, 0.8 * (1.0 - config.gap_at(25)));
    let at = |time: f64| Tensor::<1>::full([4], time, &device());
    let jump = |z: Tensor<4>, t: f64| step(&Gaussian, z, 0.0, t, None);
    let quotient = (jump(z.clone(), t) - jump(z.clone() - v.clone() * (t - s), s)) / (t - s);
    let expected = values((quotient.clone() * quotient).flatten::<2>(1, 3).sum_dim(1));
    let ours = errors(&objective, Models::all(&Gaussian), [z, v], [at(0.0), at(t)], 25);
    assert_close("error", &ours, &expected, 1e-4);
}

/// Along the marginal velocity the quotient is zero only as `s → t`; it falls as the gap does.
#[test]
fn consistency_is_exact_as_its_times_meet() {
    let config = Consistency { steps_per_stage: 1, stages: 8 };
    let objective = ObjectiveConfig::Consistency(config.clone());
    assert_eq!([0, 1, 8, 100].map(|at| config.gap_at(at)), [0.5, 0.25, 1.0 / 512.0, 1.0 / 512.0]);
    let (z, _, t, v) = situation();
    let bias = |at| {
        root_mean(&errors(&objective, Models::all(&Gaussian), [z.clone(), v.clone()], [constant(0.0), t.clone()], at))
    };
    let fall = bias(3) / bias(6);
    assert!((fall / 8.0 - 1.0).abs() < 0.2, "the gap falls 8 times, the bias {fall:.2}");
}

fn drawn(objective: &ObjectiveConfig, shape: [usize; 2], share: f64, seed: u64) -> (Vec<f32>, Vec<f32>, usize) {
    let mut stream = Stream::new(seed, Purpose::Times, 0);
    let Times { t, r, intervals } = objective.times(&TimesConfig::default(), shape, share, &mut stream, &device());
    (values(r), values(t), intervals)
}

#[test]
fn objectives_move_the_times_of_their_rows_and_no_others() {
    let plain = drawn(&ObjectiveConfig::default(), [64, 0], 0.5, 1);
    assert_eq!(plain.2, 32);
    for (objective, _) in all_objectives() {
        let (r, t, intervals) = drawn(&objective, [64, 0], 0.5, 1);
        assert_eq!(intervals, 32, "{objective:?}");
        if !matches!(objective, ObjectiveConfig::DecoupledMeanFlow(_)) {
            assert_eq!((&r[32..], &t[32..]), (&plain.0[32..], &plain.1[32..]), "{objective:?}: rows with r = t");
        }
        assert!(r.iter().zip(&t).all(|(r, t)| r <= t), "{objective:?}");
    }
    let (r, t, _) = drawn(&ObjectiveConfig::Shortcut(Shortcut { levels: 3, ..Shortcut::default() }), [64, 0], 1.0, 1);
    let steps: std::collections::BTreeSet<String> = r.iter().zip(&t).map(|(r, t)| (t - r).to_string()).collect();
    assert_eq!(steps.into_iter().collect::<Vec<_>>(), ["0.25", "0.5", "1"]);
    assert!(r.iter().zip(&t).all(|(r, t)| (r / (t - r)).fract() == 0.0), "a shortcut is off its grid");
    let (r, t, _) = drawn(&ObjectiveConfig::Consistency(Consistency::default()), [64, 0], 0.5, 1);
    assert!(r[..32].iter().all(|&r| r == 0.0) && t[..32] == plain.1[..32]);
}

#[test]
fn flow_matching_has_no_intervals_and_moment_matching_whole_groups() {
    let (r, t, intervals) = drawn(&FlowMatching {}.into(), [64, 0], 0.75, 1);
    assert_eq!((r, intervals), (t, 0));
    let groups = ObjectiveConfig::MomentMatching(MomentMatching { group: 5, ..MomentMatching::default() });
    let (r, t, intervals) = drawn(&groups, [64, 0], 0.5, 1);
    assert_eq!(intervals, 30);
    assert!(r[..30].chunks(5).zip(t[..30].chunks(5)).all(|(r, t)| r == [r[0]; 5] && t == [t[0]; 5]));
    assert_eq!(r[30..], t[30..]);
    // Rows at the end may be claimed as instantaneous whatever the share.
    let (r, t, intervals) = drawn(&ObjectiveConfig::default(), [64, 10], 1.0, 1);
    assert_eq!((intervals, &r[54..]), (54, &t[54..]));
}

/// The discrepancy of one group of two, by hand in f64.
#[test]
fn moment_matching_is_its_definition() {
    let config = MomentMatching { group: 2, k: 8, b: 5.0 };
    let (z, v) = (random(1, [2, 1, 2, 2]), random(2, [2, 1, 2, 2]));
    let (s, t) = (0.2_f64, 0.7_f64);
    let eta = t / (1.0 - t) - (0.994 / 0.006 - 0.006 / 0.994) / 256.0;
    let q = eta / (1.0 + eta);
    assert!(s < q && q < t, "the teacher's time is between");
    let points = |x: Tensor<4>| -> Vec<Vec<f64>> {
        values(x).chunks(4).map(|x| x.iter().map(|&x| f64::from(x)).collect()).collect()
    };
    let y = points(step(&Gaussian, z.clone(), s, t, None));
    let y_q = points(step(&Gaussian, z.clone() - v.clone() * (t - q), s, q, None));
    let kernel = |a: &[Vec<f64>], b: &[Vec<f64>]| {
        let pair = |a: &[f64], b: &[f64]| {
            let distance = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            (-distance / (4.0 * (t - s))).exp()
        };
        a.iter().flat_map(|a| b.iter().map(|b| pair(a, b))).sum::<f64>() / 4.0
    };
    let discrepancy = kernel(&y, &y) + kernel(&y_q, &y_q) - 2.0 * kernel(&y, &y_q);
    let lambda = 2.0 * ((1.0 - t) / t).ln();
    let slope = 2.0 / (t * (1.0 - t));
    let weight = 0.5 / (1.0 + (lambda - 5.0).exp()) * slope * (1.0 - t) / ((1.0 - t).powi(2) + t * t);
    let at = |time: f64| Tensor::<1>::full([2], time, &device());
    let ours = errors(&ObjectiveConfig::MomentMatching(config), Models::all(&Gaussian), [z, v], [at(s), at(t)], 0);
    assert_close("error", &ours, &[(weight * discrepancy) as f32; 2], 1e-3);
}

/// The true flow carries the marginal at `t` to that at `s`, so the two sets are of one distribution; those of a field
/// that is off by a constant are not.
#[test]
fn moment_matching_tells_the_true_flow_from_another() {
    let shape = [512, 1, 2, 2];
    let x = random(21, shape) * S + M;
    let at = |time: f64| Tensor::<1>::full([512], time, &device());
    let PathSample { z, v } = interpolate(x, random(22, shape), at(0.9));
    // With k = 1 the teacher is the path itself at `s`.
    let objective = ObjectiveConfig::MomentMatching(MomentMatching { group: 64, k: 1, b: 5.0 });
    let mean = |net: &dyn AverageVelocity| {
        let all = errors(&objective, Models::all(net), [z.clone(), v.clone()], [at(0.1), at(0.9)], 0);
        all.iter().sum::<f32>() / 512.0
    };
    let (right, wrong) = (mean(&Gaussian), mean(&Shifted));
    assert!(right >= 0.0 && wrong > 5.0 * right, "true {right}, shifted {wrong}");
}

/// The closed-form flow with an auxiliary head that is off by a number.
struct Headed(f64);

impl AverageVelocity for Headed {
    fn u(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        Gaussian.u(z, r, t, labels)
    }

    fn velocities(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Velocities {
        let at = Dual::constant(t.primal.clone());
        let own = Gaussian.u(z.primal.clone().into(), at.clone(), at, labels.clone()).primal + self.0;
        Velocities { average: self.u(z, r, t, labels), instant: Some(own) }
    }
}

#[test]
fn the_auxiliary_head_gives_the_tangent_and_is_trained_on_every_row() {
    let (z, r, t, v) = situation();
    let residuals = |head: f64| {
        let [rows] = t.dims();
        let times = Times { t: t.clone(), r: r.clone(), intervals: rows };
        let path = PathSample { z: z.clone(), v: v.clone() };
        improved(Direction::V01).residuals(Models::all(&Headed(head)), StepInputs::new(path, times, None), 0)
    };
    let right = residuals(0.0);
    assert!(largest(&values(right.interval.expect("all are"))) < 1e-6);
    assert!(largest(&values(right.auxiliary.expect("there is a head"))) < 1e-6);
    let wrong = residuals(0.5);
    assert!(largest(&values(wrong.interval.expect("all are"))) > 1e-3, "the tangent is not the head's");
    // Off by a half in every value.
    let squares = SHAPE[1..].iter().product::<usize>() as f32 / 4.0;
    assert_close("the head", &values(wrong.auxiliary.expect("there is a head")), &vec![squares; t.dims()[0]], 1e-3);
    // And it is part of the loss.
    let loss = |errors: Residuals| values(AdaptiveWeight { p: 0.0, c: 1.0 }.apply(&errors))[0];
    let without = Residuals { auxiliary: None, ..residuals(0.5) };
    assert!((loss(residuals(0.5)) - loss(without) - squares).abs() < 1e-3);
}
