//! What becomes of a GPU's refusals and errors, and in which parts it is given its work: on a device that computes
//! nothing, but for attention.

use burn::tensor::Device;
use pollster::block_on;
use wgpu::{BufferUsages, naga};

use super::device::Gpu;
use super::generator::GpuGenerator;
use super::kernels::{ComputePrecision, Kernel, Kernels, Sizes};
use super::survey::Survey;
use crate::model::text::{TextConditioning, TextConfig};
use crate::model::weights::{DataInfo, FORMAT_VERSION, ModelInfo, Precision, TrainingInfo};
use crate::model::{Condition, GuidanceInputs, NetConfig, Output, Request, TimeInputs};

fn paper_gpu() -> Gpu {
    block_on(Gpu::without_hardware()).expect("it needs nothing")
}

fn config(width: usize, image_size: usize) -> NetConfig {
    let preset = NetConfig::preset("browser-s", image_size, 3, 0).expect("a preset");
    NetConfig { width, heads: width.div_ceil(64), depth: 1, patch: 2, ..preset }
}

fn weights(config: &NetConfig) -> Vec<u8> {
    let info = ModelInfo {
        format_version: FORMAT_VERSION,
        name: "paper".into(),
        net: config.clone(),
        classes: Vec::new(),
        vocabulary: Vec::new(),
        latent: None,
        check: None,
        data: DataInfo { license: "CC0-1.0".into(), ..DataInfo::default() },
        training: TrainingInfo::default(),
    };
    crate::net::encode(&config.init(0, &Device::flex()), &info, Precision::F16).expect("it encodes")
}

/// How many submits it takes to draw so many pictures.
fn submits(gpu: &Gpu, generator: &GpuGenerator, count: usize, nfe: usize) -> usize {
    let before = gpu.submits();
    let request = Request { seed: 0, count, class: Condition::Any, nfe };
    let pictures = block_on(generator.images(request)).expect("pictures");
    let net = &generator.info().net;
    assert_eq!(pictures.len(), count * net.channels * net.image_size * net.image_size);
    gpu.submits() - before
}

#[test]
fn kernels_that_the_gpu_refuses_make_room_for_the_next_arithmetic() {
    let bytes = weights(&config(16, 8));
    let gpu = paper_gpu();
    let generator = block_on(GpuGenerator::from_bytes(&bytes, &gpu)).expect("a model");
    assert_eq!(generator.arithmetic(), "f16");
    // Its adapter has half precision, but its shaders in half precision are refused.
    let gpu = block_on(gpu.with_plain_device()).expect("a device");
    let generator = block_on(GpuGenerator::from_bytes(&bytes, &gpu)).expect("the next arithmetic");
    assert_eq!(generator.arithmetic(), "f32");
}

#[test]
fn a_call_of_much_work_is_submitted_in_parts() {
    let gpu = paper_gpu();
    let small = config(16, 8);
    let generator = block_on(GpuGenerator::from_bytes(&weights(&small), &gpu)).expect("a model");
    assert_eq!(submits(&gpu, &generator, 8, 1), 2, "a call and its copy");

    // Of 1,024 tokens.
    let large = config(1024, 64);
    let survey = block_on(Survey::all(&large)).expect("counts").remove(0);
    let operations: Vec<u64> = survey.dispatches.iter().map(|dispatch| dispatch.operations).collect();
    let (all, most) = (operations.iter().sum::<u64>(), operations.iter().max().expect("some"));
    assert!(all > 20_000_000_000 && *most < 20_000_000_000, "{operations:?}");
    let generator = block_on(GpuGenerator::from_bytes(&weights(&large), &gpu)).expect("a model");
    let parts = submits(&gpu, &generator, 1, 1) - 1;
    assert!(parts as u64 >= all.div_ceil(20_000_000_000) && parts < operations.len(), "{parts} parts");
    // As many at once as the largest dispatch has room for.
    let at_once = (20_000_000_000 / most) as usize;
    assert!(at_once < 9);
    let batches = 9_usize.div_ceil(at_once);
    assert!(submits(&gpu, &generator, 9, 1) >= batches + (9 * all).div_ceil(20_000_000_000) as usize);
}

#[test]
fn the_gpu_works_while_the_noise_of_the_next_pictures_is_drawn() {
    let gpu = paper_gpu();
    let generator = block_on(GpuGenerator::from_bytes(&weights(&config(16, 8)), &gpu)).expect("a model");
    assert_eq!(submits(&gpu, &generator, 64, 1), 8, "four calls, of sixteen pictures each, and their copies");
    assert_eq!(submits(&gpu, &generator, 130, 1), 18, "more than are read back at once");
    assert_eq!(submits(&gpu, &generator, 64, 3), 4, "with several calls noise is little of the work");
    assert_eq!(submits(&gpu, &generator, 3, 1), 2);
}

#[test]
fn pictures_can_be_read_after_an_error() {
    let gpu = paper_gpu();
    let buffer = gpu.buffer("the answer", 16, BufferUsages::MAP_READ);
    gpu.fail("a refusal");
    assert!(block_on(gpu.read(&buffer, 16)).expect_err("it was refused").to_string().contains("a refusal"));
    assert_eq!(block_on(gpu.read(&buffer, 16)).expect("it is unmapped"), [0; 16]);
}

#[test]
fn attention_takes_scores_of_any_size() {
    let gpu = block_on(Gpu::open()).expect("a GPU, or a Vulkan driver for the CPU (mesa-vulkan-drivers)");
    let sizes = Sizes::new(&config(4, 8), [0, 0], ComputePrecision::Single);
    let (pipeline, tokens) = (Kernels::default().pipeline(&gpu, &sizes, Kernel::Attention), sizes.tokens);
    // All scores are ±3.2e38: four products over the root of four.
    for sign in [1.0, -1.0] {
        let large = 1.265e19_f32;
        let row = |token: usize| {
            let value = token as f32;
            [[large; 4], [sign * large; 4], [value, 1.0, -value, 2.0 * value]].concat()
        };
        let qkv: Vec<f32> = (0..tokens).flat_map(row).collect();
        let qkv = gpu.upload("qkv", bytemuck::cast_slice(&qkv));
        let result = gpu.buffer("result", 16 * tokens as u64, BufferUsages::STORAGE | BufferUsages::COPY_SRC);
        let answer = gpu.buffer("answer", 16 * tokens as u64, BufferUsages::MAP_READ);
        let group = gpu.bind(&pipeline.get_bind_group_layout(0), &[(0, &qkv), (1, &result)]);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(sizes.query_groups(), 1, 1);
        }
        encoder.copy_buffer_to_buffer(&result, 0, &answer, 0, 16 * tokens as u64);
        gpu.submit(encoder);
        let bytes = block_on(gpu.read(&answer, 16 * tokens as u64)).expect("numbers");
        // Each query weighs all values alike.
        let mean = (tokens - 1) as f32 / 2.0;
        for values in bytemuck::pod_collect_to_vec::<u8, f32>(&bytes).chunks(4) {
            let off = values.iter().zip([mean, 1.0, -mean, 2.0 * mean]).map(|(is, should)| (is - should).abs());
            assert!(off.into_iter().all(|off| off < 1e-3), "{values:?} for scores of {sign} · 3.2e38");
        }
    }
}

/// Parses and validates a shader as browsers with wgpu do, and holds it to WebGPU's least limits, which Naga leaves to
/// its users: threads of a workgroup, bytes of its memory, storage buffers.
fn check(source: &str) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    // Every WebGPU unpacks halves; few compute in them.
    let mut capabilities = naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(naga::valid::Capabilities::SHADER_FLOAT16, source.starts_with("enable f16;"));
    let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities);
    validator.validate(&module).map_err(|e| e.emit_to_string(source))?;
    let mut layouts = naga::proc::Layouter::default();
    layouts.update(module.to_ctx()).map_err(|e| e.to_string())?;
    let (mut memory, mut buffers) = (0, 0);
    for (_, variable) in module.global_variables.iter() {
        match variable.space {
            naga::AddressSpace::WorkGroup => memory += layouts[variable.ty].size.next_multiple_of(16),
            naga::AddressSpace::Storage { .. } => buffers += 1,
            _ => {}
        }
    }
    let threads: u32 = module.entry_points.iter().map(|entry| entry.workgroup_size.iter().product()).max().unwrap_or(0);
    match threads <= 256 && memory <= 16_384 && buffers <= 8 {
        true => Ok(()),
        false => Err(format!("{threads} threads, {memory} bytes of workgroup memory, {buffers} buffers")),
    }
}

/// Networks of every kind, of sizes that people use and of some that fill no tile evenly.
fn networks() -> Vec<NetConfig> {
    let preset = |name: &str, size, channels| {
        let preset = NetConfig::preset(name, size, channels, 10).expect("a preset");
        NetConfig { depth: 1, ..preset }
    };
    let presets = [
        ("browser-s", 32, 4),
        ("browser-m", 32, 3),
        ("dit-s/2", 16, 4),
        ("dit-b/4", 16, 4),
        ("dit-xl/2", 32, 4),
        ("imf-b/2", 8, 4),
        ("pmf-b/16", 32, 3),
        ("pmf-h/32", 64, 3),
    ];
    let odd =
        |width, heads, patch, size| NetConfig { width, heads, patch, mlp_ratio: 3, ..preset("browser-s", size, 1) };
    let text = |conditioning| NetConfig {
        classes: 0,
        text: Some(TextConfig { vocabulary: 7, buckets: 9, tokens: 5, conditioning }),
        ..odd(36, 6, 2, 16)
    };
    let of_presets = presets.into_iter().map(|(name, size, channels)| preset(name, size, channels));
    let others = [
        odd(20, 4, 4, 16),
        odd(52, 1, 8, 16),
        odd(1024, 4, 2, 8),
        NetConfig { output: Output::Image, ..odd(28, 7, 1, 4) },
        NetConfig { depth: 2, times: TimeInputs::T, decoder_depth: Some(1), ..odd(20, 4, 4, 16) },
        NetConfig { guidance: GuidanceInputs::ScaleAndInterval, ..odd(24, 2, 2, 8) },
        text(TextConditioning::Adaln),
        text(TextConditioning::InContext),
        text(TextConditioning::KeysValues),
    ];
    of_presets.chain(others).collect()
}

#[test]
fn naga_takes_every_kernel_in_every_arithmetic_by_the_least_limits_of_webgpu() {
    let mut half = 0;
    for config in networks() {
        // wgpu has accepted them all, too.
        for Survey { arithmetic, shaders, .. } in block_on(Survey::all(&config)).expect("valid kernels") {
            assert!(shaders.len() >= 5, "{config:?}");
            for shader in &shaders {
                half += usize::from(shader.starts_with("enable f16;"));
                check(shader).unwrap_or_else(|e| panic!("{config:?}, {arithmetic}: {e}\n{shader}"));
            }
        }
    }
    assert!(half > 60, "{half} kernels in half precision");
    check(&format!("const EDGE = 32u;\n{}", include_str!("../../wasm/screen.wgsl"))).expect("the screen");
    // It would find what it looks for.
    let kernel = |memory: usize, body: &str| {
        format!("var<workgroup> a: array<f32, {memory}>;\n@compute @workgroup_size(64) fn main() {{ {body} }}")
    };
    check(&kernel(4096, "a[0] = 1.0;")).expect("it is as large as may be");
    assert!(check(&kernel(4097, "a[0] = 1.0;")).expect_err("it is too large").contains("16400 bytes"));
    assert!(check(&kernel(16, "a[0] = 1i;")).is_err(), "an integer is no float");
}

#[test]
fn what_a_call_asks_of_a_gpu_is_counted_as_its_loops_run() {
    let config = NetConfig::preset("browser-s", 32, 4, 0).expect("a preset");
    for Survey { dispatches, .. } in block_on(Survey::all(&config)).expect("counts") {
        assert_eq!(dispatches.len(), 2 + 5 * 6 + 1, "patches, blocks, the head and pixels");
        let products = dispatches.iter().filter(|dispatch| dispatch.kernel.contains('→'));
        // 64 values of a patch, then 128 features, but for the second layer of the MLP 512, eight at a time.
        let steps: usize = products.map(|dispatch| dispatch.steps).sum();
        assert_eq!(steps, 8 + 6 * (16 + 16 + 16 + 64) + 16);
        let attention = dispatches.iter().find(|dispatch| dispatch.kernel == "attention").expect("attention");
        assert_eq!((attention.steps, attention.barriers, attention.workgroups), (4, 8, 2 * 4));
        let barriers: usize = dispatches.iter().map(|dispatch| dispatch.barriers).sum();
        // Two a step, and four for each norm.
        assert_eq!(barriers, 2 * (steps + 6 * 4) + 4 * (2 * 6 + 1));
        // Multiplications of a token by all matrices, and with all other tokens.
        let matrices = 2 * 64 * 128 + 6 * (4 + 8) * 128 * 128;
        let operations: u64 = dispatches.iter().map(|dispatch| dispatch.operations).sum();
        assert_eq!(operations, 2 * 64 * (matrices + 6 * 2 * 64 * 128));
    }
}
