//! The noise scale of pixel MeanFlow (arXiv 2601.22158): at `t = 1` a network stands at noise of its own standard
//! deviation, in training, for every solver, for the likelihood, in every engine and file.

use burn::tensor::{Tensor, TensorData};
use meanflow::data::Images;
use meanflow::flow::{
    self, AdaptiveWeight, AverageVelocity, Divergence, FlowMatching, Integrator, Sampling, log_density,
};
use meanflow::generator::SampleOptions;
use meanflow::infer::{cpu, onnx};
use meanflow::model::weights::{self, Precision};
use meanflow::model::{Architecture, Request, Solver};
use meanflow::net::Labels;
use meanflow::train::{Sampler, TrainConfig, Trainer};
use meanflow::{Condition, Dual, Generator, NetConfig, generator, rng};

use crate::cpu::{SINGLE, on_burn, weights_of};
use crate::oracle::{Gaussian, M, S, SHAPE};
use crate::support::{assert_close, device, random, random_net, tiny_config, values};
use crate::weights::info;

const SCALE: f64 = 2.5;

fn scaled() -> NetConfig {
    NetConfig { noise_scale: SCALE, ..tiny_config(3, 3) }
}

#[test]
fn presets_have_the_published_scale_and_hidden_width_and_settings_may_replace_them() {
    let of = |settings: &str, size: usize| {
        let text = format!("objective = {{ kind = \"pixel-mean-flow\" }}\ndata = {{ size = {size}, channels = 3 }}\n");
        TrainConfig::from_toml(&format!("{text}[net]\n{settings}")).and_then(|config| config.net_config(1000))
    };
    for (name, size, noise_scale, hidden) in [
        ("pmf-b/16", 256, 1.0, 2048),
        ("pmf-b/32", 512, 2.0, 2048),
        ("pmf-l/16", 256, 1.0, 2730),
        ("pmf-l/32", 512, 4.0, 2730),
        ("pmf-h/16", 256, 2.0, 3416),
        ("pmf-h/32", 512, 4.0, 3416),
    ] {
        let net = of(&format!("preset = \"{name}\""), size).expect(name);
        assert_eq!(net.noise_scale, noise_scale, "{name}");
        assert!(
            matches!(&net.architecture, Architecture::InContext(parts) if parts.hidden == hidden),
            "{name}: {net:?}"
        );
        assert_eq!(net, NetConfig::preset(name, size, 3, 1000).expect(name));
    }
    // What a checkpoint's shapes do not show.
    let published = |sizes: [usize; 3]| NetConfig::published_noise_scale(sizes[0], sizes[1], sizes[2]);
    assert_eq!(published([16, 768, 16]), Some(1.0));
    assert_eq!(published([16, 768, 32]), Some(2.0));
    assert_eq!(published([48, 1280, 16]), Some(2.0));
    assert_eq!(published([32, 1024, 32]), Some(4.0));
    assert_eq!(published([12, 768, 2]), None);
    let net = of("preset = \"pmf-h/16\"\nwidth = 1536\nnoise_scale = 3.0", 256).expect("sizes fit");
    assert_eq!(net.noise_scale, 3.0);
    assert!(matches!(&net.architecture, Architecture::InContext(parts) if parts.hidden == 4096), "{net:?}");
    let net = of("preset = \"pmf-h/16\"\nhidden = 3413", 256).expect("sizes fit");
    assert!(matches!(&net.architecture, Architecture::InContext(parts) if parts.hidden == 3413), "{net:?}");
    for (settings, words) in [
        ("preset = \"pmf-b/16\"\nnoise_scale = 0.0", "noise_scale must be above 0"),
        ("preset = \"pmf-b/16\"\nnoise_scale = nan", "[net] noise_scale is NaN; it must be a finite number"),
        ("preset = \"dit-b/2\"\noutput = \"image\"\nhidden = 8", "[net] hidden is for"),
    ] {
        let error = of(settings, 256).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn every_solver_starts_from_noise_of_the_networks_scale() {
    let net = random_net(&scaled(), &device());
    let generator = Generator::new(net.clone(), info(scaled()), &device());
    let request = Request { seed: 41, count: 2, class: Condition::One(2), nfe: 4 };
    let shape = [3, 8, 8];
    let noise = |restart: usize| match restart {
        0 => generator::noise_images(41, 2, shape, &device()) * SCALE,
        _ => generator::restart_noise(41, 2, restart as u64, shape, &device()) * SCALE,
    };
    let labels: Labels = Tensor::<1, burn::tensor::Int>::from_data([2, 2], &device()).into();
    for (name, solver) in Solver::ALL {
        let options = SampleOptions { solver, ..SampleOptions::default() };
        let sampling = Sampling { solver, nfe: 4, tolerance: options.tolerance, guidance: None };
        let expected = flow::sample(&net, noise, Some(labels.clone()), &sampling).expect(name).images;
        let ours = generator.sample(request.clone(), options).expect(name).images;
        assert_close(name, &values(ours), &values(expected.clone()), 1e-6);
        // The caller's noise is standard normal whatever the network.
        if solver != Solver::Restart {
            let drawn = (0..2).flat_map(|i| rng::noise(41 + i, 192)).collect();
            let ours = generator.from_noise(drawn, Condition::One(2), 4, solver).expect(name);
            assert_close(name, &values(ours), &values(expected), 1e-6);
        }
    }
    let one = generator.images(Request { nfe: 1, ..request }).expect("pictures");
    assert_close("one call", &values(one), &values(flow::one_step(&net, noise(0), Some(labels))), 1e-6);
}

#[test]
fn a_picture_run_backward_is_standard_noise() {
    let generator = Generator::new(random_net(&scaled(), &device()), info(scaled()), &device());
    let picture: Vec<f32> = values(random::<4>(5, [1, 3, 8, 8])).into_iter().map(|x| x.clamp(-1.0, 1.0)).collect();
    let noise = values(generator.invert(picture.clone(), Condition::One(1), 64).expect("it inverts"));
    let again = generator.from_noise(noise, Condition::One(1), 64, Solver::Heun).expect("it samples");
    assert_close("the picture", &values(again), &picture, 1e-2);
}

#[test]
fn the_pages_cpu_engine_starts_from_it_too() {
    let bytes = weights_of(&NetConfig { depth: 1, ..scaled() }, Precision::F32);
    let engine = cpu::CpuGenerator::from_bytes(&bytes).expect("a model");
    let reference = Generator::from_bytes(&bytes, &device()).expect("a model");
    for nfe in [1, 3] {
        let request = Request { seed: 5, count: 2, class: Condition::Any, nfe };
        let ours = engine.images(request.clone()).expect("pictures");
        assert_close("pictures", &ours, &on_burn(&bytes, request), SINGLE);
        let noise = engine.invert(ours.clone(), Condition::One(1), 6).expect("noise");
        let theirs = reference.invert(ours, Condition::One(1), 6).expect("noise");
        assert_close("noise", &noise, &values(theirs), SINGLE);
    }
}

/// A flow whose noise has a standard deviation of its own: that of the oracle, with everything the same times larger.
struct Wide;

impl AverageVelocity for Wide {
    fn u(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        Gaussian.u(z.scale(1.0 / SCALE), r, t, labels).scale(SCALE)
    }

    fn noise_scale(&self) -> f64 {
        SCALE
    }
}

/// Data of N(M·SCALE, (S·SCALE)²) per pixel, which noise of N(0, SCALE²) flows to.
#[test]
fn the_likelihood_counts_with_the_density_of_that_noise() {
    let x = flow::one_step(&Wide, random::<4>(3, SHAPE) * SCALE, None);
    let integrator = Integrator::Adaptive { tolerance: 1e-5 };
    let density = log_density(&Wide, x.clone(), None, Divergence::Exact, integrator).expect("it integrates");
    let log = |x: &f32| {
        let z = (f64::from(*x) / SCALE - M) / S;
        -0.5 * z * z - (S * SCALE).ln() - 0.5 * std::f64::consts::TAU.ln()
    };
    let pixels: usize = SHAPE[1..].iter().product();
    let exact: Vec<f32> = values(x).chunks(pixels).map(|image| image.iter().map(log).sum::<f64>() as f32).collect();
    assert_close("log p(x)", &values(density.log_density), &exact, 1e-4);
}

/// A fresh network is zero, so the error of Flow Matching is `E (e − x)² = s² + x²` per value.
#[test]
fn training_draws_noise_of_that_scale() {
    let mean_error = |noise_scale: f64| {
        let mut config = TrainConfig::default();
        (config.data.size, config.data.channels) = (8, 3);
        (config.net.width, config.net.depth, config.net.heads) = (Some(16), Some(1), Some(2));
        config.net.noise_scale = Some(noise_scale);
        config.objective = FlowMatching {}.into();
        config.weight = AdaptiveWeight { p: 0.0, ..AdaptiveWeight::default() };
        config.train.batch_size = 32;
        // Black: every x is −1.
        let images = Images { pixels: vec![0; 32 * 192], ..Images::random(&config.data, 32) };
        let net = config.net_config(0).expect("sizes fit");
        let mut trainer = Trainer::new(&config, &net, &device());
        let batch = Sampler::of_run(&images, &config).batch(0, &device()).expect("pictures");
        let loss = trainer.step(batch).loss;
        f64::from(values(loss)[0]) / 192.0
    };
    for scale in [1.0, 2.0, 4.0] {
        let expected = scale * scale + 1.0;
        let error = mean_error(scale);
        assert!((error / expected - 1.0).abs() < 0.08, "noise scale {scale}: {error}, not {expected}");
    }
}

#[test]
fn files_say_it_where_it_is_not_one() {
    let encode = |config: NetConfig| {
        let net = random_net(&config, &device());
        meanflow::net::encode(&net, &info(config.clone()), Precision::F32).expect("encodes")
    };
    let json = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned();
    let (plain, wide) = (encode(tiny_config(3, 3)), encode(scaled()));
    assert!(!json(&plain).contains("noise_scale"), "older programs read it too");
    assert!(json(&wide).contains(r#"\"noise_scale\":2.5"#));
    assert_eq!(weights::read_info(&plain).expect("it reads").net.noise_scale, 1.0);
    assert_eq!(weights::read_info(&wide).expect("it reads").net.noise_scale, SCALE);

    let graph = onnx::encode(&random_net(&scaled(), &device()), &info(scaled()), Precision::F32).expect("a graph");
    // metadata_props: a message (field 14) of key (1) and value (2).
    let field = |number: u8, length: u8| [8 * number + 2, length];
    let entry = [&field(14, 18)[..], &field(1, 11), b"noise_scale", &field(2, 3), b"2.5"].concat();
    assert!(graph.windows(entry.len()).any(|bytes| bytes == entry), "the graph does not say its noise scale");
}

/// A fresh network is zero: its picture is the noise itself.
#[test]
fn noise_of_a_scale_is_the_noise_of_a_seed_times_it() {
    let generator = |config: NetConfig| Generator::new(config.init(0, &device()), info(config), &device());
    let request = Request { seed: 7, count: 1, class: Condition::One(0), nfe: 1 };
    let [plain, wide] =
        [tiny_config(3, 3), scaled()].map(|config| generator(config).images(request.clone()).expect("pictures"));
    let data = TensorData::new(rng::noise(7, 192), [1, 3, 8, 8]);
    assert_close("plain", &values(plain.clone()), &values(Tensor::<4>::from_data(data, &device())), 1e-6);
    assert_close("wide", &values(wide), &values(plain * SCALE), 1e-6);
}
