//! Images that are changed at random, and what the network is told of it.

use meanflow::net::Labels;
use meanflow::train::{Augmentation, Change, Sampler, TrainConfig, Trainer};

use crate::support::{device, values};
use crate::train::{images, numbers};

/// A picture of one channel that is different everywhere, and smooth.
fn picture(size: usize) -> Vec<f32> {
    (0..size * size).map(|i| ((i % size) as f32 * 0.3).sin() + ((i / size) as f32 * 0.2).cos()).collect()
}

fn changed(change: Change, size: usize) -> Vec<f32> {
    let mut image = picture(size);
    change.apply(&mut image, size);
    image
}

#[test]
fn no_change_changes_nothing_and_the_mirror_is_exact() {
    assert_eq!(changed(Change::default(), 9), picture(9));
    assert_eq!(Change::default().told(), [0.0; 6]);
    let mirrored = changed(Change { mirror: true, ..Change::default() }, 9);
    let by_hand: Vec<f32> = picture(9).chunks_exact(9).flat_map(|row| row.iter().rev().copied()).collect();
    assert_eq!(mirrored, by_hand);
}

#[test]
fn a_shift_by_whole_pixels_moves_them_and_mirrors_the_edge() {
    // An eighth of 16 pixels is two.
    let image = picture(16);
    let shifted = changed(Change { shift: [1.0, -0.5], ..Change::default() }, 16);
    for (y, x) in (0..16).flat_map(|y| (0..16).map(move |x| (y, x))) {
        let reflect = |i: i64| if i < 0 { -i } else { 15 - (i - 15).abs() };
        let [from_x, from_y] = [reflect(x - 2), reflect(y + 1)].map(|i| i as usize);
        let apart = (shifted[(y * 16 + x) as usize] - image[from_y * 16 + from_x]).abs();
        assert!(apart < 1e-5, "row {y}, column {x}: {apart}");
    }
}

#[test]
fn scale_and_stretch_are_those_of_their_formulas() {
    // What lies at a place of the changed image, from the function that the picture samples.
    let exact = |x: f32, y: f32| (x * 0.3).sin() + (y * 0.2).cos();
    let middle = 15.5;
    let angle = 0.7_f32;
    for (change, back) in [
        (Change { scale: 1.5, ..Change::default() }, [[(-0.3_f32).exp2(), 0.0], [0.0, (-0.3_f32).exp2()]]),
        (Change { stretch: [-1.0, f64::from(angle)], ..Change::default() }, {
            let [along, across] = [0.2_f32.exp2(), (-0.2_f32).exp2()];
            let (s, c) = angle.sin_cos();
            [
                [along * c * c + across * s * s, (along - across) * s * c],
                [(along - across) * s * c, along * s * s + across * c * c],
            ]
        }),
    ] {
        let image = changed(change, 32);
        // Away from the edges, beyond which the picture is mirrored.
        for (y, x) in (10..22).flat_map(|y| (10..22).map(move |x| (y, x))) {
            let (dx, dy) = (x as f32 - middle, y as f32 - middle);
            let [from_x, from_y] = back.map(|[a, b]| a * dx + b * dy + middle);
            let apart = (image[y * 32 + x] - exact(from_x, from_y)).abs();
            assert!(apart < 2e-3, "{change:?}, row {y}, column {x}: {apart}");
        }
    }
}

fn config(more: &str) -> TrainConfig {
    let text = format!(
        "[data]\nsize = 8\nchannels = 3\n[net]\npreset = \"unet\"\nwidth = 8\ndepth = 1\n\
         [net.unet]\nmultipliers = [1, 2]\nattention = [4]\n[train]\nbatch_size = 8\nflow_matching_steps = 0\nramp_steps = 0\n{more}"
    );
    TrainConfig::from_toml(&text).expect("fair settings")
}

#[test]
fn each_change_is_as_frequent_as_asked_and_told_to_the_network() {
    let config = config("[augmentation]\nprobability = 0.3");
    let images = images();
    let mut sampler = Sampler::of_run(&images, &config);
    let mut told = Vec::new();
    for step in 0..200 {
        let batch = sampler.batch(step, &device()).expect("pictures");
        let changes = values(batch.changes.expect("they are changed"));
        assert_eq!(
            Labels::changed(None, batch.images.clone().reshape([8, 192]).narrow(1, 0, 6)).changes().map(|x| x.dims()),
            Some([8, 6])
        );
        told.extend(changes.as_chunks::<6>().0.to_vec());
    }
    for (column, expected) in [(0, 0.5), (1, 0.3), (2, 0.3), (3, 0.3), (4, 0.3), (5, 0.3)] {
        let share = told.iter().filter(|row| row[column] != 0.0).count() as f64 / told.len() as f64;
        assert!((share - expected).abs() < 0.05, "number {column} is told of {share} of the images");
    }
    let again = values(sampler.batch(7, &device()).expect("pictures").images);
    assert_eq!(again, values(Sampler::of_run(&images, &config).batch(7, &device()).expect("pictures").images));
    let plain = values(Sampler::new(&images, &config.train, false).batch(7, &device()).expect("pictures").images);
    assert_ne!(again, plain);
}

#[test]
fn a_step_on_changed_images_trains_what_tells_of_them_alone_and_shared() {
    let config = config("[augmentation]\nprobability = 0.5");
    let images = images();
    let net = config.net_config(2).expect("sizes fit");
    let after = |helpers: usize| {
        let mut sampler = Sampler::of_run(&images, &config);
        let mut trainer = Trainer::new(&config, &net, &device()).with_helpers(&vec![device(); helpers]);
        let before = numbers(trainer.net());
        (0..3).for_each(|step| drop(trainer.step(sampler.batch(step, &device()).expect("pictures"))));
        (before, numbers(trainer.net()))
    };
    let (before, alone) = after(0);
    let (_, shared) = after(1);
    assert_ne!(before, alone);
    let apart = alone.iter().zip(&shared).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(apart < 1e-4 && alone.iter().all(|x| x.is_finite()), "shared by two: {apart}");
}

#[test]
fn networks_that_are_not_told_are_not_given_changed_images() {
    let refused = |text: &str| TrainConfig::from_toml(text).expect_err("it leaks").to_string();
    assert!(refused("[augmentation]").contains("[augmentation] needs the preset `unet`"));
    assert!(
        refused("[net]\npreset = \"unet\"\n[augmentation]\nprobability = 2.0").contains("probability must be 0 to 1")
    );
    assert_eq!(Augmentation::default().probability, 0.12);
}
