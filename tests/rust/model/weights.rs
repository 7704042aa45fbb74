//! The weights file: what goes in comes out, and what is wrong is refused with the reason.

use meanflow::generator::Generator;
use meanflow::infer::cpu;
use meanflow::model::Request;
use meanflow::model::weights::{Check, DataInfo, FORMAT_VERSION, ModelInfo, Precision, TrainingInfo, read_info};
use meanflow::net::{decode, encode};
use meanflow::{Condition, Error, NetConfig};
use safetensors::SafeTensors;

use crate::cli::{Place, fails, succeeds};
use crate::support::{assert_close, device, random_net, relative_error, tiny_config, values};

pub fn info(net: NetConfig) -> ModelInfo {
    ModelInfo {
        format_version: FORMAT_VERSION,
        name: "tiny".into(),
        classes: (0..net.classes).map(|i| format!("class {i}")).collect(),
        vocabulary: (0..net.text.as_ref().map_or(0, |text| text.vocabulary)).map(|i| format!("word{i:05}")).collect(),
        net,
        latent: None,
        check: None,
        data: DataInfo { description: "squares".into(), source: "here".into(), license: "CC0".into(), images: 7 },
        training: TrainingInfo { step: 42, batch_size: 8, seed: 1, program: "test".into(), init: None, settings: None },
    }
}

fn file(precision: Precision) -> Vec<u8> {
    let config = tiny_config(4, 3);
    encode(&random_net(&config, &device()), &info(config), precision).expect("it encodes")
}

fn picture(generator: &Generator) -> Vec<f32> {
    let request = Request { seed: 5, count: 2, class: Some(1).into(), nfe: 2 };
    values(generator.images(request).expect("a fair request"))
}

#[track_caller]
fn refused(bytes: &[u8], reason: &str) {
    match decode(bytes, &device()) {
        Err(Error::Weights(text)) => assert!(text.contains(reason), "`{text}` does not say `{reason}`"),
        other => panic!("expected a refusal because of `{reason}`, got {:?}", other.map(|(_, info)| info)),
    }
}

/// Each number is off by at most half a step of its row's scale.
#[test]
fn whole_numbers_keep_each_weight_within_half_a_step() {
    let config = tiny_config(3, 2);
    let net = random_net(&config, &device());
    let stored_as = |precision| encode(&net, &info(config.clone()), precision).expect("it encodes");
    let [exact, whole] = [Precision::F32, Precision::I8].map(stored_as);
    let half = stored_as(Precision::F16);
    assert!(whole.len() < half.len() * 2 / 3, "{} bytes, not much less than {}", whole.len(), half.len());
    let files = [&exact, &whole].map(|bytes| SafeTensors::deserialize(bytes).expect("a file"));
    let name = "blocks.1.mlp.fc2.weight";
    let [reference, stored] = files.each_ref().map(|file| file.tensor(name).expect("a matrix"));
    let scales = files[1].tensor(&format!("{name}_scale")).expect("scales");
    let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let columns = reference.shape()[1];
    let rows = reference.data().chunks_exact(4 * columns).zip(stored.data().chunks_exact(columns));
    for ((row, whole), scale) in rows.zip(scales.data().chunks_exact(4).map(float)) {
        let largest = row.chunks_exact(4).map(|x| float(x).abs()).fold(0.0, f32::max);
        assert!((127.0 * scale - largest).abs() < 1e-5 * largest);
        for (x, &byte) in row.chunks_exact(4).map(float).zip(whole) {
            assert!((x - f32::from(byte as i8) * scale).abs() <= 0.5001 * scale);
        }
    }
    let (read, _) = decode(&whole, &device()).expect("it reads");
    let again = encode(&read, &info(config.clone()), Precision::I8).expect("it encodes");
    let again = SafeTensors::deserialize(&again).expect("a file");
    assert_eq!(again.tensor(name).expect("a matrix").data(), stored.data(), "another time it rounds nothing");
}

#[test]
fn whole_numbers_without_scales_are_refused() {
    let config = tiny_config(3, 2);
    let net = random_net(&config, &device());
    let bytes = encode(&net, &info(config.clone()), Precision::I8).expect("it encodes");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains("head.linear.weight_scale"));
    let place = bytes.windows(24).position(|part| part == b"head.linear.weight_scale").expect("its name");
    let mut broken = bytes;
    broken[place + 23] = b'E';
    let error = decode(&broken, &device()).expect_err("no scales").to_string();
    assert!(error.contains("its network needs"), "{error}");
}

/// The bytes of a tensor within its file.
fn place_of(bytes: &[u8], name: &str) -> std::ops::Range<usize> {
    let data = SafeTensors::deserialize(bytes).expect("a file").tensor(name).expect("a tensor").data().as_ptr_range();
    let start = data.start.addr() - bytes.as_ptr().addr();
    start..start + (data.end.addr() - data.start.addr())
}

/// Multiplied in, such a scale would be a picture of one colour, or none, without a word.
#[test]
fn scales_that_no_weights_have_are_refused_by_every_reader() {
    let whole = file(Precision::I8);
    let name = "head.linear.weight_scale";
    let place = place_of(&whole, name);
    for scale in [f32::NAN, f32::INFINITY, -0.01, 1e9] {
        let mut bytes = whole.clone();
        bytes[place.start + 4..][..4].copy_from_slice(&scale.to_le_bytes());
        let native = decode(&bytes, &device()).map(drop).expect_err("no scale").to_string();
        let page = cpu::CpuGenerator::from_bytes(&bytes).map(drop).expect_err("no scale").to_string();
        for error in [native, page] {
            let reason = if scale.is_finite() { "in row 1" } else { "holds" };
            assert!(error.contains(name) && error.contains(reason), "{scale}: {error}");
        }
    }
}

/// Every number is one that weights can have, but what they draw is not the picture that the file remembers.
#[test]
fn weights_with_other_signs_are_refused_by_their_picture() {
    let generator = Generator::from_bytes(&file(Precision::F32), &device()).expect("it decodes");
    let info = ModelInfo { check: Some(generator.check().expect("a picture")), ..generator.info().clone() };
    let mut bytes = encode(generator.net(), &info, Precision::F32).expect("it encodes");
    let place = Place::new();
    let (right, out) = (place.file("right.safetensors", &bytes), place.path("grid.png"));
    succeeds(&["sample", &right, "--out", &out]);
    let head = place_of(&bytes, "head.linear.weight");
    bytes[head].iter_mut().skip(3).step_by(4).for_each(|byte| *byte ^= 0x80);
    let flipped = place.file("flipped.safetensors", &bytes);
    fails(&["sample", &flipped, "--out", &out], &["flipped.safetensors", "its picture of the seed 0"]);
}

#[test]
fn weights_come_out_as_they_went_in() {
    let config = tiny_config(4, 3);
    let net = random_net(&config, &device());
    let before = picture(&Generator::new(net.clone(), info(config.clone()), &device()));
    for (precision, tolerance) in [(Precision::F32, 0.0), (Precision::F16, 1e-2)] {
        let bytes = encode(&net, &info(config.clone()), precision).expect("it encodes");
        let generator = Generator::from_bytes(&bytes, &device()).expect("it decodes");
        assert_eq!(generator.info(), &info(config.clone()));
        assert_close("pictures", &picture(&generator), &before, tolerance);
    }
}

#[test]
fn equal_weights_give_equal_bytes() {
    assert_eq!(file(Precision::F16), file(Precision::F16));
}

#[test]
fn the_file_has_pytorch_names_and_layout() {
    let bytes = file(Precision::F32);
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    for (name, shape) in [
        ("patch.weight", vec![16, 64]),
        ("patch.bias", vec![16]),
        ("time_h.fc1.weight", vec![16, 256]),
        ("label.weight", vec![4, 16]),
        ("blocks.1.modulation.weight", vec![96, 16]),
        ("blocks.0.attention.qkv.weight", vec![48, 16]),
        ("blocks.0.mlp.fc2.weight", vec![16, 64]),
        ("head.linear.weight", vec![64, 16]),
    ] {
        assert_eq!(tensors.tensor(name).expect(name).shape(), shape, "{name}");
    }
}

#[test]
fn info_reads_without_the_tensors() {
    let read = read_info(&file(Precision::F16)).expect("it reads");
    assert_eq!((read.training.step, read.data.license.as_str()), (42, "CC0"));
}

#[test]
fn truncated_files_are_refused_wherever_they_end() {
    let bytes = file(Precision::F16);
    refused(&[], "too few");
    refused(&bytes[..7], "too few");
    for length in [9, 100, 3000] {
        refused(&bytes[..length], "truncated");
    }
    refused(&bytes[..bytes.len() - 1], "truncated");
}

#[test]
fn foreign_files_are_refused() {
    refused(b"\x89PNG\r\n\x1a\n and then some bytes of a picture", "safetensors");
    refused("<!doctype html><title>404</title>".as_bytes(), "safetensors");
    let foreign = safetensors::serialize(Vec::<(String, safetensors::tensor::TensorView)>::new(), None);
    refused(&foreign.expect("an empty file"), "not one that meanflow wrote");
}

/// The same file with its metadata's text changed to another of the same length.
fn doctored(from: &str, to: &str) -> Vec<u8> {
    let mut bytes = file(Precision::F16);
    assert_eq!(from.len(), to.len());
    let found = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("the text is there");
    bytes[found..found + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[test]
fn other_format_versions_are_refused() {
    refused(&doctored(r#"format_version\":1"#, r#"format_version\":9"#), "format version 9");
}

#[test]
fn a_configuration_that_does_not_fit_the_tensors_is_refused() {
    refused(&doctored(r#"\"depth\":2"#, r#"\"depth\":9"#), "needs");
    refused(&doctored(r#"\"heads\":2"#, r#"\"heads\":3"#), "heads must divide");
    refused(&doctored(r#"\"depth\":2"#, r#"\"depth\":0"#), "depth is 0");
    refused(&doctored(r#"\"channels\":4"#, r#"\"channels\":2"#), "2 channels");
    refused(&doctored("patch.bias", "patch.bios"), "missing");
}

#[test]
fn weights_that_are_not_numbers_are_refused() {
    let mut bytes = file(Precision::F32);
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    refused(&bytes, "NaN");
}

#[test]
fn requests_out_of_range_are_refused_with_the_reason() {
    let config = tiny_config(4, 3);
    let generator = Generator::new(random_net(&config, &device()), info(config), &device());
    let good = Request { seed: 0, count: 1, class: Condition::Any, nfe: 1 };
    for (request, reason) in [
        (Request { count: 0, ..good.clone() }, "0 pictures"),
        (Request { count: usize::MAX, ..good.clone() }, "pictures"),
        (Request { nfe: 0, ..good }, "0 network calls"),
        (Request { class: Some(3).into(), ..good }, "class 3"),
    ] {
        let error = generator.images(request).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    }
    let error = generator.info().class_index("cat").expect_err("no such class").to_string();
    assert!(error.contains("cat") && error.contains("class 2"), "{error}");
}

#[test]
fn a_seed_is_the_same_picture_alone_and_in_a_batch() {
    let config = tiny_config(4, 3);
    let generator = Generator::new(random_net(&config, &device()), info(config), &device());
    let one = |seed| values(generator.images(Request { seed, count: 1, class: Condition::Any, nfe: 1 }).expect("fair"));
    let all = values(generator.images(Request { seed: 10, count: 3, class: Condition::Any, nfe: 1 }).expect("fair"));
    let each = [one(10), one(11), one(12)].concat();
    assert_close("pictures", &all, &each, 1e-5);
}

#[test]
fn a_place_between_classes_is_one_of_them_at_its_ends() {
    let generator = Generator::from_bytes(&file(Precision::F32), &device()).expect("it decodes");
    let of = |class: Condition| values(generator.images(Request { seed: 3, count: 2, class, nfe: 1 }).expect("fair"));
    let named = |text: &str| generator.info().class_of(text);
    let one = of(Condition::One(1));
    assert_eq!(of(named("class 1").expect("it is there")), one);
    assert_close("all of one", &of(named("class 1:3").expect("a weight")), &one, 1e-6);
    let near = of(named("class 1:0.999,class 2:0.001").expect("weights"));
    assert!(relative_error(&near, &one) < 1e-2);
    let between = of(named("class 1:0.5, class 2:0.5").expect("weights"));
    assert!(relative_error(&between, &one) > 1e-3 && relative_error(&between, &of(Condition::One(2))) > 1e-3);
    // Given noise too, and in the other direction.
    let noise = meanflow::rng::noise(3, 256);
    let half = named("class 1:1,class 2:1").expect("weights");
    let drawn = generator.from_noise(noise, half, 1, meanflow::generator::SampleOptions::default()).expect("fair");
    assert_close("from noise", &values(drawn), &between[..256], 1e-5);
    for (text, reason) in [
        ("class 9", "unknown class"),
        ("class 1:0,class 2:1", "weights above 0"),
        ("class 1:much", "no weight"),
        ("class 1:1,class 7:1", "unknown class `class 7`"),
        ("class 0:1,class 0:1,class 0:1,class 1:1,class 2:1", "1 to 4"),
    ] {
        let message = named(text).expect_err(text).to_string();
        assert!(message.contains(reason), "`{message}` does not say `{reason}`");
    }
}

#[test]
fn a_model_knows_its_picture_of_one_seed_and_no_other() {
    let generator = Generator::from_bytes(&file(Precision::F32), &device()).expect("it decodes");
    let check = generator.check().expect("it reads");
    let net = generator.net().config();
    let picture = |seed| values(generator.images(Check::request(seed)).expect("fair"));
    assert_eq!(check.means.len(), 4 * 16);
    check.accept(&picture(0), net).expect("it is the same");
    let mut slightly = picture(0);
    slightly.iter_mut().for_each(|x| *x += 0.01);
    check.accept(&slightly, net).expect("that is rounding");
    let wrong = check.accept(&picture(1), net).expect_err("another picture").to_string();
    assert!(wrong.contains("seed 0"), "{wrong}");
    let mut broken = picture(0);
    broken[7] = f32::NAN;
    assert!(check.accept(&broken, net).is_err() && check.accept(&broken[..64], net).is_err());
    // It is stored, and may be missing.
    let info = ModelInfo { check: Some(check), ..generator.info().clone() };
    let bytes = encode(generator.net(), &info, Precision::F32).expect("it encodes");
    assert_eq!(read_info(&bytes).expect("it reads"), info);
    assert_eq!(generator.info().check, None);
}
