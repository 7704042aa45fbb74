//! The examples do what they say.

#[path = "../../crate/examples/minimal.rs"]
mod minimal;

use burn::tensor::Tensor;
use meanflow::flow::{AdaptiveWeight, Times, interpolate};

use crate::support::{
    assert_close, autodiff_device, device, gradients, mean_flow_residuals, random, random_net, tiny_config, values,
};

/// The loss of the one file is the trainer's: its value, and the gradient of every parameter.
#[test]
fn the_minimal_loss_is_the_one_that_is_trained() {
    let net = random_net(&tiny_config(3, 0), &autodiff_device());
    let (x, e) = (random::<4>(1, [4, 3, 8, 8]), random::<4>(2, [4, 3, 8, 8]));
    let t = Tensor::<1>::from_data([0.9, 0.7, 0.4, 1.0], &device());
    let r = Tensor::<1>::from_data([0.2, 0.4, 0.4, 0.0], &device());
    let times = Times { t: t.clone(), r: r.clone(), intervals: 4 };
    let residuals = mean_flow_residuals(&net, interpolate(x.clone(), e.clone(), t.clone()), times, None);
    let trained = AdaptiveWeight::default().apply(&residuals);
    let minimal = minimal::loss(&net, x, e, r, t);
    assert_close("loss", &values(minimal.clone()), &values(trained.clone()), 1e-6);
    assert_close("gradients", &gradients(&net, minimal), &gradients(&net, trained), 1e-5);
}

/// It learns: after some steps, one call gives pictures darker than noise, with bright pixels among them.
#[test]
fn the_minimal_example_learns_to_draw() {
    let net = minimal::train(150).expect("it trains");
    let pictures = minimal::sample(&net, random::<4>(3, [64, 1, 8, 8]));
    let mean = values(pictures.clone().mean())[0];
    assert!((-0.7..-0.3).contains(&mean), "a quarter of the pixels are white, which is a mean of -0.5, not {mean}");
    let text = minimal::drawn(pictures, 2).expect("it draws");
    assert_eq!(text.lines().count(), 8);
    assert!(text.contains('█'), "{text}");
}
