//! What pictures are asked to be of.

use std::sync::Arc;

use super::NetConfig;
use super::text::Token;
use crate::error::Error;
use crate::rng;

/// Most classes that a picture can lie between.
pub const MAX_BLENDED: usize = 4;

/// Which class pictures are of, or which prompt describes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Condition {
    /// Each draws its own from its seed; given noise is of no named class. Of a model that takes prompts: the empty
    /// one.
    #[default]
    Any,
    /// The class of this index.
    One(usize),
    /// Between classes.
    Between(Blend),
    /// A prompt: its tokens, by the model's [`Tokenizer`](super::text::Tokenizer).
    Text(Arc<[Token]>),
}

/// A place between classes: the network is conditioned on the mean of their embeddings by their shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blend {
    parts: [(usize, f32); MAX_BLENDED],
    count: usize,
}

impl Blend {
    /// From classes and their weights, which are scaled to a sum of one.
    ///
    /// # Errors
    /// None or too many of them, or weights that are not positive numbers.
    pub fn new(weights: &[(usize, f32)]) -> Result<Self, Error> {
        if !(1..=MAX_BLENDED).contains(&weights.len()) {
            return Err(Error::Request(format!(
                "{} classes were to be mixed; 1 to {MAX_BLENDED} are possible",
                weights.len()
            )));
        }
        let sum: f32 = weights.iter().map(|(_, weight)| weight).sum();
        if !(sum.is_finite() && weights.iter().all(|&(_, weight)| weight > 0.0)) {
            return Err(Error::Request("classes are mixed by weights above 0".into()));
        }
        let mut parts = [(0, 0.0); MAX_BLENDED];
        for (part, &(class, weight)) in parts.iter_mut().zip(weights) {
            *part = (class, weight / sum);
        }
        Ok(Self { parts, count: weights.len() })
    }

    /// The classes with their shares, of sum one.
    pub fn parts(&self) -> &[(usize, f32)] {
        &self.parts[..self.count]
    }
}

impl From<Option<usize>> for Condition {
    fn from(class: Option<usize>) -> Self {
        class.map_or(Self::Any, Self::One)
    }
}

impl Condition {
    /// Of a network that is told it, the class of each of `count` pictures with seeds from `seed` on.
    ///
    /// # Errors
    /// A class that the network does not have, or a prompt that it does not take.
    pub(crate) fn of_pictures(self, seed: u64, count: usize, net: &NetConfig) -> Result<Option<Vec<Self>>, Error> {
        let classes = net.classes;
        let asked = match &self {
            Self::Any => Vec::new(),
            Self::One(class) => vec![*class],
            Self::Between(blend) => blend.parts().iter().map(|part| part.0).collect(),
            Self::Text(_) if net.text.is_none() => {
                return Err(Error::Request("a prompt was given, but the model takes none".into()));
            }
            Self::Text(_) => Vec::new(),
        };
        if net.text.is_some() && !asked.is_empty() {
            return Err(Error::Request("a class was asked for, but the model takes a prompt in its place".into()));
        }
        if let Some(class) = asked.into_iter().find(|&class| class >= classes) {
            return Err(Error::Request(format!("class {class} was asked for, but the model has {classes} classes")));
        }
        let own = |i: u64| Self::One(rng::class_of(seed.wrapping_add(i), classes));
        Ok(match self {
            Self::Any if classes == 0 && net.text.is_none() => None,
            Self::Any if classes > 0 => Some((0..count as u64).map(own).collect()),
            _ => Some(vec![self; count]),
        })
    }

    /// The tokens of the prompt; none of an empty one.
    pub(crate) fn tokens(&self) -> &[Token] {
        match self {
            Self::Text(tokens) => tokens,
            _ => &[],
        }
    }

    /// The embedding's rows that it is made of, with their shares; `Any` is of the null label.
    pub(crate) fn shares(&self, null_label: usize) -> Vec<(usize, f32)> {
        match self {
            Self::Any | Self::Text(_) => vec![(null_label, 1.0)],
            Self::One(class) => vec![(*class, 1.0)],
            Self::Between(blend) => blend.parts().to_vec(),
        }
    }
}
