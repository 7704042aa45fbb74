//! Images that are changed at random, and what the network is told of it.

use meanflow::net::Labels;
use meanflow::train::{Augmentation, Change, RunFolder, Sampler, TrainConfig, Trainer};
use safetensors::SafeTensors;

use crate::parity_log::AUGMENTATION;
use crate::support::{assert_close, device, values};
use crate::train::{Listener, images, numbers};

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
    assert_eq!(Change::default().augment_labels(), [0.0; 6]);
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

/// Of EDM, by numpy, SciPy and PyWavelets (`tests/fixtures/augmentation.py`).
#[test]
fn changed_images_and_their_numbers_agree_with_numpy() {
    let bytes = include_bytes!("../../fixtures/augmentation.safetensors");
    let file = SafeTensors::deserialize(bytes).expect("the fixture reads");
    let floats = |name: &str| -> Vec<f32> {
        let data = file.tensor(name).expect("the fixture has it").data();
        data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
    };
    let (image, labels, images, changes) = (floats("image"), floats("labels"), floats("images"), floats("changes"));
    assert_eq!((image.len(), changes.len()), (2 * 12 * 12, 8 * 6));
    for (i, change) in changes.as_chunks::<6>().0.iter().enumerate() {
        let [mirror, scale, stretch, angle, right, down] = change.map(f64::from);
        let change = Change { mirror: mirror == 1.0, scale, stretch: [stretch, angle], shift: [right, down] };
        AUGMENTATION.close("numbers for the network", &change.augment_labels(), &labels[6 * i..6 * i + 6], 1e-6);
        let mut ours = image.clone();
        change.apply(&mut ours, 12);
        AUGMENTATION.close("images", &ours, &images[288 * i..288 * (i + 1)], 2e-6);
    }
}

/// Up and down by the filter is the identity, also where the reflected image ends; below seven pixels that is within
/// its reach.
#[test]
fn images_of_any_size_are_changed_and_far_shifts_leave_nothing() {
    for size in [1, 2, 3, 7, 8] {
        let almost = changed(Change { shift: [1e-9, 0.0], ..Change::default() }, size);
        assert!(almost.iter().all(|x| x.is_finite()), "{size} pixels: {almost:?}");
        if size >= 7 {
            assert_close(&format!("{size} pixels"), &almost, &picture(size), 1e-5);
        }
        let gone = changed(Change { shift: [100.0, -100.0], scale: 3.0, ..Change::default() }, size);
        assert!(gone.iter().all(|&x| x == 0.0), "{size} pixels: {gone:?}");
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
            Labels::with_augment_labels(None, batch.images.clone().reshape([8, 192]).narrow(1, 0, 6))
                .augment_labels()
                .map(|x| x.dims()),
            Some([8, 6])
        );
        told.extend(changes.as_chunks::<6>().0.to_vec());
    }
    for (column, expected) in [(0, 0.5), (1, 0.3), (2, 0.3), (3, 0.15), (4, 0.3), (5, 0.3)] {
        let share = told.iter().filter(|row| row[column] != 0.0).count() as f64 / told.len() as f64;
        assert!((share - expected).abs() < 0.05, "number {column} is told of {share} of the images");
    }
    // Half of the stretches are along the rows.
    let stretched: Vec<_> = told.iter().filter(|row| row[2] != 0.0).collect();
    let along = stretched.iter().filter(|row| row[3] == 0.0).count() as f64 / stretched.len() as f64;
    assert!((along - 0.5).abs() < 0.08, "{along} of the stretches are along the rows");
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

/// Its checkpoint does not say which augmentation it is of, as those written before did not.
#[test]
fn a_run_that_began_with_the_earlier_augmentation_says_so_when_it_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = config("steps = 1\n[log]\nsamples = 1\n[augmentation]");
    let run = RunFolder::create(dir.path(), &config).expect("a new run");
    Listener::default().train(&config, &images(), &run).expect("it trains");
    let says_so = |steps: u64| {
        let (run, mut config) = RunFolder::open(dir.path()).expect("there is a run");
        config.train.steps = steps;
        let mut listener = Listener::default();
        listener.train(&config, &images(), &run).expect("it goes on");
        listener.notices.iter().any(|text| text.contains("[augmentation] has changed") && text.contains("sym6"))
    };
    assert!(!says_so(2));
    for checkpoint in std::fs::read_dir(dir.path().join("checkpoints")).expect("checkpoints") {
        let file = checkpoint.expect("it lists").path().join("state.json");
        let text = std::fs::read_to_string(&file).expect("it reads");
        let mut state: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        // Such checkpoints held no digests either.
        for field in ["augmentation", "files", "checksum"] {
            assert!(state.as_object_mut().expect("an object").remove(field).is_some());
        }
        std::fs::write(&file, state.to_string()).expect("it writes");
    }
    assert!(says_so(3));
    assert!(!says_so(4), "its new checkpoints are of the new one");
}
