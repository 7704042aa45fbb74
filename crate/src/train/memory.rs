//! How much memory a network takes: computed before it is asked for. Native only.

use crate::error::Error;
use crate::io::check_memory;
use crate::model::text::TextConditioning;
use crate::model::{Architecture, NetConfig};

/// Images of a call that the CPU computes at a time, at least.
const ROWS: u64 = 8;
/// Rows of features per token that a block holds at the same time, at least: its input, queries, keys, values, and its
/// output.
const HELD: u64 = 5;
/// The same of a word whose keys and values blocks take: its embedding, key and value.
const HELD_OF_WORD: u64 = 3;
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
        check_memory("a block of the network", &[images.min(ROWS), self.block_values(), F32])?;
        // Of one head of one image; more where there are more cores.
        let queries = self.attended(self.tokens());
        check_memory("attention over all tokens", &[queries, queries.saturating_add(self.further_keys()), F32])
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
        check_memory(
            format_args!("[train] batch_size: a step on {rows} images at a time"),
            &[rows, self.block_values(), self.depth as u64, F32],
        )
    }

    /// Bytes that a training step on so many images at a time keeps for its backward pass, at least.
    pub fn step_bytes(&self, rows: u64) -> u64 {
        [self.block_values(), self.depth as u64, F32].into_iter().fold(rows, u64::saturating_mul)
    }

    /// Numbers that a block holds of an image at the same time, at least.
    fn block_values(&self) -> u64 {
        let of_tokens = self.tokens().saturating_mul(HELD);
        let rows = of_tokens.saturating_add(self.further_keys().saturating_mul(HELD_OF_WORD));
        rows.saturating_mul(self.width as u64)
    }

    fn image_values(&self) -> u64 {
        [self.channels, self.image_size, self.image_size].iter().fold(1, |all: u64, &n| all.saturating_mul(n as u64))
    }

    /// Tokens of an image that go through the blocks.
    fn tokens(&self) -> u64 {
        let patches = self.side().saturating_mul(self.side());
        let before = match &self.architecture {
            Architecture::InContext(parts) => self.prefix_tokens(parts),
            _ => 0,
        };
        (patches.saturating_add(before) as u64).saturating_add(self.words_as(TextConditioning::InContext))
    }

    /// Words that each attends to besides the tokens.
    fn further_keys(&self) -> u64 {
        self.words_as(TextConditioning::KeysValues)
    }

    /// Words of a prompt, where the network is told them in this way.
    fn words_as(&self, conditioning: TextConditioning) -> u64 {
        self.text.filter(|text| text.conditioning == conditioning).map_or(0, |text| text.tokens as u64)
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
    use crate::model::text::TextConfig;

    #[test]
    fn words_are_counted_as_the_network_is_told_them() {
        let plain = NetConfig::preset("browser-s", 32, 4, 0).expect("a preset");
        let bytes = |conditioning, tokens| {
            let text = TextConfig { vocabulary: 9, buckets: 9, tokens, conditioning };
            NetConfig { text: Some(text), ..plain.clone() }.step_bytes(2)
        };
        let of_a_token = plain.step_bytes(2) / plain.tokens();
        for tokens in [1, 64] {
            assert_eq!(bytes(TextConditioning::InContext, tokens), plain.step_bytes(2) + tokens as u64 * of_a_token);
            let of_a_word = of_a_token / HELD * HELD_OF_WORD;
            assert_eq!(bytes(TextConditioning::KeysValues, tokens), plain.step_bytes(2) + tokens as u64 * of_a_word);
            assert_eq!(bytes(TextConditioning::Adaln, tokens), plain.step_bytes(2));
        }
        assert_eq!(plain.step_bytes(u64::MAX), u64::MAX);
    }

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
