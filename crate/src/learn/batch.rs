//! A batch: images, and what the network is conditioned on.

use burn::tensor::{Int, Tensor};

use super::part::Part;
use crate::net::{Labels, Prompts};

/// Images in `[−1, 1]`, `[batch, channels, size, size]`, and their labels where there are classes.
pub struct Batch {
    /// The data `x`.
    pub images: Tensor<4>,
    /// Labels, some replaced by the null label.
    pub labels: Option<Tensor<1, Int>>,
    /// The captions as a network that is conditioned on text is told them, some replaced by the empty one.
    pub prompts: Option<Prompts>,
    /// How the images were changed, `[batch, AUGMENT_DIM]`, where they were.
    pub changes: Option<Tensor<2>>,
    /// How many rows at the end have the null label and must be trained at `r = t`: with guidance, all that have it.
    pub instants: usize,
    /// Where several processes share the batch, the rows of `images`; all else is of the whole batch.
    pub(crate) own: Option<OwnRows>,
}

/// The rows of a batch that a process takes.
#[derive(Clone)]
pub(crate) struct OwnRows {
    pub part: Part,
    pub rows: Vec<usize>,
    /// How many rows the batch has.
    pub of: usize,
}

impl Batch {
    /// Images with their classes, as they are.
    ///
    /// # Shapes
    /// `images`: `[batch, channels, size, size]` in `[−1, 1]`; `labels`: `[batch]`, for a network with classes.
    pub fn new(images: Tensor<4>, labels: Option<Tensor<1, Int>>) -> Self {
        Self { images, labels, prompts: None, changes: None, instants: 0, own: None }
    }

    /// How many rows it has, with those of other processes.
    pub(super) fn rows(&self) -> usize {
        self.own.as_ref().map_or(self.images.dims()[0], |own| own.of)
    }

    /// What the network is conditioned on, where it is on anything.
    pub(super) fn conditioning(&self) -> Option<Labels> {
        let Self { labels, prompts, changes, .. } = self;
        match (labels.clone(), changes.clone(), prompts.clone()) {
            (classes, Some(changes), _) => Some(Labels::with_augment_labels(classes, changes)),
            (Some(classes), None, Some(prompts)) => Some(Labels::from(classes).with_prompts(prompts)),
            (None, None, prompts) => prompts.map(Labels::from),
            (classes, None, None) => classes.map(Labels::from),
        }
    }
}
