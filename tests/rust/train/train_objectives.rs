//! What a run's settings choose: the objective, its guidance, and everything that table 1 of the paper varies.

use burn::tensor::Tensor;
use meanflow::flow::Guidance;
use meanflow::train::{RunFolder, Sampler, TrainConfig, Trainer};

use crate::support::{device, values};
use crate::train::{Listener, config, folder, images, numbers};

#[test]
fn every_setting_of_table_1_is_a_setting() {
    let text = r#"
        objective = { kind = "mean-flow", direction = "(v, 0, 1)" }
        net = { times = "t,r,h" }
        times = { interval_probability = 0.25, mean = -0.2, std = 1.2, uniform = 0.0 }
        weight = { p = 0.5 }
        guidance = { omega = 0.2, kappa = 0.92, start = 0.0, end = 0.8 }
    "#;
    let config = TrainConfig::from_toml(text).expect("table 1");
    assert_eq!((config.times.interval_probability, config.times.mean, config.weight.p), (0.25, -0.2, 0.5));
    assert_eq!(config.net_config(10).expect("sizes fit").times, meanflow::model::TimeInputs::All);
    assert!((config.guidance.scale() - 2.5).abs() < 1e-9);
}

#[test]
fn guidance_takes_part_in_the_steps_and_needs_classes() {
    let mut plain = config(20);
    (plain.train.flow_matching_steps, plain.train.ramp_steps) = (0, 0);
    let after = |config: &TrainConfig| {
        let images = images();
        let mut sampler = Sampler::new(&images, &config.train, false).with_dropped_last(config.guidance.is_on());
        let mut trainer = Trainer::new(config, &config.net_config(2).expect("sizes fit"), &device());
        (0..5).for_each(|step| drop(trainer.step(sampler.batch(step, &device()).expect("pictures"))));
        numbers(trainer.net())
    };
    let mut guided = plain.clone();
    guided.guidance = Guidance { omega: 1.0, kappa: 0.5, ..Guidance::default() };
    assert_ne!(after(&plain), after(&guided));
    assert!(after(&guided).iter().all(|x| x.is_finite()));

    // Dropped rows have r = t, however many they are and whatever the share of intervals.
    let kinds = |guidance: &Guidance| {
        let mut config = TrainConfig { guidance: guidance.clone(), ..plain.clone() };
        (config.train.class_dropout, config.times.interval_probability) = (1.0, 1.0);
        let images = images();
        let mut sampler = Sampler::new(&images, &config.train, false).with_dropped_last(guidance.is_on());
        let mut trainer = Trainer::new(&config, &config.net_config(2).expect("sizes fit"), &device());
        let residuals = trainer.step(sampler.batch(0, &device()).expect("pictures")).residuals;
        (residuals.interval.is_some(), residuals.instant.is_some())
    };
    assert_eq!((kinds(&guided.guidance), kinds(&Guidance::default())), ((false, true), (true, false)));

    let mut nameless = images();
    nameless.classes.clear();
    let dir = folder();
    let run = RunFolder::create(dir.path(), &guided).expect("a new run");
    let error = Listener::default().train(&guided, &nameless, &run).expect_err("no classes").to_string();
    assert!(error.contains("[guidance]") && error.contains("no classes"), "{error}");
}

/// With guidance the rows without a class come last, where they have `r = t`; they are the same rows as without it.
#[test]
fn dropped_labels_come_last_where_guidance_wants_them() {
    let mut settings = config(1).train;
    (settings.class_dropout, settings.batch_size) = (0.3, 40);
    let (images, mut seen) = (images(), 0);
    for step in 0..5 {
        let batch = |last| {
            Sampler::new(&images, &settings, false).with_dropped_last(last).batch(step, &device()).expect("pictures")
        };
        let labels = |batch: &meanflow::train::Batch| {
            batch.labels.clone().expect("two classes").try_into_vec_as::<i32>().expect("labels")
        };
        let (anywhere, last) = (batch(false), batch(true));
        let kept = 40 - last.instants;
        assert!(labels(&last)[..kept].iter().all(|&y| y < 2) && labels(&last)[kept..].iter().all(|&y| y == 2));
        assert_eq!((anywhere.instants, labels(&anywhere).iter().filter(|&&y| y == 2).count()), (0, last.instants));
        let sorted = |images: Tensor<4>| {
            let mut means = values(images.mean_dims(&[1, 2, 3]));
            means.sort_by(f32::total_cmp);
            means
        };
        assert_eq!(sorted(anywhere.images), sorted(last.images));
        seen += last.instants;
    }
    assert!((30..90).contains(&seen), "{seen} of 200 labels were dropped");
}

/// Each objective from its table, with a setting of its own, through three steps and back to the same table.
#[test]
fn every_objective_is_chosen_in_the_settings_and_takes_steps() {
    for (table, more) in [
        (r#"kind = "flow-matching""#, ""),
        (r#"kind = "mean-flow""#, ""),
        ("kind = \"mean-flow\"\ndirection = \"(v, 1, 1)\"", ""),
        (r#"kind = "improved-mean-flow""#, "times = \"h\""),
        (r#"kind = "improved-mean-flow""#, "velocity_head = 1"),
        (r#"kind = "improved-mean-flow""#, "preset = \"imf-b/2\"\nvelocity_head = 1\n[guidance.input]\nmost = 4"),
        (r#"kind = "improved-mean-flow""#, "guidance = \"scale\"\n[guidance.input]\npower = 2"),
        (r#"kind = "pixel-mean-flow""#, "preset = \"pmf-b/16\"\nvelocity_head = 0\n[guidance.input]"),
        (r#"kind = "pixel-mean-flow""#, "output = \"image\""),
        (r#"kind = "decoupled-mean-flow""#, "decoder_depth = 1"),
        (r#"kind = "mean-flow""#, "decoder_depth = 1"),
        (r#"kind = "flow-matching""#, "times = \"t\""),
        (r#"kind = "terminal-velocity""#, ""),
        (r#"kind = "terminal-velocity""#, "preset = \"imf-b/2\"\nguidance = \"none\""),
        ("kind = \"terminal-velocity\"\nthrough_derivative = false", "decoder_depth = 1"),
        ("kind = \"terminal-velocity\"\naverage = \"target\"", "[train.averages]\ntarget = { decay = 0.99 }"),
        ("kind = \"terminal-velocity\"\ngap_mean = 0.5", "[guidance]\nomega = 2"),
        ("kind = \"alpha-flow\"\nstart = 0\nend = 4", ""),
        ("kind = \"alpha-flow\"\nstart = 0\nend = 4\nclamp = 4.0", ""),
        ("kind = \"shortcut\"\nclamp = 4.0", ""),
        ("kind = \"shortcut\"\nlevels = 5", ""),
        ("kind = \"consistency\"\nsteps_per_stage = 2", ""),
        ("kind = \"moment-matching\"\ngroup = 2", ""),
    ] {
        let text = format!(
            "[objective]\n{table}\n[net]\npatch = 4\nwidth = 16\ndepth = 2\nheads = 2\n{more}\n[data]\nsize = 8\n\
             channels = 3\n[train]\nbatch_size = 8\nflow_matching_steps = 0\nramp_steps = 0\nwarmup_steps = 0"
        );
        let config = TrainConfig::from_toml(&text).expect(table);
        assert_eq!(TrainConfig::from_toml(&config.to_toml().expect(table)).expect(table), config);
        let images = images();
        config.check_compatible(&images).expect(table);
        let mut sampler = Sampler::new(&images, &config.train, false).with_dropped_last(config.guidance.is_on());
        let mut trainer = Trainer::new(&config, &config.net_config(2).expect(table), &device());
        let before = numbers(trainer.net());
        for step in 0..3 {
            let measured = trainer.step(sampler.batch(step, &device()).expect("pictures"));
            let loss = values(measured.loss)[0];
            assert!(loss.is_finite(), "{table}: the loss is {loss}");
        }
        assert_ne!(numbers(trainer.net()), before, "{table}: nothing moved");
    }
    assert_eq!(TrainConfig::from_toml("").expect("defaults").objective, meanflow::flow::ObjectiveConfig::default());
}

/// The same steps whether activations are kept or computed anew, also where a derivative is differentiated once more.
#[test]
fn terminal_velocity_takes_the_same_steps_where_it_recomputes() {
    let after = |recompute: bool| {
        let mut config = config(20);
        config.objective = meanflow::flow::ObjectiveConfig::TerminalVelocity(Default::default());
        (config.train.flow_matching_steps, config.train.ramp_steps) = (0, 0);
        config.train.recompute = recompute;
        let images = images();
        let mut sampler = Sampler::new(&images, &config.train, false);
        let mut trainer = Trainer::new(&config, &config.net_config(2).expect("sizes fit"), &device());
        (0..3).for_each(|step| drop(trainer.step(sampler.batch(step, &device()).expect("pictures"))));
        numbers(trainer.net())
    };
    crate::support::assert_close("weights", &after(true), &after(false), 1e-4);
}

/// Guidance and the target of terminal velocity ask the average that the settings name.
#[test]
fn terminal_velocity_asks_the_average_of_its_settings() {
    let after = |table: &str| {
        let text = format!(
            "[objective]\nkind = \"terminal-velocity\"\n{table}\n[train.averages]\ntarget = {{ decay = 0.0 }}\n\
             [net]\npatch = 4\nwidth = 16\ndepth = 1\nheads = 2\n[data]\nsize = 8\nchannels = 3\n[train]\n\
             batch_size = 8\nflow_matching_steps = 0\nramp_steps = 0\nwarmup_steps = 0"
        );
        let (config, images) = (TrainConfig::from_toml(&text).expect("it fits"), images());
        let mut sampler = Sampler::of_run(&images, &config);
        let mut trainer = Trainer::new(&config, &config.net_config(2).expect("sizes fit"), &device());
        (0..4).for_each(|step| drop(trainer.step(sampler.batch(step, &device()).expect("pictures"))));
        numbers(trainer.net())
    };
    assert_ne!(after(""), after("average = \"target\""));
}

#[test]
fn the_unet_trains_with_dropout_the_same_way_twice() {
    let text = "[net]\npreset = \"unet\"\nwidth = 8\ndepth = 1\n[net.unet]\nmultipliers = [1, 2]\nattention = [4]\n\
                [data]\nsize = 8\nchannels = 3\n[train]\nbatch_size = 4\nflow_matching_steps = 0\nramp_steps = 0\n\
                warmup_steps = 0\ndropout = ";
    let after = |dropout: &str| {
        let config = TrainConfig::from_toml(&format!("[objective]\nkind = \"improved-mean-flow\"\n{text}{dropout}"));
        let (config, images) = (config.expect("it fits"), images());
        let mut sampler = Sampler::new(&images, &config.train, false);
        let mut trainer = Trainer::new(&config, &config.net_config(2).expect("sizes fit"), &device());
        (0..3).for_each(|step| drop(trainer.step(sampler.batch(step, &device()).expect("pictures"))));
        numbers(trainer.net())
    };
    let dropped = after("0.2");
    assert!(dropped.iter().all(|x| x.is_finite()));
    assert_eq!(dropped, after("0.2"));
    assert_ne!(dropped, after("0.0"));
}

#[test]
fn what_a_network_is_told_and_what_it_learns_must_go_together() {
    for (text, reason) in [
        ("[net]\nguidance = \"scale\"", "go together"),
        ("[guidance.input]\nmost = 4", "go together"),
        ("[net]\nguidance = \"scale\"\n[guidance]\nomega = 2\n[guidance.input]", "either an input or a fixed"),
        ("[net]\nvelocity_head = 1\n[objective]\nkind = \"shortcut\"", "velocity_head is for"),
        ("[train]\ndropout = 1.5", "dropout must be"),
        ("[objective]\nkind = \"decoupled-mean-flow\"", "needs [net] decoder_depth"),
        ("[net]\ntimes = \"t\"", "is for [objective] kind = \"flow-matching\""),
        ("[net]\ndecoder_depth = 99", "decoder_depth must be 1 to below depth"),
        ("[net]\ndecoder_depth = 2\ntimes = \"t,h\"", "times must be \"t\""),
        ("[net]\ndecoder_depth = 2\nvelocity_head = 1", "no auxiliary head"),
        ("[net]\npreset = \"imf-b/2\"\ntimes = \"h\"\ndecoder_depth = 2", "decoder_depth is for"),
        ("[objective]\nkind = \"terminal-velocity\"\naverage = \"other\"", "average must name one of"),
        ("[objective]\nkind = \"terminal-velocity\"\ngap_std = 0", "gap_std must be"),
        ("[objective]\nkind = \"decoupled-mean-flow\"\ninstant_std = -1", "instant_std must be"),
        ("[objective]\nkind = \"shortcut\"\nclamp = 0", "clamp must be above 0"),
        ("[objective]\nkind = \"alpha-flow\"\nclamp = -4", "clamp must be above 0"),
        ("[net.unet]\nmultipliers = [1]\nattention = []", "for the preset `unet`"),
    ] {
        let checked = TrainConfig::from_toml(text).and_then(|config| config.check_compatible(&images()));
        let message = checked.expect_err(reason).to_string();
        assert!(message.contains(reason), "`{message}` does not say `{reason}`");
    }
}

/// The settings of the reproduction, each with the network that it begins with, which its script trains before.
#[test]
fn the_settings_of_the_reproduction_are_whole_and_in_order() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reproduction/objectives");
    let mut kinds = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(&folder).expect("it is in the tree") {
        let path = file.expect("it lists").path();
        let read = |path: &std::path::Path| {
            let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let config = TrainConfig::from_toml(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (text, config)
        };
        let (text, config) = read(&path);
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        assert_eq!(config.name, name);
        kinds.insert(toml::Value::try_from(&config.objective).expect("a table")["kind"].to_string());
        let Some(init) = text.lines().find_map(|line| line.strip_prefix("# init: ")) else { continue };
        assert!(init < name.as_str(), "the script takes them in the order of their names");
        let wanted = config.net_config(10).expect("sizes fit");
        let before = read(&folder.join(format!("{init}.toml"))).1.net_config(10).expect("sizes fit");
        let net = before.init(0, &device()).into_decoupled(wanted.decoder_depth.expect("a decoder"));
        assert_eq!(*net.expect("it can become one").config(), wanted);
    }
    // All but that of images, whose network is another.
    assert_eq!(kinds.len(), 9, "{kinds:?}");
}

/// Every file of settings that is shipped, with the network that it means.
#[test]
fn the_shipped_settings_are_whole() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let files = [folder.clone(), folder.join("imagenet")].into_iter().flat_map(|folder| {
        let files = std::fs::read_dir(folder).expect("it is in the tree").map(|file| file.expect("it lists").path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect::<Vec<_>>()
    });
    let mut millions = std::collections::BTreeMap::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("it reads");
        let config = TrainConfig::from_toml(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let classes = if config.name.starts_with("imagenet") { 1000 } else { 0 };
        let net = config.net_config(classes).expect("sizes fit");
        let net = meanflow::NetConfig { velocity_head: None, ..net };
        millions.insert(config.name.clone(), (net.parameters() as f64 / 1e6).round());
    }
    let expected = [
        ("cifar10", 56.0),
        ("cifar10-v1", 56.0),
        ("emoji", 2.0),
        ("emoji-words", 2.0),
        ("faces", 2.0),
        ("imagenet-dmf-xl2", 675.0),
        ("imagenet-imf-b2", 89.0),
        ("imagenet-imf-l2", 409.0),
        ("imagenet-imf-m2", 174.0),
        ("imagenet-imf-xl2", 610.0),
        ("imagenet-mf-b2", 131.0),
        ("imagenet-mf-b4", 131.0),
        ("imagenet-mf-b4-ablation", 131.0),
        ("imagenet-mf-l2", 459.0),
        ("imagenet-mf-m2", 308.0),
        ("imagenet-mf-xl2", 676.0),
        ("imagenet-mf-xl2-plus", 676.0),
        ("imagenet-pmf-b16", 118.0),
        ("imagenet-pmf-b32", 120.0),
        ("imagenet-pmf-h16", 956.0),
        ("imagenet-pmf-h32", 959.0),
        ("imagenet-pmf-l16", 410.0),
        ("imagenet-pmf-l32", 413.0),
        ("nouns", 2.0),
        ("nouns-flow-matching", 2.0),
        ("nouns-words", 2.0),
        ("people", 2.0),
        ("tiles", 2.0),
    ];
    assert_eq!(millions.into_iter().collect::<Vec<_>>(), expected.map(|(name, count)| (name.to_owned(), count)));
}
