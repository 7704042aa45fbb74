//! Text conditioning: what prompts do to a network, its derivative, the engines, and a run that learns words.

use std::path::Path;

use burn::tensor::{Int, Tensor};
use meanflow::data::{Images, normalize_text};
use meanflow::generator::{Generator, SampleOptions};
use meanflow::infer::cpu::CpuGenerator;
use meanflow::model::text::{TextConditioning, TextConfig, Token, Tokenizer};
use meanflow::model::weights::{ModelInfo, Precision};
use meanflow::model::{Class, NO_PAUSE, Request, Solver};
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
        assert_eq!(of(Class::Any), of(reference.info().prompt("").expect("it takes prompts")));
        let class = || Class::One(0);
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
    let request = Request { seed: 0, count: 1, class: Class::Text([].into()), nfe: 1 };
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

    // A classifier reads back what the prompts say.
    let features = place.path("features.safetensors");
    let plain = place.file("plain.toml", "data = { size = 8, channels = 4 }\n");
    succeeds(&["classifier", "--data", &images, "--config", &plain, "--out", &features, "--epochs", "1"]);
    let table = place.path("read-back.json");
    let read =
        ["read-back", &weights, "--data", &images, "--config", &plain, "--classifier", &features, "--count", "12"];
    let said = succeeds(&[&read[..], &["--out", &table]].concat());
    assert!(["the set's own", "1 call", "4 calls", "Euler, 32 calls"].iter().all(|row| said.contains(row)), "{said}");
    assert!(std::fs::read_to_string(&table).expect("a table").contains("\"right\""));
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
