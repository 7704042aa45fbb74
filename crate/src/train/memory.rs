//! How much memory a network takes: computed before it is asked for. Native only.

use crate::error::Error;
use crate::io::check_memory;
use crate::model::{Architecture, NetConfig};

/// Images of a call that the CPU computes at a time, at least.
const ROWS: u64 = 8;
/// Rows of features per token that a block holds at the same time, at least: its input, queries, keys, values, and its
/// output.
const HELD: u64 = 5;
/// What training keeps of a parameter: itself, its gradient, both moments of Adam, and an average.
const KEPT: u64 = 5;

/// Bytes of a number.
const F32: u64 = size_of::<f32>() as u64;

impl NetConfig {
    /// Refuses a call for so many images that would take more memory than there may be. It is a lower bound: what
    /// passes may still be too much, what does not pass is.
    ///
    /// # Errors
    /// Says what would take how much.
    pub fn check_call(&self, images: u64) -> Result<(), Error> {
        check_memory(format_args!("{images} images"), &[images, self.image_values(), 3, F32])?;
        let (tokens, width) = self.sequence();
        let rows = images.min(ROWS);
        check_memory("a block of the network", &[rows, tokens, width, HELD, F32])?;
        // Of one head of one image; more where there are more cores.
        let attended = self.attended(tokens);
        check_memory("attention over all tokens", &[attended, attended, F32])
    }

    /// Refuses training on batches of so many images, `rows` of them at a time, that would take more memory than there
    /// may be; a lower bound too.
    ///
    /// # Errors
    /// Says what would take how much.
    pub fn check_training(&self, images: u64, rows: u64, averages: u64) -> Result<(), Error> {
        let parameters = self.parameters() as u64;
        check_memory("the network and its optimizer", &[parameters, KEPT.saturating_add(averages), F32])?;
        check_memory(format_args!("[train] batch_size: {images} images"), &[images, self.image_values(), 4, F32])?;
        let (tokens, width) = self.sequence();
        let blocks = self.depth as u64;
        check_memory(
            format_args!("[train] batch_size: a step on {rows} images at a time"),
            &[rows, tokens, width, HELD, blocks, F32],
        )
    }

    fn image_values(&self) -> u64 {
        [self.channels, self.image_size, self.image_size].iter().fold(1, |all: u64, &n| all.saturating_mul(n as u64))
    }

    /// Tokens of an image, and features of each.
    fn sequence(&self) -> (u64, u64) {
        let patches = self.side().saturating_mul(self.side());
        let before = match &self.architecture {
            Architecture::InContext(parts) => self.prefix_tokens(parts),
            _ => 0,
        };
        (patches.saturating_add(before) as u64, self.width as u64)
    }

    /// The tokens that each attends to.
    fn attended(&self, tokens: u64) -> u64 {
        match &self.architecture {
            Architecture::Unet(parts) => parts.attention.iter().copied().max().map_or(0, |edge| (edge * edge) as u64),
            _ => tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_networks_pass_and_absurd_batches_do_not() {
        for preset in ["browser-s", "browser-m", "dit-b/4", "unet"] {
            let net = NetConfig::preset(preset, 32, 4, 10).expect("a preset");
            assert!(net.check_call(1).is_ok(), "{preset}");
            for images in [1_000_000_000_000, u64::MAX] {
                assert!(net.check_call(images).is_err() && net.check_training(images, images, 0).is_err(), "{preset}");
            }
        }
    }
}
