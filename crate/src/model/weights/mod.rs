//! Weights files: one `.safetensors` file that is all a page, the command line or Python needs.
//!
//! Tensors have the names and the PyTorch layout (`[out, in]`) of the network's parameters, as `F32`, `F16`, or, for
//! matrices, `I8` with a scale for each row ([`Precision`]). The header's metadata has one entry, `meanflow`: a JSON
//! [`ModelInfo`] with the network's configuration, the data, its licence, the training step and the format version.
//! [`encode`](crate::net::encode) writes such a file.

mod check;
pub(crate) mod dequantization;
pub(crate) mod latent_space;
pub(crate) mod values;

use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::text::Tokenizer;
use crate::model::{Blend, Condition, NetConfig};

pub use check::Check;
pub use latent_space::{LatentSpace, Normalization};
pub use values::Precision;

/// Version of the file format; readers refuse any other.
pub const FORMAT_VERSION: u32 = 1;
/// The metadata entry that holds the [`ModelInfo`].
pub(crate) const METADATA_KEY: &str = "meanflow";

/// What a weights file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Version of the file format.
    pub format_version: u32,
    /// Short name of the model.
    pub name: String,
    /// The network's configuration.
    pub net: NetConfig,
    /// Class names, in label order; empty for an unconditional model.
    pub classes: Vec<String>,
    /// The words of prompts that have rows of their own, in alphabetical order; none without text conditioning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vocabulary: Vec<String>,
    /// Where its images are latents, how they become pictures; files that do not say hold pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latent: Option<LatentSpace>,
    /// What it makes of one known seed, for engines to prove themselves by; older files do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// The images it was trained on.
    pub data: DataInfo,
    /// How it was trained.
    pub training: TrainingInfo,
}

/// Where the training images come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataInfo {
    /// What the images are.
    pub description: String,
    /// Where they come from.
    pub source: String,
    /// Their licence.
    pub license: String,
    /// How many there are.
    pub images: usize,
}

/// How the weights were trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingInfo {
    /// Optimizer steps taken.
    pub step: u64,
    /// Images per step.
    pub batch_size: usize,
    /// Seed of the run.
    pub seed: u64,
    /// Name and version of the program that wrote the file.
    pub program: String,
    /// The model whose weights the run began with, and its steps; none where it began with random ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// A hash of the run's settings but for the seed, and of which average of its weights these are: it tells runs that
    /// differ in the seed alone. None in files of older versions and of other programs; the page does not read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
}

impl ModelInfo {
    /// Index of the class called `name`.
    ///
    /// # Errors
    /// An unknown name; the message lists the model's classes.
    pub fn class_index(&self, name: &str) -> Result<usize, Error> {
        self.classes.iter().position(|class| class == name).ok_or_else(|| {
            Error::Request(match self.classes.is_empty() {
                true => format!("class `{name}` was asked for, but the model `{}` has no classes", self.name),
                false => format!("unknown class `{name}`; the model has {}", self.classes.join(", ")),
            })
        })
    }

    /// The class called `text`, or a place between classes: names with weights, such as `cat:0.6,dog:0.4`.
    ///
    /// # Errors
    /// An unknown name, or weights that are none.
    pub fn class_of(&self, text: &str) -> Result<Condition, Error> {
        if self.classes.iter().any(|class| class == text) || !text.contains(':') {
            return self.class_index(text).map(Condition::One);
        }
        let part = |part: &str| {
            let (name, weight) = part.rsplit_once(':').unwrap_or((part, "1"));
            let weight =
                weight.trim().parse().map_err(|_| Error::Request(format!("`{weight}` is no weight of a class")))?;
            Ok((self.class_index(name.trim())?, weight))
        };
        let parts = text.split(',').map(part).collect::<Result<Vec<_>, Error>>()?;
        Blend::new(&parts).map(Condition::Between)
    }

    /// What a prompt asks for; it is normalised, as [`words`](crate::model::text::words) takes it.
    ///
    /// # Errors
    /// A model that takes no prompts.
    pub fn prompt(&self, prompt: &str) -> Result<Condition, Error> {
        match self.tokenizer()? {
            Some(tokenizer) => Ok(Condition::Text(tokenizer.encode(prompt).into())),
            None => Err(Error::Request(format!("a prompt was given, but the model `{}` takes none", self.name))),
        }
    }

    /// What makes tokens of prompts; `None` for a model that is not conditioned on text.
    ///
    /// # Errors
    /// When the vocabulary does not fit the network.
    pub fn tokenizer(&self) -> Result<Option<Tokenizer<'_>>, Error> {
        self.net.text.map(|text| Tokenizer::new(&self.vocabulary, text)).transpose()
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.net.validate().map_err(|e| Error::Weights(e.to_string()))?;
        if !matches!(self.net.channels, 1 | 3 | 4) {
            return Err(Error::Weights(format!(
                "it makes images of {} channels; 1, 3 and 4 can be shown",
                self.net.channels
            )));
        }
        if self.classes.len() != self.net.classes {
            return Err(Error::Weights(format!(
                "{} class names for a network of {} classes",
                self.classes.len(),
                self.net.classes
            )));
        }
        self.tokenizer()?;
        match &self.latent {
            Some(latent) => latent.normalization.suits(self.net.channels).map_err(Error::Weights),
            None => Ok(()),
        }
    }
}

/// What a weights file says about itself, without reading its tensors.
///
/// # Errors
/// As `decode`.
pub fn read_info(bytes: &[u8]) -> Result<ModelInfo, Error> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| describe(bytes, &e))?;
    info_of(&header)
}

fn info_of(header: &Metadata) -> Result<ModelInfo, Error> {
    let json = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY)).ok_or_else(foreign)?;
    let version: Version = serde_json::from_str(json).map_err(|e| Error::Weights(format!("metadata: {e}")))?;
    accept_version(version.format_version)?;
    let info: ModelInfo = serde_json::from_str(json).map_err(|e| Error::Weights(format!("metadata: {e}")))?;
    info.validate().map(|()| info)
}

pub(crate) fn accept_version(version: u32) -> Result<(), Error> {
    match version == FORMAT_VERSION {
        true => Ok(()),
        false => {
            Err(Error::Weights(format!("format version {version}, but this program reads version {FORMAT_VERSION}")))
        }
    }
}

pub(crate) fn foreign() -> Error {
    Error::Weights("a safetensors file, but not one that meanflow wrote (no `meanflow` metadata)".into())
}

pub(crate) fn incomplete(size: usize) -> Error {
    Error::Weights(format!("the file does not end where its header says; {size} bytes are here: truncated?"))
}

/// The part of the metadata that every version has.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// Says in words what safetensors found wrong.
pub(crate) fn describe(bytes: &[u8], error: &safetensors::SafeTensorError) -> Error {
    use safetensors::SafeTensorError as E;
    let size = bytes.len();
    Error::Weights(match error {
        E::HeaderTooSmall => format!("{size} bytes are too few for a safetensors file"),
        E::MetadataIncompleteBuffer => return incomplete(size),
        E::HeaderTooLarge | E::InvalidHeaderLength | E::InvalidHeader(_) | E::InvalidHeaderDeserialization(_) => {
            format!("truncated, or no safetensors file ({error})")
        }
        _ => error.to_string(),
    })
}
