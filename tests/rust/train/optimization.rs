//! The optimizer, the schedules, and which settings are refused.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use meanflow::data::Images;
use meanflow::flow::{FlowMatching, ObjectiveConfig};
use meanflow::train::{
    CheckpointSelector, Cooldown, EmaDecay, MatmulPrecision, MuonParams, MuonScale, OptimizerKind, PRIMARY_EMA,
    RunFolder, Sampler, TrainConfig, Trainer,
};

use crate::support::{assert_close, device, relative_error, values};
use crate::train::{config, images, numbers};

/// Muon's steps are orthogonal and of the length that matches AdamW's: no row of a matrix moves further than one unit.
/// AdamW moves each number by about the learning rate, so its rows move about five units, in the blocks and outside.
#[test]
fn muon_moves_the_matrices_of_the_blocks_orthogonally_and_adamw_the_rest() {
    let (mlp, patches) = ([16, 64], [48, 16]);
    assert!((0.05..1.3).contains(&longest_row(OptimizerKind::Muon, mlp)));
    assert!(longest_row(OptimizerKind::AdamW, mlp) > 2.0);
    assert!(longest_row(OptimizerKind::Muon, patches) > 2.0);
}

/// Every network gives Muon its matrices, however they are called: with AdamW in its place the run is another one.
#[test]
fn muon_trains_the_matrices_of_every_network_and_the_run_says_so() {
    let small = "width = 32\ndepth = 2\nheads = 2\npatch = 7";
    for (net, objective, tensors) in [
        (format!("preset = \"dit-b/4\"\n{small}"), "mean-flow", 2 * 4),
        (format!("preset = \"imf-b/2\"\n{small}"), "improved-mean-flow", 2 * 7),
        (format!("preset = \"pmf-b/16\"\n{small}\nvelocity_head = 1"), "pixel-mean-flow", 3 * 7),
        (
            "preset = \"unet\"\nwidth = 8\ndepth = 1\nunet = { multipliers = [1, 2], attention = [] }".into(),
            "mean-flow",
            29,
        ),
    ] {
        let text = format!(
            "[net]\n{net}\n[objective]\nkind = \"{objective}\"\n[data]\nsize = 28\nchannels = 1\n[train]\nsteps = 8\n\
             batch_size = 4\nwarmup_steps = 0\ncooldown_steps = 0\nflow_matching_steps = 0\nramp_steps = 0\n\
             [log]\nsamples = 1"
        );
        let config = TrainConfig::from_toml(&text).expect(objective);
        let images = Images::random(&config.data, 8);
        let run = |optimizer| {
            let (mut config, dir) = (config.clone(), crate::train::folder());
            config.train.optimizer = optimizer;
            let run = RunFolder::create(dir.path(), &config).expect("a new run");
            let mut listener = crate::train::Listener::default();
            listener.train(&config, &images, &run).expect("it trains");
            (crate::train::weights(&run), listener)
        };
        let ((adamw, alone), (muon, listener)) = (run(OptimizerKind::AdamW), run(OptimizerKind::Muon));
        assert!(muon != adamw, "{net}: Muon trains nothing");
        let parameters = config.net_config(0).expect("it fits").parameters();
        let shares =
            |listener: &crate::train::Listener| listener.records[0].optimizers.clone().expect("the first line");
        assert_eq!(shares(&alone).iter().map(|share| share.parameters).collect::<Vec<_>>(), [parameters]);
        let shares = shares(&listener);
        assert_eq!((shares[0].optimizer, shares[0].tensors), (OptimizerKind::Muon, tensors), "{net}");
        assert_eq!(shares.iter().map(|share| share.parameters).sum::<usize>(), parameters, "{net}");
        let said = listener.notices.join("\n");
        let share = 100.0 * shares[0].parameters as f64 / parameters as f64;
        assert!(said.contains(&format!("Muon trains {}", shares[0].parameters)), "{said}");
        assert!(said.contains(&format!("({share:.1} %)")), "{said}");
    }
}

/// Settings of old runs, which do not name a scale, mean what they meant; both scales are chosen by name, as is what
/// pixel MeanFlow gives to Muon.
#[test]
fn the_scale_of_muon_is_named_and_the_published_settings_have_the_published_one() {
    let read = |text: &str| TrainConfig::from_toml(text).expect("settings").train;
    let old = read("[train]\noptimizer = \"muon\"");
    assert_eq!((old.muon_params, old.muon_scale), (MuonParams::Hidden, MuonScale::MatchRmsAdamw));
    for text in [
        include_str!("../../../crate/configs/emoji.toml"),
        include_str!("../../../crate/configs/nouns-flow-matching.toml"),
        include_str!("../../../crate/configs/nouns.toml"),
        include_str!("../../../crate/configs/tiles.toml"),
    ] {
        assert!(text.contains("muon_scale = \"match-rms-adamw\""), "shipped settings name their scale");
        assert_eq!(read(text).muon_scale, MuonScale::MatchRmsAdamw);
    }
    let pixel = read(include_str!("../../../crate/configs/imagenet/pmf-b16.toml"));
    assert_eq!((pixel.muon_params, pixel.muon_scale), (MuonParams::Linear, MuonScale::Spectral));
    assert_eq!(MuonScale::Spectral.factor([768, 2048]), (2048.0_f64 / 768.0).sqrt());
    assert_eq!(MuonScale::Spectral.factor([2048, 768]), 1.0);
}

/// Length of the longest row of one step of the first parameter of a shape, in units of Muon's scale
/// `0.2 √max(rows, columns)` (arXiv 2502.16982, eq. 4) times the learning rate.
fn longest_row(optimizer: OptimizerKind, shape: [usize; 2]) -> f32 {
    let mut config = config(1000);
    (config.train.optimizer, config.train.warmup_steps, config.train.learning_rate) = (optimizer, 0, 1e-3);
    let images = images();
    let mut sampler = Sampler::new(&images, &config.train, false);
    let mut trainer = Trainer::new(&config, &config.net_config(2).expect("sizes fit"), &device());
    // A fresh network is zero behind its modulation: the first gradients do not reach the blocks.
    (0..4).for_each(|step| drop(trainer.step(sampler.batch(step, &device()).expect("pictures"))));
    let before = matrix(trainer.net(), shape);
    trainer.step(sampler.batch(4, &device()).expect("pictures"));
    let step: Vec<f32> =
        matrix(trainer.net(), shape).iter().zip(before).map(|(after, before)| after - before).collect();
    let unit = 1e-3 * 0.2 * (shape[0].max(shape[1]) as f32).sqrt();
    let rows = step.chunks_exact(shape[1]).map(|row| row.iter().map(|x| x * x).sum::<f32>().sqrt() / unit);
    rows.fold(0.0, f32::max)
}

/// The first parameter of a shape.
fn matrix(net: &meanflow::Net, shape: [usize; 2]) -> Vec<f32> {
    struct Find([usize; 2], Option<Vec<f32>>);
    impl ModuleVisitor for Find {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.lazy_shape().as_slice() == self.0 {
                self.1.get_or_insert_with(|| values(param.val()));
            }
        }
    }
    let mut find = Find(shape, None);
    net.visit(&mut find);
    find.1.expect("a parameter of that shape")
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    for (text, reason) in [
        ("[train]\nbatch_size = 0", "batch_size"),
        ("[train]\nlearning_rate = -1.0", "learning_rate"),
        ("[train]\nstepz = 1", "stepz"),
        ("[times]\ninterval_probability = 1.5", "interval_probability"),
        ("[net]\npreset = \"dit-x\"", "dit-x"),
        ("[net]\npatch = 5", "patch must divide"),
        ("[weight]\nc = 0.0", "[weight]"),
        ("[objective]\nkind = \"mean\"", "mean-flow"),
        ("[objective]\nkind = \"flow-matching\"\nlevels = 3", "levels"),
        ("[objective]\nkind = \"shortcut\"\nlevel = 3", "level"),
        ("[objective]\nkind = \"shortcut\"\nlevels = 0", "levels"),
        ("[objective]\nkind = \"alpha-flow\"\nstart = 9\nend = 9", "start"),
        ("[objective]\nkind = \"pixel-mean-flow\"", "output"),
        ("[net]\ntimes = \"r\"", "t,r,h"),
        ("[guidance]\nomega = -1.0", "omega"),
        ("[guidance]\nkappa = 1.0", "kappa"),
        ("[guidance]\nstart = 0.8\nend = 0.2", "start"),
        ("[guidance]\nomega = 2.0\n[train]\nclass_dropout = 0.0", "class_dropout"),
        ("[train]\naccumulate = 3", "accumulate"),
        ("[train]\nclip = 0.0", "clip"),
        ("[train.averages]\nlong = { decay = 1.0 }", "averages"),
        ("[train]\nema = { decay = 1.0 }", "ema and"),
        ("[train]\nema = { half_life = 0 }", "half-life"),
        ("[train.averages]\nmain = { decay = 0.9 }", "other than `main`"),
        ("[train.averages]\n\"../x\" = { decay = 0.9 }", "letters"),
        ("[train]\nmuon_scale = \"keller\"", "match-rms-adamw"),
        ("[train]\nmuon_params = \"all\"", "hidden"),
        ("[times]\norder = \"first\"", "mask-sort"),
        ("[times]\ninterval_probability = 0.0", "kind = \"flow-matching\""),
        ("[objective]\nkind = \"moment-matching\"\n[train]\nbatch_size = 7", "groups of 4"),
        ("[objective]\nkind = \"moment-matching\"\n[times]\ninterval_probability = 0.05", "interval_probability"),
        ("[objective]\nkind = \"moment-matching\"\n[times]\norder = \"mask-min\"", "mask-min"),
        ("[guidance]\nomega = 2.0\n[train]\nclass_dropout = 1.0", "class_dropout"),
        ("[log]\nkeep_every = 0", "keep_every"),
        ("this is no TOML", "TOML"),
    ] {
        let error = TrainConfig::from_toml(text).expect_err(reason).to_string();
        assert!(error.contains(reason), "`{error}` does not name {reason}");
    }
}

#[test]
fn the_shipped_settings_read_and_their_models_fit_the_page() {
    for (text, classes) in [
        (include_str!("../../../crate/configs/emoji.toml"), 106),
        (include_str!("../../../crate/configs/nouns.toml"), 64),
        (include_str!("../../../crate/configs/tiles.toml"), 8),
    ] {
        let config = TrainConfig::from_toml(text).expect("shipped settings");
        let net = config.net_config(classes).expect("sizes fit");
        assert!(2 * net.parameters() <= 8_000_000, "{}: over 8 MB in f16", config.name);
        assert!(config.train.interval_share_at(config.train.steps - 1, 1.0) == 1.0, "no one-step phase");
    }
}

#[test]
fn a_shorter_run_keeps_the_proportions_of_its_phases() {
    let mut train = TrainConfig::default().train;
    train.scale_to(train.steps / 10);
    assert_eq!((train.steps, train.flow_matching_steps, train.ramp_steps), (2_000, 400, 200));
    assert_eq!((train.warmup_steps, train.cooldown_steps), (20, 200));
    assert!(train.interval_share_at(1_999, 0.5) == 0.5, "the run ends before its MeanFlow phase");

    // So do the schedules of objectives: a short run of α-Flow must not end before α falls.
    let read = |text: &str| TrainConfig::from_toml(text).expect("settings");
    let mut config = read("[objective]\nkind = \"alpha-flow\"");
    assert!(config.notices().is_empty(), "{:?}", config.notices());
    config.scale_to(config.train.steps / 10);
    let ObjectiveConfig::AlphaFlow(alpha) = &config.objective else { panic!("another objective") };
    assert_eq!((alpha.start, alpha.end, config.train.flow_matching_steps), (400, 1_400, 400));
    let mut config = read("[objective]\nkind = \"consistency\"");
    config.scale_to(config.train.steps / 10);
    assert!(matches!(&config.objective, ObjectiveConfig::Consistency(one) if one.steps_per_stage == 200));
}

/// What is no error and yet not what the objective's name says is said before the run begins.
#[test]
fn settings_that_change_the_objective_are_noticed() {
    for (text, word) in [
        ("[train]\nsteps = 8", "all 8 steps train Flow Matching"),
        ("[train]\nsteps = 5000", "the share of r < t ends at 0.250"),
        ("[objective]\nkind = \"alpha-flow\"\n[train]\nsteps = 9000", "does not reach MeanFlow"),
        ("[objective]\nkind = \"alpha-flow\"\nstart = 0\nend = 3000", "MeanFlow throughout"),
        ("[objective]\nkind = \"shortcut\"", "p = 0"),
        ("[train]\ndropout = 0.2", "does nothing"),
    ] {
        let notices = TrainConfig::from_toml(text).expect(word).notices().join("\n");
        assert!(notices.contains(word), "{text}: {notices}");
    }
    let config = TrainConfig { objective: FlowMatching {}.into(), ..config(8) };
    assert_eq!(config.notices(), Vec::<String>::new());
}

/// An objective that would learn nothing, or be another, is refused before anything is written; a run that was begun so
/// can still be exported.
#[test]
fn runs_that_would_learn_nothing_are_refused_before_they_begin() {
    let mut shortcut = config(8);
    shortcut.objective = ObjectiveConfig::Shortcut(Default::default());
    shortcut.times.interval_probability = 1.0;
    (shortcut.train.flow_matching_steps, shortcut.train.ramp_steps) = (0, 0);
    let mut moments = config(8);
    (moments.objective, moments.train.batch_size) = (ObjectiveConfig::MomentMatching(Default::default()), 4);
    let terminal = TrainConfig { objective: ObjectiveConfig::TerminalVelocity(Default::default()), ..shortcut.clone() };
    // What a network learns before them is where shortcuts begin.
    let mut after = shortcut.clone();
    (after.train.flow_matching_steps, after.train.ramp_steps) = (4, 0);
    assert!(after.check_scratch().is_ok());
    for (config, word) in [(shortcut, "--init"), (terminal, "--init"), (moments, "whole group")] {
        let dir = crate::train::folder();
        let run = RunFolder::create(dir.path(), &config).expect("a new run");
        let error = crate::train::Listener::default().train(&config, &images(), &run).expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
        assert!(!dir.path().join("model.json").exists() && !dir.path().join("log.jsonl").exists());
        let (_, read) = RunFolder::open(dir.path()).expect("its settings still read");
        assert_eq!(read, config);
    }
}

#[test]
fn the_learning_rate_and_the_share_of_intervals_follow_their_schedules() {
    let mut train = config(1000).train;
    (train.warmup_steps, train.cooldown_steps, train.learning_rate) = (10, 100, 1.0);
    (train.flow_matching_steps, train.ramp_steps) = (200, 100);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    close(train.learning_rate_at(0), 0.1);
    close(train.learning_rate_at(500), 1.0);
    close(train.learning_rate_at(950), 0.5);
    close(train.learning_rate_at(975), 0.25);
    train.cooldown = Cooldown::Cosine;
    close(train.learning_rate_at(950), 0.5);
    close(train.learning_rate_at(975), 0.5 - 0.5 * std::f64::consts::FRAC_1_SQRT_2);
    close(train.learning_rate_at(500), 1.0);
    close(train.interval_share_at(199, 0.6), 0.0);
    close(train.interval_share_at(249, 0.6), 0.3);
    close(train.interval_share_at(999, 0.6), 0.6);
}

/// Parameters after some steps.
fn trained(config: &TrainConfig, steps: u64) -> Trainer {
    let images = images();
    let mut sampler = Sampler::new(&images, &config.train, false);
    let mut trainer = Trainer::new(config, &config.net_config(2).expect("sizes fit"), &device());
    (0..steps).for_each(|step| drop(trainer.step(sampler.batch(step, &device()).expect("pictures"))));
    trainer
}

/// The raw residuals of rows with `r < t` and of those with `r = t`, each the geometric mean over a tenth of the run: a
/// few rows are most of the arithmetic one, and they differ between any two runs whose rounding does.
fn curves(config: &TrainConfig) -> [Vec<f64>; 2] {
    let (images, steps) = (images(), config.train.steps);
    let mut sampler = Sampler::new(&images, &config.train, false);
    let mut trainer = Trainer::new(config, &config.net_config(2).expect("sizes fit"), &device());
    let mut curves = [vec![], vec![]];
    for step in 0..steps {
        let residuals = trainer.step(sampler.batch(step, &device()).expect("pictures")).residuals;
        for (curve, part) in curves.iter_mut().zip([residuals.interval, residuals.instant]) {
            let part = values(part.expect("rows of both kinds"));
            curve.push(part.iter().map(|x| f64::from(*x).ln()).sum::<f64>() / part.len() as f64);
        }
    }
    let tenth = steps as usize / 10;
    curves.map(|curve| curve.chunks(tenth).map(|part| (part.iter().sum::<f64>() / tenth as f64).exp()).collect())
}

#[test]
fn matrix_products_in_bf16_give_the_loss_curve_of_f32() {
    for objective in
        [ObjectiveConfig::MeanFlow(Default::default()), ObjectiveConfig::ImprovedMeanFlow(Default::default())]
    {
        let mut config = config(300);
        (config.objective, config.train.batch_size) = (objective, 16);
        (config.train.flow_matching_steps, config.train.ramp_steps) = (0, 0);
        let exact = curves(&config);
        config.train.precision = MatmulPrecision::Bf16;
        let rounded = curves(&config);
        assert_ne!(rounded, exact, "bf16 was not used");
        for (rounded, exact) in rounded.iter().zip(&exact) {
            assert!(exact[9] < 0.75 * exact[0], "nothing was learned: {exact:?}");
            let apart = |a: f64, b: f64| (a / b - 1.0).abs();
            let farthest = rounded.iter().zip(exact).map(|(a, b)| apart(*a, *b)).fold(0.0, f64::max);
            let whole = apart(rounded.iter().sum(), exact.iter().sum());
            assert!(farthest < 0.05 && whole < 0.01, "{:?}: {rounded:?} for {exact:?}", config.objective);
        }
    }
}

#[test]
fn a_batch_in_parts_is_the_same_step() {
    let mut config = config(100);
    (config.train.flow_matching_steps, config.train.ramp_steps, config.train.batch_size) = (0, 0, 12);
    config.times.interval_probability = 0.5;
    let whole = numbers(trained(&config, 4).net());
    for parts in [2, 3, 12] {
        config.train.accumulate = parts;
        let error = relative_error(&numbers(trained(&config, 4).net()), &whole);
        // Adam divides by the gradient's size, so the rounding of tiny gradients is not tiny after it.
        assert!(error < 2e-3, "{parts} parts: {error}");
    }
}

/// The parts of a batch are the same on one device, one after the other, and on several at once.
#[test]
fn several_devices_take_the_step_of_one() {
    let mut config = config(100);
    (config.train.flow_matching_steps, config.train.ramp_steps, config.train.batch_size) = (0, 0, 12);
    config.times.interval_probability = 0.5;
    let on = |config: &TrainConfig, helpers: usize| {
        let images = images();
        let mut sampler = Sampler::new(&images, &config.train, false);
        let net = config.net_config(2).expect("sizes fit");
        let mut trainer = Trainer::new(config, &net, &device()).with_helpers(&vec![device(); helpers]);
        let mut loss = 0.0;
        for step in 0..4 {
            let measured = trainer.step(sampler.batch(step, &device()).expect("pictures"));
            loss = measured.loss.try_into_scalar::<f32>().expect("a number");
        }
        (numbers(trainer.net()), loss)
    };
    let whole = on(&config, 0);
    for helpers in [1, 2, 4] {
        let (net, loss) = on(&config, helpers);
        let error = relative_error(&net, &whole.0);
        assert!(error < 2e-3, "{} devices: {error}", helpers + 1);
        assert!(
            (loss - whole.1).abs() < 1e-4 * whole.1,
            "{} devices: the loss is {loss}, not {}",
            helpers + 1,
            whole.1
        );
    }
    // The same parts in the same order: not even the rounding differs.
    config.train.accumulate = 2;
    let one_by_one = on(&config, 0);
    config.train.accumulate = 1;
    assert_eq!(on(&config, 1), one_by_one);
}

/// Batches from the disk are those from memory.
#[test]
fn streamed_images_make_the_same_batches() {
    let place = tempfile::tempdir().expect("a folder");
    let hub = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/hub");
    let data = meanflow::data::DataConfig { size: 4, channels: 3, flip: true, ..Default::default() };
    let memory = meanflow::data::load(&hub, &data).expect("it loads");
    let disk = meanflow::data::load_stored(&hub, &data, place.path()).expect("it loads");
    let config = config(10);
    let [mut from_memory, mut from_disk] = [&memory, &disk].map(|images| Sampler::new(images, &config.train, true));
    for step in 0..3 {
        let [a, b] =
            [&mut from_memory, &mut from_disk].map(|sampler| sampler.batch(step, &device()).expect("pictures"));
        assert_eq!(values(a.images), values(b.images));
    }
}

#[test]
fn recomputing_what_the_backward_pass_needs_changes_no_number() {
    let mut config = config(100);
    (config.train.flow_matching_steps, config.train.ramp_steps) = (0, 0);
    let kept = numbers(trained(&config, 4).net());
    config.train.recompute = true;
    assert_eq!(numbers(trained(&config, 4).net()), kept);
}

#[test]
fn gradients_are_bounded_together_and_small_ones_left_alone() {
    let config = config(100);
    let step = |clip: Option<f64>| {
        let mut config = config.clone();
        (config.train.clip, config.train.warmup_steps) = (clip, 0);
        numbers(trained(&config, 3).net())
    };
    let free = step(None);
    assert_eq!(free, step(Some(1e6)), "a bound that is far away changes something");
    assert_ne!(free, step(Some(1e-3)));
    // Adam forgets the scale of gradients, but not beside its epsilon: far below it nothing moves.
    let before = numbers(trained(&config, 0).net());
    let after = step(Some(1e-13));
    let moved = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(moved < 1e-6, "moved by {moved}");
}

#[test]
fn averages_decay_as_they_say_and_each_can_be_exported() {
    let half = EmaDecay::HalfLife { half_life: 1000.0, ramp: 0.05 };
    // Ten steps of 100 images halve a part; early, five hundredths of what was seen do.
    assert!((half.decay_at(100_000, 100).powi(10) - 0.5).abs() < 1e-12);
    assert!((half.decay_at(99, 100) - 0.5_f64.powf(100.0 / 500.0)).abs() < 1e-12);
    assert_eq!(EmaDecay::Constant { decay: 0.9 }.decay_at(0, 100), 0.9);

    // The main one rises to its decay, or is as these are.
    let mut config = config(20);
    config.train.ema_decay = 0.9999;
    let main = |config: &TrainConfig| [0, 90_000].map(|step| config.train.ema_decay_at(step, 100));
    assert_eq!(main(&config), [0.1, 0.9999]);
    config.train.ema = Some(EmaDecay::Constant { decay: 0.9999 });
    assert_eq!(main(&config), [0.9999; 2]);
    config.train.ema = Some(half);
    assert_eq!(main(&config), [0, 90_000].map(|step| half.decay_at(step, 100)));

    config.train.averages = [("still", 0.999_999), ("swift", 0.0)]
        .map(|(name, decay)| (name.to_owned(), EmaDecay::Constant { decay }))
        .into();
    assert_eq!(TrainConfig::from_toml(&config.to_toml().expect("it writes")).expect("it reads"), config);
    let dir = tempfile::tempdir().expect("a folder");
    let run = RunFolder::create(dir.path(), &config).expect("a new run");
    crate::train::Listener::default().train(&config, &images(), &run).expect("it trains");
    let average = |name: &str| {
        run.averaged(CheckpointSelector::Newest, name, &device(), |text| panic!("{text}")).map(|(net, _)| numbers(&net))
    };
    let start = numbers(trained(&config, 0).net());
    assert!(relative_error(&average("still").expect("it is there"), &start) < 1e-3, "a slow average has moved");
    let swift = average("swift").expect("it is there");
    assert!(relative_error(&swift, &start) > 1e-2 && swift != average(PRIMARY_EMA).expect("it is there"));
    // Of so short a half-life that main, too, is what was trained last.
    config.train.ema = Some(EmaDecay::HalfLife { half_life: 1e-9, ramp: 0.05 });
    let last = numbers(&trained(&config, 20).averaged().clone());
    assert_close("main", &last, &swift, 1e-6);
    let error = average("other").expect_err("there is none").to_string();
    assert!(error.contains("no average `other`; there are main, still, swift"), "{error}");
}
