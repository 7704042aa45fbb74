//! Captions as a network is trained on them.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;

use super::Images;
use crate::model::text::words;

/// A text as [`words`] takes it: Unicode NFKC, in lower case. A page does the same by `text.normalize('NFKC')
/// .toLowerCase()`.
pub fn normalize(text: &str) -> String {
    text.nfkc().collect::<String>().to_lowercase()
}

/// The captions of an image, of which there may be several: a line each.
pub fn lines(captions: &str) -> impl Iterator<Item = &str> {
    captions.lines().map(str::trim).filter(|line| !line.is_empty())
}

impl Images {
    /// What describes image `i`, as a network is told it: the first of its captions, or else the name of its class;
    /// empty where it has neither.
    pub fn description(&self, i: usize) -> String {
        let class = || self.classes.get(self.labels[i] as usize).map_or("", String::as_str);
        let caption = self.captions.get(i).and_then(|captions| lines(captions).next());
        normalize(caption.unwrap_or_else(class))
    }

    /// The same images with their captions as training takes them, and the vocabulary of these: all words that occur in
    /// at least `min_count` captions. An image without a caption is described by the name of its class. The classes
    /// themselves are left out, as the network is told words in their place.
    pub fn captioned(mut self, min_count: usize) -> Self {
        let names: Vec<String> = self.class_names().collect();
        self.captions.resize(self.len(), String::new());
        for (caption, class) in self.captions.iter_mut().zip(names) {
            *caption = normalize(if caption.trim().is_empty() { &class } else { caption });
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for caption in self.captions.iter().flat_map(|captions| lines(captions)) {
            words(caption).for_each(|word| *counts.entry(word).or_default() += 1);
        }
        let kept = counts.into_iter().filter(|&(_, count)| count >= min_count);
        self.vocabulary = kept.map(|(word, _)| word.to_owned()).collect();
        self.labels.fill(0);
        self.classes.clear();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataConfig;

    #[test]
    fn captions_become_words_of_a_vocabulary() {
        let images = Images::random(&DataConfig { size: 2, ..DataConfig::default() }, 3);
        let images = Images {
            captions: vec!["A Ｃrab\nred CRAB".into(), " ".into(), "red owl".into()],
            labels: vec![0, 1, 0],
            classes: vec!["x".into(), "Big-Cat".into()],
            ..images
        };
        assert_eq!([0, 1, 2].map(|i| images.description(i)), ["a crab", "big-cat", "red owl"]);
        let bare = Images { captions: Vec::new(), classes: Vec::new(), ..images.clone() };
        assert_eq!(bare.description(0), "");
        let captioned = images.clone().captioned(1);
        assert_eq!(captioned.captions, ["a crab\nred crab", "big-cat", "red owl"]);
        assert_eq!(captioned.vocabulary, ["a", "big", "cat", "crab", "owl", "red"]);
        assert!(captioned.classes.is_empty());
        assert_eq!(images.captioned(2).vocabulary, ["crab", "red"]);
    }
}
