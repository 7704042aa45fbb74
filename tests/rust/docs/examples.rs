//! The examples do what they say.

#[path = "../../../crate/examples/custom_data.rs"]
mod custom_data;
#[path = "../../../crate/examples/custom_objective.rs"]
mod custom_objective;
#[path = "../../../crate/examples/minimal.rs"]
mod minimal;
#[path = "../../../crate/examples/sample.rs"]
mod sample;
#[path = "../../../crate/examples/train_folder.rs"]
mod train_folder;

use burn::tensor::Tensor;
use meanflow::data::Images;
use meanflow::flow::{AdaptiveWeight, Times, interpolate};

use crate::support::{
    assert_close, autodiff_device, device, gradients, mean_flow_residuals, random, random_net, tiny_config, values,
};
use crate::train::config;

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

/// From a folder to weights, and from weights to a grid.
#[test]
fn a_folder_becomes_weights_and_these_a_grid() {
    let place = tempfile::tempdir().expect("a folder");
    for (class, value) in [("dark", 30), ("light", 220)] {
        let folder = place.path().join("images").join(class);
        std::fs::create_dir_all(&folder).expect("a folder");
        for i in 0..4 {
            let picture = image::GrayImage::from_pixel(8, 8, image::Luma([value + i]));
            picture.save(folder.join(format!("{i}.png"))).expect("it writes");
        }
    }
    let [weights, grid] = ["model.safetensors", "grid.png"].map(|name| place.path().join(name));
    let mut config = config(10);
    config.data.channels = 0;
    train_folder::train_folder(&place.path().join("images"), &weights, config).expect("it trains");
    sample::sample(&weights, &grid, 4).expect("it draws");
    // Two by two, every pixel four times as wide, with two pixels between.
    assert_eq!(image::image_dimensions(&grid).expect("a picture"), (66, 66));
}

/// The points that one call makes lie on the ring, all around it.
#[test]
fn an_objective_of_ones_own_is_learnt() {
    let made = custom_objective::learn(400).expect("it learns");
    let noise: Vec<[f32; 2]> =
        values(random::<2>(5, [500, 2])).chunks_exact(2).map(|point| [point[0], point[1]]).collect();
    let [ours, without] = [&made, &noise].map(|points| custom_objective::distance(points));
    assert!(ours < 0.35 * without, "points are {ours} from the ring, noise {without}");
    for quarter in [[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]] {
        let inside = made.iter().filter(|[x, y]| x * quarter[0] > 0.0 && y * quarter[1] > 0.0).count();
        assert!((75..175).contains(&inside), "{inside} of 500 points are in the quarter {quarter:?}");
    }
}

/// A picture of each class looks like the sprite of the class, and not like the other.
#[test]
fn a_data_format_of_ones_own_is_learnt() {
    let images = custom_data::read_sprites(custom_data::SPRITES).expect("two sprites");
    assert_eq!((images.len(), images.classes.join(" ")), (2, "heart cross".to_owned()));
    let drawn = values(custom_data::learn(&images, 300).expect("it learns"));
    let alike = |picture: usize, sprite: usize| {
        let [picture, sprite] = [picture, sprite].map(|i| i * 64..(i + 1) * 64);
        let pixels = drawn[picture].iter().zip(&images.pixels[sprite]);
        pixels.filter(|(x, byte)| (**x > 0.0) == (**byte > 127)).count()
    };
    for (own, other) in [(0, 1), (1, 0)] {
        assert!(alike(own, own) > 55, "{} of 64 pixels of class {own}", alike(own, own));
        assert!(alike(own, other) < 50, "{} of 64 pixels of the other class than {own}", alike(own, other));
    }
}

#[test]
fn images_that_do_not_fit_together_are_refused() {
    let new = |pixels: usize, labels: Vec<u32>, classes: &[&str]| {
        let classes = classes.iter().map(|&class| class.to_owned()).collect();
        Images::new(2, 1, vec![0; pixels], labels, classes).map_err(|error| error.to_string())
    };
    assert_eq!(new(8, vec![0, 1], &["a", "b"]).expect("two images").len(), 2);
    assert_eq!(new(4, vec![0], &[]).expect("an image without a class").names, ["0"]);
    assert!(new(7, vec![0, 1], &["a", "b"]).expect_err("a pixel is missing").contains("7 bytes"));
    assert!(new(4, vec![2], &["a", "b"]).expect_err("there is no such class").contains("label 2"));
    assert!(new(0, vec![], &[]).is_err());
}
