//! Seeds: the same bits everywhere, and the right distribution.

use meanflow::rng::{Purpose, Stream, class_of, noise};

/// Bit patterns that the browser tests compare with too.
const FIXTURE: &str = include_str!("../../fixtures/noise.json");

#[derive(serde::Deserialize)]
struct Fixture {
    seed: String,
    values: Vec<u32>,
}

#[test]
fn noise_has_the_bits_of_the_fixture() {
    let fixture: Fixture = serde_json::from_str(FIXTURE).expect("the fixture is JSON");
    let seed = fixture.seed.parse().expect("the seed is a number");
    let bits: Vec<u32> = noise(seed, fixture.values.len()).into_iter().map(f32::to_bits).collect();
    assert_eq!(bits, fixture.values);
}

#[test]
fn a_longer_draw_begins_with_the_shorter_one() {
    assert_eq!(noise(3, 101)[..50], noise(3, 50));
    assert_ne!(noise(3, 8), noise(4, 8));
}

#[test]
fn noise_is_standard_normal() {
    let values: Vec<f64> = noise(1, 100_000).into_iter().map(f64::from).collect();
    let moment = |k: i32| values.iter().map(|x| x.powi(k)).sum::<f64>() / values.len() as f64;
    for (k, expected, tolerance) in [(1, 0.0, 0.02), (2, 1.0, 0.02), (3, 0.0, 0.05), (4, 3.0, 0.1)] {
        assert!((moment(k) - expected).abs() < tolerance, "moment {k} is {}", moment(k));
    }
}

#[test]
fn purposes_and_steps_give_different_streams() {
    let first = |purpose, step| Stream::new(7, purpose, step).uniform();
    assert_ne!(first(Purpose::Noise, 0), first(Purpose::Times, 0));
    assert_ne!(first(Purpose::Noise, 0), first(Purpose::Noise, 1));
    assert_eq!(first(Purpose::Noise, 1), first(Purpose::Noise, 1));
}

#[test]
fn classes_of_seeds_cover_all_classes_evenly() {
    let mut counts = [0; 5];
    (0..5000).for_each(|seed| counts[class_of(seed, 5)] += 1);
    assert!(counts.iter().all(|&n| (850..1150).contains(&n)), "{counts:?}");
}
