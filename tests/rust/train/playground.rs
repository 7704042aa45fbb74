//! Points in the plane: learnt in one step, drawn as SVG.

use meanflow::rng::{Purpose, Stream};
use meanflow::train::playground::{Points, learn, portray};

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
