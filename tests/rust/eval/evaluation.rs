//! Evaluation: features against PyTorch, distances against scipy and numpy, and the commands with their mistakes.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use image::{Rgba, RgbaImage};
use meanflow::data::{DataConfig, Images};
use meanflow::eval::{
    ClassColumn, Classifier, Evaluation, Extractor, Features, Inception, InceptionResize, Moments, distance_to_nearest,
    frechet_distance, kernel_distance, nearest, precision_recall, quantiles, random_order, read_records,
};
use meanflow::import::Checkpoint;
use meanflow::train::TrainConfig;
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

/// Pictures that must shrink, by the formula of the fixture.
fn large() -> Tensor<4> {
    let [images, channels, edge] = [2, 3, 320];
    let mut pixels = Vec::with_capacity(images * channels * edge * edge);
    for i in 0..images {
        for c in 0..channels {
            for (y, x) in (0..edge).flat_map(|y| (0..edge).map(move |x| (y, x))) {
                let byte = ((7 + i) * x * x + (3 + c) * x * y + 11 * y) % 256;
                pixels.push((byte as f64 / 127.5 - 1.0) as f32);
            }
        }
    }
    Tensor::from_data(TensorData::new(pixels, [images, channels, edge, edge]), &device())
}

#[test]
fn inception_gives_the_features_that_pytorch_gives() {
    let checkpoint = Checkpoint::open(&path("inception.safetensors")).expect("the fixture reads");
    assert!(Inception::is_in(&checkpoint));
    let bytes = fixture("inception.safetensors");
    let file = SafeTensors::deserialize(&bytes).expect("the fixture reads");
    let (shape, pixels) = floats(&file, "images");
    let shape: [usize; 4] = shape.try_into().expect("a batch of images");
    let small = Tensor::from_data(TensorData::new(pixels, shape), &device());
    for (name, images, resize) in [
        ("features", &small, InceptionResize::PytorchFid),
        ("features_tensorflow1", &small, InceptionResize::TensorFlow1),
        ("features_pmf", &small, InceptionResize::Pmf),
        ("features_large", &large(), InceptionResize::PytorchFid),
        ("features_large_tensorflow1", &large(), InceptionResize::TensorFlow1),
    ] {
        let inception = Inception::read(&checkpoint, &device()).expect("it is complete").with_resize(resize);
        INCEPTION.close(name, &values(inception.features(images.clone())), &floats(&file, name).1, 1e-4);
    }
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
        let frechet = frechet_distance(&Moments::of(&generated), &Moments::of(&real)).expect("a distance");
        let kernel = kernel_distance(&generated, &real, 0).expect("it computes");
        let manifold = precision_recall(&real, &generated, &device()).expect("it computes");
        for (comparison, what, ours, theirs) in [
            (&FRECHET, "distance", frechet, expected[0]),
            (&KERNEL, "distance", kernel.mean, expected[1]),
            (&MANIFOLD, "precision", manifold.precision, expected[2]),
            (&MANIFOLD, "recall", manifold.recall, expected[3]),
        ] {
            comparison.within(&format!("{what}, {name}"), (ours / f64::from(theirs) - 1.0).abs(), 1e-4);
        }
        let none = frechet_distance(&Moments::of(&real), &Moments::of(&real)).expect("a distance");
        assert!(none.abs() < 1e-6 * frechet);
    }
}

#[test]
fn the_kernel_distance_is_summed_in_double_precision() {
    let bytes = fixture("distances.safetensors");
    let file = SafeTensors::deserialize(&bytes).expect("the fixture reads");
    let features = |part: &str| {
        let (shape, values) = floats(&file, &format!("close_{part}"));
        Features::new(shape[1], values)
    };
    let ours = kernel_distance(&features("generated"), &features("real"), 0).expect("it computes");
    let view = file.tensor("close_kernel").expect("the fixture has it");
    let reference = f64::from_le_bytes(view.data().try_into().expect("one f64"));
    KERNEL.within("a small difference of large sums", (ours.mean / reference - 1.0).abs(), 1e-10);
    assert_eq!((ours.subsets, ours.rows), (1, 300));
    let one = Features::new(2, vec![1.0, 2.0]);
    let error = kernel_distance(&one, &one, 0).expect_err("one image has no pairs").to_string();
    assert!(error.contains("2 or more images"), "{error}");
}

#[test]
fn too_few_images_for_a_third_neighbour_are_refused_rather_than_given_another() {
    let three = Features::new(1, vec![0.0, 1.0, 3.0]);
    let four = Features::new(1, vec![0.0, 1.0, 3.0, 7.0]);
    let error = precision_recall(&three, &four, &device()).expect_err("three have two neighbours each").to_string();
    assert!(error.contains("3 real images are too few"), "{error}");
    assert!(precision_recall(&four, &four, &device()).is_ok());
}

#[test]
fn the_kernel_distance_over_subsets_is_that_of_all_rows_on_average() {
    let draw = |seed: u64, shift: f32| {
        let numbers = meanflow::rng::Stream::new(seed, meanflow::rng::Purpose::Noise, 0).normals(1500 * 3);
        Features::new(3, numbers.into_iter().map(|x| x + shift).collect())
    };
    let same = kernel_distance(&draw(1, 0.0), &draw(2, 0.0), 0).expect("it computes");
    let apart = kernel_distance(&draw(1, 0.0), &draw(2, 0.5), 0).expect("it computes");
    assert!(same.mean.abs() < 4.0 * same.std, "{same:?}");
    assert!(apart.mean > 10.0 * apart.std, "{apart:?}");
}

#[test]
fn neighbours_come_nearest_first_and_without_oneself() {
    let points = Features::new(1, vec![0.0, 1.0, 3.0, 7.0]);
    let found = nearest(&Features::new(1, vec![2.5]), &points, 3, None, &device()).expect("it computes");
    assert_eq!(found.rows, [[2, 1, 0]]);
    let among = nearest(&points, &points, 1, Some(&[0, 1, 2, 3]), &device()).expect("it computes");
    assert_eq!(among.rows, [[1], [0], [1], [2]]);
    assert_eq!(among.distances, [1.0, 1.0, 2.0, 4.0]);
    let some = Features::new(1, vec![7.0, 0.0]);
    assert_eq!(nearest(&some, &points, 1, Some(&[3, 0]), &device()).expect("it computes").rows, [[2], [1]]);
}

#[test]
fn a_mixture_of_two_images_is_far_from_both() {
    // 4096 images take more than one block; all but the last two are white.
    let config = DataConfig { size: 2, channels: 1, ..DataConfig::default() };
    let mut images = Images::random(&config, 4096);
    images.pixels = vec![255; 4 * 4096];
    images.pixels[4 * 4094..].copy_from_slice(&[0, 0, 0, 0, 0, 255, 0, 255]);
    let queries = Features::new(4, vec![-1.0, 1.0, -1.0, 1.0, -1.0, 0.0, -1.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    let distances = distance_to_nearest(&queries, &images, &device()).expect("it computes");
    for (found, want) in distances.iter().zip([0.0, 2.0f32.sqrt(), 0.0]) {
        assert!((found - want).abs() < 1e-3, "{distances:?}");
    }
    assert_eq!(quantiles((0..=100).rev().map(|i| i as f32).collect(), [0.5, 0.95]), [50.0, 95.0]);
}

#[test]
fn a_classifier_names_what_a_key_of_json_files_says() {
    let place = Place::new();
    let pictures = place.dir.path().join("pictures");
    fs::create_dir_all(&pictures).expect("a folder");
    for i in 0..8_u8 {
        let picture = pictures.join(format!("{i}.png"));
        RgbaImage::from_pixel(8, 8, Rgba([i % 2 * 255, 0, 0, 255])).save(&picture).expect("it writes");
        fs::write(picture.with_extension("json"), format!("{{\"tone\": \"{}\"}}", ["dark", "red"][usize::from(i % 2)]))
            .expect("it writes");
    }
    // The settings of a set whose captions are all that a model is told.
    let (settings, features) = (place.path("s.toml"), place.path("f.safetensors"));
    fs::write(&settings, "[data]\nsize = 8\nclass_depth = 0\n").expect("it writes");
    let data = pictures.to_string_lossy();
    let command = ["classifier", "--data", &data, "--config", &settings, "--epochs", "1", "--out", &features];
    fails(&command, &["two or more classes"]);
    succeeds(&[&command[..], &["--label", "tone"]].concat());
    let bytes = fs::read(&features).expect("a file");
    let classifier = Classifier::from_bytes(&bytes, &device()).expect("a classifier");
    let column = ClassColumn { name: Some("tone".into()), classes: vec!["dark".into(), "red".into()], accuracy: None };
    assert_eq!(classifier.info().columns, [column]);

    // Two keys by one classifier.
    for i in 0..8 {
        let json = format!("{{\"tone\": \"{}\", \"half\": {}}}", ["dark", "red"][i % 2], i / 4);
        fs::write(pictures.join(format!("{i}.json")), json).expect("it writes");
    }
    succeeds(&[&command[..], &["--label", "tone", "--label", "half"]].concat());
    let classifier = Classifier::from_bytes(&fs::read(&features).expect("a file"), &device()).expect("a classifier");
    let names: Vec<_> =
        classifier.info().columns.iter().map(|column| column.name.clone().unwrap_or_default()).collect();
    assert_eq!(names, ["tone", "half"]);
    fails(&[&command[..], &["--label", "tone", "--label", "none"]].concat(), &["none"]);
}

#[test]
fn a_features_file_of_before_columns_is_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reproduction/fashion-mnist.features.safetensors");
    let classifier = Classifier::from_bytes(&fs::read(file).expect("a file"), &device()).expect("a classifier");
    let info = classifier.info();
    assert_eq!((info.features, info.halvings, info.columns.len()), (64, 2, 1));
    assert_eq!((info.columns[0].classes.len(), &info.columns[0].name), (10, &None));
    assert!(info.describe().ends_with("right on held-out images"), "{}", info.describe());
}

/// Forty images of two classes, each of one colour.
fn coloured(classes: [&str; 2]) -> Images {
    let config = DataConfig { size: 2, channels: 1, ..DataConfig::default() };
    let mut images = Images::random(&config, 40);
    images.pixels = (0..160).map(|i| (i / 4 * 3) as u8).collect();
    images.classes = classes.map(str::to_owned).to_vec();
    images.labels = (0..40).map(|i| i / 20).collect();
    images
}

/// The same set as if its second class had come first.
fn reversed(images: &Images) -> Images {
    let mut other = images.clone();
    other.pixels.rotate_left(80);
    other.classes.reverse();
    other
}

#[test]
fn a_random_order_depends_on_the_seed_and_on_what_images_show_alone() {
    let (a, b) = (coloured(["ant", "bee"]), reversed(&coloured(["a bee, renamed", "z ant, renamed"])));
    let shown = |images: &Images, seed| -> Vec<u8> {
        random_order(images, seed).into_iter().map(|row| images.pixels[4 * row]).collect()
    };
    assert_eq!(shown(&a, 0), shown(&b, 0));
    assert_ne!(shown(&a, 0), shown(&a, 1));
    let mut all = random_order(&a, 3);
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
    // Uniform: over many seeds each image is as often among the first ten.
    let mut first = [0_usize; 40];
    (0..2000).for_each(|seed| random_order(&a, seed)[..10].iter().for_each(|&row| first[row] += 1));
    assert!(first.iter().all(|&count| (400..=600).contains(&count)), "{first:?}");
}

/// Ninety pictures of two classes.
fn ninety(place: &Place) -> String {
    for (class, green) in [("moss", 160), ("rust", 40)] {
        let folder = place.dir.path().join("ninety").join(class);
        fs::create_dir_all(&folder).expect("a folder");
        for i in 0..45u32 {
            // Transparent somewhere, as the model's own images are.
            let alpha = |x: u32| if i == 0 && x == 0 { 0 } else { 255 };
            let picture =
                RgbaImage::from_fn(8, 8, |x, y| Rgba([(x * i) as u8 * 3, green, (y * i) as u8 * 2, alpha(x)]));
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
    assert!(records.iter().all(|r| r.distance.is_some_and(|d| d.is_finite() && d > 0.0)), "{records:?}");
    let table = succeeds(&["compare", &results]);
    assert!(said.contains(&table), "{table} is not in {said}");

    // Fewer images than features leave out the Fréchet distance alone, and say why.
    for (data, count, reason) in [
        (&few, "70", "No FD: 12 real images are too few for it in 64 dimensions"),
        (&many, "64", "No FD: 64 generated images are too few"),
    ] {
        let said = run_eval(&["--data", data, "--count", count]);
        assert!(said.contains(reason) && said.contains("| tiny | mean-flow | – | – |"), "{said}");
    }
    let records = read_records(&[&results]).expect("they read");
    let last = records.last().expect("results");
    assert!(last.distance.is_none() && last.kernel.is_finite() && last.precision <= 1.0, "{last:?}");
    fail_eval(&["--data", &many, "--count", "3"], &["3 generated images are too few"]);
    fail_eval(&["--data", &many, "--inception-resize", "pmf"], &["f.safetensors", "--inception-resize"]);
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
    let extractor = Extractor::open(Path::new(&file), InceptionResize::default(), &device()).expect("it reads");
    assert_eq!(extractor.metric(), "FD");
    assert!(extractor.suits(8, 4).is_ok() && extractor.suits(8, 3).is_err());
    let mut bytes = fs::read(&file).expect("it reads");
    bytes.truncate(bytes.len() - 10);
    fails(&["eval", &file, "--features", &place.file("cut", bytes), "--data", &few], &["f.safetensors"]);
}

/// More pictures than precision and recall look at, in two folders: dark and bright ones.
fn five_thousand(place: &Place, name: &str, folders: [&str; 2]) -> String {
    for (folder, base) in folders.into_iter().zip([20, 150]) {
        let path = place.dir.path().join(name).join(folder);
        fs::create_dir_all(&path).expect("a folder");
        for i in 0..2600_u32 {
            let value = |x: u32, y: u32| (base + (i * (x + 3) + 7 * i * y / 5) % 90) as u8;
            let picture = RgbaImage::from_fn(8, 8, |x, y| Rgba([value(x, y), value(y, x), base as u8, 255]));
            picture.save(path.join(format!("{i}.bmp"))).expect("it writes");
        }
    }
    place.path(name)
}

#[test]
fn renamed_folders_give_the_same_figures() {
    let place = Place::new();
    let (few, tiny) = place.images();
    let [run, model, features, results] = ["run", "m.safetensors", "f.safetensors", "r.jsonl"].map(|n| place.path(n));
    succeeds(&["train", "--data", &few, "--config", &tiny, "--out", &run]);
    succeeds(&["export", &run, "--out", &model]);
    succeeds(&["classifier", "--data", &few, "--config", &tiny, "--epochs", "1", "--out", &features]);
    let sets = [five_thousand(&place, "one", ["ant", "bee"]), five_thousand(&place, "other", ["x", "c"])];
    for data in &sets {
        let eval = ["eval", &model, "--features", &features, "--data", data, "--count", "100", "--nfe", "1"];
        let said = succeeds(&[&eval[..], &["--solver", "mean-flow", "--out", &results]].concat());
        assert!(said.contains("against 5000 real images, drawn uniformly by seed 0"), "{said}");
    }
    let records = read_records(&[&results]).expect("they read");
    let figures = |r: &Evaluation| (r.precision, r.recall, r.kernel, r.distance);
    assert_eq!(figures(&records[0]), figures(&records[1]));

    // The bits of a few images too are those of a random few, and memory is judged by random training images.
    let plain = place.file(
        "plain.toml",
        "data = { size = 8, class_depth = 0 }\nnet = { patch = 4, width = 16, depth = 1, \
                 heads = 1 }\ntrain = { steps = 2, batch_size = 4 }\n",
    );
    let (run, model) = (place.path("plain"), place.path("plain.safetensors"));
    succeeds(&["train", "--data", &few, "--config", &plain, "--out", &run]);
    succeeds(&["export", &run, "--out", &model]);
    let bits = sets.each_ref().map(|data| succeeds(&["likelihood", &model, "--data", data, "--count", "8"]));
    assert!(bits[0].contains("over 8 images drawn uniformly by seed 0 of 5200"), "{}", bits[0]);
    assert_eq!(bits[0], bits[1]);
    let grid = place.path("n.png");
    let nearest = sets.each_ref().map(|data| {
        let said = succeeds(&["neighbours", &model, "--data", data, "--out", &grid, "--count", "2", "--over", "8"]);
        said.lines().last().map(str::to_owned)
    });
    assert_eq!(nearest[0], nearest[1]);
}

#[test]
fn how_images_are_resized_is_chosen_by_flag_or_settings_and_named_in_every_result() {
    let place = Place::new();
    let (few, tiny) = place.images();
    let [run, model, results] = ["run", "m.safetensors", "r.jsonl"].map(|n| place.path(n));
    succeeds(&["train", "--data", &few, "--config", &tiny, "--out", &run]);
    succeeds(&["export", &run, "--out", &model]);
    let features = path("inception.safetensors").to_string_lossy().into_owned();
    let settings = place.file("paper.toml", "[eval]\ninception_resize = \"tensorflow1\"\n");
    let eval = |rest: &[&str]| {
        let fixed = ["eval", &model, "--features", &features, "--data", &few, "--count", "4", "--nfe", "1"];
        succeeds(&[&fixed[..], &["--solver", "mean-flow", "--out", &results], rest].concat())
    };
    for (rest, name) in [
        (&[][..], "pytorch-fid"),
        (&["--config", &settings], "tensorflow1"),
        (&["--config", &settings, "--inception-resize", "pmf"], "pmf"),
    ] {
        let said = eval(rest);
        assert!(
            said.contains(&format!(
                "FID on pool features of Inception-v3 (pytorch-fid weights), images resized as {name}; "
            )),
            "{said}"
        );
    }
    let records = read_records(&[&results]).expect("they read");
    let resizes: Vec<_> = records.iter().map(|record| record.inception_resize).collect();
    let expected = [InceptionResize::PytorchFid, InceptionResize::TensorFlow1, InceptionResize::Pmf];
    assert_eq!(resizes, expected.map(Some));
    assert_ne!(records[0].kernel, records[1].kernel);

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/imagenet");
    for file in fs::read_dir(folder).expect("settings").map(|entry| entry.expect("an entry").path()) {
        let config = TrainConfig::from_toml(&fs::read_to_string(&file).expect("settings")).expect("they are valid");
        let pixels = file.to_string_lossy().contains("pmf");
        let papers = if pixels { InceptionResize::Pmf } else { InceptionResize::TensorFlow1 };
        assert_eq!(config.eval.inception_resize, Some(papers), "{}", file.display());
    }
}
