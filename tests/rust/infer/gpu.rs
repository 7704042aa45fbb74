//! The page's GPU engine, natively: the network it computes is burn's, in each arithmetic that the adapter has.

use meanflow::Condition;
use meanflow::infer::webgpu as gpu;
use meanflow::model::Request;
use meanflow::model::weights::{Check, ModelInfo, Precision};

use crate::cpu::{SINGLE, on_burn, random_net, shapes, weights_of};
use crate::support::{assert_close, relative_error};
use crate::weights::info;

/// And where products are rounded to 11 bits, four at a time.
const HALF: f64 = 1e-2;

fn open() -> gpu::Gpu {
    let opened = pollster::block_on(gpu::Gpu::open());
    opened
        .unwrap_or_else(|e| panic!("{e}; these tests need a GPU or a Vulkan driver for the CPU (mesa-vulkan-drivers)"))
}

/// The pictures, and in which arithmetic they were made.
fn on_gpu(gpu: &gpu::Gpu, bytes: &[u8], request: Request) -> (Vec<f32>, &'static str) {
    let generator = pollster::block_on(gpu::GpuGenerator::from_bytes(bytes, gpu)).expect("a model");
    (pollster::block_on(generator.images(request)).expect("pictures"), generator.arithmetic())
}

#[test]
fn in_single_precision_the_engine_computes_burns_network() {
    let gpu = open();
    for (name, config) in shapes() {
        let bytes = weights_of(&config, Precision::F32);
        for nfe in [1, 3] {
            let request = Request { seed: 5, count: 3, class: Condition::Any, nfe };
            let (ours, arithmetic) = on_gpu(&gpu, &bytes, request.clone());
            assert_eq!(arithmetic, "f32");
            assert_close(&format!("{name}, {nfe} calls"), &ours, &on_burn(&bytes, request), SINGLE);
        }
    }
}

#[test]
fn half_weights_are_the_same_numbers_in_either_arithmetic() {
    let gpu = open();
    for (name, config) in shapes() {
        let bytes = weights_of(&config, Precision::F16);
        let request = Request { seed: 5, count: 2, class: Condition::Any, nfe: 1 };
        let (ours, arithmetic) = on_gpu(&gpu, &bytes, request.clone());
        assert_eq!(arithmetic, if gpu.has_half() { "f16" } else { "f32" }, "{name}");
        let tolerance = if gpu.has_half() { HALF } else { SINGLE };
        assert_close(name, &ours, &on_burn(&bytes, request), tolerance);
    }
}

#[test]
fn arithmetic_that_fails_the_files_own_check_makes_room_for_the_next() {
    let gpu = open();
    let config = shapes().remove(0).1;
    let net = random_net(&config);
    let encode = |check: Option<Check>| {
        meanflow::net::encode(&net, &ModelInfo { check, ..info(config.clone()) }, Precision::F16).expect("encodes")
    };
    let bytes = encode(None);
    let reference = on_burn(&bytes, Check::request(0));
    let exact = Check::of(0, &reference, &config);
    // What rounding to four digits leaves.
    let strict = Check { tolerance: 1e-4, ..exact.clone() };
    let (half, first) = on_gpu(&gpu, &bytes, Check::request(0));
    let (ours, second) = on_gpu(&gpu, &encode(Some(strict)), Check::request(0));
    assert_eq!(second, "f32");
    assert_close("in f32", &ours, &reference, SINGLE);
    if first == "f16" {
        assert!(relative_error(&half, &reference) > SINGLE, "half-precision arithmetic left no trace");
    }
    let wrong = Check { means: exact.means.iter().map(|mean| mean + 0.5).collect(), ..exact };
    let refused = pollster::block_on(gpu::GpuGenerator::from_bytes(&encode(Some(wrong)), &gpu));
    let error = refused.expect_err("another picture than the file's").to_string();
    assert!(error.contains("63 of 255 off"), "{error}");
}

#[test]
fn batches_grow_and_shrink_and_pictures_do_not_depend_on_them() {
    let gpu = open();
    let (_, config) = shapes().remove(5);
    let bytes = weights_of(&config, Precision::F32);
    let generator = pollster::block_on(gpu::GpuGenerator::from_bytes(&bytes, &gpu)).expect("a model");
    let make = |seed, count| {
        let request = Request { seed, count, class: Condition::One(1), nfe: 1 };
        pollster::block_on(generator.images(request)).expect("pictures")
    };
    let all = make(0, 70);
    let one = config.channels * config.image_size * config.image_size;
    for seed in [0, 3, 69] {
        assert_eq!(make(seed, 1), all[seed as usize * one..][..one], "the picture of the seed {seed}");
    }
}
