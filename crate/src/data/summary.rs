//! What a set turned out to be, in words.

use serde::{Deserialize, Serialize};

use super::{DataConfig, Fit, Images};
use crate::io;

/// Classes named with their counts.
const SHOWN: usize = 10;

/// Unreadable images named with their reasons.
const SHOWN_SKIPPED: usize = 20;

/// What was done to images so that they fit, which a user may not want.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    images: usize,
    /// Images that were smaller, and the smallest of them.
    enlarged: usize,
    smallest: Option<(u32, u32)>,
    /// Images of which a crop lost more than half, and the first of them.
    cropped: usize,
    first_cropped: Option<(String, u32, u32)>,
    /// Images of 16 bits that use 12 of them at most.
    dark: usize,
}

impl Tally {
    /// Counts an image of `dimensions` before it is made to fit.
    pub(super) fn add(&mut self, name: &str, dimensions: (u32, u32), is_dark: bool, config: &DataConfig) {
        let (width, height) = dimensions;
        let (shorter, longer) = (width.min(height), width.max(height));
        self.images += 1;
        self.dark += usize::from(is_dark);
        let decisive = if config.fit == Fit::Pad { longer } else { shorter };
        if (decisive as usize) < config.size {
            self.enlarged += 1;
            let is_smaller = |(w, h): &(u32, u32)| u64::from(width) * u64::from(height) < u64::from(*w) * u64::from(*h);
            if self.smallest.as_ref().is_none_or(is_smaller) {
                self.smallest = Some(dimensions);
            }
        }
        if matches!(config.fit, Fit::Crop | Fit::Adm) && shorter < longer.div_ceil(2) {
            self.cropped += 1;
            self.first_cropped.get_or_insert_with(|| (name.to_owned(), width, height));
        }
    }

    /// The counts of both; `other` comes after.
    pub(super) fn merge(&mut self, other: Self) {
        let area = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        self.images += other.images;
        self.enlarged += other.enlarged;
        self.smallest = self.smallest.into_iter().chain(other.smallest).min_by_key(|&size| area(size));
        self.cropped += other.cropped;
        self.first_cropped = self.first_cropped.take().or(other.first_cropped);
        self.dark += other.dark;
    }

    /// A line for each thing that a user should know.
    fn lines(&self, size: usize) -> Vec<String> {
        let total = self.images;
        let mut lines = Vec::new();
        if let (1.., Some((width, height))) = (self.enlarged, self.smallest) {
            let of = self.enlarged;
            lines.push(format!(
                "{of} of {total} images are enlarged to {size}×{size}; the smallest is {width}×{height}"
            ));
        }
        if let Some((name, width, height)) = &self.first_cropped {
            let (of, edge) = (self.cropped, width.min(height));
            lines.push(format!(
                "{of} of {total} images lose more than half to the crop: {name} is {width}×{height} and keeps \
                 {edge}×{edge}; fit = \"pad\" or \"squeeze\" keeps all of it"
            ));
        }
        if self.dark > 0 {
            lines.push(format!(
                "{} of {total} images are nearly black: they have 16 bits but no value above 4095, as if 12 bits were \
                 stored in them; scale them by 16 first",
                self.dark
            ));
        }
        lines
    }
}

impl Images {
    /// How many images there are of which classes, and the [`Self::remarks`]; a line each.
    pub fn summary(&self) -> String {
        let (count, size, channels) = (self.len(), self.size, self.channels);
        let first = format!("{count} images of {size}×{size}×{channels}, {}", self.class_counts());
        std::iter::once(first).chain(self.remarks()).collect::<Vec<_>>().join("\n")
    }

    /// What a user should know before using them: what was taken, left out, skipped or changed.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let captions = self.captions.iter().filter(|caption| !caption.is_empty()).count();
        if captions > 0 {
            remarks.push(format!("{captions} images have captions"));
        }
        remarks.extend(self.notes.iter().cloned());
        remarks.extend(self.tally.lines(self.size));
        if !self.skipped.is_empty() {
            remarks.push(format!("skipped {} unreadable images:", self.skipped.len()));
            let shown = self.skipped.iter().take(SHOWN_SKIPPED);
            remarks.extend(shown.map(|skipped| format!("  {}: {}", skipped.name, skipped.reason)));
        }
        if self.skipped.len() > SHOWN_SKIPPED {
            remarks.push(format!("  and {} more", self.skipped.len() - SHOWN_SKIPPED));
        }
        remarks
    }

    /// The first classes with how many images each has.
    fn class_counts(&self) -> String {
        let mut counts = vec![0_usize; self.classes.len()];
        self.labels.iter().filter_map(|&label| usize::try_from(label).ok()).for_each(|label| {
            if let Some(count) = counts.get_mut(label) {
                *count += 1;
            }
        });
        let named: Vec<String> = self
            .classes
            .iter()
            .zip(counts)
            .take(SHOWN)
            .map(|(class, count)| format!("{} ({count})", io::name(class)))
            .collect();
        match self.classes.len() {
            0 => "no classes".into(),
            1 => format!("1 class: {}", named.join(", ")),
            n if n > SHOWN => format!("{n} classes: {} and {} more", named.join(", "), n - SHOWN),
            n => format!("{n} classes: {}", named.join(", ")),
        }
    }
}
