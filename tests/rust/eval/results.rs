//! What results become: rows of tables, lines of plots, and which models stand together.

use meanflow::eval::{
    Draw, Evaluation, InceptionResize, Manifold, ModelId, NearestDistance, plot, read_records, tables,
};

use crate::cli::{Place, fails, succeeds};

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
        distance: Some(distance),
        kernel: 0.004,
        kernel_std: 0.001,
        precision: 0.5,
        recall: 0.25,
        seconds: 0.001 * nfe as f64,
        ..Evaluation::default()
    }
}

/// The same of a named file, measured as this version does.
fn of_file(file: &str, run: &str, record: Evaluation) -> Evaluation {
    let hash = format!("hash of {file}");
    Evaluation {
        id: Some(ModelId { file: file.into(), hash, run: run.into() }),
        eval_seed: Some(0),
        kernel_subsets: Some([100, 50]),
        manifold: Manifold { draw: Draw::Uniform, counts: Some([200, 100]) },
        ..record
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

#[test]
fn one_call_is_compared_with_many_of_the_same_noise_by_the_nearest_real_image() {
    let with = |median: f64, record: Evaluation| {
        let nearest_distance =
            NearestDistance { images: 50, pixels: [median, 2.0 * median], features: [0.5 * median, median] };
        Evaluation { nearest_distance: Some(nearest_distance), ..record }
    };
    let mut records = vec![
        with(3.0, result("m", 0, "mean-flow", 1, 12.0)),
        with(2.5, result("m", 0, "mean-flow", 4, 8.0)),
        with(2.0, result("m", 0, "euler", 32, 9.0)),
        result("other", 0, "mean-flow", 1, 5.0),
    ];
    let row = "| m | 3.00 | 2.00 | 1.50 | 6.00 | 4.00 | 1.50 | 1.50 | 1.00 | 1.50 | 1.50 |";
    assert!(tables(&records).contains(row), "{}", tables(&records));
    records.remove(2);
    assert!(!tables(&records).contains("nearest real image"), "without 32 steps nothing is compared");
}

#[test]
fn models_of_one_name_are_one_row_only_where_they_differ_in_the_seed_alone() {
    let records = [
        of_file("a/m.safetensors", "settings 1", result("meanflow", 0, "mean-flow", 1, 10.0)),
        of_file("b/m.safetensors", "settings 1", result("meanflow", 1, "mean-flow", 1, 14.0)),
        of_file("c/m.safetensors", "settings 2", result("meanflow", 2, "mean-flow", 1, 90.0)),
        // Measured again: the same model is no second run.
        of_file("a/m.safetensors", "settings 1", result("meanflow", 0, "mean-flow", 1, 10.0)),
        // The same seed and settings, and yet another model.
        of_file("d.safetensors", "settings 1", result("meanflow", 0, "mean-flow", 1, 50.0)),
        of_file("e.safetensors", "settings 3", result("other", 0, "mean-flow", 1, 7.0)),
    ];
    let text = tables(&records);
    for row in [
        "| meanflow (a/m.safetensors and other seeds) | mean-flow | 12.00 ± 2.83 |",
        "| meanflow (c/m.safetensors) | mean-flow | 90.00 |",
        "| meanflow (d.safetensors) | mean-flow | 50.00 |",
        "| other | mean-flow | 7.00 |",
        "200 real images, drawn uniformly by seed 0",
        "100 subsets of 50 images",
        "with the training seeds 0, 1.",
    ] {
        assert!(text.contains(row), "{text}has no `{row}`");
    }
    assert_eq!(plot(&records).matches("<circle").count(), 4);
    // By other generated images the same model is not measured in the same way.
    let again = Evaluation { eval_seed: Some(100), ..records[5].clone() };
    let text = tables(&[records[5].clone(), again]);
    assert!(text.contains("| other (seeds from 0) |") && text.contains("| other (seeds from 100) |"), "{text}");
}

#[test]
fn results_of_older_versions_are_read_and_marked() {
    let place = Place::new();
    let old = r#"{"model":"m","seed":0,"solver":"mean-flow","nfe":1,"images":10,"real":20,"metric":"FID","#.to_owned()
        + r#""features":"features of Inception-v3","distance":1.5,"kernel":0.25,"kernel_std":0.5,"#
        + r#""precision":0.5,"recall":0.25,"seconds":1.0}"#;
    let file = place.file("old.jsonl", format!("{old}\n{}\n", old.replace("\"seed\":0", "\"seed\":1")));
    let mut records = read_records(&[&file]).expect("they read");
    assert_eq!(records[0].inception_resize, Some(InceptionResize::PytorchFid));
    assert_eq!((records[0].distance, records[0].manifold.draw), (Some(1.5), Draw::First));
    let text = tables(&records);
    assert!(text.contains("images resized as pytorch-fid") && text.contains("older versions"), "{text}");
    assert!(text.contains("| m | mean-flow | 1 | 1.50 ± 0.00 | 0.25000 ± 0.00000 | 0.500"), "{text}");
    assert!(!text.contains('†'), "{text}");
    let mut new = of_file("n.safetensors", "settings", records[0].clone());
    new.model = "n".into();
    records.push(new);
    let text = tables(&records);
    assert!(text.contains("| 0.500 ± 0.000 † | 0.250 ± 0.000 † |") && text.contains("| 0.500 | 0.250 |"), "{text}");

    let other = old.replace("\"seed\"", "\"inception_resize\":\"tensorflow1\",\"seed\"");
    let other = place.file("other.jsonl", other);
    fails(&["compare", &file, &other], &["do not compare", "resized as pytorch-fid", "resized as tensorflow1"]);
}

#[test]
fn two_models_of_the_default_name_are_two_rows_and_seeds_of_one_setting_are_one() {
    let place = Place::new();
    let (few, _) = place.images();
    let settings = "data = { size = 8 }\nnet = { patch = 4, width = 16, depth = 1, heads = 1 }\n\
                    train = { steps = 4, batch_size = 4 }\nlog = { every = 2 }\n";
    let (tiny, features) = (place.file("unnamed.toml", settings), place.path("f.safetensors"));
    succeeds(&["classifier", "--data", &few, "--config", &tiny, "--epochs", "1", "--out", &features]);
    let model = |name: &str, rest: &[&str]| {
        let (run, file) = (place.path(name), place.path(&format!("{name}.safetensors")));
        succeeds(&[&["train", "--data", &few, "--config", &tiny, "--out", &run], rest].concat());
        succeeds(&["export", &run, "--out", &file]);
        file
    };
    let good = model("good", &[]);
    let seed = model("seed", &["--seed", "2"]);
    let bad = model("bad", &["--steps", "3", "--seed", "2"]);
    let rate = place.file("rate.toml", settings.replace("steps = 4", "steps = 4, learning_rate = 2e-3"));
    let (run, rate_model) = (place.path("rate"), place.path("rate.safetensors"));
    succeeds(&["train", "--data", &few, "--config", &rate, "--out", &run, "--seed", "3"]);
    succeeds(&["export", &run, "--out", &rate_model]);
    let eval = |models: &[&str]| {
        let rest = ["--data", &few, "--features", &features, "--count", "8", "--nfe", "1", "--solver", "mean-flow"];
        succeeds(&[&["eval"], models, &rest].concat())
    };
    let said = eval(&[&good, &bad]);
    for row in [format!("| meanflow ({good}) | mean-flow |"), format!("| meanflow ({bad}) | mean-flow |")] {
        assert!(said.contains(&row), "{said}has no `{row}`");
    }
    assert!(!said.contains('±'), "{said}");
    // Another learning rate is another setting, whatever the seed.
    let said = eval(&[&good, &rate_model]);
    assert!(said.contains(&format!("| meanflow ({rate_model}) |")) && !said.contains('±'), "{said}");
    // So are other images, of as many and of the same classes.
    let twice = std::path::Path::new(&few).join("moss");
    let mut moss: Vec<_> =
        std::fs::read_dir(&twice).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    moss.sort();
    std::fs::copy(&moss[1], &moss[0]).expect("it copies");
    let data = model("data", &["--seed", "4"]);
    let said = eval(&[&good, &data]);
    assert!(said.contains(&format!("| meanflow ({data}) |")) && !said.contains('±'), "{said}");
    let said = eval(&[&good, &seed]);
    assert!(said.contains("| meanflow | mean-flow | 1 |") && said.contains('±'), "{said}");
    assert!(said.contains("with the training seeds 0, 2"), "{said}");
}
