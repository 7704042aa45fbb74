//! Forward mode against burn's own reverse mode: `⟨w, J v⟩ = ⟨Jᵀ w, v⟩` for every rule.

use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor};
use meanflow::Dual;
use meanflow::dual::{attend, gelu_tanh, group_norm, layer_norm, linear, rms_norm, silu, softmax};

use crate::support::{autodiff_device, inner_product, random, values};

const TOLERANCE: f64 = 1e-5;

/// Checks the adjointness of `f` at a random point, and that its tangent is never on the tape.
#[track_caller]
fn assert_adjoint<const D: usize, const E: usize>(shape: [usize; D], f: impl Fn(Dual<D>) -> Dual<E>) {
    let x = random(1, shape).autodiff().require_grad();
    let v = random(2, shape);
    let y = f(Dual::new(x.clone(), v.clone()));
    let jv = y.tangent.expect("the input moves, so the output does");
    assert!(!jv.is_autodiff(), "the tangent is on the tape");
    assert_eq!(jv.dims(), y.primal.dims(), "a tangent has the shape of its primal");

    let w = random(3, y.primal.dims());
    let gradients = (y.primal * w.clone()).sum().backward();
    let jtw = x.grad(&gradients).expect("the primal is on the tape");
    let (forward, reverse) = (inner_product(w, jv), inner_product(jtw, v));
    let error = (forward - reverse).abs() / forward.abs().max(reverse.abs()).max(1e-3);
    assert!(error <= TOLERANCE, "⟨w, Jv⟩ = {forward}, ⟨Jᵀw, v⟩ = {reverse}: relative error {error:.2e}");
}

const SHAPE: [usize; 3] = [2, 3, 8];

#[test]
fn elementwise_functions_are_adjoint() {
    assert_adjoint(SHAPE, Dual::sin);
    assert_adjoint(SHAPE, Dual::cos);
    assert_adjoint(SHAPE, silu);
    assert_adjoint(SHAPE, gelu_tanh);
    assert_adjoint(SHAPE, |x| x.scale(-1.7).shift(0.3));
    assert_adjoint(SHAPE, |x| -x);
    assert_adjoint(SHAPE, |x| x.clamp_min(0.2));
    assert_adjoint(SHAPE, |x| x.cos().shift(2.0).recip());
}

#[test]
fn sums_and_products_are_adjoint_also_when_both_sides_move() {
    assert_adjoint(SHAPE, |x| x.clone().sin() + x.cos());
    assert_adjoint(SHAPE, |x| x.clone().sin() - x.cos());
    assert_adjoint(SHAPE, |x| x.clone().sin() * x.cos());
    assert_adjoint(SHAPE, |x| x * Dual::constant(random(4, SHAPE)));
    assert_adjoint(SHAPE, |x| x.clone().sin().matmul(x.cos().swap_dims(1, 2)));
}

#[test]
fn broadcasting_is_adjoint() {
    assert_adjoint([2, 1, 8], |x| x + Dual::constant(random(5, SHAPE)));
    assert_adjoint([2, 1, 8], |x| Dual::constant(random(5, SHAPE)) - x);
    assert_adjoint([2, 1, 8], |x| x * Dual::constant(random(5, SHAPE)));
    assert_adjoint([2, 3, 1], |x| x.clone() * x + Dual::constant(random(5, SHAPE)));
}

#[test]
fn changes_of_shape_are_adjoint() {
    assert_adjoint(SHAPE, |x| x.reshape([6, 8]));
    assert_adjoint(SHAPE, |x| x.permute([2, 0, 1]));
    assert_adjoint(SHAPE, |x| x.swap_dims(0, 2));
    assert_adjoint(SHAPE, |x| x.narrow(2, 3, 4));
    assert_adjoint(SHAPE, |x| {
        let [a, b] = x.chunk(2);
        a.sin().concat(b, 2)
    });
    assert_adjoint(SHAPE, |x| x.concat(Dual::constant(random(6, SHAPE)), 1));
}

#[test]
fn layers_are_adjoint() {
    let layer = LinearConfig::new(8, 5).init(&autodiff_device());
    assert_adjoint(SHAPE, |x| linear(&layer, x));
    assert_adjoint(SHAPE, softmax);
    assert_adjoint(SHAPE, |x| layer_norm(x, 1e-6));
    // A layer whose inputs are far from zero mean, where a naive rule would cancel.
    assert_adjoint(SHAPE, |x| layer_norm(x.shift(100.0), 1e-6));
}

/// Checks that the tangent along a direction on the tape has the gradient of its own central difference.
#[track_caller]
fn assert_differentiable(f: impl Fn(Dual<3>) -> Dual<3>) {
    let (x, v, w, d) = (random(1, SHAPE), random(2, SHAPE), random(3, SHAPE), random(4, SHAPE));
    let leaf = x.clone().autodiff().require_grad();
    let y = f(Dual::differentiable(leaf.clone(), v.clone().autodiff()));
    let tangent = y.tangent.expect("the input moves, so the output does");
    assert!(tangent.is_autodiff(), "the tangent is off the tape");
    let gradients = (tangent.clone() * w.clone()).sum().backward();
    let gradient = leaf.grad(&gradients).expect("the tangent depends on the input");
    let plain = |x: Tensor<3>| f(Dual::new(x, v.clone())).tangent.expect("it moves");
    crate::support::assert_close("tangent", &values(tangent), &values(plain(x.clone())), 1e-5);
    const STEP: f64 = 1e-2;
    let at = |sign: f64| inner_product(w.clone(), plain(x.clone() + d.clone() * (sign * STEP)));
    // Of fourth order, as numbers of single precision allow no small steps.
    let difference = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * STEP);
    let exact = inner_product(gradient, d);
    assert!((difference - exact).abs() < 2e-3 * exact.abs().max(1.0), "{exact}, by differences {difference}");
}

#[test]
fn a_derivative_along_a_direction_on_the_tape_has_gradients() {
    let layer = LinearConfig::new(8, 8).init(&autodiff_device());
    assert_differentiable(Dual::sin);
    assert_differentiable(Dual::cos);
    assert_differentiable(silu);
    assert_differentiable(gelu_tanh);
    assert_differentiable(softmax);
    assert_differentiable(|x| layer_norm(x, 1e-3));
    assert_differentiable(|x| rms_norm(x, random(7, [8]).autodiff(), 1e-3));
    assert_differentiable(|x| linear(&layer, x.sin()));
    assert_differentiable(|x| x.cos().shift(2.0).recip());
    assert_differentiable(|x| x.clone().sin() * x.cos());
    assert_differentiable(|x| {
        x.clone().sin().matmul(x.cos().swap_dims(1, 2)).matmul(Dual::constant(random(5, [2, 3, 8])))
    });
    assert_differentiable(|x| {
        let heads = |x: Dual<3>| x.reshape([2, 3, 2, 4]).swap_dims(1, 2);
        let [q, k, v] = [x.clone(), x.clone().sin(), x.cos()].map(heads);
        attend(q, k, v).swap_dims(1, 2).reshape([2, 3, 8])
    });
    assert_differentiable(|x| group_norm(x.reshape([2, 3, 2, 4]), 3, 1e-3).reshape([2, 3, 8]));
}

/// Checks that rows which alone move do so as they would among others that do, and that the value is the same.
#[track_caller]
fn assert_first_rows_move<const D: usize, const E: usize>(shape: [usize; D], f: impl Fn(Dual<D>) -> Dual<E>) {
    for x in [random(1, shape), random(1, shape).autodiff().require_grad()] {
        let v = random::<D>(2, shape);
        let all = f(Dual::new(x.clone(), v.clone()));
        for moving in 1..shape[0] {
            let some = f(Dual::new(x.clone(), v.clone().narrow(0, 0, moving)));
            let rows = all.dims()[0] * moving / shape[0];
            let expected = all.tangent.clone().expect("it moves").narrow(0, 0, rows);
            let tangent = some.tangent.expect("it moves");
            assert!(!tangent.is_autodiff() && tangent.dims() == expected.dims());
            crate::support::assert_close("tangent", &values(tangent), &values(expected), 1e-6);
            crate::support::assert_close("value", &values(some.primal), &values(all.primal.clone()), 1e-6);
        }
    }
}

#[test]
fn rows_that_alone_move_do_so_as_among_others() {
    let shape = [3, 4, 8];
    let still = |seed, shape: [usize; 3]| Dual::constant(random(seed, shape));
    let layer = LinearConfig::new(8, 5).init(&autodiff_device());
    assert_first_rows_move(shape, Dual::sin);
    assert_first_rows_move(shape, silu);
    assert_first_rows_move(shape, gelu_tanh);
    assert_first_rows_move(shape, softmax);
    assert_first_rows_move(shape, |x| layer_norm(x, 1e-6));
    assert_first_rows_move(shape, |x| rms_norm(x, random(7, [8]), 1e-6));
    assert_first_rows_move(shape, |x| linear(&layer, x));
    assert_first_rows_move(shape, |x| x.clamp_min(0.2).shift(1.0).recip());
    assert_first_rows_move(shape, |x| {
        x.clone().sin() * x.clone().cos() + still(4, [1, 4, 8]) * x - still(5, [3, 1, 8])
    });
    assert_first_rows_move(shape, |x| still(4, [3, 1, 8]) * x + still(5, [1, 4, 1]));
    assert_first_rows_move([3, 1, 8], |x| x + still(5, [3, 4, 1]));
    assert_first_rows_move(shape, |x| x.clone().sin().matmul(x.cos().swap_dims(1, 2)));
    assert_first_rows_move(shape, |x| x.reshape([12, 8]).sin().reshape([3, 2, 16]).permute([0, 2, 1]));
    assert_first_rows_move(shape, |x| x.concat(still(6, [3, 4, 8]), 1).narrow(1, 2, 4));
    assert_first_rows_move([3, 8, 4, 4], |x: Dual<4>| group_norm(x, 2, 1e-6));
    assert_first_rows_move([3, 2, 6, 4], |x: Dual<4>| attend(x.clone().sin(), x.clone().cos(), x));
}

#[test]
fn of_rows_cut_out_those_move_that_moved() {
    let (x, v) = (random(1, [4, 3]), random(2, [2, 3]));
    let cut = |start| Dual::<2>::new(x.clone(), v.clone()).narrow(0, start, 2).tangent;
    assert_eq!(cut(0).map(values), Some(values(v.clone())));
    assert_eq!(cut(1).map(values), Some(values(v.clone().narrow(0, 1, 1))));
    assert!(cut(2).is_none());
}

#[test]
fn what_would_mix_rows_that_move_with_others_is_refused() {
    let partly = || Dual::<2>::new(random(1, [4, 3]), random(2, [2, 3]));
    for mix in [|x: Dual<2>| x.swap_dims(0, 1), |x: Dual<2>| x.permute([1, 0]), |x: Dual<2>| x.clone().concat(x, 0)] {
        assert!(std::panic::catch_unwind(|| mix(partly())).is_err());
    }
    for shape in [[5, 3], [0, 3], [4, 2]] {
        assert!(std::panic::catch_unwind(|| Dual::<2>::new(random(1, [4, 3]), random(2, shape))).is_err());
    }
}

#[test]
fn a_wrong_rule_is_caught() {
    let wrong =
        || assert_adjoint(SHAPE, |x: Dual<3>| Dual { tangent: x.tangent.clone().map(|d| d * 1.001), ..x.sin() });
    assert!(std::panic::catch_unwind(wrong).is_err());
}

#[test]
fn a_constant_has_no_tangent_and_costs_nothing() {
    let x = Dual::constant(random(1, SHAPE));
    let y = softmax(layer_norm(gelu_tanh(x.clone() * x.clone() + x), 1e-6));
    assert!(y.tangent.is_none());
}

#[test]
fn a_lone_tangent_takes_the_shape_that_broadcasting_gave_the_value() {
    let moving: Dual<2> = Dual::new(random(1, [2, 1]), random(2, [2, 1]));
    let sum = moving + Dual::constant(random(3, [2, 4]));
    assert_eq!(sum.tangent.expect("one side moves").dims(), [2, 4]);
}

#[test]
fn a_tangent_given_on_the_tape_is_taken_off_it() {
    let x: Tensor<2> = random(1, [2, 2]).autodiff().require_grad();
    let y = Dual::new(x.clone(), x.clone() * 2.0).sin();
    assert!(!y.tangent.expect("it moves").is_autodiff());
    assert!(y.primal.is_tracked());
}

#[test]
fn gelu_is_the_tanh_approximation() {
    let x = random(1, SHAPE) * 3.0;
    let ours = values(gelu_tanh(x.clone().into()).primal);
    let burns = values(burn::tensor::activation::gelu_approximate(x));
    crate::support::assert_close("gelu", &ours, &burns, 1e-6);
    let _: Device = crate::support::device();
}
