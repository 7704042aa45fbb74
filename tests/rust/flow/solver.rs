//! Solvers on the closed-form flow: their order, their cost, restarts, inversion, guidance, and what they refuse.

use std::cell::Cell;

use burn::tensor::{Int, Tensor};
use meanflow::flow::{
    AverageVelocity, Integrator, Method, Sampling, SamplingGuidance, Velocity, generate, integrate, invert, one_step,
    sample,
};
use meanflow::generator::{Generator, SampleOptions};
use meanflow::model::{Request, Solver};
use meanflow::net::Labels;
use meanflow::{Condition, Dual, Error, rng};

use crate::oracle::{Gaussian, M, S, SHAPE};
use crate::support::{assert_close, classes, device, random, random_net, relative_error, tiny_config, values};
use crate::weights::info;

/// Counts the calls that reach a velocity, and the images in them.
struct Counted<U>(U, Cell<usize>);

impl<U: AverageVelocity> AverageVelocity for Counted<U> {
    fn u(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        self.1.set(self.1.get() + 1);
        self.0.u(z, r, t, labels)
    }
}

/// `u = label + (t − r) + 2 t`, for guidance and for who is asked what.
struct Labelled;

impl AverageVelocity for Labelled {
    fn u(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        let y = classes(labels).float() + (t.primal.clone() - r.primal) + t.primal * 2.0;
        let shape = z.dims();
        y.reshape([-1, 1, 1, 1]).expand(shape).into()
    }
}

fn sampling(solver: Solver, nfe: usize) -> Sampling {
    Sampling { solver, nfe, tolerance: 1e-5, guidance: None }
}

fn labels(label: i32) -> Option<Labels> {
    Some(Tensor::<1, Int>::full([SHAPE[0]], label, &device()).into())
}

/// Halving the step divides the error of a method of order p by 2ᵖ. On `dy/dt = −2 t y²`, `y = 1/(1 + t²)`: the
/// Gaussian flow will not do, on which the midpoint method happens to be of third order.
#[test]
fn fixed_steps_converge_at_the_order_of_their_method() {
    let error = |method, steps| {
        let field = |y: Tensor<2>, t: f64| y.clone() * y * (-2.0 * t);
        let start = Tensor::<2>::ones([1, 1], &device());
        let end = integrate(field, start, 0.0, 1.5, Integrator::Fixed { method, steps }).expect("it integrates").end;
        (f64::from(values(end)[0]) - 1.0 / 3.25).abs()
    };
    for (method, order) in [(Method::Euler, 1.0), (Method::Midpoint, 2.0), (Method::Heun, 2.0)] {
        let (coarse, fine) = (error(method, 16), error(method, 32));
        let observed = (coarse / fine).log2();
        assert!((observed - order).abs() < 0.25, "{method:?}: order {observed:.2}, errors {coarse} and {fine}");
    }
}

/// The names lead to the methods: each solver's error on the true flow, and the average velocity has none.
#[test]
fn solvers_of_the_velocity_approach_the_flow_map() {
    let e = random(1, SHAPE);
    let exact = values(one_step(&Gaussian, e.clone(), None));
    for (solver, least, most) in [
        (Solver::MeanFlow, 0.0, 1e-5),
        (Solver::Euler, 1e-2, 0.1),
        (Solver::Heun, 1e-4, 3e-3),
        (Solver::Midpoint, 0.0, 3e-4),
    ] {
        let sampled = sample(&Gaussian, |_| e.clone(), None, &sampling(solver, 32)).expect("it samples");
        let error = relative_error(&values(sampled.images), &exact);
        assert!((least..=most).contains(&error), "{solver}: error {error}");
    }
}

#[test]
fn dormand_prince_keeps_its_tolerance_in_both_directions() {
    let e = random(1, SHAPE);
    let exact = values(one_step(&Gaussian, e.clone(), None));
    let velocity = Velocity::new(&Gaussian, None, None);
    let mut calls = Vec::new();
    for tolerance in [1e-2, 1e-3, 1e-5] {
        let adaptive = Integrator::Adaptive { tolerance };
        let there = velocity.integrate(e.clone(), 1.0, 0.0, adaptive).expect("it integrates");
        assert_close("images", &values(there.end.clone()), &exact, 10.0 * tolerance);
        let back = velocity.integrate(there.end, 0.0, 1.0, adaptive).expect("it integrates");
        assert_close("noise", &values(back.end), &values(e.clone()), 20.0 * tolerance);
        calls.push(there.evaluations);
    }
    assert!(calls.is_sorted() && calls[0] < calls[2], "a finer tolerance costs more: {calls:?}");
}

#[test]
fn the_reported_number_of_network_calls_is_the_number_made() {
    for (solver, nfe) in [
        (Solver::MeanFlow, 3),
        (Solver::Restart, 3),
        (Solver::Euler, 3),
        (Solver::Midpoint, 4),
        (Solver::Heun, 6),
        (Solver::DormandPrince, 1),
    ] {
        let counted = Counted(Gaussian, Cell::new(0));
        let sampled = sample(&counted, |i| random(i as u64, SHAPE), None, &sampling(solver, nfe)).expect("it samples");
        assert_eq!(counted.1.get(), sampled.nfe, "{solver}");
        assert!(solver == Solver::DormandPrince || sampled.nfe == nfe, "{solver}");

        if solver.follows_velocity() {
            let counted = Counted(Labelled, Cell::new(0));
            let guidance = Some(SamplingGuidance { scale: 2.0, null_label: 9 });
            let guided = Sampling { guidance, nfe: 8, ..sampling(solver, nfe) };
            let sampled = sample(&counted, |i| random(i as u64, SHAPE), labels(1), &guided).expect("it samples");
            assert_eq!(counted.1.get(), sampled.nfe, "{solver} with guidance");
            assert!(solver == Solver::DormandPrince || sampled.nfe == 8, "{solver} with guidance");
        }
    }
}

#[test]
fn a_number_of_calls_that_is_no_whole_number_of_steps_is_refused_with_ones_that_are() {
    let guidance = Some(SamplingGuidance { scale: 2.0, null_label: 9 });
    for (refused, words) in [
        (sampling(Solver::Heun, 5), "heun makes 2 network calls a step, which 5 is no multiple of; 4 or 6 would do"),
        (sampling(Solver::Midpoint, 1), "; 2 would do"),
        (Sampling { guidance, ..sampling(Solver::Heun, 6) }, "heun with guidance makes 4"),
        (Sampling { guidance, ..sampling(Solver::MeanFlow, 2) }, "mean-flow has no guidance"),
        (sampling(Solver::Euler, 0), "0 is no multiple"),
        (Sampling { tolerance: 1e-9, ..sampling(Solver::DormandPrince, 1) }, "1e-6 to 0.1"),
    ] {
        let error = sample(&Labelled, |_| random(1, SHAPE), labels(1), &refused).expect_err(words).to_string();
        assert!(error.contains(words), "`{error}` does not say `{words}`");
    }
}

/// With the true flow, each jump of a restart lands on the data distribution, so its samples are N(m, s²) too, and
/// not those of the noise it started from.
#[test]
fn restarts_sample_the_data_distribution_from_fresh_noise() {
    let noise = |i: usize| random(100 + i as u64, [4096, 1, 2, 2]);
    let restarted = sample(&Gaussian, noise, None, &sampling(Solver::Restart, 3)).expect("it samples").images;
    let (mean, std) = moments(&values(restarted.clone()));
    assert!((mean - M).abs() < 0.02 && (std - S).abs() < 0.02, "mean {mean}, std {std}");
    let plain = generate(&Gaussian, noise(0), None, 3);
    assert!(relative_error(&values(restarted), &values(plain)) > 0.1);
    let one = sample(&Gaussian, noise, None, &sampling(Solver::Restart, 1)).expect("it samples").images;
    assert_close("one jump", &values(one), &values(one_step(&Gaussian, noise(0), None)), 1e-6);
}

/// The second jump of two starts at t = 1/2 from half the image and half the noise.
#[test]
fn a_restart_goes_back_to_the_path() {
    let x = one_step(&Gaussian, random(0, SHAPE), None);
    let z = x * 0.5 + random(1, SHAPE) * 0.5;
    let expected = meanflow::flow::step(&Gaussian, z, 0.0, 0.5, None);
    let two = sample(&Gaussian, |i| random(i as u64, SHAPE), None, &sampling(Solver::Restart, 2)).expect("it samples");
    assert_close("two jumps", &values(two.images), &values(expected), 1e-6);
}

fn moments(x: &[f32]) -> (f64, f64) {
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / x.len() as f64;
    (mean, variance.sqrt())
}

#[test]
fn inversion_finds_the_noise_that_generates_an_image() {
    let e = random(1, SHAPE);
    for steps in [1, 2, 5] {
        let x = generate(&Gaussian, e.clone(), None, steps);
        let noise = invert(&Gaussian, x.clone(), None, steps, 30);
        assert_close(&format!("noise, {steps} steps"), &values(noise.clone()), &values(e.clone()), 1e-4);
        assert_close(
            &format!("image, {steps} steps"),
            &values(generate(&Gaussian, noise, None, steps)),
            &values(x),
            1e-4,
        );
    }
    // One iteration is an explicit step from the image's side, and no inverse.
    let x = generate(&Gaussian, e.clone(), None, 1);
    assert!(relative_error(&values(invert(&Gaussian, x, None, 1, 1)), &values(e)) > 0.05);
}

/// The same with a network, whose field is no formula: image → noise → image, in the steps of the sampler.
#[test]
fn a_network_returns_from_its_own_noise() {
    let config = tiny_config(3, 2);
    let net = random_net(&config, &device());
    let (e, y): (Tensor<4>, Labels) = (random(1, [3, 3, 8, 8]), Tensor::<1, Int>::full([3], 1, &device()).into());
    let x = generate(&net, e.clone(), Some(y.clone()), 4);
    let noise = invert(&net, x, Some(y), 4, 40);
    assert_close("noise", &values(noise), &values(e), 1e-3);
}

/// `v_null + w (v_y − v_null)` of `v = label + 2 t`, over Euler's one step from t = 1.
#[test]
fn guidance_extrapolates_from_the_null_class_at_the_instant() {
    let z = random(1, SHAPE);
    for (scale, label) in [(0.0, 9.0), (1.0, 4.0), (3.0, -6.0)] {
        let guidance = Some(SamplingGuidance { scale, null_label: 9 });
        let guided = Sampling { guidance, ..sampling(Solver::Euler, 2) };
        let x = sample(&Labelled, |_| z.clone(), labels(4), &guided).expect("it samples").images;
        let expected = z.clone() - (label + 2.0);
        assert_close(&format!("scale {scale}"), &values(x), &values(expected), 1e-6);
    }
}

#[test]
fn methods_cost_what_they_say() {
    for (method, evaluations) in [(Method::Euler, 1), (Method::Midpoint, 2), (Method::Heun, 2)] {
        assert_eq!(method.evaluations(), evaluations);
        let velocity = Velocity::new(&Gaussian, None, None);
        let end = velocity.integrate(random(1, SHAPE), 1.0, 0.0, Integrator::Fixed { method, steps: 3 });
        assert_eq!(end.expect("it integrates").evaluations, 3 * evaluations);
    }
}

#[test]
fn a_field_that_is_not_finite_is_refused() {
    struct Broken;
    impl AverageVelocity for Broken {
        fn u(&self, z: Dual<4>, _: Dual<1>, _: Dual<1>, _: Option<Labels>) -> Dual<4> {
            z.scale(f64::NAN)
        }
    }
    let error = sample(&Broken, |_| random(1, SHAPE), None, &sampling(Solver::DormandPrince, 1)).expect_err("NaN");
    assert!(error.to_string().contains("does not reach the tolerance"), "{error}");
}

#[test]
fn a_generator_offers_every_solver_and_its_default_is_the_average_velocity() {
    let config = tiny_config(4, 3);
    let generator = Generator::new(random_net(&config, &device()), info(config), &device());
    let request = Request { seed: 5, count: 3, class: Some(1).into(), nfe: 4 };
    let by = |solver| SampleOptions { solver, ..SampleOptions::default() };
    let plain = values(generator.images(request.clone()).expect("fair"));
    let sampled = generator.sample(request.clone(), SampleOptions::default()).expect("fair");
    assert_eq!((values(sampled.images), sampled.nfe), (plain.clone(), 4));
    for (name, solver) in Solver::ALL {
        let sampled = generator.sample(request.clone(), by(solver)).expect(name);
        assert_eq!(sampled.images.dims(), [3, 4, 8, 8]);
        assert_eq!(values(sampled.images) == plain, solver == Solver::MeanFlow, "{name}");
        assert_eq!((name.parse::<Solver>().expect(name), solver.to_string()), (solver, name.to_string()));
    }
    // Restarts draw by the picture's seed: alone or in company, a picture is the same.
    let alone = Request { seed: 7, count: 1, ..request.clone() };
    let (all, one) = (generator.sample(request, by(Solver::Restart)), generator.sample(alone, by(Solver::Restart)));
    let all = values(all.expect("fair").images.narrow(0, 2, 1));
    assert_close("picture 7", &values(one.expect("fair").images), &all, 1e-5);
}

#[test]
fn guidance_is_refused_where_it_cannot_be() {
    let config = tiny_config(4, 0);
    let generator = Generator::new(random_net(&config, &device()), info(config), &device());
    let request = Request { seed: 5, count: 1, class: Condition::Any, nfe: 2 };
    for (guidance, words) in [(2.0, "has no classes"), (-1.0, "0 to 100"), (f64::NAN, "0 to 100")] {
        let options = SampleOptions { solver: Solver::Euler, guidance, ..SampleOptions::default() };
        let error = generator.sample(request.clone(), options).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
    let error = "ode45".parse::<Solver>().expect_err("no such solver").to_string();
    assert!(error.contains("ode45") && error.contains("dormand-prince"), "{error}");
}

#[test]
fn noise_of_the_callers_own_becomes_the_picture_of_its_seed() {
    let config = tiny_config(3, 3);
    let generator = Generator::new(random_net(&config, &device()), info(config), &device());
    let (seed, class) = (41, 2);
    let request = Request { seed, count: 2, class: Some(class).into(), nfe: 1 };
    let values_of = |count: u64| (0..count).flat_map(|i| rng::noise(seed + i, 3 * 8 * 8)).collect::<Vec<f32>>();
    for solver in [Solver::MeanFlow, Solver::Euler] {
        let options = SampleOptions { solver, ..SampleOptions::default() };
        let expected = generator.sample(request.clone(), options).expect("it samples").images;
        let ours = generator.from_noise(values_of(2), Condition::One(class), 1, solver).expect("it samples");
        assert_close("picture", &values(ours), &values(expected), 1e-6);
    }
    let refused = |result: Result<Tensor<4>, Error>, words: &str| {
        let message = result.expect_err("it is refused").to_string();
        assert!(message.contains(words), "{message}");
    };
    refused(generator.from_noise(vec![0.0; 100], Condition::Any, 1, Solver::MeanFlow), "each takes 192");
    refused(generator.from_noise(vec![f32::NAN; 192], Condition::Any, 1, Solver::MeanFlow), "cannot hold NaN");
    refused(generator.from_noise(vec![0.0; 192], Condition::One(3), 1, Solver::MeanFlow), "class 3");
    refused(generator.invert(vec![0.0; 192], Condition::Any, 3), "two a step");
}

#[test]
fn a_picture_run_backward_is_noise_that_becomes_it_again() {
    let config = tiny_config(3, 3);
    let generator = Generator::new(random_net(&config, &device()), info(config), &device());
    let picture: Vec<f32> = values(random::<4>(5, [1, 3, 8, 8])).into_iter().map(|x| x.clamp(-1.0, 1.0)).collect();
    let noise = values(generator.invert(picture.clone(), Condition::One(1), 64).expect("it inverts"));
    let moved: f32 = noise.iter().zip(&picture).map(|(a, b)| (a - b).abs()).sum::<f32>() / 192.0;
    assert!(moved > 0.05, "the flow moved the picture by {moved} only");
    let again = generator.from_noise(noise, Condition::One(1), 64, Solver::Heun).expect("it samples");
    assert_close("the picture", &values(again), &picture, 1e-2);
}
