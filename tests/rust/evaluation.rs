//! Evaluation: features against PyTorch, distances against scipy and numpy, and the commands with their mistakes.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use image::{Rgba, RgbaImage};
use meanflow::checkpoint::Checkpoint;
use meanflow::eval::{
    Evaluation, Extractor, Features, Inception, Moments, frechet_distance, kernel_distance, nearest, plot,
    precision_recall, read_records, tables,
};
use safetensors::SafeTensors;

use crate::cli::{Place, fails, succeeds};
use crate::parity_log::{FRECHET, INCEPTION, KERNEL, MANIFOLD};
use crate::support::{device, values};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(path(name)).expect("the fixture is in the tree")
}

fn floats(file: &SafeTensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let view = file.tensor(name).expect("the fixture has it");
    let numbers = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
    (view.shape().to_vec(), numbers)
}

#[test]
fn inception_gives_the_features_that_pytorch_gives() {
    let checkpoint = Checkpoint::open(&path("inception.safetensors")).expect("the fixture reads");
    assert!(Inception::is_in(&checkpoint));
    let inception = Inception::read(&checkpoint, &device()).expect("it is complete");
    let bytes = fixture("inception.safetensors");
    let file = SafeTensors::deserialize(&bytes).expect("the fixture reads");
    let (shape, pixels) = floats(&file, "images");
    let shape: [usize; 4] = shape.try_into().expect("a batch of images");
    let images = Tensor::from_data(TensorData::new(pixels, shape), &device());
    INCEPTION.close("features", &values(inception.features(images)), &floats(&file, "features").1, 1e-4);
}

#[test]
fn an_incomplete_inception_is_refused_by_the_names_of_all_that_is_wrong() {
    let checkpoint = Checkpoint::open(&path("inception.safetensors")).expect("the fixture reads");
    let gone = ["Mixed_5b.branch5x5_1.bn.bias", "Mixed_7c.branch1x1.conv.weight"];
    let other = "Conv2d_3b_1x1.bn.weight";
    let tensor = |name: &str| {
        let mut array = checkpoint.read(name).expect("it is there");
        if name == other {
            array.shape.push(1);
        }
        (name.to_owned(), array)
    };
    let changed: Checkpoint = checkpoint.names().filter(|name| !gone.contains(name)).map(tensor).collect();
    let error = Inception::read(&changed, &device()).expect_err("three tensors are wrong").to_string();
    for part in [
        format!("`{}` is missing", gone[0]),
        format!("`{}` is missing", gone[1]),
        format!("`{other}` has shape [5, 1]"),
    ] {
        assert!(error.contains(&part), "`{error}` does not say `{part}`");
    }
}

/// Features of a fixture, and scipy's and numpy's figures: Fréchet, kernel, precision, recall.
fn compared(name: &str) -> (Features, Features, Vec<f32>) {
    let bytes = fixture("distances.safetensors");
    let file = SafeTensors::deserialize(&bytes).expect("the fixture reads");
    let features = |part: &str| {
        let (shape, values) = floats(&file, &format!("{name}_{part}"));
        Features::new(shape[1], values)
    };
    (features("real"), features("generated"), floats(&file, &format!("{name}_figures")).1)
}

#[test]
fn distances_agree_with_scipy_also_where_a_covariance_is_singular() {
    for name in ["full", "singular"] {
        let (real, generated, expected) = compared(name);
        let frechet = frechet_distance(&Moments::of(&generated), &Moments::of(&real));
        let kernel = kernel_distance(&generated, &real, 0, &device()).expect("it computes");
        let manifold = precision_recall(&real, &generated, &device()).expect("it computes");
        for (comparison, what, ours, theirs) in [
            (&FRECHET, "distance", frechet, expected[0]),
            (&KERNEL, "distance", kernel.mean, expected[1]),
            (&MANIFOLD, "precision", manifold.precision, expected[2]),
            (&MANIFOLD, "recall", manifold.recall, expected[3]),
        ] {
            comparison.within(&format!("{what}, {name}"), (ours / f64::from(theirs) - 1.0).abs(), 1e-4);
        }
        assert!(frechet_distance(&Moments::of(&real), &Moments::of(&real)).abs() < 1e-6 * frechet);
    }
}

#[test]
fn the_kernel_distance_over_subsets_is_that_of_all_rows_on_average() {
    let draw = |seed: u64, shift: f32| {
        let numbers = meanflow::rng::Stream::new(seed, meanflow::rng::Purpose::Noise, 0).normals(1500 * 3);
        Features::new(3, numbers.into_iter().map(|x| x + shift).collect())
    };
    let same = kernel_distance(&draw(1, 0.0), &draw(2, 0.0), 0, &device()).expect("it computes");
    let apart = kernel_distance(&draw(1, 0.0), &draw(2, 0.5), 0, &device()).expect("it computes");
    assert!(same.mean.abs() < 4.0 * same.std, "{same:?}");
    assert!(apart.mean > 10.0 * apart.std, "{apart:?}");
}

#[test]
fn neighbours_come_nearest_first_and_without_oneself() {
    let points = Features::new(1, vec![0.0, 1.0, 3.0, 7.0]);
    let found = nearest(&Features::new(1, vec![2.5]), &points, 3, false, &device()).expect("it computes");
    assert_eq!(found.rows, [[2, 1, 0]]);
    let among = nearest(&points, &points, 1, true, &device()).expect("it computes");
    assert_eq!(among.rows, [[1], [0], [1], [2]]);
    assert_eq!(among.distances, [1.0, 1.0, 2.0, 4.0]);
}

fn result(model: &str, seed: u64, solver: &str, nfe: usize, distance: f64) -> Evaluation {
    Evaluation {
        model: model.into(),
        seed,
        solver: solver.into(),
        nfe,
        images: 100,
        real: 200,
        metric: "FD".into(),
        features: "features of a test".into(),
        distance,
        kernel: 0.004,
        kernel_std: 0.001,
        precision: 0.5,
        recall: 0.25,
        seconds: 0.001 * nfe as f64,
    }
}

#[test]
fn tables_and_plots_show_every_result_and_the_spread_over_seeds() {
    let records = [
        result("mean-flow", 0, "mean-flow", 1, 10.0),
        result("mean-flow", 1, "mean-flow", 1, 14.0),
        result("mean-flow", 0, "mean-flow", 2, 8.0),
        result("flow-matching", 0, "heun", 2, 90.0),
    ];
    let text = tables(&records);
    assert!(text.contains("| mean-flow | mean-flow | 12.00 ± 2.83 | 8.00 |"), "{text}");
    assert!(text.contains("| flow-matching | heun | – | 90.00 |"), "{text}");
    assert!(text.contains("| flow-matching | heun | 2 | 90.00 | 0.00400 | 0.500 | 0.250 | 2.00 |"), "{text}");
    let svg = plot(&records);
    // Three means, of which the distance 90 is drawn highest.
    assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
    assert!(svg.contains("flow-matching, heun") && svg.contains("mean-flow, mean-flow"), "{svg}");
}

/// Ninety pictures of two classes.
fn ninety(place: &Place) -> String {
    for (class, green) in [("moss", 160), ("rust", 40)] {
        let folder = place.dir.path().join("ninety").join(class);
        fs::create_dir_all(&folder).expect("a folder");
        for i in 0..45u32 {
            let picture = RgbaImage::from_fn(8, 8, |x, y| Rgba([(x * i) as u8 * 3, green, (y * i) as u8 * 2, 255]));
            picture.save(folder.join(format!("{i}.png"))).expect("it writes");
        }
    }
    place.path("ninety")
}

#[test]
fn from_a_model_to_a_table_and_every_mistake_on_the_way() {
    let place = Place::new();
    let (few, tiny) = place.images();
    let many = ninety(&place);
    let [run, model, features, results] = ["run", "m.safetensors", "f.safetensors", "r.jsonl"].map(|n| place.path(n));
    succeeds(&["train", "--data", &few, "--config", &tiny, "--out", &run]);
    succeeds(&["export", &run, "--out", &model]);
    let said = succeeds(&[
        "classifier",
        "--data",
        &many,
        "--config",
        &tiny,
        "--test",
        &few,
        "--epochs",
        "2",
        "--out",
        &features,
    ]);
    assert!(said.contains("of 12 held-out images are named rightly"), "{said}");

    let eval =
        ["eval", &model, "--features", &features, "--nfe", "1,2", "--solver", "mean-flow,heun", "--out", &results];
    let run_eval = |rest: &[&str]| succeeds(&[eval.as_slice(), rest].concat());
    let fail_eval = |rest: &[&str], words: &[&str]| fails(&[eval.as_slice(), rest].concat(), words);
    let said = run_eval(&["--data", &many, "--count", "70"]);
    assert!(said.contains("64 features of a classifier of ninety"), "{said}");
    let records = read_records(&[&results]).expect("they read");
    // Heun takes two calls a step, so it has no single call.
    let found: Vec<(&str, usize)> = records.iter().map(|r| (r.solver.as_str(), r.nfe)).collect();
    assert_eq!(found, [("mean-flow", 1), ("mean-flow", 2), ("heun", 2)]);
    assert!(records.iter().all(|r| r.distance.is_finite() && r.distance > 0.0), "{records:?}");
    let table = succeeds(&["compare", &results]);
    assert!(said.contains(&table), "{table} is not in {said}");

    fail_eval(&["--data", &few, "--count", "70"], &["12 real images are too few", "64 dimensions"]);
    fail_eval(&["--data", &many, "--count", "64"], &["64 generated images are too few"]);
    fails(&["eval", &model, "--features", &model, "--data", &many], &["m.safetensors", "no features"]);
    fails(
        &["eval", &model, "--features", &tiny, "--data", &many],
        &["tiny.toml", "neither a safetensors file nor a checkpoint"],
    );
    let grey = place.file("grey.toml", "data = { size = 8, channels = 1 }");
    let other = place.path("grey.safetensors");
    succeeds(&["classifier", "--data", &few, "--config", &grey, "--epochs", "1", "--out", &other]);
    fails(&["eval", &model, "--features", &other, "--data", &many], &["grey.safetensors", "8×8×1", "8×8×4"]);
    fails(&["compare", &tiny], &["tiny.toml, line 2", "no evaluation"]);

    let grid = place.path("n.png");
    let said = succeeds(&["neighbours", &model, "--data", &few, "--out", &grid, "--count", "3", "--nearest", "4"]);
    assert!(said.contains("3 images, each before its 4 nearest of 12 training images"), "{said}");
    let picture = image::open(&grid).expect("a picture");
    assert_eq!((picture.width(), picture.height()), (5 * 16 + 8, 3 * 16 + 4));
}

#[test]
fn a_features_file_reads_back_as_it_was_written() {
    let place = Place::new();
    let (few, tiny) = place.images();
    let file = place.path("f.safetensors");
    succeeds(&["classifier", "--data", &few, "--config", &tiny, "--epochs", "1", "--out", &file]);
    let extractor = Extractor::open(Path::new(&file), &device()).expect("it reads");
    assert_eq!(extractor.metric(), "FD");
    assert!(extractor.suits(8, 4).is_ok() && extractor.suits(8, 3).is_err());
    let mut bytes = fs::read(&file).expect("it reads");
    bytes.truncate(bytes.len() - 10);
    fails(&["eval", &file, "--features", &place.file("cut", bytes), "--data", &few], &["f.safetensors"]);
}
