//! A few drawings, each a class, learnt so that one call draws them.

use meanflow::learn::drawings::{Drawings, DrawingsConfig, MAX_DRAWINGS};
use meanflow::learn::playground::Measured;
use meanflow::model::{Request, rgba_of};
use meanflow::{Condition, Generator};

use crate::support::device;

const SIZE: usize = 16;
const BYTES: usize = SIZE * SIZE * 3;

/// So many drawings that have little in common: a disc, a frame, stripes and a cross, each in its own colours.
fn drawings(count: usize) -> Vec<u8> {
    let pixel = |drawing: usize, x: usize, y: usize| -> [u8; 3] {
        let [dx, dy] = [x, y].map(|place| (place as f32 - 7.5).abs());
        let shape = match drawing % 4 {
            0 => dx.hypot(dy) < 6.0,
            1 => dx.max(dy) > 5.0,
            2 => (y / 3).is_multiple_of(2),
            _ => (dx - dy).abs() < 2.0,
        };
        let colours = [[220, 40, 30], [30, 90, 200], [20, 150, 70], [240, 180, 20], [120, 40, 160]];
        if shape { colours[drawing % 5] } else { [250, 250, 245] }
    };
    (0..count).flat_map(|drawing| (0..SIZE * SIZE).flat_map(move |i| pixel(drawing, i % SIZE, i / SIZE))).collect()
}

fn settings(count: usize, steps: u64) -> DrawingsConfig {
    let names = (1..=count).map(|i| format!("drawing {i}")).collect();
    DrawingsConfig { names, steps, ..DrawingsConfig::default() }
}

/// Root mean square difference of RGBA from RGB.
fn apart(rgba: &[u8], rgb: &[u8]) -> f32 {
    let pairs = rgba.chunks_exact(4).flat_map(|pixel| &pixel[..3]).zip(rgb);
    let squares: f32 = pairs.map(|(&a, &b)| (f32::from(a) - f32::from(b)).powi(2)).sum();
    (squares / rgb.len() as f32).sqrt()
}

#[test]
fn one_call_draws_each_drawing_and_so_does_the_weights_file() {
    let (count, seeds) = (6, 3);
    let rgb = drawings(count);
    let mut learner = Drawings::new(settings(count, 300), &rgb, &device()).expect("the drawings are good");
    (0..300).for_each(|_| drop(learner.step()));
    let samples = learner.samples(seeds).expect("the device reads back");
    assert_eq!(samples.len(), count * seeds * SIZE * SIZE * 4);
    let distances: Vec<f32> = samples
        .chunks_exact(SIZE * SIZE * 4)
        .enumerate()
        .map(|(i, sample)| apart(sample, &rgb[i / seeds * BYTES..][..BYTES]))
        .collect();
    assert!(distances.iter().all(|&distance| distance < 25.0), "{distances:?} of 255");

    let bytes = learner.weights("mine").expect("it is described");
    let generator = Generator::from_bytes(&bytes, &device()).expect("it reads");
    assert_eq!(generator.info().classes[5], "drawing 6");
    for class in [0, 5] {
        let request = Request { seed: 0, count: 1, class: Condition::One(class), nfe: 1 };
        let image = generator.images(request).expect("it draws");
        let values = image.try_into_vec_as::<f32>().expect("the device reads back");
        let picture = rgba_of(&values, [1, 3, SIZE * SIZE]);
        let distance = apart(&picture, &rgb[class * BYTES..][..BYTES]);
        assert!(distance < 25.0, "{distance} of 255 from drawing {class}");
    }
}

/// So many learners take a step together, as the Workers of a page do.
fn step_together(learners: &mut [Drawings]) {
    let count = learners.len();
    let gradients = |i: usize| learners[i].gradients(i, count).expect("a share");
    let sum = (1..count).fold(gradients(0), |sum, i| sum.iter().zip(gradients(i)).map(|(a, b)| a + b).collect());
    let moved: Vec<Vec<f32>> =
        learners.iter_mut().enumerate().map(|(i, one)| one.update(&sum, i, count).expect("a share")).collect();
    for (i, learner) in learners.iter_mut().enumerate() {
        for (other, weights) in moved.iter().enumerate().filter(|(other, _)| *other != i) {
            learner.take(weights, other, count).expect("a share");
        }
        learner.end_step();
    }
}

#[test]
fn several_that_share_its_steps_learn_what_one_learns() {
    let rgb = drawings(3);
    let config = DrawingsConfig { mirror: true, shift: 2, ..settings(3, 12) };
    let new = || Drawings::new(config.clone(), &rgb, &device()).expect("the drawings are good");
    let states = |learners: &[Drawings]| -> Vec<Vec<u8>> {
        learners.iter().map(|learner| learner.state().expect("the device reads back")).collect()
    };
    let mut alone = new();
    (0..5).for_each(|_| drop(alone.step()));
    let expected = states(&[alone]).remove(0);
    let values = |state: &[u8]| -> Vec<f32> {
        state[8..].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    for count in [2, 3] {
        let mut learners: Vec<Drawings> = (0..count).map(|_| new()).collect();
        (0..5).for_each(|_| step_together(&mut learners));
        let found = states(&learners);
        // They are one another's to the bit, and those of one learner but for the order of sums.
        assert!(found.iter().all(|state| *state == found[0]), "{count} learners differ");
        assert_eq!(found[0][..8], expected[..8], "steps");
        let (one, together) = (values(&expected), values(&found[0]));
        let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
        let error = squares(&mut one.iter().zip(&together).map(|(a, b)| a - b)) / squares(&mut one.iter().copied());
        assert!(error.sqrt() < 1e-4, "{count} learners: {:.1e}", error.sqrt());
    }

    let mut learner = new();
    assert!(learner.gradients(2, 2).is_err() && learner.gradients(0, 33).is_err());
    let before = states(std::slice::from_ref(&learner));
    assert!(learner.take(&[0.0; 5], 0, 2).is_err());
    let sum = learner.gradients(0, 2).expect("a share");
    for (sum, index) in [(&[0.0; 5][..], 0), (&[], 0), (&sum[1..], 1), (&sum, 2)] {
        assert!(learner.update(sum, index, 2).is_err(), "{} values for share {index}", sum.len());
    }
    assert_eq!(states(std::slice::from_ref(&learner)), before);
    let other = |count| Drawings::new(settings(count, 12), &drawings(count), &device()).expect("the drawings are good");
    let of_more = other(9).gradients(0, 2).expect("a share");
    assert!(learner.update(&of_more, 0, 2).is_err(), "another network's");

    // Whoever is left alone goes on: of what another moved, with a momentum that is anew.
    let mut team = vec![new(), new()];
    (0..3).for_each(|_| step_together(&mut team));
    let mut left = team.swap_remove(0);
    drop(team);
    let before = values(&states(std::slice::from_ref(&left))[0]);
    (0..3).for_each(|_| drop(left.step()));
    assert_eq!(left.steps_done(), 6);
    let after = values(&states(&[left])[0]);
    assert!(after.iter().all(|value| value.is_finite()));
    let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert!(moved > before.len() / 2, "{moved} of {} values move", before.len());
}

#[test]
fn it_goes_on_from_its_state() {
    let rgb = drawings(3);
    let config = DrawingsConfig { mirror: true, shift: 2, ..settings(3, 12) };
    let step = |learner: &mut Drawings| Measured::read(learner.step()).expect("the device reads back");
    let mut whole = Drawings::new(config.clone(), &rgb, &device()).expect("the drawings are good");
    for _ in 0..6 {
        step(&mut whole);
    }
    let state = whole.state().expect("the device reads back");
    let mut resumed = Drawings::resume(config.clone(), &rgb, &state, &device()).expect("it fits");
    assert_eq!(resumed.steps_done(), 6);
    assert_eq!(resumed.samples(2).expect("pictures"), whole.samples(2).expect("pictures"));
    // The same weights, drawings, times and noise; then the optimizer's momentum is another.
    assert_eq!(step(&mut resumed), step(&mut whole));
    assert_ne!(step(&mut resumed), step(&mut whole));
    assert_eq!(resumed.state().expect("a state").len(), state.len());

    let error = |settings: DrawingsConfig, state: &[u8]| {
        Drawings::resume(settings, &drawings(3), state, &device()).map(drop).expect_err("it does not fit").to_string()
    };
    let places = [0, 7, 8, 20, state.len() / 2, state.len() - 4, state.len() - 1];
    for place in places {
        assert!(error(config.clone(), &state[..place]).contains("damaged"), "cut at {place}");
    }
    let others = Drawings::new(settings(2, 12), &drawings(2), &device()).expect("the drawings are good");
    assert!(error(config, &others.state().expect("a state")).contains("damaged"));
}

#[test]
fn drawings_that_cannot_be_learnt_are_refused() {
    let refused = |settings: DrawingsConfig, rgb: &[u8]| {
        Drawings::new(settings, rgb, &device()).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(refused(settings(1, 5), &drawings(1)), Ok(()));
    assert_eq!(refused(settings(MAX_DRAWINGS, 5), &drawings(MAX_DRAWINGS)), Ok(()));
    let named = |names: &[&str]| DrawingsConfig {
        names: names.iter().map(|&name| name.into()).collect(),
        ..DrawingsConfig::default()
    };
    for (settings, count, words) in [
        (settings(0, 5), 0, "there are no drawings"),
        (settings(65, 5), 65, "more than 64"),
        (settings(2, 5), 1, "another size"),
        (settings(1, 0), 1, "steps must be"),
        (named(&["a", "a"]), 2, "a name of its own"),
        (named(&[""]), 1, "a name of its own"),
        (DrawingsConfig { size: 20, ..settings(1, 5) }, 1, "16 or 32"),
        (DrawingsConfig { shift: 8, ..settings(1, 5) }, 1, "shift"),
    ] {
        let error = refused(settings, &drawings(count)).expect_err(words);
        assert!(error.contains(words), "{error}");
    }
}
