//! The network: shapes, sizes, the zero start, and forward against reverse mode through all of it.

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use meanflow::flow::AverageVelocity;
use meanflow::model::{Output, TimeInputs};
use meanflow::net::{Labels, velocity_from_image};
use meanflow::{Dual, Net, NetConfig};

use crate::support::{
    assert_close, autodiff_device, device, inner_product, random, random_net, relative_error, tiny_config, values,
};

fn times(values: &[f32]) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &device())
}

fn labels(values: &[i32]) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &device())
}

#[test]
fn a_fresh_network_is_zero() {
    for config in [tiny_config(3, 0), tiny_config(4, 5)] {
        let net = config.init(0, &device());
        let y = (config.classes > 0).then(|| labels(&[0, 5]));
        let z = random(1, [2, config.channels, 8, 8]);
        let u = net.u(z.into(), times(&[0.0, 0.2]).into(), times(&[1.0, 0.2]).into(), y.map(Labels::from));
        assert_eq!(u.dims(), [2, config.channels, 8, 8]);
        assert!(values(u.primal).iter().all(|&x| x == 0.0));
    }
}

#[test]
fn the_whole_network_is_adjoint_and_its_tangent_never_on_the_tape() {
    for times in TIMES {
        for output in [Output::Velocity, Output::Image] {
            adjoint(&NetConfig { times, output, ..tiny_config(4, 3) });
        }
    }
}

#[test]
fn a_decoupled_network_is_adjoint_too() {
    for decoder_depth in [1, 2] {
        let config = NetConfig { depth: 3, times: TimeInputs::T, ..tiny_config(4, 3) };
        adjoint(&NetConfig { decoder_depth: Some(decoder_depth), ..config });
    }
}

/// The network told `t` alone is that of Flow Matching; made into a decoupled one it is the same at `r = t`, to the
/// bit.
#[test]
fn a_network_of_flow_matching_becomes_a_decoupled_one() {
    let (z, t, r) = (random(1, [3, 4, 8, 8]), times(&[1.0, 0.6, 0.1]), times(&[0.3, 0.2, 0.0]));
    let u = |net: &Net, r: &Tensor<1>| {
        let y = Labels::from(labels(&[0, 2, 3]));
        values(net.u(z.clone().into(), r.clone().into(), t.clone().into(), Some(y)).primal)
    };
    let plain = random_net(&NetConfig { depth: 3, times: TimeInputs::T, ..tiny_config(4, 3) }, &device());
    assert!(!plain.config().knows_r());
    assert_eq!(u(&plain, &r), u(&plain, &t), "it is not told r");
    for depth in [1, 2] {
        let net = plain.clone().into_decoupled(depth).expect("it can become one");
        assert_eq!((net.config().decoder_depth, net.num_params()), (Some(depth), plain.num_params()));
        assert!(net.config().knows_r() && net.config().parameters() == net.num_params());
        assert_eq!(u(&net, &t), u(&plain, &t));
        assert!(relative_error(&u(&net, &r), &u(&plain, &r)) > 0.01, "its last blocks are told r");
        let error = net.into_decoupled(1).expect_err("it is one already").to_string();
        assert!(error.contains("decoder"), "{error}");
    }
    // What was told h too, and has a second head, hands over what it was told at h = 0.
    let headed = random_net(&NetConfig { velocity_head: Some(1), ..tiny_config(4, 3) }, &device());
    let net = headed.clone().into_decoupled(1).expect("it can become one");
    assert_close("u at r = t", &u(&net, &t), &u(&headed, &t), 1e-6);
    assert_eq!((net.config().times, net.num_params()), (TimeInputs::T, net.config().parameters()));

    for (config, depth, reason) in [
        (NetConfig { times: TimeInputs::TAndR, ..tiny_config(4, 3) }, 1, "told `t` or `t,h`"),
        (tiny_config(4, 3), 2, "decoder_depth must be 1 to below depth"),
        (tiny_config(4, 3), 0, "decoder_depth must be 1 to below depth"),
        (NetConfig::preset("imf-b/2", 8, 4, 3).expect("a preset"), 1, "only a Diffusion Transformer"),
    ] {
        let error = config.init(0, &device()).into_decoupled(depth).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    }
}

const TIMES: [TimeInputs; 4] = [TimeInputs::TAndH, TimeInputs::TAndR, TimeInputs::All, TimeInputs::H];

fn adjoint(config: &NetConfig) {
    let net = random_net(config, &autodiff_device());
    let shape = [2, 4, 8, 8];
    let (z, t) = (random(1, shape).autodiff().require_grad(), times(&[0.9, 0.6]).autodiff().require_grad());
    let (dz, dt) = (random(2, shape), times(&[1.0, 1.0]));
    let u = net.u(
        Dual::new(z.clone(), dz.clone()),
        times(&[0.1, 0.4]).into(),
        Dual::new(t.clone(), dt.clone()),
        Some(labels(&[2, 3]).into()),
    );
    let du = u.tangent.expect("z and t move");
    assert!(!du.is_autodiff());

    let w = random(3, shape);
    let gradients = (u.primal * w.clone()).sum().backward();
    let forward = inner_product(w, du);
    let reverse = inner_product(z.grad(&gradients).expect("z is a leaf"), dz)
        + inner_product(t.grad(&gradients).expect("t is a leaf"), dt);
    let error = (forward - reverse).abs() / forward.abs().max(1e-3);
    assert!(error <= 1e-5, "{config:?}: ⟨w, Jv⟩ = {forward}, ⟨Jᵀw, v⟩ = {reverse}: relative error {error:.2e}");
}

#[test]
fn a_plain_call_gives_the_same_value_without_a_tangent() {
    let net = random_net(&tiny_config(3, 0), &device());
    let (z, r, t) = (random(1, [2, 3, 8, 8]), times(&[0.0, 0.3]), times(&[1.0, 0.8]));
    let plain = net.u(z.clone().into(), r.clone().into(), t.clone().into(), None);
    assert!(plain.tangent.is_none());
    let dual = net.u(Dual::new(z.clone(), z), r.into(), Dual::new(t.clone(), t), None);
    // The plain call takes burn's fused attention, the dual one the explicit form.
    assert_close("u", &values(plain.primal), &values(dual.primal), 1e-5);
}

#[test]
fn many_pictures_are_those_of_a_few_at_a_time_in_their_order() {
    let net = random_net(&tiny_config(3, 4), &device());
    let z = random(1, [37, 3, 8, 8]);
    let ramp = |from: f32, to: f32| times(&(0..37).map(|i| from + (to - from) * i as f32 / 36.0).collect::<Vec<_>>());
    let (r, t, y) = (ramp(0.0, 0.4), ramp(1.0, 0.5), labels(&(0..37).map(|i| i % 5).collect::<Vec<_>>()));
    let u = |first: usize, count: usize| {
        let part = |x: &Tensor<1>| x.clone().narrow(0, first, count).into();
        let y = Labels::from(y.clone().narrow(0, first, count));
        values(net.u(z.clone().narrow(0, first, count).into(), part(&r), part(&t), Some(y)).primal)
    };
    let few: Vec<f32> = (0..37).step_by(3).flat_map(|first| u(first, 3.min(37 - first))).collect();
    assert_close("u", &u(0, 37), &few, 1e-6);
}

#[test]
fn the_network_depends_on_every_input() {
    let net = random_net(&tiny_config(3, 2), &device());
    let u = |z: u64, r: f32, t: f32, y: i32| {
        let z = random(z, [1, 3, 8, 8]);
        values(net.u(z.into(), times(&[r]).into(), times(&[t]).into(), Some(labels(&[y]).into())).primal)
    };
    let base = u(1, 0.2, 0.7, 0);
    for (what, other) in [
        ("z", u(2, 0.2, 0.7, 0)),
        ("r", u(1, 0.5, 0.7, 0)),
        ("t", u(1, 0.2, 0.9, 0)),
        ("the class", u(1, 0.2, 0.7, 1)),
        ("the null class", u(1, 0.2, 0.7, 2)),
    ] {
        assert_ne!(base, other, "u does not depend on {what}");
    }
}

#[test]
fn parameter_counts_are_those_of_the_modules() {
    for (name, channels, classes) in [("browser-s", 4, 0), ("browser-m", 3, 10)] {
        let config = NetConfig::preset(name, 32, channels, classes).expect("a known preset");
        assert_eq!(config.parameters(), config.init(0, &device()).num_params(), "{name}");
        assert!((1_000_000..=3_500_000).contains(&config.parameters()), "{name}: {}", config.parameters());
    }
}

/// What each choice of times sees, by what changes when `t` and `r` move apart and together.
#[test]
fn a_network_is_told_the_times_of_its_configuration() {
    for times in TIMES {
        let net = random_net(&NetConfig { times, ..tiny_config(3, 0) }, &device());
        let u = |r: f32, t: f32| {
            let z = random(1, [1, 3, 8, 8]);
            values(net.u(z.into(), self::times(&[r]).into(), self::times(&[t]).into(), None).primal)
        };
        let shifted = u(0.25, 0.5) != u(0.5, 0.75);
        assert_eq!(shifted, times != TimeInputs::H, "{times:?}: the same span elsewhere");
        assert_ne!(u(0.2, 0.5), u(0.3, 0.5), "{times:?}: r moves");
        assert_ne!(u(0.2, 0.5), u(0.2, 0.6), "{times:?}: t moves");
    }
    let parameters = |times| {
        let config = NetConfig { times, ..tiny_config(3, 0) };
        assert_eq!(config.parameters(), config.init(0, &device()).num_params(), "{times:?}");
        config.parameters()
    };
    let counts = TIMES.map(parameters);
    assert!(counts[0] == counts[1] && counts[1] < counts[2] && counts[3] < counts[0], "{counts:?}");
}

/// `x = z − t u`: one step from noise is what the last layer gives, and the clip holds near data.
#[test]
fn an_image_output_is_where_one_step_lands() {
    let (z, x) = (random(1, [3, 1, 2, 2]), random(2, [3, 1, 2, 2]));
    let t = times(&[1.0, 0.3, 0.01]);
    let u = velocity_from_image(z.clone().into(), x.clone().into(), t.into()).primal;
    let divisors = times(&[1.0, 0.3, 0.05]).reshape([3, 1, 1, 1]);
    assert_close("x", &values(z - u * divisors), &values(x), 1e-6);
}

/// Files from before these choices say nothing of them, and files that do not use them still do not.
#[test]
fn configurations_without_times_and_output_are_the_default() {
    let config = tiny_config(3, 0);
    let json = serde_json::to_string(&config).expect("JSON");
    assert!(!json.contains("times") && !json.contains("output"), "{json}");
    assert_eq!(serde_json::from_str::<NetConfig>(&json).expect("it reads"), config);
    assert!(!json.contains("decoder"), "{json}");
    let other = NetConfig { times: TimeInputs::H, output: Output::Image, ..config };
    let json = serde_json::to_string(&other).expect("JSON");
    assert!(json.contains(r#""times":"h""#) && json.contains(r#""output":"image""#), "{json}");
    assert_eq!(serde_json::from_str::<NetConfig>(&json).expect("it reads"), other);
}

/// Table of the MeanFlow paper (2505.13447, table 2) and of DiT: millions of parameters on 32 × 32 × 4 latents.
#[test]
fn published_presets_have_their_published_sizes() {
    let table = [
        ("dit-b/4", 131.17),
        ("dit-b/2", 131.09),
        ("dit-m/2", 308.0),
        ("dit-l/2", 459.1),
        ("dit-xl/2", 676.4),
        ("dit-s/2", 33.1),
    ];
    for (name, millions) in table {
        let count = NetConfig::preset(name, 32, 4, 1000).expect("a known preset").parameters() as f64 / 1e6;
        assert!((count - millions).abs() < 0.06, "{name}: {count:.2} M, published {millions} M");
    }
}

#[test]
fn impossible_sizes_are_refused_with_the_reason() {
    let good = tiny_config(3, 0);
    for (bad, reason) in [
        (NetConfig { patch: 3, ..good.clone() }, "patch must divide"),
        (NetConfig { heads: 3, ..good.clone() }, "heads must divide"),
        (NetConfig { width: 18, ..good.clone() }, "multiple of 4"),
        (NetConfig { depth: 0, ..good.clone() }, "depth is 0"),
        (NetConfig { decoder_depth: Some(1), ..good.clone() }, "times must be \"t\""),
        (
            NetConfig { decoder_depth: Some(2), times: TimeInputs::T, ..good.clone() },
            "decoder_depth must be 1 to below depth",
        ),
        (NetConfig { width: 1 << 40, ..good.clone() }, "width is"),
    ] {
        let error = bad.validate().expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    }
    let error = NetConfig::preset("dit-huge", 32, 4, 0).expect_err("no such preset").to_string();
    assert!(error.contains("dit-huge") && error.contains("dit-b/4"), "{error}");
}
