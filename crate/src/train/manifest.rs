//! What a run is trained on, in a small file beside its checkpoints, so that it does not go on with other data
//! unnoticed.

use std::collections::HashMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::data::{Digest, Images};

/// Most classes that a message names.
const MAX_NAMED: usize = 5;

/// A set of images by their number, names and pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DataManifest {
    /// How many images there are.
    images: usize,
    /// The classes in the order of their labels.
    classes: Vec<ClassCount>,
    /// Digest of the images' names and labels, in their order.
    names: String,
    /// Digest of what is drawn from: pixels, or latents.
    content: String,
}

/// A class and how many images it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ClassCount {
    name: String,
    images: usize,
}

impl DataManifest {
    /// Digest of what is drawn from.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// That of a set that was loaded.
    ///
    /// # Errors
    /// When a file of latents cannot be read.
    pub fn of(images: &Images) -> Result<Self> {
        let mut counts = vec![0; images.classes.len()];
        let mut names = Digest::default();
        for (name, &label) in images.names.iter().zip(&images.labels) {
            names.add(name.as_bytes());
            names.add(&[0]);
            names.add(&label.to_le_bytes());
            if let Some(count) = counts.get_mut(label as usize) {
                *count += 1;
            }
        }
        // What a network that is conditioned on text is told.
        if !images.vocabulary.is_empty() {
            images.captions.iter().for_each(|caption| {
                names.add(caption.as_bytes());
                names.add(&[0]);
            });
        }
        let class = |(name, images): (&String, usize)| ClassCount { name: name.clone(), images };
        let content = match (&images.stored, &images.latents) {
            (Some(stored), _) => stored.digest().to_owned(),
            (None, Some(latents)) => latents.digest()?,
            (None, None) => Digest::of(&images.pixels),
        };
        Ok(Self {
            images: images.len(),
            classes: images.classes.iter().zip(counts).map(class).collect(),
            names: names.finish(),
            content,
        })
    }

    /// What is other in `now`, in words; nothing where it is the same data.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.images != now.images {
            found.push(format!("{} images then, {} now", self.images, now.images));
        }
        let [then_counts, now_counts] = [self, now].map(|manifest| {
            manifest.classes.iter().map(|class| (class.name.as_str(), class.images)).collect::<HashMap<_, _>>()
        });
        let gone = self.classes.iter().filter(|class| !now_counts.contains_key(class.name.as_str()));
        let new = now.classes.iter().filter(|class| !then_counts.contains_key(class.name.as_str()));
        let changed = now.classes.iter().filter_map(|class| {
            let before = *then_counts.get(class.name.as_str())?;
            (before != class.images)
                .then(|| format!("class `{}` had {before} images and has {}", class.name, class.images))
        });
        let classes: Vec<String> = gone
            .map(|class| format!("class `{}` is gone", class.name))
            .chain(new.map(|class| format!("class `{}` is new", class.name)))
            .chain(changed)
            .collect();
        let more = classes.len().saturating_sub(MAX_NAMED);
        found.extend(classes.into_iter().take(MAX_NAMED));
        if more > 0 {
            found.push(format!("and {more} more classes"));
        }
        if found.is_empty() && self.names != now.names {
            found.push("images have other names, or another order".into());
        }
        if found.is_empty() && self.content != now.content {
            found.push("images of the same names hold other pixels".into());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(names: &[&str], classes: &[&str], pixel: u8) -> Images {
        let images = Images::random(&crate::data::DataConfig { size: 2, ..Default::default() }, names.len());
        Images {
            pixels: vec![pixel; images.pixels.len()],
            labels: (0..names.len()).map(|i| (i % classes.len()) as u32).collect(),
            classes: classes.iter().map(|&class| class.into()).collect(),
            names: names.iter().map(|&name| name.into()).collect(),
            ..images
        }
    }

    #[test]
    fn what_differs_is_named() {
        let manifest = |names: &[&str], classes: &[&str], pixel| {
            DataManifest::of(&images(names, classes, pixel)).expect("no file is read")
        };
        let before = manifest(&["a/0", "b/0"], &["a", "b"], 7);
        let differences = |now| before.differences(&now).join("; ");
        assert_eq!(differences(manifest(&["a/0", "b/0"], &["a", "b"], 7)), "");
        assert_eq!(differences(manifest(&["b/0", "z/0"], &["b", "z"], 7)), "class `a` is gone; class `z` is new");
        assert_eq!(
            differences(manifest(&["a/0", "b/0", "a/1"], &["a", "b"], 7)),
            "2 images then, 3 now; class `a` had 1 images and has 2"
        );
        assert_eq!(differences(manifest(&["a/1", "b/0"], &["a", "b"], 7)), "images have other names, or another order");
        assert_eq!(
            differences(manifest(&["a/0", "b/0"], &["a", "b"], 8)),
            "images of the same names hold other pixels"
        );
    }
}
