//! A data format of one's own: sprites drawn in a text file, which become training images. A small network learns them,
//! one class for each.
//!
//! ```sh
//! cargo run --release --example custom_data
//! ```

use std::error::Error;
use std::io::{Write, stdout};

use burn::tensor::{Int, Tensor};
use meanflow::data::{DataError, Images};
use meanflow::device;
use meanflow::flow::one_step;
use meanflow::generator::noise_images;
use meanflow::train::{NetOverrides, Sampler, TrainConfig, Trainer};

/// Edge of the sprites, in pixels.
const SIZE: usize = 8;

/// Two sprites.
pub const SPRITES: &str = "\
heart
. . . . . . . .
. # # . . # # .
# # # # # # # #
# # # # # # # #
. # # # # # # .
. . # # # # . .
. . . # # . . .
. . . . . . . .
cross
# # . . . . # #
# # # . . # # #
. # # # # # # .
. . # # # # . .
. . # # # # . .
. # # # # # # .
# # # . . # # #
# # . . . . # #
";

/// Reads the format: a line with the name of a class, then a picture of it, `#` for white.
pub fn read_sprites(text: &str) -> Result<Images, DataError> {
    let (mut pixels, mut labels, mut classes) = (Vec::new(), Vec::new(), Vec::<String>::new());
    let lines: Vec<&str> = text.lines().collect();
    for sprite in lines.chunks_exact(SIZE + 1) {
        let class = classes.iter().position(|class| class == sprite[0]).unwrap_or(classes.len());
        if class == classes.len() {
            classes.push(sprite[0].to_owned());
        }
        labels.push(class as u32);
        let dots = sprite[1..].iter().flat_map(|line| line.chars().filter(|c| !c.is_whitespace()));
        pixels.extend(dots.map(|c| if c == '#' { 255 } else { 0 }));
    }
    Images::new(SIZE, 1, pixels, labels, classes)
}

/// Trains for some steps, then draws one picture of each class, `[classes, 1, size, size]`.
pub fn learn(images: &Images, steps: u64) -> Result<Tensor<4>, Box<dyn Error>> {
    let net = NetOverrides { patch: Some(2), width: Some(64), depth: Some(2), heads: Some(4), ..Default::default() };
    let mut config = TrainConfig { net, ..TrainConfig::default() };
    (config.data.size, config.data.channels) = (images.size, images.channels);
    (config.train.batch_size, config.train.ema_decay) = (32, 0.98);
    config.scale_to(steps);
    config.check_compatible(images)?;

    let device = device::open(None)?;
    let mut sampler = Sampler::of_run(images, &config);
    let mut trainer = Trainer::new(&config, &config.net_config(images.classes.len())?, &device);
    for step in 0..steps {
        trainer.step(sampler.batch(step, &device)?);
    }
    let classes = Tensor::<1, Int>::arange(0..images.classes.len() as i64, &device);
    let noise = noise_images(1, images.classes.len(), [images.channels, SIZE, SIZE], &device);
    Ok(one_step(trainer.averaged(), noise, Some(classes.into())))
}

#[allow(dead_code, reason = "the tests have this file as a module")]
fn main() -> Result<(), Box<dyn Error>> {
    let pictures = learn(&read_sprites(SPRITES)?, 500)?.try_into_vec_as::<f32>()?;
    for line in pictures.chunks_exact(SIZE) {
        let dots: String = line.iter().map(|&x| if x > 0.0 { "# " } else { ". " }).collect();
        writeln!(stdout(), "{dots}")?;
    }
    Ok(())
}
