//! What an evaluation found: one line of JSON each, from which tables and plots are made again at any time.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::identity::ModelId;
use super::neighbours::NearestDistance;
use super::resize::InceptionResize;

/// One model, sampled in one way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The model's name.
    pub model: String,
    /// Which file it is of; older results do not say.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub id: Option<ModelId>,
    /// The seed that it was trained with; runs that differ in it alone become one row.
    pub seed: u64,
    /// The seed of the first generated image and of every random draw of real ones; older results do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_seed: Option<u64>,
    /// The solver.
    pub solver: String,
    /// Network calls per image.
    pub nfe: usize,
    /// Whether each image is of the caption of a real one; else of a class that its seed draws, or of none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub captioned: bool,
    /// Generated images.
    pub images: usize,
    /// Real images that they were compared with.
    pub real: usize,
    /// What the distance is called: `FID` on Inception's features, `FD` on others.
    pub metric: String,
    /// What the features are.
    pub features: String,
    /// How images were resized for Inception; older results resized as pytorch-fid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inception_resize: Option<InceptionResize>,
    /// Fréchet distance, where there are enough images for one.
    pub distance: Option<f64>,
    /// Why there is no distance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_distance: Option<String>,
    /// Kernel distance, mean over subsets.
    pub kernel: f64,
    /// Its standard deviation over subsets.
    pub kernel_std: f64,
    /// How many subsets, and the images of either kind in each; older results do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_subsets: Option<[usize; 2]>,
    /// Share of generated images that are like real ones.
    pub precision: f64,
    /// Share of real images that are like generated ones.
    pub recall: f64,
    /// Which images precision and recall are of.
    #[serde(default)]
    pub manifold: Manifold,
    /// How far the images are from the nearest real one, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest_distance: Option<NearestDistance>,
    /// Seconds per generated image.
    pub seconds: f64,
}

/// The images that precision and recall compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifold {
    /// How the real ones were chosen.
    pub draw: Draw,
    /// How many of them, and of the generated ones; older results do not say, and have at most 5000 of either kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<[usize; 2]>,
}

/// How some images are chosen of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Draw {
    /// The first in the order of the set, which names of files decide: what results are of that do not say.
    #[default]
    First,
    /// At random, each image being as likely.
    Uniform,
}

/// Reads the records of some files, in order.
///
/// # Errors
/// Names the file and the line that is no record.
pub fn read_records<P: AsRef<Path>>(files: &[P]) -> Result<Vec<Evaluation>> {
    let mut records = Vec::new();
    for file in files {
        let file = file.as_ref();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let record = serde_json::from_str(line);
            let record: Evaluation =
                record.with_context(|| format!("{}, line {}: no evaluation", file.display(), number + 1))?;
            records.push(record.completed());
        }
    }
    Ok(records)
}

impl Evaluation {
    /// With what a result of older versions leaves open.
    fn completed(mut self) -> Self {
        if self.metric == "FID" {
            self.inception_resize.get_or_insert(InceptionResize::PytorchFid);
        }
        self
    }

    /// What its figures were measured with, in words: results on different features do not compare.
    pub fn measure(&self) -> String {
        match self.inception_resize {
            Some(resize) => format!("{}, images resized as {}", self.features, resize.name()),
            None => self.features.clone(),
        }
    }
}
