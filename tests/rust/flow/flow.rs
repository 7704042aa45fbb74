//! The method against a closed-form flow: data N(m, s²) per coordinate, where `v`, `u` and the flow map are known.

use burn::tensor::{Tensor, TensorData};
use meanflow::Dual;
use meanflow::flow::{
    AdaptiveWeight, AverageVelocity, PathSample, Times, TimesConfig, TimesOrder, generate, interpolate, one_step, step,
};
use meanflow::rng::{Purpose, Stream};

use crate::oracle::{Gaussian, M, S, SHAPE, constant, situation};
use crate::parity_log::SAMPLING;
use crate::support::{assert_close, device, mean_flow_residuals, random, values};

/// Residual `u + (t − r) du/dt − v` of the MeanFlow identity along `(dz, dr, dt) = (v, dr, dt)`.
fn identity_residual(dr: f64, dt: f64) -> f64 {
    let (z, r, t, v) = situation();
    let u = Gaussian.u(
        Dual::new(z, v.clone()),
        Dual::new(r.clone(), constant(dr)),
        Dual::new(t.clone(), constant(dt)),
        None,
    );
    let span = (t - r).reshape([-1, 1, 1, 1]);
    let residual = u.primal + span * u.tangent.expect("the inputs move") - v;
    values(residual).into_iter().fold(0.0, |m, x| m.max(f64::from(x.abs())))
}

#[test]
fn the_identity_holds_along_the_right_tangent() {
    assert!(identity_residual(0.0, 1.0) < 1e-5, "residual {}", identity_residual(0.0, 1.0));
}

#[test]
fn the_wrong_tangents_of_table_1b_break_the_identity() {
    for (dr, dt) in [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)] {
        let residual = identity_residual(dr, dt);
        assert!(residual > 0.1, "the tangent (v, {dr}, {dt}) passes with residual {residual}");
    }
}

/// The loss itself, at the true field and with its marginal velocity, is zero: the wiring of Algorithm 1.
#[test]
fn the_loss_vanishes_at_the_true_field() {
    let (z, r, t, v) = situation();
    let path = PathSample { z, v };
    let batch = SHAPE[0];
    for intervals in [batch, batch / 2, 0] {
        // Rows after `intervals` are instantaneous: r = t.
        let (early, late) = (values(r.clone()), values(t.clone()));
        let r: Vec<f32> =
            early.into_iter().zip(late).enumerate().map(|(i, (r, t))| if i < intervals { r } else { t }).collect();
        let r = Tensor::from_data(TensorData::new(r, [batch]), &device());
        let times = Times { t: t.clone(), r, intervals };
        let residuals = mean_flow_residuals(&Gaussian, path.clone(), times, None);
        assert_eq!(residuals.interval.is_some(), intervals > 0);
        assert_eq!(residuals.instant.is_some(), intervals < batch);
        for part in [residuals.interval, residuals.instant].into_iter().flatten() {
            let worst = values(part).into_iter().fold(0.0, f32::max);
            assert!(worst < 1e-8, "residual {worst} with {intervals} intervals");
        }
    }
}

#[test]
fn one_step_maps_noise_to_data_exactly() {
    let e = random(1, SHAPE);
    let x = values(one_step(&Gaussian, e.clone(), None));
    let expected: Vec<f32> = values(e).into_iter().map(|e| (M + S * f64::from(e)) as f32).collect();
    SAMPLING.close("1 step against the closed form", &x, &expected, 1e-5);
}

#[test]
fn k_steps_equal_one() {
    let e = random(1, SHAPE);
    let one = values(one_step(&Gaussian, e.clone(), None));
    assert_eq!(values(generate(&Gaussian, e.clone(), None, 1)), one);
    for nfe in [2, 3, 4, 16, 64] {
        SAMPLING.close(
            &format!("{nfe} steps against 1 step"),
            &values(generate(&Gaussian, e.clone(), None, nfe)),
            &one,
            2e-5,
        );
    }
}

#[test]
fn two_steps_compose_to_the_step_between() {
    let z = random(2, SHAPE);
    let direct = step(&Gaussian, z.clone(), 0.1, 0.9, None);
    let halfway = step(&Gaussian, z, 0.4, 0.9, None);
    assert_close("composition", &values(step(&Gaussian, halfway, 0.1, 0.4, None)), &values(direct), 1e-5);
}

#[test]
fn the_path_starts_at_data_ends_at_noise_and_moves_at_v() {
    let (x, e) = (random(1, SHAPE), random(2, SHAPE));
    let at = |t: f64| interpolate(x.clone(), e.clone(), constant(t));
    assert_close("t = 0", &values(at(0.0).z), &values(x.clone()), 1e-6);
    assert_close("t = 1", &values(at(1.0).z), &values(e.clone()), 1e-6);
    let slope = (at(0.75).z - at(0.25).z) / 0.5;
    assert_close("dz/dt", &values(slope), &values(at(0.3).v), 1e-5);
}

#[test]
fn times_are_ordered_and_shared_out_as_configured() {
    // Of two draws of one distribution the second is the smaller in half of the rows.
    for (order, expected) in [(TimesOrder::MaskSort, 0.3), (TimesOrder::SortMask, 0.3), (TimesOrder::MaskMin, 0.15)] {
        let config = TimesConfig { interval_probability: 0.3, order, ..TimesConfig::default() };
        let mut intervals = 0;
        for step in 0..200 {
            let times = config.sample(7, 0.3, &mut Stream::new(1, Purpose::Times, step), &device());
            intervals += times.intervals;
            for (row, (r, t)) in values(times.r).into_iter().zip(values(times.t)).enumerate() {
                assert!((0.0..=1.0).contains(&r) && (0.0..=1.0).contains(&t) && r <= t);
                assert_eq!(row >= times.intervals, r == t, "row {row} of {} intervals: r {r}, t {t}", times.intervals);
            }
        }
        let share = intervals as f64 / 1400.0;
        assert!((share - expected).abs() < 0.02, "{order:?}: share of r < t is {share}");
    }
}

/// Sorting before or after `r = t` decides at which times the instantaneous velocity is trained: at the larger of two
/// draws (MeanFlow, improved MeanFlow, py-meanflow v0), or at one draw (pixel MeanFlow, py-meanflow v1). The rows with
/// `r < t` do not depend on it but in v1, where `t` is always the first draw.
#[test]
fn rows_with_equal_times_keep_the_draw_of_the_authors_order() {
    let rows = 40_000;
    let mean = |order, second: [f64; 2]| {
        let (r_mean, r_std) = (Some(second[0]), Some(second[1]));
        let config = TimesConfig { mean: -0.4, std: 1.0, r_mean, r_std, uniform: 0.0, order, ..TimesConfig::default() };
        let times = config.sample(rows, 0.25, &mut Stream::new(5, Purpose::Times, 0), &device());
        let [t, r] = [times.t, times.r].map(values);
        let mean = |of: &[f32]| of.iter().map(|&x| f64::from(x)).sum::<f64>() / of.len() as f64;
        let (moving, still) = t.split_at(times.intervals);
        (mean(still), mean(moving), mean(&r[..times.intervals]), times.intervals)
    };
    // E σ(N(−0.4, 1)) = 0.4180, and of the larger and the smaller of two 0.5347 and 0.3013, by numerical integration.
    let close = |name: &str, value: f64, expected: f64| assert!((value - expected).abs() < 0.005, "{name}: {value}");
    let alike = [-0.4, 1.0];
    for (order, instant) in [(TimesOrder::SortMask, 0.5347), (TimesOrder::MaskSort, 0.4180)] {
        let (still, t, r, intervals) = mean(order, alike);
        close("t of r = t", still, instant);
        close("t of r < t", t, 0.5347);
        close("r of r < t", r, 0.3013);
        assert_eq!(intervals, rows / 4);
    }
    // v1 with its authors' distributions: hardly any row has a second draw that is larger.
    let authors = |order| {
        let config = TimesConfig {
            mean: -0.6,
            std: 1.6,
            r_mean: Some(-4.0),
            r_std: Some(1.6),
            uniform: 0.0,
            order,
            ..TimesConfig::default()
        };
        config.sample(rows, 0.75, &mut Stream::new(5, Purpose::Times, 0), &device())
    };
    let times = authors(TimesOrder::MaskMin);
    let all = values(times.t).into_iter().map(f64::from).sum::<f64>() / rows as f64;
    // E σ(N(−0.6, 1.6)) and Φ(3.4 / (1.6 √2)).
    close("t of all rows", all, 0.3984);
    close("share of r < t", times.intervals as f64 / rows as f64, 0.75 * 0.9335);
    assert_eq!(authors(TimesOrder::SortMask).intervals, rows * 3 / 4);
}

/// The settings of a paper draw times as its authors' code does.
#[test]
fn published_settings_draw_times_in_the_authors_order() {
    for (text, order) in [
        (include_str!("../../../crate/configs/cifar10.toml"), TimesOrder::SortMask),
        (include_str!("../../../crate/configs/imagenet/mf-b4.toml"), TimesOrder::SortMask),
        (include_str!("../../../crate/configs/imagenet/mf-b2.toml"), TimesOrder::SortMask),
        (include_str!("../../../crate/configs/imagenet/mf-m2.toml"), TimesOrder::SortMask),
        (include_str!("../../../crate/configs/imagenet/mf-l2.toml"), TimesOrder::SortMask),
        (include_str!("../../../crate/configs/imagenet/mf-xl2.toml"), TimesOrder::SortMask),
        (include_str!("../../../crate/configs/imagenet/imf-b2.toml"), TimesOrder::SortMask),
        (include_str!("../../../crate/configs/imagenet/pmf-b16.toml"), TimesOrder::MaskSort),
    ] {
        assert!(text.contains("\norder = "), "it states its order");
        let config = meanflow::train::TrainConfig::from_toml(text).expect("shipped settings");
        assert_eq!(config.times.order, order, "{}", config.name);
    }
    assert_eq!(TimesConfig::default().order, TimesOrder::MaskSort, "what settings mean that do not say");
}

/// Means of a logit-normal and of the uniform mixture.
#[test]
fn times_follow_their_distribution() {
    let mean = |uniform: f64, mu: f64| {
        let config = TimesConfig { mean: mu, std: 1.0, uniform, ..TimesConfig::default() };
        let times = config.sample(20_000, 0.0, &mut Stream::new(3, Purpose::Times, 0), &device());
        values(times.t).into_iter().map(f64::from).sum::<f64>() / 20_000.0
    };
    assert!((mean(0.0, 0.0) - 0.5).abs() < 0.01);
    // E σ(N(−1, 1)) = 0.30327 by numerical integration.
    assert!((mean(0.0, -1.0) - 0.3033).abs() < 0.01, "{}", mean(0.0, -1.0));
    assert!((mean(1.0, -1.0) - 0.5).abs() < 0.01);
}

#[test]
fn the_adaptive_weight_is_as_defined() {
    let errors = [4.0_f32, 0.25, 9.0];
    let part = |range: std::ops::Range<usize>| {
        Some(Tensor::from_data(TensorData::new(errors[range.clone()].to_vec(), [range.len()]), &device()))
    };
    let residuals = meanflow::flow::Residuals { interval: part(0..1), instant: part(1..3), auxiliary: None };
    for (p, c) in [(0.0, 0.01), (0.75, 1e-3), (1.0, 0.01)] {
        let expected: f64 = errors.iter().map(|&l| f64::from(l) / (f64::from(l) + c).powf(p)).sum::<f64>() / 3.0;
        let loss = f64::from(values(AdaptiveWeight { p, c }.apply(&residuals))[0]);
        assert!((loss - expected).abs() < 1e-5, "p = {p}: {loss}, expected {expected}");
        assert!(p < 1.0 || loss < 1.0, "with p = 1 the loss stays below 1");
    }
}
