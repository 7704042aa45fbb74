//! The latent space that a model or a file of latents is of: the autoencoder's reduction, and the normalization of its
//! channels.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// The latents of an autoencoder, which makes pictures of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LatentFields", into = "LatentFields")]
pub struct LatentSpace {
    /// Pixels of a picture along one edge of a latent.
    pub factor: usize,
    /// How the autoencoder's latents are normalized for training. Stored beside `factor` as `scale`, or as `mean` and
    /// `std`.
    pub normalization: Normalization,
}

/// How latents are normalized for training: `(z − mean) / std` of each channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Normalization {
    /// All channels are multiplied by one number and not shifted.
    Scale(f64),
    /// Each channel has its own mean and standard deviation, in the order of the channels.
    PerChannel {
        /// What is subtracted first.
        mean: Vec<f64>,
        /// What is divided by then, above 0.
        std: Vec<f64>,
    },
}

impl LatentSpace {
    /// That of Stable Diffusion's autoencoder, whose latents are 8 times smaller than the pictures.
    pub const STABLE_DIFFUSION: Self = Self { factor: 8, normalization: Normalization::STABLE_DIFFUSION };
}

impl fmt::Display for LatentSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "latents {} times smaller than pictures, normalized by {}", self.factor, self.normalization)
    }
}

impl Normalization {
    /// Stable Diffusion's factor (latent diffusion, arXiv 2112.10752), which MeanFlow's models of ImageNet use too.
    pub const STABLE_DIFFUSION: Self = Self::Scale(0.18215);
    /// The names that settings and the command line know.
    pub const NAMES: [&str; 2] = ["sd", "imf"];

    /// `sd` is Stable Diffusion's factor 0.18215; `imf` are the statistics of ImageNet's latents by which improved
    /// MeanFlow (arXiv 2512.02012) normalizes (`utils/vae_util.py` of its code).
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "sd" => Some(Self::STABLE_DIFFUSION),
            "imf" => Some(Self::PerChannel {
                mean: vec![0.86488, -0.27787343, 0.21616915, 0.3738409],
                std: vec![4.85503674, 5.31922414, 3.93725398, 3.9870003],
            }),
            _ => None,
        }
    }

    /// The name of these values, where they have one.
    pub fn name(&self) -> Option<&'static str> {
        Self::NAMES.into_iter().find(|name| Self::named(name).as_ref() == Some(self))
    }

    /// As settings write it, in TOML.
    pub fn as_setting(&self) -> String {
        match (self.name(), self) {
            (Some(name), _) => format!("\"{name}\""),
            (None, Self::Scale(scale)) => format!("{{ scale = {scale:?} }}"),
            (None, Self::PerChannel { mean, std }) => format!("{{ mean = {mean:?}, std = {std:?} }}"),
        }
    }

    /// What is subtracted from a channel, and what it is multiplied by then: `normalized = (z − shift) · factor`.
    ///
    /// # Panics
    /// When there is no such channel; see [`Self::suits`].
    pub fn shift_and_factor(&self, channel: usize) -> [f64; 2] {
        match self {
            Self::Scale(scale) => [0.0, *scale],
            Self::PerChannel { mean, std } => [mean[channel], 1.0 / std[channel]],
        }
    }

    /// Checks that it is for latents of so many channels.
    ///
    /// # Errors
    /// The reason why not.
    pub fn suits(&self, channels: usize) -> Result<(), String> {
        match self {
            Self::PerChannel { mean, .. } if mean.len() != channels => {
                Err(format!("it normalizes {} channels of latents, but there are {channels}", mean.len()))
            }
            _ => Ok(()),
        }
    }

    /// Its words have no numbers of floating point: to print one would be ten kilobytes of a browser's download.
    fn validate(self) -> Result<Self, String> {
        let usable = |x: &f64| *x > 0.0 && x.is_finite();
        match &self {
            Self::Scale(scale) if !usable(scale) => Err("scale must be above 0".into()),
            Self::PerChannel { mean, std } if mean.len() != std.len() || mean.is_empty() => {
                Err("mean and std must have a number for each channel".into())
            }
            Self::PerChannel { mean, std } if !mean.iter().all(|x| x.is_finite()) || !std.iter().all(usable) => {
                Err("every mean must be finite, and every std above 0".into())
            }
            _ => Ok(self),
        }
    }
}

impl fmt::Display for Normalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name() {
            write!(f, "\"{name}\", ")?;
        }
        match self {
            Self::Scale(scale) => write!(f, "scale {scale}"),
            Self::PerChannel { mean, std } => write!(f, "mean {mean:?} and std {std:?}"),
        }
    }
}

impl FromStr for Normalization {
    type Err = Error;

    /// A name, a factor such as `0.13025`, or means and standard deviations such as `0.1,0.2/4.5,5`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let list = |text: &str| text.split(',').map(|x| x.trim().parse::<f64>()).collect::<Result<Vec<_>, _>>();
        let parsed = match (Self::named(text), text.split_once('/'), text.parse()) {
            (Some(known), ..) => Ok(known),
            (_, Some((mean, std)), _) => match (list(mean), list(std)) {
                (Ok(mean), Ok(std)) => Self::PerChannel { mean, std }.validate(),
                _ => Err("means and standard deviations are numbers, such as 0.1,0.2/4.5,5".into()),
            },
            (.., Ok(scale)) => Self::Scale(scale).validate(),
            _ => Err(unknown(text)),
        };
        parsed.map_err(Error::Config)
    }
}

fn unknown(name: &str) -> String {
    format!("unknown normalization `{name}`; there are {}, or values of your own", Normalization::NAMES.join(" and "))
}

/// The values of a normalization as settings and metadata have them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NormalizationFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f64>>,
}

impl TryFrom<NormalizationFields> for Normalization {
    type Error = String;

    fn try_from(values: NormalizationFields) -> Result<Self, String> {
        let given = match values {
            NormalizationFields { scale: Some(scale), mean: None, std: None } => Self::Scale(scale),
            NormalizationFields { scale: None, mean: Some(mean), std: Some(std) } => Self::PerChannel { mean, std },
            _ => return Err("latents are normalized either by `scale`, or by `mean` and `std`".into()),
        };
        given.validate()
    }
}

impl From<Normalization> for NormalizationFields {
    fn from(normalization: Normalization) -> Self {
        match normalization {
            Normalization::Scale(scale) => Self { scale: Some(scale), ..Self::default() },
            Normalization::PerChannel { mean, std } => Self { mean: Some(mean), std: Some(std), scale: None },
        }
    }
}

/// In settings: a name, or a table of values.
impl Serialize for Normalization {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.name() {
            Some(name) => serializer.serialize_str(name),
            None => NormalizationFields::from(self.clone()).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Normalization {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrValues;

        impl<'de> Visitor<'de> for NameOrValues {
            type Value = Normalization;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "the name of a normalization ({}), or its values", Normalization::NAMES.join(", "))
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Normalization, E> {
                Normalization::named(name).ok_or_else(|| E::custom(unknown(name)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Normalization, A::Error> {
                let values = NormalizationFields::deserialize(MapAccessDeserializer::new(map))?;
                values.try_into().map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(NameOrValues)
    }
}

/// A latent space as metadata has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LatentFields {
    pub factor: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f64>>,
}

impl TryFrom<LatentFields> for LatentSpace {
    type Error = String;

    fn try_from(LatentFields { factor, scale, mean, std }: LatentFields) -> Result<Self, String> {
        let normalization = NormalizationFields { scale, mean, std }.try_into()?;
        // It multiplies edges: more would be no autoencoder.
        match (1..=64).contains(&factor) {
            true => Ok(Self { factor, normalization }),
            false => Err(format!("factor is {factor}; it must be 1 to 64")),
        }
    }
}

impl From<LatentSpace> for LatentFields {
    fn from(LatentSpace { factor, normalization }: LatentSpace) -> Self {
        let NormalizationFields { scale, mean, std } = normalization.into();
        Self { factor, scale, mean, std }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an older file says keeps its meaning, and what it always meant is written as it always was.
    #[test]
    fn metadata_has_a_scale_or_the_statistics_of_each_channel() {
        let read = |json: &str| serde_json::from_str::<LatentSpace>(json).map_err(|e| e.to_string());
        let old = r#"{"factor":8,"scale":0.18215}"#;
        assert_eq!(read(old), Ok(LatentSpace::STABLE_DIFFUSION));
        assert_eq!(serde_json::to_string(&LatentSpace::STABLE_DIFFUSION).expect("it is written"), old);
        let imf = LatentSpace { factor: 8, normalization: Normalization::named("imf").expect("it is known") };
        let json = serde_json::to_string(&imf).expect("it is written");
        assert!(json.starts_with(r#"{"factor":8,"mean":[0.86488,-0.27787343,"#), "{json}");
        assert_eq!(read(&json), Ok(imf));
        for (json, reason) in [
            (r#"{"factor":8}"#, "either by `scale`, or by `mean` and `std`"),
            (r#"{"factor":8,"scale":1.0,"mean":[0.0],"std":[1.0]}"#, "either by `scale`"),
            (r#"{"factor":8,"mean":[0.0,1.0],"std":[1.0]}"#, "a number for each channel"),
            (r#"{"factor":8,"mean":[0.0],"std":[0.0]}"#, "every std above 0"),
            (r#"{"factor":8,"scale":-1.0}"#, "above 0"),
            (r#"{"factor":0,"scale":1.0}"#, "factor is 0"),
        ] {
            assert!(read(json).expect_err(json).contains(reason), "{json}");
        }
    }

    #[test]
    fn settings_have_a_name_or_values() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Table {
            normalization: Normalization,
        }
        let read =
            |text: &str| toml::from_str::<Table>(text).map(|table| table.normalization).map_err(|e| e.to_string());
        for (text, values) in [
            ("normalization = \"sd\"", Normalization::Scale(0.18215)),
            ("normalization = { scale = 0.13025 }", Normalization::Scale(0.13025)),
            (
                "normalization = { mean = [0.5, 1.0], std = [2.0, 3.0] }",
                Normalization::PerChannel { mean: vec![0.5, 1.0], std: vec![2.0, 3.0] },
            ),
        ] {
            assert_eq!(read(text).as_ref(), Ok(&values), "{text}");
            let written = toml::to_string(&Table { normalization: values.clone() }).expect("it is written");
            assert_eq!(read(&written).as_ref(), Ok(&values), "{written}");
            assert_eq!(read(&format!("normalization = {}", values.as_setting())), Ok(values));
        }
        let error = read("normalization = \"sdxl\"").expect_err("it is unknown");
        assert!(error.contains("unknown normalization `sdxl`; there are sd and imf"), "{error}");
        assert!(read("normalization = { scales = 1.0 }").expect_err("a slip").contains("unknown field `scales`"));
        assert!(read("normalization = 1.0").expect_err("a number").contains("the name of a normalization"));
    }

    #[test]
    fn the_command_line_has_a_name_or_values() {
        let read = |text: &str| text.parse::<Normalization>().map_err(|e| e.to_string());
        assert_eq!(read("imf").expect("a name").name(), Some("imf"));
        assert_eq!(read("0.13025").expect("a factor"), Normalization::Scale(0.13025));
        let both = Normalization::PerChannel { mean: vec![0.5, -1.0], std: vec![2.0, 3.0] };
        assert_eq!(read("0.5,-1/2,3").expect("both"), both);
        assert!(both.suits(2).is_ok() && both.suits(4).expect_err("two of four").contains("2 channels"));
        for (text, reason) in
            [("vae", "unknown normalization `vae`"), ("1/x", "are numbers"), ("1,2/1", "each channel")]
        {
            assert!(read(text).expect_err(text).contains(reason), "{text}");
        }
    }
}
