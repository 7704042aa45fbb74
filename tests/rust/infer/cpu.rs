//! The page's CPU engine, natively: the network it computes is burn's. And what it shares with the tests of the GPU's.

use meanflow::generator::SampleOptions;
use meanflow::generator::to_rgba;
use meanflow::infer::{DrawOptions, cpu};
use meanflow::model::text::{TextConditioning, TextConfig};
use meanflow::model::weights::{Check, ModelInfo, Precision};
use meanflow::model::{
    Architecture, GuidanceInputs, InContextConfig, NO_PAUSE, Output, Positions, Request, Solver, TimeInputs,
};
use meanflow::{Blend, Condition, Error, Generator, Net, NetConfig};
use safetensors::SafeTensors;

use crate::support::{assert_close, device, randomise_by, values};
use crate::weights::info;

/// Relative error allowed between two orders of the same sums in f32.
pub const SINGLE: f64 = 1e-4;

/// Parameters about as large as trained ones: larger ones would magnify rounding from block to block.
pub fn random_net(config: &NetConfig) -> Net {
    let net = config.init(0, &device());
    match config.architecture {
        // The vectors of these multiply: with small ones no branch would count.
        Architecture::InContext(_) => {
            randomise_by(net, |shape| if shape.len() == 1 { 0.7 } else { (shape[0] as f32).powf(-0.5) })
        }
        _ => randomise_by(net, |shape| if shape.len() == 1 { 0.1 } else { (shape[0] as f32).powf(-0.5) }),
    }
}

pub fn weights_of(config: &NetConfig, precision: Precision) -> Vec<u8> {
    meanflow::net::encode(&random_net(config), &info(config.clone()), precision).expect("encodes")
}

pub fn on_burn(bytes: &[u8], request: Request) -> Vec<f32> {
    let generator = Generator::from_bytes(bytes, &device()).expect("a model");
    values(generator.images(request).expect("pictures"))
}

fn decoupled(config: NetConfig, decoder_depth: usize) -> NetConfig {
    NetConfig { times: TimeInputs::T, decoder_depth: Some(decoder_depth), ..config }
}

/// Sizes that fill no tile, no quad and no workgroup evenly, and those that people use.
pub fn shapes() -> Vec<(&'static str, NetConfig)> {
    let preset = |name, size, channels, classes| {
        let config = NetConfig::preset(name, size, channels, classes).expect("it is a preset");
        NetConfig { depth: 1, ..config }
    };
    let odd = |width, heads, patch, size, channels| NetConfig {
        width,
        heads,
        patch,
        mlp_ratio: 3,
        image_size: size,
        ..preset("browser-s", 8, channels, 3)
    };
    vec![
        ("browser-s", preset("browser-s", 32, 4, 9)),
        ("browser-m", preset("browser-m", 32, 3, 0)),
        ("dit-s/2", preset("dit-s/2", 16, 4, 10)),
        ("dit-b/4", preset("dit-b/4", 16, 4, 10)),
        ("dit-xl/2", preset("dit-xl/2", 8, 4, 10)),
        ("heads of 5 features", odd(20, 4, 3, 15, 1)),
        ("heads of 6 features", odd(36, 6, 2, 14, 3)),
        ("one head", odd(52, 1, 5, 25, 3)),
        ("one token", odd(24, 2, 4, 4, 4)),
        ("patches of a pixel", odd(28, 7, 1, 7, 1)),
        ("decoupled", NetConfig { depth: 3, ..decoupled(odd(36, 6, 2, 14, 3), 2) }),
        ("decoupled, one block each", NetConfig { depth: 2, ..decoupled(odd(20, 4, 3, 15, 1), 1) }),
        ("noise of its own scale", NetConfig { noise_scale: 2.5, ..odd(24, 2, 2, 8, 3) }),
        ("told guidance", NetConfig { guidance: GuidanceInputs::ScaleAndInterval, ..odd(24, 2, 2, 8, 3) }),
        ("words in front of the patches", words(odd(20, 4, 3, 15, 1), TextConditioning::InContext)),
        (
            "words, decoupled",
            NetConfig { depth: 3, ..decoupled(words(odd(36, 6, 2, 14, 3), TextConditioning::InContext), 2) },
        ),
        ("words as keys and values", words(odd(20, 4, 3, 15, 1), TextConditioning::KeysValues)),
        (
            "words as keys of several blocks",
            NetConfig { depth: 3, ..words(odd(36, 6, 2, 14, 3), TextConditioning::KeysValues) },
        ),
        ("words in the modulation", words(odd(24, 2, 2, 8, 3), TextConditioning::Adaln)),
        ("imf-b/2", preset("imf-b/2", 8, 4, 10)),
        ("pmf-b/16", preset("pmf-b/16", 32, 3, 10)),
        ("pmf-l/32", preset("pmf-l/32", 64, 3, 0)),
        ("tokens in front of odd patches", tokens(odd(24, 3, 3, 15, 1), Some(5), Positions::Plane)),
        (
            "tokens in front of patches in sequence",
            NetConfig { depth: 3, ..tokens(odd(20, 5, 2, 14, 3), None, Positions::Sequence) },
        ),
        (
            "tokens without classes",
            NetConfig {
                classes: 0,
                guidance: GuidanceInputs::None,
                output: Output::Image,
                ..tokens(odd(40, 2, 4, 4, 4), Some(8), Positions::Sequence)
            },
        ),
    ]
}

/// The same, told words in place of classes.
fn words(config: NetConfig, conditioning: TextConditioning) -> NetConfig {
    let text = TextConfig { vocabulary: 7, buckets: 9, tokens: 5, conditioning };
    NetConfig { classes: 0, text: Some(text), ..config }
}

/// The transformer of improved and pixel MeanFlow in odd sizes.
fn tokens(config: NetConfig, bottleneck: Option<usize>, positions: Positions) -> NetConfig {
    let parts = InContextConfig {
        hidden: 2 * config.width + 3,
        class_tokens: 2,
        guidance_tokens: 1,
        interval_tokens: 3,
        time_tokens: 1,
        bottleneck,
        positions,
    };
    let (architecture, guidance) = (parts.into(), GuidanceInputs::ScaleAndInterval);
    NetConfig { architecture, guidance, times: TimeInputs::H, ..config }
}

#[test]
fn the_cpu_engine_computes_burns_network() {
    for (name, config) in shapes() {
        for precision in [Precision::F32, Precision::F16, Precision::I8] {
            let bytes = weights_of(&config, precision);
            let engine = cpu::CpuGenerator::from_bytes(&bytes).expect("a model");
            for nfe in [1, 3] {
                let request = Request { seed: 5, count: 3, class: Condition::Any, nfe };
                let ours = engine.images(request.clone()).expect("pictures");
                assert_close(&format!("{name}, {precision:?}, {nfe} calls"), &ours, &on_burn(&bytes, request), SINGLE);
            }
        }
    }
}

#[test]
fn it_is_told_what_burns_network_is_told() {
    let config = NetConfig { depth: 3, ..shapes().remove(6).1 };
    for (times, output, decoder_depth) in [
        (TimeInputs::TAndH, Output::Image, None),
        (TimeInputs::TAndR, Output::Velocity, None),
        (TimeInputs::All, Output::Image, None),
        (TimeInputs::H, Output::Velocity, None),
        (TimeInputs::T, Output::Velocity, None),
        (TimeInputs::T, Output::Image, Some(1)),
        (TimeInputs::T, Output::Velocity, Some(2)),
    ] {
        told_alike(&NetConfig { times, output, decoder_depth, ..config.clone() });
    }
    for guidance in [GuidanceInputs::None, GuidanceInputs::Scale, GuidanceInputs::ScaleAndInterval] {
        told_alike(&NetConfig { guidance, ..config.clone() });
        for (output, positions) in [(Output::Velocity, Positions::Plane), (Output::Image, Positions::Sequence)] {
            told_alike(&NetConfig {
                guidance,
                output,
                ..tokens(NetConfig { heads: 3, ..config.clone() }, None, positions)
            });
        }
    }
}

/// Compares pictures of each kind of class.
fn told_alike(config: &NetConfig) {
    let (engine, reference) = both(&weights_of(config, Precision::F32));
    let blend = Blend::new(&[(0, 0.25), (2, 0.75)]).expect("weights");
    for class in [Condition::Any, Condition::One(1), Condition::Between(blend)] {
        let request = Request { seed: 3, count: 2, class: class.clone(), nfe: 2 };
        let ours = engine.images(request.clone()).expect("pictures");
        let theirs = values(reference.images(request).expect("pictures"));
        assert_close(&format!("{config:?}, {class:?}"), &ours, &theirs, SINGLE);
    }
}

#[test]
fn it_is_guided_as_burns_network_is_where_guidance_is_an_input() {
    let of = |name: &str| shapes().into_iter().find(|shape| shape.0 == name).expect("it is among them").1;
    let text = words(of("one token"), TextConditioning::KeysValues);
    let told = |config| NetConfig { guidance: GuidanceInputs::Scale, ..config };
    for config in [of("told guidance"), of("imf-b/2"), told(text)] {
        let (engine, reference) = both(&weights_of(&config, Precision::F32));
        let request = Request { seed: 3, count: 2, class: Condition::Any, nfe: 2 };
        let plain = drawn(&engine, request.clone(), Solver::MeanFlow).expect("pictures");
        for (solver, guidance) in [(Solver::MeanFlow, 4.0), (Solver::Euler, 1.5)] {
            let ours = pollster::block_on(engine.rgba(request.clone(), DrawOptions { solver, guidance }, NO_PAUSE));
            let options = SampleOptions { guidance: guidance.into(), ..solver.into() };
            let theirs = rgba(reference.sample(request.clone(), options).expect("pictures").images);
            let ours = ours.expect("pictures");
            let off = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(off <= Some(1), "{config:?} by {solver}: {off:?} of 255 off");
            assert_ne!(ours, plain);
        }
        for guidance in [0.5, 101.0, f32::NAN] {
            let options = DrawOptions { solver: Solver::MeanFlow, guidance };
            let refused =
                pollster::block_on(engine.rgba(request.clone(), options, NO_PAUSE)).expect_err("out of range");
            assert_eq!(refused.to_string(), "guidance must be 1 to 100");
        }
    }
    let (engine, _) = both(&weights_of(&of("one token"), Precision::F32));
    let options = DrawOptions { solver: Solver::MeanFlow, guidance: 2.0 };
    let request = Request { seed: 3, count: 1, class: Condition::Any, nfe: 1 };
    let refused = pollster::block_on(engine.rgba(request, options, NO_PAUSE)).expect_err("it is no input");
    assert_eq!(refused.to_string(), "guidance is no input of the model");
}

#[test]
fn it_walks_and_turns_round_as_burns_solvers_do() {
    let (_, config) = shapes().remove(5);
    let (engine, reference) = both(&weights_of(&config, Precision::F32));
    let request = Request { seed: 9, count: 2, class: Condition::One(2), nfe: 4 };
    let euler = SampleOptions { solver: Solver::Euler, ..SampleOptions::default() };
    let walked = reference.sample(request.clone(), euler).expect("pictures").images;
    assert_eq!(drawn(&engine, request.clone(), Solver::Euler).expect("pictures"), rgba(walked));

    let pictures = engine.images(request.clone()).expect("pictures");
    for class in [Condition::Any, Condition::One(2)] {
        let ours = engine.invert(pictures.clone(), class.clone(), 6).expect("noise");
        let theirs = reference.invert(pictures.clone(), class.clone(), 6).expect("noise");
        assert_close("noise", &ours, &values(theirs), SINGLE);
        let back = reference.from_noise(ours.clone(), class.clone(), 1, Solver::MeanFlow).expect("pictures");
        assert_eq!(
            pollster::block_on(engine.from_noise(ours, class, 1, Solver::MeanFlow, NO_PAUSE)).expect("pictures"),
            rgba(back)
        );
    }
    for wrong in
        [engine.invert(pictures.clone(), Condition::Any, 5), engine.invert(pictures[1..].to_vec(), Condition::Any, 4)]
    {
        wrong.expect_err("half a step, or no whole picture");
    }
    drawn(&engine, request, Solver::Heun).expect_err("a solver that only burn has");
}

#[test]
fn it_refuses_other_networks_and_pictures_that_are_not_the_files() {
    let other = NetConfig { width: 16, depth: 1, ..NetConfig::preset("unet", 16, 3, 0).expect("a preset") };
    let bytes = meanflow::net::encode(&other.init(0, &device()), &info(other), Precision::F32).expect("encodes");
    let error = cpu::CpuGenerator::from_bytes(&bytes).expect_err("another network").to_string();
    assert!(error.contains("Diffusion Transformers"), "{error}");

    let (_, config) = shapes().remove(5);
    let net = random_net(&config);
    let encode = |check| {
        let info = ModelInfo { check: Some(check), ..info(config.clone()) };
        meanflow::net::encode(&net, &info, Precision::F32).expect("encodes")
    };
    let right = Check::of(0, &on_burn(&weights_of(&config, Precision::F32), Check::request(0)), &config);
    cpu::CpuGenerator::from_bytes(&encode(right.clone())).expect("its own picture");
    let wrong = Check { means: right.means.iter().map(|mean| mean + 0.5).collect(), ..right };
    let error = cpu::CpuGenerator::from_bytes(&encode(wrong)).expect_err("another picture").to_string();
    assert!(error.contains("63 of 255 off"), "{error}");
}

/// What a download leaves to do in the end makes no difference, wherever its pieces end.
#[test]
fn weights_in_pieces_are_the_same_model() {
    let (_, config) = shapes().remove(6);
    let request = Request { seed: 2, count: 2, class: Condition::One(1), nfe: 1 };
    for precision in [Precision::F32, Precision::F16, Precision::I8] {
        let bytes = weights_of(&config, precision);
        let whole =
            cpu::CpuGenerator::from_bytes(&bytes).and_then(|engine| engine.images(request.clone())).expect("pictures");
        for (length, announced) in [(1, bytes.len()), (7, 0), (1000, 10 * bytes.len()), (4096, 5), (bytes.len(), 0)] {
            let mut loading = cpu::WeightsLoader::new(announced);
            bytes.chunks(length).for_each(|piece| loading.push(piece));
            let pictures = loading.finish().and_then(|engine| engine.images(request.clone())).expect("pictures");
            assert_eq!(pictures, whole, "{precision:?}, pieces of {length} bytes, {announced} announced");
        }
        let mut short = cpu::WeightsLoader::new(bytes.len());
        short.push(&bytes[..bytes.len() - 1]);
        let error = short.finish().map(|_| ()).expect_err("a byte is missing").to_string();
        assert!(error.contains("truncated"), "{error}");
    }
}

/// Other programs may write tensors in another order.
#[test]
fn scales_may_come_behind_their_whole_numbers() {
    let (_, config) = shapes().remove(6);
    let bytes = weights_of(&config, Precision::I8);
    let file = SafeTensors::deserialize(&bytes).expect("a file");
    let mut tensors = file.tensors();
    tensors.sort_by_key(|(name, _)| (name.ends_with("_scale"), name.clone()));
    let (_, described) = SafeTensors::read_metadata(&bytes).expect("a header");
    let mut header = serde_json::json!({ "__metadata__": described.metadata() });
    let mut data = Vec::new();
    for (name, view) in &tensors {
        let offsets = [data.len(), data.len() + view.data().len()];
        let dtype = format!("{:?}", view.dtype());
        header[name] = serde_json::json!({ "dtype": dtype, "shape": view.shape(), "data_offsets": offsets });
        data.extend_from_slice(view.data());
    }
    let header = header.to_string().into_bytes();
    let other = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    let request = Request { seed: 2, count: 2, class: Condition::One(1), nfe: 1 };
    let [ours, theirs] = [&bytes, &other].map(|bytes| {
        cpu::CpuGenerator::from_bytes(bytes).and_then(|engine| engine.images(request.clone())).expect("pictures")
    });
    assert_eq!(ours, theirs);
    assert_close("burn's", &on_burn(&other, request), &ours, SINGLE);
}

/// Conditions beyond those that are kept push out the oldest, and come back the same.
#[test]
fn a_picture_does_not_depend_on_those_before_it() {
    let (_, config) = shapes().remove(7);
    let engine = cpu::CpuGenerator::from_bytes(&weights_of(&config, Precision::F32)).expect("a model");
    let picture = |nfe| engine.images(Request { seed: 1, count: 1, class: Condition::One(0), nfe }).expect("a picture");
    let before = picture(1);
    picture(100);
    assert_eq!(picture(1), before);
}

fn both(bytes: &[u8]) -> (cpu::CpuGenerator, Generator) {
    let reference = Generator::from_bytes(bytes, &device()).expect("a model");
    (cpu::CpuGenerator::from_bytes(bytes).expect("a model"), reference)
}

fn drawn(engine: &cpu::CpuGenerator, request: Request, solver: Solver) -> Result<Vec<u8>, Error> {
    pollster::block_on(engine.rgba(request, solver, NO_PAUSE))
}

fn rgba(images: burn::tensor::Tensor<4>) -> Vec<u8> {
    pollster::block_on(to_rgba(images)).expect("pixels")
}
