//! Text conditioning: prompts as tokens, which are rows of a learned table.
//!
//! A word of the model's vocabulary has a row of its own. Any other word is the sum of its letter trigrams, each hashed
//! to one of a number of rows, as in fastText (arXiv 1607.04606): `sharks` and a mistyped `shrak` land near `shark`.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Most characters of a prompt that are read; the rest is left out, like words beyond [`TextConfig::tokens`].
const MAX_CHARACTERS: usize = 2000;
/// Most letters of a word that are read.
const MAX_LETTERS: usize = 32;

/// How a network is conditioned on text; stored with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// Words that have a row of their own; the weights file lists them.
    pub vocabulary: usize,
    /// Rows that the trigrams of other words are hashed to.
    pub buckets: usize,
    /// Most words of a prompt.
    pub tokens: usize,
    /// How the network is told them.
    #[serde(default)]
    pub conditioning: TextConditioning,
}

/// How a Diffusion Transformer is told the tokens of a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextConditioning {
    /// Each block attends to them as they are embedded: further keys and values beside those of the patches. At equal
    /// training it learns as much as `InContext`, in less time.
    #[default]
    KeysValues,
    /// They stand before the patches and go through all blocks with them.
    InContext,
    /// Their sum is added to what modulates the blocks (adaLN). It does not know their order.
    Adaln,
}

impl TextConfig {
    /// Rows of the table: words, buckets, and one for places of a prompt that no word takes.
    pub fn rows(&self) -> usize {
        self.vocabulary + self.buckets + 1
    }

    /// The row for places that no word takes.
    pub fn padding(&self) -> u32 {
        (self.vocabulary + self.buckets) as u32
    }

    /// What must hold, each with the rule in words.
    pub(super) fn rules(&self) -> [(bool, &'static str); 3] {
        [
            (self.vocabulary <= 100_000, "text.vocabulary must be at most 100000 words"),
            ((1..=100_000).contains(&self.buckets), "text.buckets must be 1 to 100000"),
            ((1..=64).contains(&self.tokens), "text.tokens must be 1 to 64"),
        ]
    }
}

/// A token: rows of the table, each with the factor that it is taken with.
pub type Token = Vec<(u32, f32)>;

/// Makes tokens of prompts.
#[derive(Clone, Copy, Debug)]
pub struct Tokenizer<'a> {
    config: TextConfig,
    /// In alphabetical order, which is that of their rows.
    vocabulary: &'a [String],
}

impl<'a> Tokenizer<'a> {
    /// From the words that have rows of their own, in alphabetical order.
    ///
    /// # Errors
    /// When they are not as many as the network has rows for, or not in that order.
    pub fn new(vocabulary: &'a [String], config: TextConfig) -> Result<Self, Error> {
        let is_sorted = vocabulary.windows(2).all(|pair| pair[0] < pair[1]);
        match vocabulary.len() == config.vocabulary && is_sorted {
            true => Ok(Self { config, vocabulary }),
            false => Err(Error::Weights("its vocabulary does not fit its network".into())),
        }
    }

    /// The tokens of a prompt, at most [`TextConfig::tokens`].
    pub fn encode(&self, prompt: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        for word in words(prompt).take(self.config.tokens) {
            tokens.push(self.token(word));
        }
        tokens
    }

    /// The token of a word.
    pub fn token(&self, word: &str) -> Token {
        match self.row(word) {
            Some(row) => vec![(row, 1.0)],
            None => self.trigrams(word),
        }
    }

    /// The row of a word of the vocabulary.
    fn row(&self, word: &str) -> Option<u32> {
        self.vocabulary.binary_search_by(|known| known.as_str().cmp(word)).ok().map(|row| row as u32)
    }

    /// The token of a word that is not in the vocabulary. Each trigram has the factor `1/√n`, so that the token of `n`
    /// of them is as long as that of a known word.
    pub fn trigrams(&self, word: &str) -> Token {
        let mut token: Token = Vec::new();
        let mut letters = word.chars().take(MAX_LETTERS).chain(['$']);
        let mut last = ['^', letters.next().unwrap_or('$')];
        for letter in letters {
            // FNV-1a, of the letters as they are in UTF-32.
            let mut hash = 0x811c_9dc5_u32;
            for letter in [last[0], last[1], letter] {
                for byte in u32::from(letter).to_le_bytes() {
                    hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
                }
            }
            token.push(((self.config.vocabulary + hash as usize % self.config.buckets) as u32, 1.0));
            last = [last[1], letter];
        }
        let factor = 1.0 / (token.len() as f32).sqrt();
        token.iter_mut().for_each(|part| part.1 = factor);
        token
    }

    /// The network's part of it.
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// The words of a prompt that count and are not in the vocabulary.
    pub fn unknown<'t>(&self, prompt: &'t str) -> Vec<&'t str> {
        words(prompt).take(self.config.tokens).filter(|word| self.row(word).is_none()).collect()
    }
}

/// A place between two prompts, `share` of the way: each token is the sum of those in its place, by their shares.
pub fn between(from: &[Token], to: &[Token], share: f32, config: &TextConfig) -> Vec<Token> {
    let mut tokens = vec![Token::new(); from.len().max(to.len())];
    for (prompt, share) in [(from, 1.0 - share), (to, share)] {
        for (i, token) in tokens.iter_mut().enumerate() {
            match prompt.get(i) {
                Some(own) => own.iter().for_each(|&(row, factor)| token.push((row, share * factor))),
                None => token.push((config.padding(), share)),
            }
        }
    }
    tokens
}

/// The words of a text that is normalised (Unicode NFKC, lower case): what stands between spaces, punctuation and
/// control characters. Emoji are words too.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let end = text.char_indices().nth(MAX_CHARACTERS).map_or(text.len(), |(end, _)| end);
    let separates = |letter: char| {
        letter.is_whitespace()
            || letter.is_control()
            || letter.is_ascii_punctuation()
            || matches!(letter, '\u{ad}' | '\u{a1}' | '\u{ab}' | '\u{bb}' | '\u{bf}')
            // General punctuation without what joins the parts of an emoji, and that of Chinese and Japanese.
            || matches!(letter, '\u{2000}'..='\u{200c}' | '\u{200e}'..='\u{206f}' | '\u{3000}'..='\u{303f}')
    };
    text.get(..end).unwrap_or(text).split(separates).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It lives as long as the tests.
    fn tokenizer(vocabulary: &[&str]) -> Tokenizer<'static> {
        let config = TextConfig {
            vocabulary: vocabulary.len(),
            buckets: 512,
            tokens: 4,
            conditioning: TextConditioning::default(),
        };
        let words: Vec<String> = vocabulary.iter().map(|&word| word.into()).collect();
        Tokenizer::new(words.leak(), config).expect("it fits")
    }

    #[test]
    fn words_stand_between_spaces_and_punctuation() {
        let split = |text: &'static str| words(text).collect::<Vec<_>>();
        assert_eq!(
            split("crab with  red-square glasses, (gold) body."),
            ["crab", "with", "red", "square", "glasses", "gold", "body"]
        );
        assert_eq!(split(" \u{0}\t<script>x</script> "), ["script", "x", "script"]);
        assert_eq!(split("🦈 鲨鱼、“x”"), ["🦈", "鲨鱼", "x"]);
        assert_eq!(split(""), [""; 0]);
    }

    #[test]
    fn known_words_have_rows_and_others_share_trigrams_with_what_is_spelt_alike() {
        let tokenizer = tokenizer(&["crab", "owl", "shark"]);
        assert_eq!(tokenizer.encode("shark crab"), [vec![(2, 1.0)], vec![(0, 1.0)]]);
        assert_eq!(tokenizer.unknown("shark sharks owl"), ["sharks"]);
        let rows = |word: &str| tokenizer.trigrams(word).into_iter().map(|(row, _)| row).collect::<Vec<_>>();
        let shared = |a: &str, b: &str| rows(a).iter().filter(|row| rows(b).contains(row)).count();
        assert_eq!(rows("shark").len(), 5);
        assert_eq!((shared("shark", "sharks"), shared("shark", "owl")), (4, 0));
        assert!(rows("shark").iter().all(|row| (3..515).contains(row)));
        let square: f32 = tokenizer.trigrams("shark").iter().map(|(_, factor)| factor * factor).sum();
        assert!((square - 1.0).abs() < 1e-6);
    }

    #[test]
    fn long_prompts_are_cut_off() {
        let tokenizer = tokenizer(&["a"]);
        assert_eq!(tokenizer.encode(&"a ".repeat(5000)).len(), 4);
        assert_eq!(tokenizer.encode(&"x".repeat(10_000))[0].len(), MAX_LETTERS);
    }

    #[test]
    fn between_prompts_tokens_are_mixed_place_by_place() {
        let tokenizer = tokenizer(&["crab", "owl", "red"]);
        let mixed = between(&tokenizer.encode("red crab"), &tokenizer.encode("owl"), 0.25, tokenizer.config());
        let padding = tokenizer.config().padding();
        assert_eq!(mixed, [vec![(2, 0.75), (1, 0.25)], vec![(0, 0.75), (padding, 0.25)]]);
    }

    #[test]
    fn a_vocabulary_must_fit() {
        let config = TextConfig { vocabulary: 2, buckets: 8, tokens: 4, conditioning: TextConditioning::Adaln };
        for words in [&["b", "a"][..], &["a"]] {
            let vocabulary: Vec<String> = words.iter().map(|&word| word.into()).collect();
            assert!(Tokenizer::new(&vocabulary, config).is_err(), "{words:?}");
        }
    }
}
