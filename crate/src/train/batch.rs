//! Batches: which images, in which order, as tensors. All of it follows from the seed and the step.

use std::borrow::Cow;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::augment::Augmentation;
use super::config::TrainConfig;
use super::optimization::Optimization;
use crate::data::{DataError, Images};
use crate::model::AUGMENT_DIM;
use crate::model::from_byte;
use crate::rng::{Purpose, Stream, fold_in};

/// Draws batches without replacement: every image once per epoch, in a new order each time.
///
/// Balanced, the classes take turns, each with epochs of its own, so that small classes are seen as often as large
/// ones.
pub struct Sampler<'a> {
    images: &'a Images,
    config: Optimization,
    flip: bool,
    augmentation: Option<Augmentation>,
    dropped_last: bool,
    /// The images that take turns: one group per class, or one of all.
    groups: Vec<Group>,
}

/// Images that are shuffled together, with the order of their current epoch.
struct Group {
    members: Vec<usize>,
    epoch: Option<u64>,
}

/// Images in `[−1, 1]`, `[batch, channels, size, size]`, and their labels where there are classes.
pub struct Batch {
    /// The data `x`.
    pub images: Tensor<4>,
    /// Labels, some replaced by the null label.
    pub labels: Option<Tensor<1, Int>>,
    /// How the images were changed, `[batch, AUGMENT_DIM]`, where they were.
    pub changes: Option<Tensor<2>>,
    /// How many rows at the end have the null label and must be trained at `r = t`: with guidance, all that have it.
    pub instants: usize,
}

impl Batch {
    /// Images with their classes, as they are.
    ///
    /// # Shapes
    /// `images`: `[batch, channels, size, size]` in `[−1, 1]`; `labels`: `[batch]`, for a network with classes.
    pub fn new(images: Tensor<4>, labels: Option<Tensor<1, Int>>) -> Self {
        Self { images, labels, changes: None, instants: 0 }
    }
}

impl<'a> Sampler<'a> {
    /// Batches of `images`, of which half are mirrored with `flip`.
    pub fn new(images: &'a Images, config: &Optimization, flip: bool) -> Self {
        let mut groups: Vec<Vec<usize>> = vec![Vec::new(); images.classes.len().max(1)];
        for (index, &label) in images.labels.iter().enumerate() {
            groups[if config.balance_classes { label as usize } else { 0 }].push(index);
        }
        groups.retain(|members| !members.is_empty());
        let groups = groups.into_iter().map(|members| Group { members, epoch: None }).collect();
        Self { images, config: config.clone(), flip, augmentation: None, dropped_last: false, groups }
    }

    /// The batches of a training run.
    pub fn of_run(images: &'a Images, config: &TrainConfig) -> Self {
        let sampler = Self::new(images, &config.train, config.data.flip).with_dropped_last(config.guidance.is_on());
        Self { augmentation: config.augmentation.clone(), ..sampler }
    }

    /// Whether the rows whose label is dropped come last, as guidance needs them.
    pub fn with_dropped_last(self, dropped_last: bool) -> Self {
        Self { dropped_last, ..self }
    }

    /// The batch of a step.
    ///
    /// # Errors
    /// When the file of latents cannot be read.
    pub fn batch(&mut self, step: u64, device: &Device) -> Result<Batch, DataError> {
        let images = self.images;
        let (rows, seed) = (self.config.batch_size, self.config.seed);
        let (size, values) = (images.size, images.channels * images.size * images.size);
        let mut flips = Stream::new(seed, Purpose::Flip, step);
        let mut moments = Stream::new(seed, Purpose::Latents, step);
        let mut drops = Stream::new(seed, Purpose::Dropout, step);
        let mut augmentations = Stream::new(seed, Purpose::Augmentation, step);
        let mut changes = Vec::new();
        let mut pixels: Vec<f32> = Vec::with_capacity(rows * values);
        let mut labels = Vec::with_capacity(rows);
        let dropped: Vec<bool> = (0..rows).map(|_| drops.uniform() < self.config.class_dropout).collect();
        let mut order: Vec<usize> = (0..rows).collect();
        if self.dropped_last {
            order.sort_by_key(|&row| dropped[row]);
        }
        for row in order {
            let index = self.index(step * rows as u64 + row as u64);
            let mirrored = self.flip && flips.uniform() < 0.5;
            match &images.latents {
                Some(latents) => pixels.extend(latents.draw(index, mirrored, &mut moments)?),
                None => {
                    let image = match &images.stored {
                        Some(stored) => Cow::Owned(stored.read(index)?),
                        None => Cow::Borrowed(&images.pixels[index * values..(index + 1) * values]),
                    };
                    match mirrored {
                        true => pixels
                            .extend(image.chunks_exact(size).flat_map(|line| line.iter().rev()).map(|&b| from_byte(b))),
                        false => pixels.extend(image.iter().map(|&b| from_byte(b))),
                    }
                }
            }
            if let Some(augmentation) = &self.augmentation {
                let change = augmentation.draw(&mut augmentations);
                let start = pixels.len() - values;
                change.apply(&mut pixels[start..], size);
                changes.extend(change.augment_labels());
            }
            labels.push(if dropped[row] { images.classes.len() as i32 } else { images.labels[index] as i32 });
        }
        let shape = [rows, images.channels, size, size];
        Ok(Batch {
            images: Tensor::from_data(TensorData::new(pixels, shape), device),
            labels: (!images.classes.is_empty())
                .then(|| Tensor::<1, Int>::from_data(TensorData::new(labels, [rows]), device)),
            changes: self
                .augmentation
                .is_some()
                .then(|| Tensor::from_data(TensorData::new(changes, [rows, AUGMENT_DIM]), device)),
            instants: if self.dropped_last { dropped.into_iter().filter(|&dropped| dropped).count() } else { 0 },
        })
    }

    /// The image at a position of the endless sequence of shuffled epochs.
    fn index(&mut self, position: u64) -> usize {
        let groups = self.groups.len() as u64;
        let (turn, position) = (position % groups, position / groups);
        let group = &mut self.groups[turn as usize];
        let count = group.members.len() as u64;
        let (epoch, offset) = (position / count, (position % count) as usize);
        if group.epoch != Some(epoch) {
            // From a fixed order, so that an epoch's order does not depend on the epochs before it.
            group.members.sort_unstable();
            let seed = fold_in(self.config.seed, turn);
            shuffle(&mut group.members, &mut Stream::new(seed, Purpose::Batch, epoch));
            group.epoch = Some(epoch);
        }
        group.members[offset]
    }
}

/// Fisher–Yates.
fn shuffle(items: &mut [usize], stream: &mut Stream) {
    for i in (1..items.len()).rev() {
        items.swap(i, stream.below(i + 1));
    }
}
