//! Text conditioning: what prompts do to a network, its derivative, the engines, and a run that learns words.

use std::path::Path;

use burn::tensor::{Int, Tensor};
use image::{Rgba, RgbaImage};
use meanflow::data::{DataConfig, Images, load, normalize_text};
use meanflow::eval::{Extractor, Features, InceptionResize, kernel_distance, random_order, read_records, tables};
use meanflow::flow::{Divergence, Integrator, bits_per_dimension, dequantise};
use meanflow::generator::{Generator, SampleOptions};
use meanflow::infer::cpu::CpuGenerator;
use meanflow::model::text::{TextConditioning, TextConfig, Token, Tokenizer};
use meanflow::model::weights::{ModelInfo, Precision};
use meanflow::model::{Condition, NO_PAUSE, Request, Solver};
use meanflow::net::{Labels, Prompts, encode};
use meanflow::train::{CheckpointSelector, PRIMARY_EMA, Pretrained, RunFolder, Sampler, TrainConfig, Trainer};
use meanflow::{Dual, Net, NetConfig};

use crate::cli::{Place, fails, succeeds};
use crate::support::{assert_close, device, random, random_net, relative_error, tiny_config, values};
use crate::train::Listener;
use crate::weights::info;

const KINDS: [TextConditioning; 3] =
    [TextConditioning::InContext, TextConditioning::KeysValues, TextConditioning::Adaln];

/// A small network that is told at most three of five words.
fn config(conditioning: TextConditioning) -> NetConfig {
    let text = TextConfig { vocabulary: 5, buckets: 16, tokens: 3, conditioning };
    NetConfig { text: Some(text), ..tiny_config(3, 0) }
}

/// Tokens of rows, each row alone.
fn prompt(rows: &[u32]) -> Vec<Token> {
    rows.iter().map(|&row| vec![(row, 1.0)]).collect()
}

fn labels(config: &NetConfig, prompts: &[Vec<Token>]) -> Option<Labels> {
    let text = config.text.as_ref().expect("it takes prompts");
    Some(Prompts::new(prompts, text, &device()).into())
}

fn call(net: &Net, z: Dual<4>, [r, t]: [Dual<1>; 2], prompts: &[Vec<Token>]) -> Dual<4> {
    net.forward(z, r, t, labels(net.config(), prompts))
}

fn pair(time: f32) -> Tensor<1> {
    Tensor::from_data([time; 2], &device())
}

#[test]
fn words_change_what_is_drawn_and_their_order_does_where_they_are_tokens() {
    for kind in KINDS {
        let net = random_net(&config(kind), &device());
        let u = |prompts: [&[u32]; 2]| {
            let z = random(1, [1, 3, 8, 8]).repeat_dim(0, 2);
            values(call(&net, z.into(), [pair(0.2).into(), pair(0.9).into()], &prompts.map(prompt)).primal)
        };
        let apart = |prompts: [&[u32]; 2]| {
            let u = u(prompts);
            let (a, b) = u.split_at(u.len() / 2);
            relative_error(a, b)
        };
        assert!(apart([&[0, 1], &[0, 2]]) > 1e-3, "{kind:?}: another word");
        assert!(apart([&[], &[0]]) > 1e-3, "{kind:?}: no word");
        let order = apart([&[0, 1, 2], &[2, 1, 0]]);
        assert_eq!(order > 1e-3, kind != TextConditioning::Adaln, "{kind:?}: order changes it by {order}");
        // What is beyond the last token is not read.
        assert_eq!(apart([&[0, 1, 2, 3], &[0, 1, 2, 4]]), 0.0, "{kind:?}");
    }
}

#[test]
fn the_derivative_of_a_network_with_words_is_the_central_difference() {
    for kind in KINDS {
        for config in [config(kind), NetConfig { velocity_head: Some(1), ..config(kind) }] {
            let net = random_net(&config, &device());
            let prompts = [vec![vec![(0, 1.0)], vec![(6, 0.7), (9, 0.7)]], Vec::new()];
            let (z, dz) = (random(1, [2, 3, 8, 8]), random(2, [2, 3, 8, 8]));
            let at = |step: f32| {
                let moved = z.clone() + dz.clone() * step;
                call(&net, moved.into(), [pair(0.2).into(), pair(0.7 + step).into()], &prompts).primal
            };
            let moving = [pair(0.2).into(), Dual::new(pair(0.7), pair(1.0))];
            let tangent = call(&net, Dual::new(z.clone(), dz.clone()), moving, &prompts).tangent.expect("it moves");
            let step = 3e-3;
            let difference = (at(step) - at(-step)) / (2.0 * step);
            assert_close(&format!("{kind:?}"), &values(tangent), &values(difference), 2e-3);
        }
    }
}

#[test]
fn null_labels_are_empty_prompts() {
    for kind in KINDS {
        let net = random_net(&config(kind), &device());
        let z = random(1, [2, 3, 8, 8]);
        let u = |labels: Option<Labels>| {
            values(net.forward(z.clone().into(), pair(0.0).into(), pair(1.0).into(), labels).primal)
        };
        let given = labels(net.config(), &[prompt(&[1, 2]), prompt(&[4])]).expect("prompts");
        let empty = labels(net.config(), &[Vec::new(), Vec::new()]).expect("prompts");
        assert_eq!(u(Some(given.null(0))), u(Some(empty.clone())));
        let read = |labels: &Labels| labels.are_named(0).int().try_into_vec_as::<i32>().expect("numbers");
        assert_eq!((read(&given), read(&empty)), (vec![1, 1], vec![0, 0]));
        // Rows of a batch keep their prompts, in parts too.
        let second: Tensor<1, Int> = Tensor::from_data([1], &device());
        let [whole, narrow, select] =
            [given.clone(), given.clone().narrow(1, 1), given.select(&second)].map(|labels| labels.prompts().is_some());
        assert!(whole && narrow && select);
    }
}

#[test]
fn the_cpu_engine_draws_the_pictures_of_prompts() {
    for kind in KINDS {
        let config = config(kind);
        let bytes = encode(&random_net(&config, &device()), &info(config), Precision::F32).expect("it encodes");
        let reference = Generator::from_bytes(&bytes, &device()).expect("a model");
        let engine = CpuGenerator::from_bytes(&bytes).expect("a model");
        for text in ["", "word00001", "word00003 word00000 other", "otter word00004 word00002 word00001"] {
            for nfe in [1, 3] {
                let class = reference.info().prompt(text).expect("it takes prompts");
                let request = Request { seed: 5, count: 2, class, nfe };
                let ours = engine.images(request.clone()).expect("pictures");
                let theirs = values(reference.images(request).expect("pictures"));
                assert_close(&format!("{kind:?} “{text}”, {nfe} calls"), &ours, &theirs, 2e-5);
            }
        }
        // Without a prompt a picture is that of the empty one.
        let of = |class| engine.images(Request { seed: 5, count: 1, class, nfe: 1 }).expect("a picture");
        assert_eq!(of(Condition::Any), of(reference.info().prompt("").expect("it takes prompts")));
        let class = || Condition::One(0);
        let noise = vec![0.0; 3 * 8 * 8];
        let refused = pollster::block_on(engine.from_noise(noise, class(), 1, Solver::MeanFlow, NO_PAUSE));
        assert!(refused.expect_err("no classes").to_string().contains("takes a prompt in its place"));
    }
}

#[test]
fn a_model_without_words_refuses_prompts() {
    let config = tiny_config(3, 2);
    let model = Generator::new(random_net(&config, &device()), info(config), &device());
    let error = model.info().prompt("crab").expect_err("it takes none").to_string();
    assert!(error.contains("the model `tiny` takes none"), "{error}");
    let request = Request { seed: 0, count: 1, class: Condition::Text([].into()), nfe: 1 };
    assert!(model.images(request).expect_err("it takes none").to_string().contains("takes none"));
}

/// Pictures of one colour on the left and one on the right, described as `"red left, blue right"`.
fn two_halves(held_out: &[&str]) -> (Images, Vec<(String, [usize; 2])>) {
    const NAMES: [&str; 4] = ["red", "green", "blue", "black"];
    let pairs = (0..16).map(|i| [i / 4, i % 4]);
    let described = pairs.map(|[a, b]| (format!("{} left, {} right", NAMES[a], NAMES[b]), [a, b]));
    let all: Vec<(String, [usize; 2])> = described.collect();
    let shown: Vec<_> = all.iter().filter(|(text, _)| !held_out.contains(&text.as_str())).collect();
    let pixels = shown.iter().flat_map(|(_, halves)| {
        (0..3).flat_map(move |channel| (0..64).map(move |i| if halves[i % 8 / 4] == channel { 255 } else { 0 }))
    });
    let (count, pixels) = (shown.len(), pixels.collect());
    let images = Images::new(8, 3, pixels, vec![0; count], Vec::new()).expect("they fit");
    (Images { captions: shown.iter().map(|(text, _)| text.clone()).collect(), ..images }, all)
}

#[test]
fn a_run_learns_what_its_words_bind() {
    let held_out = ["red left, blue right", "green left, green right"];
    let (images, all) = two_halves(&held_out);
    let toml = r#"
        [data]
        size = 8
        channels = 3
        [net]
        width = 48
        depth = 3
        heads = 4
        [net.text]
        tokens = 4
        buckets = 64
        [train]
        steps = 1600
        batch_size = 16
        learning_rate = 3e-3
        flow_matching_steps = 600
        ramp_steps = 50
        warmup_steps = 20
        cooldown_steps = 400
        ema_decay = 0.98
        word_dropout = 0.1
    "#;
    let config = TrainConfig::from_toml(toml).expect("settings");
    let images = config.prepare(images);
    let net = config.net_for(&images).expect("a network");
    let mut sampler = Sampler::of_run(&images, &config);
    let mut trainer = Trainer::new(&config, &net, &device());
    for step in 0..config.train.steps {
        trainer.step(sampler.batch(step, &device()).expect("a batch"));
    }
    let described = ModelInfo { vocabulary: images.vocabulary.clone(), ..info(net) };
    let model = Generator::new(trainer.averaged().clone(), described, &device());
    let right = |text: &str, halves: [usize; 2]| {
        let prompts = vec![model.info().prompt(&normalize_text(text)).expect("it takes prompts"); 8];
        let drawn = values(model.sample_each(0, &prompts, 1, SampleOptions::default()).expect("pictures").images);
        let shows = |picture: &[f32]| {
            [0, 4].map(|column| {
                let mean = |channel: usize| {
                    let plane = &picture[64 * channel..64 * (channel + 1)];
                    plane.iter().enumerate().filter(|(i, _)| i % 8 / 4 == column / 4).map(|(_, x)| x).sum::<f32>()
                };
                let brightest = (0..3).max_by(|&a, &b| mean(a).total_cmp(&mean(b))).expect("three channels");
                if mean(brightest) < 0.0 { 3 } else { brightest }
            })
        };
        drawn.chunks(3 * 64).filter(|picture| shows(picture) == halves).count()
    };
    let mut seen = 0;
    for (text, halves) in &all {
        let count = right(text, *halves);
        if held_out.contains(&text.as_str()) {
            assert!(count >= 6, "{text}, which no picture showed: {count} of 8");
        } else {
            seen += count;
        }
    }
    assert!(seen >= 104, "{seen} of 112 pictures are what their captions say");
    // A typing error is near the word that was meant.
    assert!(right("gren left, red right", [1, 0]) >= 5, "a word with a letter missing");
}

#[test]
fn batches_repeat_and_drop_whole_captions_by_the_settings() {
    let (images, _) = two_halves(&[]);
    let toml =
        |more: &str| format!("[data]\nsize = 8\nchannels = 3\n[net.text]\ntokens = 4\n[train]\nbatch_size = 9\n{more}");
    let prompts = |more: &str, step: u64| {
        let config = TrainConfig::from_toml(&toml(more)).expect("settings");
        let images = config.prepare(images.clone());
        let batch = Sampler::of_run(&images, &config).batch(step, &device()).expect("a batch");
        let named = Labels::from(batch.prompts.expect("captions")).are_named(0).int();
        named.try_into_vec_as::<i32>().expect("numbers")
    };
    assert_eq!(prompts("", 3), prompts("", 3));
    assert_eq!(prompts("class_dropout = 1.0", 0), [0; 9]);
    assert_eq!(prompts("class_dropout = 0.0\nword_dropout = 0.0", 0), [1; 9]);
    let error = TrainConfig::from_toml(&toml("word_dropout = 1.5")).expect_err("out of range").to_string();
    assert!(error.contains("[train] word_dropout must be 0 to 1"), "{error}");
    let wrong = TrainConfig::from_toml("[net]\npreset = \"unet\"\n[net.text]").expect_err("no words").to_string();
    assert!(wrong.contains("text is for Diffusion Transformers"), "{wrong}");
}

/// Small pictures that are described by one word each.
fn described(words: &[&str]) -> Images {
    let count = words.len();
    let images = Images::new(8, 3, vec![100; count * 3 * 64], vec![0; count], Vec::new()).expect("they fit");
    Images { captions: words.iter().map(|&word| word.into()).collect(), ..images }
}

/// Settings of a small network with so many buckets.
fn small_settings(buckets: usize) -> TrainConfig {
    let toml = format!(
        "[data]\nsize = 8\nchannels = 3\n[net]\nwidth = 16\ndepth = 2\nheads = 2\n\
         [net.text]\ntokens = 3\nbuckets = {buckets}\n\
         [train]\nsteps = 1\nbatch_size = 4\nlearning_rate = 1e-9\nflow_matching_steps = 0\nramp_steps = 0\n"
    );
    TrainConfig::from_toml(&toml).expect("settings")
}

#[test]
fn a_run_begins_with_the_words_of_other_weights_by_their_names() {
    let place = Place::new();
    let (settings, images) = (small_settings(16), described(&["ant", "bee", "cow", "doe", "eel"]));
    let images = settings.prepare(images);
    let before = random_net(&settings.net_for(&images).expect("a network"), &device());
    let about = ModelInfo { vocabulary: images.vocabulary.clone(), ..info(before.config().clone()) };
    let file = place.file("before.safetensors", encode(&before, &about, Precision::F32).expect("it encodes"));
    let z = random(1, [1, 3, 8, 8]);
    let instant = |time: f32| Tensor::<1>::from_data([time], &device());
    let u = |net: &Net, rows: &[u32]| {
        values(call(net, z.clone().into(), [instant(0.2).into(), instant(0.9).into()], &[prompt(rows)]).primal)
    };
    let same = |a: &[f32], b: &[f32]| relative_error(a, b) < 1e-6;

    // As many words, but each in the row of another.
    let others = settings.prepare(described(&["eel", "bee", "cow", "fox", "doe"]));
    assert_eq!(others.vocabulary, ["bee", "cow", "doe", "eel", "fox"]);
    let start = Pretrained::read(Path::new(&file), &settings, &others, &device()).expect("it suits");
    for word in 0..4 {
        assert!(same(&u(start.net(), &[word]), &u(&before, &[word + 1])), "{}", others.vocabulary[word as usize]);
    }
    assert!(
        (0..5).all(|word| !same(&u(start.net(), &[4]), &u(&before, &[word]))),
        "a new word is none of the old ones"
    );
    // What is no word stays: trigrams, and places that no word takes.
    assert!(same(&u(start.net(), &[5, 20]), &u(&before, &[5, 20])) && same(&u(start.net(), &[]), &u(&before, &[])));
    assert_eq!(start.notices(), ["4 of 5 words begin as in the weights, the others anew"]);
    let run = RunFolder::create(&place.dir.path().join("run"), &settings).expect("a new run").beginning_with(start);
    let mut listener = Listener::default();
    listener.train(&settings, &others, &run).expect("it trains");
    assert!(listener.notices.iter().any(|notice| notice.starts_with("4 of 5 words")), "{:?}", listener.notices);
    let trained = |text: &str, text_before: &str| {
        let average = run
            .averaged(CheckpointSelector::Newest, PRIMARY_EMA, &device(), |text| panic!("{text}"))
            .expect("it reads");
        let [new, old] =
            [(average, text), ((before.clone(), about.clone()), text_before)].map(|((net, info), text)| {
                let class = info.prompt(text).expect("it takes prompts");
                let request = Request { seed: 0, count: 1, class, nfe: 1 };
                values(Generator::new(net, info, &device()).images(request).expect("a picture"))
            });
        relative_error(&new, &old)
    };
    assert!(trained("eel bee", "eel bee") < 1e-4 && trained("eel bee", "doe bee") > 1e-3);

    // With more words, and trigrams in other rows.
    let (settings, more) = (small_settings(32), described(&["ant", "bee", "cow", "doe", "eel", "fox", "a"]));
    let more = settings.prepare(more);
    let start = Pretrained::read(Path::new(&file), &settings, &more, &device()).expect("it suits");
    assert!(same(&u(start.net(), &[2, 5]), &u(&before, &[1, 4])) && same(&u(start.net(), &[]), &u(&before, &[])));
    assert!(!same(&u(start.net(), &[7]), &u(&before, &[5])), "the row of another trigram is not kept");
    assert!(start.notices()[1].contains("buckets is 32, but 16 in the weights"), "{:?}", start.notices());
    // The same words of the same settings need no mapping.
    let start = Pretrained::read(Path::new(&file), &small_settings(16), &images, &device()).expect("it suits");
    assert!(start.notices().is_empty() && same(&u(start.net(), &[3]), &u(&before, &[3])));
    let mut longer = small_settings(16);
    longer.net.text.as_mut().expect("it takes prompts").tokens = 5;
    let error = Pretrained::read(Path::new(&file), &longer, &images, &device()).expect_err("other tokens");
    assert!(format!("{error:#}").contains("before.safetensors"), "{error:#}");
}

#[test]
fn images_without_captions_are_refused_where_words_are_learnt() {
    let (images, _) = two_halves(&[]);
    let config = TrainConfig::from_toml("[data]\nsize = 8\nchannels = 3\n[net.text]").expect("settings");
    let images = config.prepare(Images { captions: Vec::new(), ..images });
    let error = config.check_compatible(&images).expect_err("no captions").to_string();
    assert!(error.contains("learnt from captions, but the images have none"), "{error}");
}

#[test]
fn a_tokenizer_reads_normalised_text() {
    let text = TextConfig { vocabulary: 2, buckets: 8, tokens: 2, conditioning: TextConditioning::Adaln };
    let vocabulary = ["crab".to_owned(), "é".to_owned()];
    let tokenizer = Tokenizer::new(&vocabulary, text).expect("it fits");
    assert_eq!(tokenizer.encode(&normalize_text("ＣＲＡＢ E\u{301}")), [vec![(0, 1.0)], vec![(1, 1.0)]]);
}

#[test]
fn the_command_line_trains_on_words_and_draws_prompts() {
    let place = Place::new();
    let (images, _) = place.images();
    let settings = place.file(
        "words.toml",
        "name = \"words\"\ndata = { size = 8 }\n\
         net = { patch = 4, width = 16, depth = 1, heads = 2, text = { tokens = 4, buckets = 32 } }\n\
         train = { steps = 6, batch_size = 4, flow_matching_steps = 2, ramp_steps = 2 }\n\
         log = { every = 2, sample_every = 6, samples = 4, checkpoint_every = 3 }\n",
    );
    let (run, weights) = (place.path("run"), place.path("words.safetensors"));
    // Without captions the names of the classes describe the pictures.
    succeeds(&["train", "--data", &images, "--config", &settings, "--out", &run, "--steps", "3"]);
    succeeds(&["train", "--data", &images, "--resume", "--out", &run, "--steps", "6"]);
    let whole = place.path("whole");
    succeeds(&["train", "--data", &images, "--config", &settings, "--out", &whole]);
    let checkpoint = |run: &str| {
        let log = std::fs::read_to_string(format!("{run}/log.jsonl")).expect("a log");
        log.lines().last().and_then(|line| line.split(",\"learning_rate").next()).expect("a line").to_owned()
    };
    assert!(checkpoint(&run).starts_with("{\"step\":6"));
    succeeds(&["export", &run, "--out", &weights, "--onnx", &place.path("words.onnx")]);
    let (bytes, onnx) =
        (std::fs::read(&weights).expect("weights"), std::fs::read(place.path("words.onnx")).expect("a graph"));
    let described = meanflow::model::weights::read_info(&bytes).expect("a weights file");
    assert_eq!((described.vocabulary, described.classes.len()), (vec!["moss".to_owned(), "rust".to_owned()], 0));
    for name in ["prompt_rows", "prompt_factors", "moss\nrust"] {
        assert!(onnx.windows(name.len()).any(|part| part == name.as_bytes()), "{name}");
    }

    let grid = place.path("grid.png");
    let prompts = place.file("prompts.txt", "moss\n\nrust moss\n");
    let sample = ["sample", &weights, "--out", &grid, "--count", "4"];
    for more in [&["--prompt", "Ｍoss"][..], &["--prompt", ""], &["--prompt", "moss", "--prompt", "rust"], &[]] {
        succeeds(&[&sample[..], more].concat());
    }
    succeeds(
        &[&sample[..], &["--prompt", &format!("@{prompts}"), "--solver", "euler", "--nfe", "2", "--guidance", "2"]]
            .concat(),
    );
    succeeds(&[&sample[..], &["--prompt", &"<b>\u{1}鲨鱼 🦈 ".repeat(700)]].concat());
    fails(&[&sample[..], &["--prompt", "@no-such-file"]].concat(), &["no-such-file"]);
    fails(&[&sample[..], &["--class", "moss"]].concat(), &["has no classes"]);
    succeeds(&["inspect", &weights]);
    // The report lists what the grids were asked with.
    let page = place.path("report.html");
    succeeds(&["report", &run, "--out", &page]);
    let html = std::fs::read_to_string(&page).expect("a page");
    for part in ["2 words", "<li>moss</li>\n<li>moss</li>\n<li>rust</li>\n<li>rust</li>"] {
        assert!(html.contains(part), "the page does not hold `{part}`");
    }

    // A classifier reads back what the prompts say.
    let features = place.path("features.safetensors");
    let plain = place.file("plain.toml", "data = { size = 8, channels = 4 }\n");
    succeeds(&["classifier", "--data", &images, "--config", &plain, "--out", &features, "--epochs", "1"]);
    let table = place.path("read-back.json");
    let read =
        ["read-back", &weights, "--data", &images, "--config", &plain, "--classifier", &features, "--count", "12"];
    let said = succeeds(&[&read[..], &["--out", &table]].concat());
    assert!(["real images", "1 call", "4 calls", "Euler, 32 calls"].iter().all(|row| said.contains(row)), "{said}");
    assert!(std::fs::read_to_string(&table).expect("a table").contains("\"right\""));
    // Without layers each classifier names the classes.
    let twice = succeeds(&[&read[..], &["--classifier", &features]].concat());
    assert!(twice.contains("| images | images | all |"), "{twice}");
    fails(&[&read[..], &["--swap", "a,b"]].concat(), &["--swap is for settings with [data.layers]"]);
    fails(&[&read[..], &["--out", &features]].concat(), &["what is written is JSON"]);
    let json = place.file("in.json", "{}");
    fails(&[&read[..], &["--classifier", &json, "--out", &json]].concat(), &["is the same file as the input"]);
    fails(&[&read[..], &["--layer", "x"]].concat(), &["--layer is for settings with [data.layers]"]);
}

#[test]
fn prompts_are_refused_by_models_without_words_on_the_command_line() {
    let place = Place::new();
    let config = tiny_config(3, 2);
    let bytes = encode(&random_net(&config, &device()), &info(config), Precision::F32).expect("it encodes");
    let weights = place.file("plain.safetensors", bytes);
    fails(&["sample", &weights, "--out", &place.path("a.png"), "--prompt", "crab"], &["the model `tiny` takes none"]);
}

/// A file of weights of a random network for 8 × 8 RGBA pictures that knows these words.
fn random_model(place: &Place, words: &[&str]) -> String {
    let text =
        TextConfig { vocabulary: words.len(), buckets: 16, tokens: 6, conditioning: TextConditioning::KeysValues };
    let config = NetConfig { text: Some(text), ..tiny_config(4, 0) };
    let vocabulary = words.iter().map(|&word| word.into()).collect();
    let about = ModelInfo { vocabulary, ..info(config.clone()) };
    let bytes = encode(&random_net(&config, &device()), &about, Precision::F32).expect("it encodes");
    place.file("words.safetensors", bytes)
}

/// Settings and pictures whose captions are in files beside them; the first of two lines is taken.
fn captioned(place: &Place) -> (String, String) {
    let (images, _) = place.images();
    for (i, folder) in ["moss", "rust"].iter().enumerate() {
        for j in 0..6 {
            let caption = format!("{} word{}\nanother", ["Moss", "rust"][i], j % 2);
            std::fs::write(format!("{images}/{folder}/{j}.txt"), caption).expect("it writes");
        }
    }
    (images, place.file("plain.toml", "data = { size = 8, channels = 4, class_depth = 0 }\n"))
}

#[test]
fn models_with_words_are_measured_by_the_captions_of_the_images() {
    let place = Place::new();
    let (images, plain) = captioned(&place);
    let weights = random_model(&place, &["moss", "rust", "word0", "word1"]);
    let classes = place.file("classes.toml", "data = { size = 8, channels = 4 }\n");
    let (features, results) = (place.path("f.safetensors"), place.path("r.jsonl"));
    succeeds(&["classifier", "--data", &images, "--config", &classes, "--out", &features, "--epochs", "1"]);
    let eval = |data: &str, more: &[&str]| {
        let fixed = ["eval", &weights, "--features", &features, "--data", data, "--count", "20", "--nfe", "1"];
        succeeds(&[&fixed[..], &["--solver", "mean-flow", "--seed", "5", "--out", &results], more].concat())
    };
    let said = eval(&images, &["--config", &plain]);
    assert!(said.contains("Images are generated from the captions of the real ones."), "{said}");

    // Picture `i` is of the caption of the real image that the seed draws as the `i`-th, and after the last the first.
    let model = Generator::from_bytes(&std::fs::read(&weights).expect("weights"), &device()).expect("a model");
    let config = DataConfig { size: 8, channels: 4, class_depth: 0, ..DataConfig::default() };
    let set = load(Path::new(&images), &config).expect("images");
    let order = random_order(&set, 5);
    let prompt = |i: usize| {
        let caption = set.captions[order[i % 12]].lines().next().expect("a caption").to_lowercase();
        model.info().prompt(&caption).expect("it takes prompts")
    };
    let extractor = Extractor::open(Path::new(&features), InceptionResize::default(), &device()).expect("features");
    let real = extractor.of_images(&set, &order, &device()).expect("features");
    let kernel = |prompts: Vec<Condition>| {
        let images = model.sample_each(5, &prompts, 1, SampleOptions::default()).expect("pictures").images;
        let whole = ((images * 127.5 + 127.5).round().clamp(0.0, 255.0)) / 127.5 - 1.0;
        kernel_distance(&Features::new(64, values(extractor.features(whole))), &real, 5).expect("a distance").mean
    };
    let record = |i: usize| read_records(&[&results]).expect("they read").swap_remove(i);
    let (ours, theirs) = (kernel((0..20).map(prompt).collect()), record(0).kernel);
    assert!(record(0).captioned && (ours - theirs).abs() < 1e-4 * ours.abs(), "{ours} and {theirs}");
    let empty = kernel(vec![Condition::Any; 20]);
    assert!((empty - ours).abs() > 1e-3 * ours.abs(), "captions change the figures: {empty} and {ours}");

    // An image without a caption has the name of its class, and one without either the empty prompt.
    for i in 0..6 {
        ["moss", "rust"].iter().for_each(|class| {
            std::fs::remove_file(format!("{images}/{class}/{i}.txt")).expect("it goes");
        });
    }
    eval(&images, &["--config", &classes]);
    assert!(record(1).captioned);
    eval(&images, &["--config", &plain]);
    assert!(!record(2).captioned && (record(2).kernel - empty).abs() < 1e-4 * empty.abs());
    let text = tables(&read_records(&[&results]).expect("they read"));
    assert!(text.contains("of captions") && text.contains("of no captions"), "{text}");
}

#[test]
fn likelihood_is_of_images_with_their_captions() {
    let place = Place::new();
    let (images, plain) = captioned(&place);
    let weights = random_model(&place, &["moss", "rust", "word0", "word1"]);
    let bits = |config: &str| -> f64 {
        let fixed = ["likelihood", &weights, "--data", &images, "--count", "3", "--tolerance", "1e-2"];
        let said = succeeds(&[&fixed[..], &["--seed", "2", "--config", config]].concat());
        said.split(' ').next().and_then(|bits| bits.parse().ok()).expect("a number")
    };
    let model = Generator::from_bytes(&std::fs::read(&weights).expect("weights"), &device()).expect("a model");
    let config = DataConfig { size: 8, channels: 4, class_depth: 0, ..DataConfig::default() };
    let set = load(Path::new(&images), &config).expect("images");
    let rows = &random_order(&set, 2)[..3];
    let pixels: Vec<f32> = rows
        .iter()
        .flat_map(|row| &set.pixels[row * 256..(row + 1) * 256])
        .map(|&byte| meanflow::model::from_byte(byte))
        .collect();
    let expected = |prompts: Option<Vec<Condition>>| {
        let x = Tensor::<4>::from_data(burn::tensor::TensorData::new(pixels.clone(), [3, 4, 8, 8]), &device());
        let divergence = Divergence::Hutchinson { probes: 1, seed: 2 };
        let density = model
            .density(dequantise(x, 2), prompts.as_deref(), divergence, Integrator::Adaptive { tolerance: 1e-2 })
            .expect("a density");
        let bits = values(bits_per_dimension(density.log_density, 256));
        f64::from(bits.iter().sum::<f32>()) / 3.0
    };
    let prompt = |row: &usize| {
        let caption = set.captions[*row].lines().next().expect("a caption").to_lowercase();
        model.info().prompt(&caption).expect("it takes prompts")
    };
    let (told, empty) = (expected(Some(rows.iter().map(prompt).collect())), expected(None));
    assert!((bits(&plain) - told).abs() < 2e-4, "{} and {told}", bits(&plain));
    assert!((told - empty).abs() > 1e-3, "captions change the figure: {told} and {empty}");
    let class = vec![Condition::One(0); 3];
    let x = Tensor::<4>::zeros([3, 4, 8, 8], &device());
    let refused = model.density(x, Some(&class), Divergence::Exact, Integrator::Adaptive { tolerance: 1e-2 });
    assert!(refused.is_err_and(|error| error.to_string().contains("takes a prompt in its place")));

    let memory = place.path("memory.png");
    succeeds(&["neighbours", &weights, "--data", &images, "--config", &plain, "--out", &memory, "--over", "12"]);
}

/// Parts of two layers, backs and dots in the middle of them, in two colours each, and settings that hold some
/// edges out. With `exchanged` every part has the colour that its name does not say.
fn coloured_parts(place: &Place, folder: &str, exchanged: bool) -> (String, String) {
    const CLEAR: Rgba<u8> = Rgba([0; 4]);
    let colours = [("green", Rgba([20, 200, 40, 255])), ("red", Rgba([210, 40, 30, 255]))];
    let save = |path: &str, picture: RgbaImage| {
        let path = place.dir.path().join(folder).join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        picture.save(path).expect("it writes");
    };
    let inside = |x: u32, y: u32| (2..6).contains(&x) && (2..6).contains(&y);
    for (i, (name, _)) in colours.iter().enumerate() {
        let colour = colours[if exchanged { 1 - i } else { i }].1;
        save(&format!("1-backs/back-{name}.png"), RgbaImage::from_pixel(8, 8, colour));
        let dot = RgbaImage::from_fn(8, 8, |x, y| if inside(x, y) { colour } else { CLEAR });
        save(&format!("2-marks/mark-dot-{name}.png"), dot);
    }
    for (name, row) in [("top", 0), ("bottom", 7), ("none", 9)] {
        let edge = RgbaImage::from_fn(8, 8, |_, y| if y == row { Rgba([0, 0, 0, 255]) } else { CLEAR });
        save(&format!("3-edges/edge-{name}.png"), edge);
    }
    let settings = "[data]\nsize = 8\nchannels = 4\n[data.layers]\n\
                    folders = [\"*/1-backs\", \"*/2-marks\", \"*/3-edges\"]\n\
                    caption = \"{marks} on {backs}, {edges} edge\"\ncount = 240\n\
                    [data.layers.held_out]\nfolders = [\"*/3-edges\"]\nshare = 0.4\n";
    (place.path(folder), place.file("layers.toml", settings))
}

#[test]
fn what_is_read_back_is_one_table_of_all_layers_and_of_the_binding_of_two() {
    let place = Place::new();
    let (parts, settings) = coloured_parts(&place, "set/v0", false);
    let parts = parts.trim_end_matches("/v0").to_owned();
    coloured_parts(&place, "other/v0", true);
    let weights = random_model(&place, &["dot", "edge", "green", "none", "on", "red"]);
    let [backs, marks] = ["backs", "marks"].map(|layer| {
        let file = place.path(&format!("{layer}.safetensors"));
        let fixed = ["classifier", "--data", &parts, "--config", &settings, "--split", "all", "--epochs", "40"];
        succeeds(&[&fixed[..], &["--layer", layer, "--out", &file]].concat());
        file
    });
    let out = place.path("table.json");
    let read = |data: &str, more: &[&str]| {
        let fixed = ["read-back", &weights, "--data", data, "--config", &settings, "--count", "24", "--out", &out];
        let said = succeeds(&[&fixed[..], more].concat());
        let json: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&out).expect("a table")).expect("JSON");
        (said, json)
    };
    let both = ["--layer", "*/1-backs", "--classifier", &backs, "--layer", "marks", "--classifier", &marks];
    let (said, json) = read(&parts, &[&both[..], &["--swap", "marks,backs"]].concat());
    assert!(said.contains("| named rightly, of 24 | backs | marks | all |\n|---|--:|--:|--:|"), "{said}");
    assert!(said.contains("exchanged between marks and backs: green and red"), "{said}");
    assert!(
        said.contains("| named rightly, of 24 pairs | marks | backs | both | exchanged | both prompts |"),
        "{said}"
    );
    let row = |json: &serde_json::Value, i: usize| {
        let row = &json["swap"]["rows"][i];
        ["both", "exchanged", "pairs"].map(|key| row[key].as_f64().expect("a share"))
    };
    // The classifiers name real images rightly; those of the random network they cannot.
    assert_eq!((&json["rows"][0]["right"], &json["rows"][0]["all"]), (&serde_json::json!([1.0, 1.0]), &1.0.into()));
    assert_eq!(row(&json, 0), [1.0, 0.0, 1.0], "{said}");
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(4));
    for i in 1..4 {
        let shares: Vec<f64> =
            json["rows"][i]["right"].as_array().expect("shares").iter().filter_map(|x| x.as_f64()).collect();
        let all = json["rows"][i]["all"].as_f64().expect("a share");
        assert!(shares.iter().all(|&share| all <= share) && row(&json, i)[2] <= row(&json, i)[0], "{said}");
        // One picture is not both what its prompt says and what the other says.
        assert!(row(&json, i)[0] + row(&json, i)[1] <= 1.0, "{said}");
    }
    // Parts whose colours are those of the others are named as the other prompt of each pair says.
    let (said, json) = read(&place.path("other"), &[&both[..], &["--swap", "marks,backs"]].concat());
    assert_eq!(row(&json, 0), [0.0, 1.0, 0.0], "{said}");
    // One classifier that names both layers stands for two, and is asked for either.
    let one = place.path("one.safetensors");
    let fixed = ["classifier", "--data", &parts, "--config", &settings, "--test", &parts, "--epochs", "40"];
    let said = succeeds(&[&fixed[..], &["--layer", "backs", "--layer", "marks", "--out", &one]].concat());
    assert!(
        said.contains("backs: 100.0 % of 240 held-out") && said.contains("marks: 100.0 % of 240 held-out"),
        "{said}"
    );
    let (said, json) = read(&parts, &["--classifier", &one, "--swap", "marks,backs"]);
    assert!(
        said.contains("backs, marks: 128 features of a classifier of set by backs, marks, 100.0 % backs"),
        "{said}"
    );
    assert!(said.contains("| named rightly, of 24 | backs | marks | all |"), "{said}");
    assert_eq!((&json["rows"][0]["right"], &json["rows"][0]["all"]), (&serde_json::json!([1.0, 1.0]), &1.0.into()));
    assert_eq!(row(&json, 0), [1.0, 0.0, 1.0], "{said}");
    let (said, _) = read(&parts, &["--layer", "marks", "--classifier", &one]);
    assert!(said.contains("| named rightly, of 24 | marks |\n|---|--:|\n| real images | 100.0 % |"), "{said}");

    let (said, _) = read(&parts, &["--layer", "marks", "--layer", "backs", "--classifier", &one]);
    assert!(said.contains("| named rightly, of 24 | marks | backs | all |"), "{said}");

    // One layer alone is a table of one column.
    let (said, _) = read(&parts, &["--classifier", &marks]);
    assert!(said.contains("| named rightly, of 24 | marks |\n|---|--:|\n| real images | 100.0 % |"), "{said}");

    let unnamed = place.path("unnamed.safetensors");
    let folders = place.file("folders.toml", "data = { size = 8, channels = 4 }\n");
    let fixed = ["classifier", "--data", &place.images().0, "--config", &folders, "--epochs", "1"];
    succeeds(&[&fixed[..], &["--out", &unnamed]].concat());
    let fixed = ["read-back", &weights, "--data", &parts, "--config", &settings, "--count", "4"];
    let refused = |more: &[&str], words: &[&str]| fails(&[&fixed[..], more].concat(), words);
    refused(&["--classifier", &unnamed], &["unnamed.safetensors", "--layer says which folder's parts"]);
    refused(&["--layer", "marks", "--classifier", &marks, "--classifier", &backs], &["--classifier is given 2 times"]);
    refused(&["--layer", "edges", "--classifier", &one], &["one.safetensors", "it names backs, marks, not edges"]);
    refused(&["--layer", "hats", "--classifier", &marks], &["\"hats\" is none of the folders"]);
    refused(&["--layer", "marks", "--classifier", &marks, "--swap", "marks,backs"], &["needs a --classifier"]);
    refused(&["--layer", "backs", "--classifier", &marks], &["marks.safetensors", "it names marks, not backs"]);
    refused(&["--layer", "marks", "--classifier", &unnamed], &["does not know the class"]);
    for twice in ["marks", "*/2-marks"] {
        refused(&["--layer", "marks", "--layer", twice, "--classifier", &one], &["--layer `marks` is given twice"]);
    }
    let plain = place.path("plain.safetensors");
    let config = tiny_config(4, 2);
    let bytes = encode(&random_net(&config, &device()), &info(config), Precision::F32).expect("it encodes");
    std::fs::write(&plain, bytes).expect("it writes");
    let of_classes = ["read-back", &plain, "--data", &parts, "--config", &settings, "--layer", "marks"];
    fails(&[&of_classes[..], &["--classifier", &marks]].concat(), &["plain.safetensors", "takes no prompts"]);

    // What training never showed is also what figures are of, unless another split is asked for.
    let eval = |more: &[&str]| {
        let fixed = ["eval", &weights, "--features", &marks, "--data", &parts, "--config", &settings];
        succeeds(&[&fixed[..], &["--count", "8", "--nfe", "1", "--solver", "mean-flow"], more].concat())
    };
    assert!(eval(&[]).contains("comparing with 240 real images of the split test by"), "{}", eval(&[]));
    assert!(eval(&["--split", "train"]).contains("of the split train by"));
}
