//! The published networks other than the DiT against PyTorch (`tests/fixtures/networks.py`), read from a checkpoint
//! with their published names: velocity, derivative, second velocity and every gradient.

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Int, Tensor, TensorData};
use meanflow::import::{Checkpoint, ImportChoice, import};
use meanflow::model::weights::{DataInfo, FORMAT_VERSION, ModelInfo, Precision, TrainingInfo};
use meanflow::model::{Architecture, GuidanceInputs, InContextConfig, TimeInputs, UnetConfig};
use meanflow::net::{Dropout, GuidanceScale, Labels, Velocities};
use meanflow::{Dual, Net, NetConfig};
use safetensors::SafeTensors;

use crate::parity_log::{Comparison, IMPROVED, PIXEL, UNET};
use crate::support::{assert_close, device, random, random_net, relative_error, tiny_config, values};

/// Relative error allowed between burn in f32 and PyTorch in f64.
const TOLERANCE: f64 = 2e-4;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// What `networks.py` stored of one network.
struct Reference(Vec<u8>, &'static str);

impl Reference {
    fn of(name: &'static str) -> Self {
        Self(std::fs::read(fixture("networks.safetensors")).expect("it is in the tree"), name)
    }

    fn tensor<const D: usize>(&self, part: &str) -> Option<Tensor<D>> {
        let file = SafeTensors::deserialize(&self.0).expect("it reads");
        let view = file.tensor(&format!("{}.{part}", self.1)).ok()?;
        let numbers: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
        let shape: [usize; D] = view.shape().to_vec().try_into().expect("the shape fits");
        Some(Tensor::from_data(TensorData::new(numbers, shape), &device()))
    }

    fn get<const D: usize>(&self, part: &str) -> Tensor<D> {
        self.tensor(part).unwrap_or_else(|| panic!("the fixture has no `{part}`"))
    }
}

fn read(place: &str, device: &burn::tensor::Device) -> Net {
    let checkpoint = Checkpoint::open(&fixture("networks.pth")).expect("it reads");
    let choice = ImportChoice { prefix: Some(place.into()), heads: Some(2), size: Some(8), ..ImportChoice::default() };
    import(&checkpoint, &choice, device).unwrap_or_else(|e| panic!("{place}: {e}"))
}

fn row(numbers: [f32; 3]) -> Tensor<1> {
    Tensor::from_data(numbers, &device())
}

fn pair(number: f32) -> Tensor<1> {
    Tensor::from_data([number; 2], &device())
}

/// The labels and guidance of `networks.py`.
fn told() -> Labels {
    let guidance =
        GuidanceScale { scale: row([1.0, 2.5, 7.0]), start: row([0.0, 0.2, 0.4]), end: row([1.0, 0.7, 0.6]) };
    Labels::from(Tensor::<1, Int>::from_data([0, 2, 3], &device())).guided(guidance)
}

/// The same parameters on the tape.
struct OnTape;

impl ModuleMapper for OnTape {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| value.autodiff().require_grad())
    }
}

/// Every gradient of a network beside the parameter of the same name of another, which holds PyTorch's.
struct Compare<'a> {
    comparison: &'a Comparison,
    gradients: &'a Gradients,
    reference: Vec<Vec<f32>>,
    seen: usize,
}

struct Collect(Vec<Vec<f32>>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(values(param.val()));
    }
}

impl ModuleVisitor for Compare<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let ours = param.val().grad(self.gradients).map(values).expect("every parameter has a gradient");
        self.comparison.close("gradients", &ours, &self.reference[self.seen], TOLERANCE);
        self.seen += 1;
    }
}

fn assert_parity(comparison: &Comparison, name: &'static str, labels: Option<Labels>, place: &str) -> Net {
    let reference = Reference::of(name);
    let net = read(place, &device()).map(&mut OnTape);
    let (z, v, r, t) = (reference.get::<4>("z"), reference.get::<4>("v"), reference.get::<1>("r"), reference.get("t"));
    let moving = Dual::new(t.clone(), t.ones_like());
    let Velocities { average, instant } = net.velocities(Dual::new(z, v), r.into(), moving, labels, None);
    comparison.close("u", &values(average.primal.clone()), &values(reference.get::<4>("u")), TOLERANCE);
    comparison.close(
        "du/dt",
        &values(average.tangent.expect("it moves")),
        &values(reference.get::<4>("dudt")),
        TOLERANCE,
    );

    let mut loss = average.primal.powf_scalar(2.0).sum();
    match (instant, reference.tensor::<4>("instant")) {
        (Some(ours), Some(theirs)) => {
            comparison.close("v", &values(ours.clone()), &values(theirs), TOLERANCE);
            loss = loss + ours.powf_scalar(2.0).sum();
        }
        (ours, theirs) => assert_eq!(ours.is_some(), theirs.is_some(), "whether there is a second velocity"),
    }
    let gradients = loss.backward();
    let mut theirs = Collect(Vec::new());
    read(&format!("{name}_gradients."), &device()).visit(&mut theirs);
    let mut compare = Compare { comparison, gradients: &gradients, reference: theirs.0, seen: 0 };
    net.visit(&mut compare);
    assert_eq!(compare.seen, compare.reference.len());
    net
}

#[test]
fn the_transformer_of_improved_mean_flow_agrees_with_pytorch() {
    let net = assert_parity(&IMPROVED, "improved", Some(told()), "improved.");
    assert_eq!(net.config().velocity_head, Some(1));
}

#[test]
fn the_transformer_of_pixel_mean_flow_agrees_with_pytorch() {
    assert_parity(&PIXEL, "pixel", Some(told()), "pixel.");
}

#[test]
fn the_unet_agrees_with_pytorch() {
    // Those of `networks.py`.
    let changes = [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.5, -0.3, 0.8, 1.2, -0.7], [0.0; 6]];
    let told = Labels::with_augment_labels(None, Tensor::from_data(changes, &device()));
    let net = assert_parity(&UNET, "unet", Some(told), "net_ema1.");
    // Told of no change, and told nothing: the same.
    let u =
        |labels| values(net.forward(random(1, [2, 3, 8, 8]).into(), pair(0.0).into(), pair(1.0).into(), labels).primal);
    assert_eq!(u(None), u(Some(Labels::with_augment_labels(None, Tensor::zeros([2, 6], &device())))));
}

/// One of each way of building.
fn all() -> Vec<NetConfig> {
    let tiny = tiny_config(3, 3);
    let tokens = |parts, output| NetConfig {
        times: TimeInputs::H,
        architecture: Architecture::InContext(parts),
        guidance: GuidanceInputs::ScaleAndInterval,
        velocity_head: Some(1),
        output,
        ..tiny.clone()
    };
    let unet = Architecture::Unet(UnetConfig { multipliers: vec![1, 2], attention: vec![4], augmentation: true });
    vec![
        NetConfig { guidance: GuidanceInputs::Scale, velocity_head: Some(0), ..tiny.clone() },
        NetConfig { guidance: GuidanceInputs::ScaleAndInterval, velocity_head: Some(2), ..tiny.clone() },
        NetConfig { decoder_depth: Some(1), times: TimeInputs::T, ..tiny.clone() },
        NetConfig { times: TimeInputs::T, ..tiny.clone() },
        tokens(InContextConfig::improved(16), Default::default()),
        tokens(InContextConfig { bottleneck: Some(6), ..InContextConfig::pixel(16) }, meanflow::model::Output::Image),
        NetConfig { architecture: unet, patch: 1, heads: 1, depth: 1, width: 8, ..tiny },
    ]
}

/// A call of a batch of which two rows move, beside one of all rows at rest and one of those two.
#[test]
fn rows_that_alone_move_do_so_as_if_they_were_alone() {
    for config in all() {
        let net = random_net(&config, &device().autodiff());
        let shape = [3, config.channels, config.image_size, config.image_size];
        let (z, dz) = (random::<4>(1, shape), random::<4>(2, shape).narrow(0, 0, 2));
        let (r, t) = (row([0.1, 0.3, 0.5]), row([0.9, 0.6, 0.5]));
        let dropout = Dropout::new(0.3, 1, 2);
        let call = |rows: usize, moves: bool| {
            let (z, t, r) = (z.clone().narrow(0, 0, rows), t.clone().narrow(0, 0, rows), r.clone().narrow(0, 0, rows));
            let (z, t) = match moves {
                true => (Dual::new(z, dz.clone()), Dual::new(t, pair(1.0))),
                false => (z.into(), t.into()),
            };
            net.velocities(z, r.into(), t, Some(told().narrow(0, rows)), Some(&dropout))
        };
        let (some, none, alone) = (call(3, true), call(3, false), call(2, true));
        let name = format!("{config:?}");
        assert_close(&name, &values(some.average.primal), &values(none.average.primal), 1e-5);
        let [tangent, expected] = [some.average.tangent, alone.average.tangent].map(|x| values(x.expect("it moves")));
        assert_close(&name, &tangent, &expected, 1e-5);
        assert_eq!(some.instant.is_some(), none.instant.is_some());
        if let (Some(own), Some(expected)) = (some.instant, none.instant) {
            assert_close(&name, &values(own), &values(expected), 1e-5);
        }
    }
}

#[test]
fn every_network_is_counted_stored_and_read_back() {
    for config in all() {
        let net = random_net(&config, &device());
        assert_eq!(net.num_params(), config.parameters(), "{config:?}");
        let info = ModelInfo {
            format_version: FORMAT_VERSION,
            name: "any".into(),
            classes: (0..3).map(|i| i.to_string()).collect(),
            vocabulary: Vec::new(),
            net: config,
            latent: None,
            check: None,
            data: DataInfo::default(),
            training: TrainingInfo::default(),
        };
        let bytes = meanflow::net::encode(&net, &info, Precision::F32).expect("it encodes");
        let (read, _) = meanflow::net::decode(&bytes, &device()).expect("it decodes");
        let call = |net: &Net| {
            net.velocities(
                random(1, [3, 3, 8, 8]).into(),
                row([0.0; 3]).into(),
                row([1.0; 3]).into(),
                Some(told()),
                None,
            )
        };
        let (ours, theirs) = (call(&net), call(&read));
        assert_eq!(values(ours.average.primal), values(theirs.average.primal));
        assert_eq!(ours.instant.map(values), theirs.instant.map(values));
    }
}

#[test]
fn a_fresh_network_gives_zero_and_without_its_head_the_same() {
    for config in all() {
        let call = |net: &Net| {
            let (r, t) = (row([0.1, 0.2, 0.3]), row([1.0, 0.9, 0.8]));
            net.forward(random(1, [3, 3, 8, 8]).into(), r.into(), t.into(), Some(told())).primal
        };
        if config.output == Default::default() {
            let fresh = values(call(&config.init(0, &device())));
            assert!(fresh.iter().all(|x| x.abs() < 1e-2), "a fresh network is not zero: {config:?}");
        }
        let net = random_net(&config, &device());
        let bare = net.clone().without_velocity_head();
        assert_eq!(values(call(&net)), values(call(&bare)));
        assert_eq!(bare.num_params(), bare.config().parameters());
        assert_eq!(bare.config().velocity_head, None);
    }
}

/// `du/dt` of every network against a central difference.
#[test]
fn the_derivative_of_every_network_is_the_central_difference() {
    let (z, v) = (random::<4>(1, [3, 3, 8, 8]), random::<4>(2, [3, 3, 8, 8]));
    let (r, t) = (row([0.1, 0.2, 0.3]), row([0.6, 0.7, 0.8]));
    for config in all() {
        let net = random_net(&config, &device());
        let moving = Dual::new(t.clone(), t.ones_like());
        let dual = net.forward(Dual::new(z.clone(), v.clone()), r.clone().into(), moving, Some(told()));
        let step = 2e-3;
        let at = |sign: f64| {
            let (z, t) = (z.clone() + v.clone() * (sign * step), t.clone() + sign * step);
            net.forward(z.into(), r.clone().into(), t.into(), Some(told())).primal
        };
        let difference = (at(1.0) - at(-1.0)) / (2.0 * step);
        let error = relative_error(&values(dual.tangent.expect("it moves")), &values(difference));
        assert!(error < 2e-2, "{error} of {config:?}");
    }
}

#[test]
fn each_step_drops_other_features_and_every_call_of_a_step_the_same() {
    let config = all().pop().expect("the U-Net is the last");
    let net = random_net(&config, &device());
    let call = |dropout: Option<&Dropout>| {
        let z = random::<4>(1, [3, 3, 8, 8]);
        let told = Some(told());
        values(net.velocities(z.into(), row([0.0; 3]).into(), row([1.0; 3]).into(), told, dropout).average.primal)
    };
    let step = Dropout::new(0.5, 7, 1);
    let (first, again) = (call(Some(&step)), call(Some(&step)));
    assert_eq!(first, again);
    assert_ne!(first, call(Some(&Dropout::new(0.5, 7, 2))));
    assert_ne!(first, call(None));
    assert_eq!(call(Some(&Dropout::new(0.0, 7, 1))), call(None));
}

#[test]
fn blended_classes_are_their_embeddings_mean() {
    let config = tiny_config(3, 3);
    let net = random_net(&config, &device());
    let call = |labels: Labels| {
        let z = random::<4>(1, [2, 3, 8, 8]);
        let at = |time: f32| Tensor::<1>::from_data([time, time], &device());
        values(net.forward(z.into(), at(0.0).into(), at(1.0).into(), Some(labels)).primal)
    };
    let named = call(Tensor::<1, Int>::from_data([1, 2], &device()).into());
    let shares = |rows: [[f32; 4]; 2]| Labels::blended(Tensor::from_data(rows, &device()));
    assert_close("all of one", &call(shares([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])), &named, 1e-6);
    let between = call(shares([[0.0, 0.5, 0.5, 0.0], [0.0, 0.5, 0.5, 0.0]]));
    assert!(relative_error(&between, &named) > 1e-3, "half of each is none of them");
}

#[test]
fn a_network_that_does_not_fit_says_why() {
    let [.., tokens, unet] = &all()[..] else { panic!("there are several") };
    let two = NetConfig { heads: 8, ..tokens.clone() };
    let cases = [
        (NetConfig { times: TimeInputs::default(), ..tokens.clone() }, "told h alone"),
        (two, "multiple of 4"),
        (NetConfig { classes: 0, ..tokens.clone() }, "needs classes"),
        (NetConfig { velocity_head: Some(3), ..tokens.clone() }, "at most `depth` blocks"),
        (NetConfig { patch: 4, ..unet.clone() }, "patch and heads 1"),
        (NetConfig { image_size: 7, ..unet.clone() }, "halve the edge"),
    ];
    for (config, reason) in cases {
        let message = config.validate().expect_err(reason).to_string();
        assert!(message.contains(reason), "`{message}` does not say `{reason}`");
    }
}

/// The sizes of the papers (improved MeanFlow's and pixel MeanFlow's tables; the largest of the latter with hidden
/// features rounded as its code does), and the U-Net's, of which augmentation has 3,072.
#[test]
fn the_published_sizes_have_their_parameters() {
    for (name, millions) in [
        ("imf-b/2", 88.9),
        ("imf-m/2", 173.9),
        ("imf-l/2", 409.1),
        ("imf-xl/2", 610.4),
        ("dit-b/4", 131.17),
        ("dit-xl/2", 676.4),
    ] {
        let count = NetConfig::preset(name, 32, 4, 1000).expect(name).parameters() as f64 / 1e6;
        assert!((count - millions).abs() < 0.051, "{name}: {count} M");
    }
    for (name, millions) in [("pmf-b/16", 118.2), ("pmf-l/16", 410.3), ("pmf-h/16", 955.5)] {
        let count = NetConfig::preset(name, 256, 3, 1000).expect(name).parameters() as f64 / 1e6;
        assert!((count - millions).abs() < 0.051, "{name}: {count} M");
    }
    let mut unet = NetConfig::preset("unet", 32, 3, 0).expect("it is known");
    assert_eq!(unet.parameters(), 55_932_419 - 6 * 512);
    unet.architecture = Architecture::Unet(UnetConfig { augmentation: true, ..UnetConfig::cifar() });
    assert_eq!(unet.parameters(), 55_932_419);
}
