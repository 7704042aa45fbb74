//! Guidance inside the target: its formula, its scale, where it does not apply, and that no gradient flows into it.

use std::cell::Cell;

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use meanflow::Dual;
use meanflow::flow::{
    AverageVelocity, Guidance, GuidanceDraws, Models, ObjectiveConfig, PathSample, StepInputs, Times, interpolate,
};
use meanflow::model::GuidanceInputs;
use meanflow::net::{GuidanceScale, Labels};
use meanflow::rng::{Purpose, Stream};

use crate::support::{
    assert_close, autodiff_device, classes, device, gradients, random, random_net, tiny_config, values,
};

const SHAPE: [usize; 4] = [4, 1, 2, 2];
const NULL: usize = 9;

fn times(values: [f32; 4]) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [4]), &device())
}

fn labels(values: [i32; 4]) -> Labels {
    Tensor::<1, Int>::from_data(TensorData::new(values.to_vec(), [4]), &device()).into()
}

fn path(seed: u64) -> PathSample {
    PathSample { z: random(seed, SHAPE), v: random(seed + 1, SHAPE) }
}

/// `u = label + t + r`, which counts its calls.
struct Labelled(Cell<usize>);

impl AverageVelocity for Labelled {
    fn u(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        self.0.set(self.0.get() + 1);
        let y = classes(labels).float() + t.primal + r.primal;
        y.reshape([4, 1, 1, 1]).expand(z.dims()).into()
    }
}

/// Rows: guided; of no class; before the interval; after it.
#[test]
fn the_guided_velocity_is_its_formula_where_it_applies_and_the_plain_one_elsewhere() {
    for (omega, kappa, calls) in [(2.0, 0.0, 1), (1.5, 0.25, 2), (0.2, 0.92, 2)] {
        let guidance = Guidance { omega, kappa, start: 0.25, end: 0.75, input: None };
        let net = Labelled(Cell::new(0));
        let path = path(1);
        let t = times([0.5, 0.5, 0.125, 0.875]);
        let guided = guidance.apply(&net, path.clone(), &t, &labels([3, 9, 3, 3]), NULL);
        assert_eq!(net.0.get(), calls, "calls with κ = {kappa}");
        assert_eq!(values(guided.z), values(path.z));
        let (ours, plain) = (values(guided.v), values(path.v));
        // Asked at r = t = 0.5: 3 + 1 for the class and 9 + 1 for none.
        let expected: Vec<f32> = plain[..4]
            .iter()
            .map(|&v| (omega * f64::from(v) + kappa * 4.0 + (1.0 - omega - kappa) * 10.0) as f32)
            .collect();
        assert_close("guided", &ours[..4], &expected, 1e-5);
        assert_eq!(ours[4..], plain[4..], "a row that is not guided changed");
    }
}

#[test]
fn the_ends_of_the_interval_are_guided() {
    let guidance = Guidance { omega: 2.0, kappa: 0.0, start: 0.25, end: 0.75, input: None };
    let path = path(1);
    let t = times([0.25, 0.75, 0.2499, 0.7501]);
    let guided = guidance.apply(&Labelled(Cell::new(0)), path.clone(), &t, &labels([3; 4]), NULL);
    let changed: Vec<bool> = values(guided.v).chunks(4).zip(values(path.v).chunks(4)).map(|(a, b)| a != b).collect();
    assert_eq!(changed, [true, true, false, false]);
}

/// Velocities as a network has them that has learnt guidance of a scale: `v_null + scale (v_y − v_null)`.
struct Learnt {
    scale: f64,
    v: Tensor<4>,
}

impl AverageVelocity for Learnt {
    fn u(&self, z: Dual<4>, _: Dual<1>, _: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        let free = z.primal * 0.3;
        let class = free.clone() + (self.v.clone() - free.clone()) * self.scale;
        let null = classes(labels).equal_elem(NULL as i32).float().reshape([4, 1, 1, 1]);
        (free * null.clone() + class * (-null + 1.0)).into()
    }
}

/// `ω' = ω/(1 − κ)`: any split of a scale into ω and κ has the same fixed point.
#[test]
fn a_network_that_has_learnt_the_scale_is_at_rest() {
    let path = path(3);
    for (omega, kappa) in [(2.5, 0.0), (1.25, 0.5), (0.2, 0.92)] {
        let guidance = Guidance { omega, kappa, ..Guidance::default() };
        assert!((guidance.scale() - 2.5).abs() < 1e-9);
        let net = Learnt { scale: 2.5, v: path.v.clone() };
        let t = times([0.1, 0.5, 0.9, 1.0]);
        let learnt = net.u(path.z.clone().into(), t.clone().into(), t.clone().into(), Some(labels([1; 4]))).primal;
        let guided = guidance.apply(&net, path.clone(), &t, &labels([1; 4]), NULL);
        assert_close(&format!("ω = {omega}"), &values(guided.v), &values(learnt), 1e-5);
    }
}

#[test]
fn guidance_of_one_is_none() {
    assert!(!Guidance::default().is_on());
    assert!(Guidance { omega: 2.0, ..Guidance::default() }.is_on());
    assert!(Guidance { kappa: 0.5, ..Guidance::default() }.is_on());
    let path = path(1);
    let net = Labelled(Cell::new(0));
    let same = Guidance::default().apply(&net, path.clone(), &times([0.5; 4]), &labels([3; 4]), NULL);
    assert_close("v", &values(same.v), &values(path.v), 1e-6);
}

/// Guided by a network on the tape or by the same weights off it, the gradients are the same, and not those without.
#[test]
fn no_gradient_flows_into_guidance() {
    let config = tiny_config(3, 2);
    let net = random_net(&config, &autodiff_device());
    let frozen = net.valid();
    let t = times([0.9, 0.7, 0.6, 0.3]);
    let PathSample { z, v } = interpolate(random(1, [4, 3, 8, 8]), random(2, [4, 3, 8, 8]), t.clone());
    let y = labels([0, 1, 0, 2]);
    let guidance = Guidance { omega: 1.5, kappa: 0.5, ..Guidance::default() };
    let gradients_along = |path: PathSample| {
        let times = Times { t: t.clone(), r: times([0.1, 0.2, 0.5, 0.3]), intervals: 3 };
        let residuals =
            ObjectiveConfig::default().residuals(Models::all(&net), StepInputs::new(path, times, Some(y.clone())), 0);
        let parts = [residuals.interval, residuals.instant].map(|part| part.expect("both kinds of rows"));
        gradients(&net, Tensor::cat(parts.to_vec(), 0).sum())
    };
    let path = PathSample { z, v };
    let taped = guidance.apply(&net, path.clone(), &t, &y, config.null_label());
    assert!(!taped.v.is_autodiff(), "the guided velocity is on the tape");
    let taped = gradients_along(taped);
    let proper = gradients_along(guidance.apply(&frozen, path.clone(), &t, &y, config.null_label()));
    assert_close("gradients", &taped, &proper, 1e-4);
    assert_ne!(proper, gradients_along(path));
}

/// `ω − 1` for rows of a class, 9 for those of none.
struct Told;

impl AverageVelocity for Told {
    fn u(&self, z: Dual<4>, _: Dual<1>, _: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        let labels = labels.expect("labels");
        let null = classes(Some(labels.clone())).equal_elem(NULL as i32).float();
        let scale = labels.guidance().map_or(null.zeros_like(), |told| told.scale.clone() - 1.0);
        (scale * (-null.clone() + 1.0) + null * 9.0).reshape([4, 1, 1, 1]).expand(z.dims()).into()
    }
}

/// Rows: guided; of no class; outside its interval; of scale one.
#[test]
fn guidance_as_an_input_is_of_each_image_own_scale() {
    let guidance = Guidance { input: Some(GuidanceDraws::default()), ..Guidance::default() };
    assert!(guidance.is_on());
    let path = path(5);
    let told = GuidanceScale {
        scale: times([4.0, 4.0, 4.0, 1.0]),
        start: times([0.2, 0.0, 0.2, 0.0]),
        end: times([0.8, 1.0, 0.6, 1.0]),
    };
    let guided = guidance.apply(&Told, path.clone(), &times([0.7; 4]), &labels([3, 9, 3, 3]).guided(told), NULL);
    let (ours, plain) = (values(guided.v), values(path.v));
    // (1 − 1/4)(u_y − u_null) = 0.75 (3 − 9).
    let expected: Vec<f32> = plain[..4].iter().map(|v| v - 4.5).collect();
    assert_close("guided", &ours[..4], &expected, 1e-5);
    assert_close("not guided", &ours[4..], &plain[4..], 1e-6);
}

#[test]
fn scales_are_drawn_by_their_law_and_instants_hold_them_always() {
    let most = 8.0_f64;
    // The mean of ω under density ∝ ω^(−power) on [1, 8].
    for (power, mean) in [(0.0, 4.5), (1.0, 7.0 / most.ln()), (2.0, most.ln() / (1.0 - 1.0 / most))] {
        let draws = GuidanceDraws { most, power };
        let rows = 4000;
        let t = Tensor::<1>::zeros([rows], &device());
        let classes: Tensor<1, Int> = Tensor::zeros([rows], &device());
        let mut stream = Stream::new(1, Purpose::Guidance, 0);
        let told = draws.tell(classes.into(), &t, rows / 2, GuidanceInputs::ScaleAndInterval, &mut stream);
        let told = told.guidance().expect("it is told").clone();
        let [scale, start, end] = [told.scale, told.start, told.end].map(values);
        let average = scale.iter().map(|&x| f64::from(x)).sum::<f64>() / rows as f64;
        assert!((average - mean).abs() < 0.05 * mean, "power {power}: {average}, not {mean}");
        assert!(scale.iter().all(|x| (1.0..=8.0).contains(x)));
        let (inside, always) = (0..rows / 2, rows / 2..rows);
        assert!(
            start[inside.clone()].iter().all(|x| (0.0..=0.5).contains(x))
                && start[inside.clone()].iter().any(|&x| x > 0.4)
        );
        assert!(end[inside.clone()].iter().all(|x| (0.5..=1.0).contains(x)) && end[inside].iter().any(|&x| x < 0.6));
        assert!(start[always.clone()].iter().all(|&x| x == 0.0) && end[always].iter().all(|&x| x == 1.0));
    }
}
