//! Points in the plane: learnt in one step, drawn as SVG.

use meanflow::flow::{
    AdaptiveWeight, Consistency, Direction, FlowMatching, ImprovedMeanFlow, MeanFlow, ObjectiveConfig, Shortcut,
    TimesConfig,
};
use meanflow::rng::{Purpose, Stream};
use meanflow::train::playground::{Laboratory, Measured, PlaygroundConfig, PointSource, Points, learn, portray};
use serde::{Deserialize, Serialize};

use crate::support::device;

/// Mean distance from points to the nearest of others.
fn distance(points: &[[f32; 2]], others: &[[f32; 2]]) -> f32 {
    let nearest = |[x, y]: [f32; 2]| others.iter().map(|[a, b]| (x - a).hypot(y - b)).fold(f32::INFINITY, f32::min);
    points.iter().map(|&point| nearest(point)).sum::<f32>() / points.len() as f32
}

#[test]
fn one_call_lands_on_the_moons() {
    let net = learn(Points::TwoMoons, 400, 1, &device(), &mut ()).expect("it learns");
    let portrait = portray(&net, Points::TwoMoons, 1, &device()).expect("the device reads back");
    let (noise, jumps) = (distance(&portrait.noise, &portrait.data), distance(&portrait.jumps, &portrait.data));
    assert!(jumps < 0.35 * noise, "one call is {jumps} from the data, noise {noise}");
    // Both moons, not one: every part of the data has a sample near it.
    let missed = distance(&portrait.data, &portrait.jumps);
    assert!(missed < 0.35 * noise, "the data is {missed} from the samples");

    let svg = portrait.to_svg();
    let circles = svg.matches("<circle").count();
    assert_eq!(circles, 2 * 600 + 2 * 48 + 2 * 81, "every point is drawn");
    assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
}

#[test]
fn points_follow_from_the_seed_and_lie_where_they_should() {
    let draw = |points: Points, seed| points.draw(2000, &mut Stream::new(seed, Purpose::Batch, 0));
    for points in [Points::TwoMoons, Points::Checkerboard, Points::Spiral] {
        assert_eq!(draw(points, 1), draw(points, 1));
        assert_ne!(draw(points, 1), draw(points, 2));
        assert!(draw(points, 1).iter().flatten().all(|x| x.abs() < 2.8), "{points:?} leaves the figure");
    }
    let dark = |[x, y]: [f32; 2]| ((x + 2.0).floor() as i32 + (y + 2.0).floor() as i32) % 2 == 0;
    assert!(draw(Points::Checkerboard, 3).into_iter().all(dark));
}

/// Steps whose losses browsers are held to.
const STEPS: usize = 50;

/// What a laboratory measures: `tests/fixtures/playground.json` has some of these.
#[derive(Serialize, Deserialize)]
struct Learnt {
    settings: PlaygroundConfig,
    /// The name of a distribution.
    points: String,
    measured: Vec<Measured>,
}

/// Every kind of objective and setting that the page offers, where jumps begin after ten steps.
fn settings() -> Vec<(PlaygroundConfig, &'static str)> {
    let config =
        |objective: ObjectiveConfig, seed| PlaygroundConfig { steps: 50, seed, objective, ..Default::default() };
    let wrong = MeanFlow { direction: Direction::V00 };
    let weighted = PlaygroundConfig { weight: AdaptiveWeight { p: 1.0, c: 0.01 }, ..config(wrong.into(), 3) };
    let uniform = TimesConfig { uniform: 1.0, interval_probability: 0.75, ..TimesConfig::default() };
    vec![
        (config(ImprovedMeanFlow::default().into(), 0), "two-moons"),
        (config(FlowMatching::default().into(), 1), "spiral"),
        (weighted, "two-moons"),
        (PlaygroundConfig { times: uniform, ..config(Consistency::default().into(), u64::MAX) }, "checkerboard"),
        (config(Shortcut::default().into(), 4), "spiral"),
    ]
}

fn learnt((settings, points): (PlaygroundConfig, &str)) -> Learnt {
    let source: Points = points.parse().expect("they are known");
    let mut laboratory = Laboratory::new(&settings, source, &device()).expect("the settings are good");
    let step = |_| Measured::read(laboratory.step()).expect("the device reads back");
    let measured = (0..STEPS).map(step).collect();
    Learnt { settings, points: points.into(), measured }
}

/// The largest relative difference of two series of measures, which must have the same rows.
fn difference(one: &[Measured], other: &[Measured]) -> f32 {
    let pairs = one.iter().zip(other).flat_map(|(a, b)| {
        [(Some(a.loss), Some(b.loss)), (a.interval, b.interval), (a.instant, b.instant)].map(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() / b.abs(),
            (None, None) => 0.0,
            _ => f32::INFINITY,
        })
    });
    pairs.fold(0.0, f32::max)
}

/// `MEANFLOW_WRITE_FIXTURES=1` writes the file.
#[test]
fn the_losses_that_browsers_are_held_to_are_those_of_this_trainer() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/playground.json");
    let ours: Vec<Learnt> = settings().into_iter().map(learnt).collect();
    if std::env::var_os("MEANFLOW_WRITE_FIXTURES").is_some() {
        std::fs::write(file, serde_json::to_string(&ours).expect("it is JSON")).expect("it writes");
    }
    let text = std::fs::read_to_string(file).expect("the fixture is there");
    let kept: Vec<Learnt> = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(ours.len(), kept.len());
    for (ours, kept) in ours.iter().zip(&kept) {
        assert_eq!((&ours.settings, &ours.points), (&kept.settings, &kept.points));
        let difference = difference(&ours.measured, &kept.measured);
        assert!(difference <= 1e-4, "{:?}: {difference}", ours.settings.objective);
    }
    // Jumps are trained, in all but Flow Matching.
    let trains = |learnt: &Learnt| learnt.measured.last().is_some_and(|last| last.interval.is_some());
    assert_eq!(kept.iter().map(trains).collect::<Vec<_>>(), [true, false, true, true, true]);
}

#[test]
fn a_laboratory_refuses_what_it_cannot_learn() {
    let refused = |settings: &str, source: Result<PointSource, meanflow::Error>| {
        let config: PlaygroundConfig = serde_json::from_str(settings).map_err(|error| error.to_string())?;
        let laboratory = source.and_then(|source| Laboratory::new(&config, source, &device()));
        laboratory.map(drop).map_err(|error| error.to_string())
    };
    let moons = || Ok(PointSource::from(Points::TwoMoons));
    assert_eq!(refused("{}", moons()), Ok(()));
    for (settings, words) in [
        ("{\"steps\": 0}", "steps must be 1"),
        ("{\"weight\": {\"p\": -1}}", "[weight] p"),
        ("{\"times\": {\"uniform\": 2}}", "[times] uniform"),
        ("{\"times\": {\"interval_probability\": 0}}", "interval_probability = 0"),
        ("{\"objective\": {\"kind\": \"pixel-mean-flow\"}}", "pixel-mean-flow"),
        ("{\"objective\": {\"kind\": \"mean-flow\", \"direction\": \"(v, 2, 0)\"}}", "unknown variant"),
        ("{\"speed\": 1}", "unknown field"),
    ] {
        let error = refused(settings, moons()).expect_err(settings);
        assert!(error.contains(words), "{settings}: {error}");
    }
    assert!(refused("{}", PointSource::drawn(Vec::new())).expect_err("no points").contains("no points"));
    assert!(refused("{}", PointSource::drawn(vec![[f32::NAN, 0.0]])).expect_err("nowhere").contains("plane"));
    assert!("three-moons".parse::<Points>().is_err());
}

#[test]
fn what_somebody_drew_is_learnt_as_clouds() {
    let places = vec![[-1.5, 0.5], [1.0, -1.0]];
    let source = PointSource::drawn(places.clone()).expect("points");
    let points = source.draw(1000, &mut Stream::new(0, Purpose::Batch, 0));
    assert!(distance(&points, &places) < 0.1);
    let [left, right] = [-1.0_f32, 1.0].map(|side| points.iter().filter(|[x, _]| x * side > 0.0).count());
    assert!(left > 400 && right > 400, "{left} and {right}");
}
