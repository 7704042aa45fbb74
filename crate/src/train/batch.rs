//! Batches: which images, in which order, as tensors. All of it follows from the seed and the step.

use std::borrow::Cow;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::augment::Augmentation;
use super::config::TrainConfig;
use crate::data::{DataError, Images, caption_lines};
use crate::error::Error;
use crate::learn::batch::OwnRows;
use crate::learn::part::Part;
use crate::learn::{Batch, Optimization, ProcessGroup};
use crate::model::AUGMENT_DIM;
use crate::model::from_byte;
use crate::model::text::{Token, Tokenizer, words};
use crate::net::Prompts;
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
    /// What makes tokens of the captions, for a network that is conditioned on text.
    tokenizer: Option<Tokenizer<'a>>,
    /// The part of every batch that is read, of groups of so many rows.
    part: (Part, usize),
    /// The images that take turns: one group per class, or one of all.
    groups: Vec<Group>,
}

/// Images that are shuffled together, with the order of their current epoch.
struct Group {
    members: Vec<usize>,
    epoch: Option<u64>,
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
        let (augmentation, tokenizer, part) = (None, None, (Part::WHOLE, 1));
        Self { images, config: config.clone(), flip, augmentation, dropped_last: false, tokenizer, part, groups }
    }

    /// Reads only those images of every batch that this process takes; `group` is how many neighbouring rows stay
    /// together ([`Objective::group`](crate::flow::Objective::group)).
    ///
    /// # Errors
    /// When there are more processes than groups of rows.
    pub fn for_process(self, processes: &dyn ProcessGroup, group: usize) -> Result<Self, Error> {
        let (rows, count) = (self.config.batch_size, processes.size());
        if rows.div_ceil(group) < count {
            return Err(Error::Config(format!(
                "[train] batch_size is {rows}, too small for {count} processes: each takes {group} or more of its rows"
            )));
        }
        Ok(Self { part: (Part { index: processes.rank(), count }, group), ..self })
    }

    /// The batches of a training run.
    pub fn of_run(images: &'a Images, config: &TrainConfig) -> Self {
        let sampler = Self::new(images, &config.train, config.data.flip).with_dropped_last(config.guidance.is_on());
        // The vocabulary is that of the network, which was made for these images.
        let text = config.net_for(images).ok().and_then(|net| net.text);
        let tokenizer = text.and_then(|text| Tokenizer::new(&images.vocabulary, text).ok());
        Self { augmentation: config.augmentation.clone(), tokenizer, ..sampler }
    }

    /// Whether the rows whose label is dropped come last, as guidance needs them.
    pub fn with_dropped_last(self, dropped_last: bool) -> Self {
        Self { dropped_last, ..self }
    }

    /// The images of a step's batch, as their places in the set: those of all processes, in the order in which they
    /// are drawn.
    pub(crate) fn rows(&mut self, step: u64) -> Vec<usize> {
        let rows = self.config.batch_size as u64;
        (step * rows..(step + 1) * rows).map(|position| self.index(position)).collect()
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
        let mut captions = Stream::new(seed, Purpose::Captions, step);
        let (mut changes, mut prompts) = (Vec::new(), Vec::new());
        let (part, group) = self.part;
        let own = part.rows(rows, group);
        let mut pixels: Vec<f32> = Vec::with_capacity(own.len() * values);
        let mut labels = Vec::with_capacity(rows);
        let dropped: Vec<bool> = (0..rows).map(|_| drops.uniform() < self.config.class_dropout).collect();
        let mut order: Vec<usize> = (0..rows).collect();
        if self.dropped_last {
            order.sort_by_key(|&row| dropped[row]);
        }
        for (place, row) in order.into_iter().enumerate() {
            let index = self.index(step * rows as u64 + row as u64);
            let mirrored = self.flip && flips.uniform() < 0.5;
            // Images of other processes are not read; their random numbers are drawn, so that all streams stay in step.
            let is_own = own.binary_search(&place).is_ok();
            match &images.latents {
                Some(latents) if is_own => pixels.extend(latents.draw(index, mirrored, &mut moments)?),
                Some(latents) => latents.skip(&mut moments),
                None if !is_own => {}
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
                if is_own {
                    let start = pixels.len() - values;
                    change.apply(&mut pixels[start..], size);
                }
                changes.extend(change.augment_labels());
            }
            if let Some(tokenizer) = self.tokenizer {
                let prompt = self.draw_prompt(tokenizer, &images.captions[index], &mut captions);
                prompts.push(if dropped[row] { Vec::new() } else { prompt });
            }
            labels.push(if dropped[row] { images.classes.len() as i32 } else { images.labels[index] as i32 });
        }
        let shape = [own.len(), images.channels, size, size];
        Ok(Batch {
            images: Tensor::from_data(TensorData::new(pixels, shape), device),
            labels: (!images.classes.is_empty())
                .then(|| Tensor::<1, Int>::from_data(TensorData::new(labels, [rows]), device)),
            prompts: self.tokenizer.map(|tokenizer| Prompts::new(&prompts, tokenizer.config(), device)),
            changes: self
                .augmentation
                .is_some()
                .then(|| Tensor::from_data(TensorData::new(changes, [rows, AUGMENT_DIM]), device)),
            instants: if self.dropped_last { dropped.into_iter().filter(|&dropped| dropped).count() } else { 0 },
            own: (part != Part::WHOLE).then_some(OwnRows { part, rows: own, of: rows }),
        })
    }

    /// So many captions, from all over the set: what sample grids show. None without text conditioning.
    pub fn sample_captions(&self, count: usize) -> Vec<String> {
        let captions = &self.images.captions;
        let first =
            |i: usize| caption_lines(&captions[i * captions.len() / count]).next().unwrap_or_default().to_owned();
        if self.tokenizer.is_some() { (0..count).map(first).collect() } else { Vec::new() }
    }

    /// The tokens of one of an image's captions, of which words may be dropped or told as unknown ones are.
    fn draw_prompt(&self, tokenizer: Tokenizer, captions: &str, stream: &mut Stream) -> Vec<Token> {
        let lines: Vec<&str> = caption_lines(captions).collect();
        if lines.is_empty() {
            return Vec::new();
        }
        let caption = lines[stream.below(lines.len())];
        let drop = if stream.uniform() < self.config.word_dropout { stream.uniform() } else { 0.0 };
        let mut prompt = Vec::new();
        for word in words(caption) {
            let is_kept = stream.uniform() >= drop;
            let token = match stream.uniform() < self.config.misspelling {
                true if stream.uniform() < 0.5 => tokenizer.trigrams(&misspelt(word, stream)),
                true => tokenizer.trigrams(word),
                false => tokenizer.token(word),
            };
            if is_kept {
                prompt.push(token);
            }
        }
        prompt
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

/// A word with a letter doubled, left out, or in the place of the next one.
fn misspelt(word: &str, stream: &mut Stream) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    let at = stream.below(letters.len());
    match stream.below(3) {
        0 => letters.insert(at, letters[at]),
        1 if letters.len() > 1 => drop(letters.remove(at)),
        _ if at + 1 < letters.len() => letters.swap(at, at + 1),
        _ => {}
    }
    letters.into_iter().collect()
}

/// Fisher–Yates.
fn shuffle(items: &mut [usize], stream: &mut Stream) {
    for i in (1..items.len()).rev() {
        items.swap(i, stream.below(i + 1));
    }
}
