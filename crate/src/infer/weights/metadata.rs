//! What a weights file says about itself, read for the page; natively serde derives the same.

use super::json::{Entries, FromJson, Json, parse};
use crate::error::Error;
use crate::model::config::{default_mlp_ratio, default_noise_scale};
use crate::model::text::{TextConditioning, TextConfig};
use crate::model::weights::latent_space::LatentFields;
use crate::model::weights::{Check, DataInfo, LatentSpace, ModelInfo, TrainingInfo, accept_version};
use crate::model::{
    Architecture, GuidanceInputs, InContextConfig, NetConfig, Output, Positions, TimeInputs, UnetConfig,
};

/// From the JSON of the metadata.
///
/// # Errors
/// Another version of the format, and a description that is wrong or contradicts itself.
pub(super) fn read(json: &str) -> Result<ModelInfo, Error> {
    let wrong = |reason| Error::Weights(format!("metadata: {reason}"));
    let mut of = parse(json.as_bytes()).and_then(Entries::of).map_err(wrong)?;
    let version = of.required("format_version").map_err(wrong)?;
    accept_version(version)?;
    let info = model(version, of).map_err(wrong)?;
    info.validate().map(|()| info)
}

fn model(format_version: u32, mut of: Entries) -> Result<ModelInfo, String> {
    Ok(ModelInfo {
        format_version,
        name: of.required("name")?,
        net: of.required("net")?,
        classes: of.required("classes")?,
        vocabulary: of.or_default("vocabulary")?,
        latent: of.or_default("latent")?,
        check: of.or_default("check")?,
        data: of.required("data")?,
        training: of.required("training")?,
    })
}

impl FromJson for LatentSpace {
    fn from_json(json: Json) -> Result<Self, String> {
        let mut of = Entries::of(json)?;
        let fields = LatentFields {
            factor: of.required("factor")?,
            scale: of.optional("scale")?,
            mean: of.optional("mean")?,
            std: of.optional("std")?,
        };
        of.end()?;
        fields.try_into()
    }
}

impl FromJson for Check {
    fn from_json(json: Json) -> Result<Self, String> {
        let mut of = Entries::of(json)?;
        let check =
            Self { seed: of.required("seed")?, means: of.required("means")?, tolerance: of.required("tolerance")? };
        of.end().map(|()| check)
    }
}

impl FromJson for DataInfo {
    fn from_json(json: Json) -> Result<Self, String> {
        let mut of = Entries::of(json)?;
        Ok(Self {
            description: of.or_default("description")?,
            source: of.or_default("source")?,
            license: of.or_default("license")?,
            images: of.or_default("images")?,
        })
    }
}

impl FromJson for TrainingInfo {
    fn from_json(json: Json) -> Result<Self, String> {
        let mut of = Entries::of(json)?;
        Ok(Self {
            step: of.or_default("step")?,
            batch_size: of.or_default("batch_size")?,
            seed: of.or_default("seed")?,
            program: of.or_default("program")?,
            init: of.or_default("init")?,
            settings: None,
        })
    }
}

impl FromJson for NetConfig {
    fn from_json(json: Json) -> Result<Self, String> {
        let mut of = Entries::of(json)?;
        let config = Self {
            image_size: of.required("image_size")?,
            channels: of.required("channels")?,
            patch: of.required("patch")?,
            width: of.required("width")?,
            depth: of.required("depth")?,
            heads: of.required("heads")?,
            mlp_ratio: of.optional("mlp_ratio")?.unwrap_or_else(default_mlp_ratio),
            noise_scale: of.optional("noise_scale")?.unwrap_or_else(default_noise_scale),
            classes: of.or_default("classes")?,
            times: of.or_default("times")?,
            output: of.or_default("output")?,
            architecture: of.or_default("architecture")?,
            guidance: of.or_default("guidance")?,
            text: of.optional("text")?,
            velocity_head: of.or_default("velocity_head")?,
            decoder_depth: of.or_default("decoder_depth")?,
        };
        of.end().map(|()| config)
    }
}

impl FromJson for Architecture {
    fn from_json(json: Json) -> Result<Self, String> {
        let mut of = Entries::of(json)?;
        let architecture = match of.required::<String>("kind")?.as_str() {
            "dit" => Self::Dit,
            "in-context" => Self::InContext(InContextConfig {
                hidden: of.required("hidden")?,
                class_tokens: of.required("class_tokens")?,
                guidance_tokens: of.required("guidance_tokens")?,
                interval_tokens: of.required("interval_tokens")?,
                time_tokens: of.required("time_tokens")?,
                bottleneck: of.or_default("bottleneck")?,
                positions: of.or_default("positions")?,
            }),
            "unet" => Self::Unet(UnetConfig {
                multipliers: of.required("multipliers")?,
                attention: of.required("attention")?,
                augmentation: of.or_default("augmentation")?,
            }),
            other => return Err(format!("unknown kind `{other}`")),
        };
        of.end().map(|()| architecture)
    }
}

impl FromJson for TextConfig {
    fn from_json(json: Json) -> Result<Self, String> {
        let mut of = Entries::of(json)?;
        let text = Self {
            vocabulary: of.required("vocabulary")?,
            buckets: of.required("buckets")?,
            tokens: of.required("tokens")?,
            conditioning: of.or_default("conditioning")?,
        };
        of.end().map(|()| text)
    }
}

impl FromJson for TextConditioning {
    fn from_json(json: Json) -> Result<Self, String> {
        one_of(json, &[("in-context", Self::InContext), ("keys-values", Self::KeysValues), ("adaln", Self::Adaln)])
    }
}

impl FromJson for TimeInputs {
    fn from_json(json: Json) -> Result<Self, String> {
        let names = [("t,h", Self::TAndH), ("t,r", Self::TAndR), ("t,r,h", Self::All), ("h", Self::H), ("t", Self::T)];
        one_of(json, &names)
    }
}

impl FromJson for Output {
    fn from_json(json: Json) -> Result<Self, String> {
        one_of(json, &[("velocity", Self::Velocity), ("image", Self::Image)])
    }
}

impl FromJson for GuidanceInputs {
    fn from_json(json: Json) -> Result<Self, String> {
        one_of(json, &[("none", Self::None), ("scale", Self::Scale), ("scale-and-interval", Self::ScaleAndInterval)])
    }
}

impl FromJson for Positions {
    fn from_json(json: Json) -> Result<Self, String> {
        one_of(json, &[("sequence", Self::Sequence), ("plane", Self::Plane)])
    }
}

/// The one that has this name.
pub(super) fn one_of<T: Copy>(json: Json, names: &[(&str, T)]) -> Result<T, String> {
    let text = String::from_json(json)?;
    let found = names.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| format!("unknown name `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::weights::{FORMAT_VERSION, Normalization};

    fn info(net: NetConfig) -> ModelInfo {
        ModelInfo {
            format_version: FORMAT_VERSION,
            name: "ü \"quoted\" \\ \u{1}".into(),
            classes: (0..net.classes).map(|i| format!("class {i}")).collect(),
            vocabulary: (0..net.text.as_ref().map_or(0, |text| text.vocabulary))
                .map(|i| format!("word{i:05}"))
                .collect(),
            net,
            latent: Some(LatentSpace::STABLE_DIFFUSION),
            check: Some(Check { seed: u64::MAX, means: vec![-0.6353, 1.0229, 1e-7], tolerance: 0.02 }),
            data: DataInfo { description: "squares".into(), source: "here".into(), license: "CC0".into(), images: 7 },
            training: TrainingInfo {
                step: 42,
                batch_size: 8,
                seed: 1,
                program: "test".into(),
                init: Some("x".into()),
                settings: None,
            },
        }
    }

    /// Everything that serde derives a name for, and every field that a file may leave out.
    #[test]
    fn what_serde_writes_is_read_as_it_was() {
        let plain = NetConfig::preset("browser-s", 16, 4, 3).expect("a preset");
        let in_context = InContextConfig {
            hidden: 64,
            class_tokens: 1,
            guidance_tokens: 2,
            interval_tokens: 3,
            time_tokens: 4,
            bottleneck: Some(5),
            positions: Positions::Plane,
        };
        let in_sequence = InContextConfig { bottleneck: None, positions: Positions::Sequence, ..in_context.clone() };
        let unet = UnetConfig { multipliers: vec![1, 2], attention: vec![8], augmentation: true };
        let architectures =
            [Architecture::Dit, Architecture::InContext(in_context), Architecture::InContext(in_sequence)];
        let times = [TimeInputs::TAndH, TimeInputs::TAndR, TimeInputs::All, TimeInputs::H, TimeInputs::T];
        let guidance = [GuidanceInputs::None, GuidanceInputs::Scale, GuidanceInputs::ScaleAndInterval];
        let mut configs = vec![plain.clone()];
        configs.extend(times.map(|times| NetConfig { times, velocity_head: Some(1), ..plain.clone() }));
        configs.extend(guidance.map(|guidance| NetConfig { guidance, output: Output::Image, ..plain.clone() }));
        configs.extend(architectures.map(|architecture| NetConfig {
            architecture,
            times: TimeInputs::H,
            mlp_ratio: 2,
            ..plain.clone()
        }));
        configs.push(NetConfig { decoder_depth: Some(2), times: TimeInputs::T, ..plain.clone() });
        configs.push(NetConfig { noise_scale: 2.5, ..plain.clone() });
        let one = NetConfig { patch: 1, heads: 1, ..plain };
        configs.push(NetConfig { architecture: Architecture::Unet(unet), ..one });
        for net in configs {
            let model = info(net);
            let json = serde_json::to_string(&model).expect("it is written");
            assert_eq!(read(&json).expect(&json), model);
            let normalization = Normalization::named("imf").expect("it is known");
            let other = ModelInfo { latent: Some(LatentSpace { factor: 4, normalization }), ..model.clone() };
            let json = serde_json::to_string(&other).expect("it is written");
            assert_eq!(read(&json).expect(&json), other);
            let bare = ModelInfo {
                latent: None,
                check: None,
                data: DataInfo::default(),
                training: TrainingInfo::default(),
                ..model
            };
            let json = serde_json::to_string(&bare).expect("it is written");
            assert_eq!(read(&json).expect(&json), bare);
        }
    }

    #[test]
    fn what_is_unknown_in_a_network_is_refused_and_elsewhere_passed_over() {
        let json = serde_json::to_string(&info(NetConfig::preset("browser-s", 16, 4, 3).expect("a preset")));
        let json = json.expect("it is written");
        let with = |from: &str, to: &str| {
            assert!(json.contains(from), "{json} has no {from}");
            read(&json.replacen(from, to, 1)).map_err(|error| error.to_string())
        };
        with("\"name\":", "\"future\":[{}],\"name\":").expect("a newer program's");
        with("\"step\":", "\"future\":1,\"step\":").expect("a newer program's");
        for (from, to, reason) in [
            ("\"width\":", "\"future\":1,\"width\":", "metadata: net: unknown field `future`"),
            ("\"width\":", "\"depths\":", "metadata: net: missing field `width`"),
            ("\"factor\":8", "\"factor\":8,\"shift\":0", "metadata: latent: unknown field `shift`"),
            ("\"format_version\":1", "\"format_version\":2", "format version 2"),
            ("\"classes\":[\"class 0\"", "\"classes\":[0", "metadata: classes: expected a text"),
        ] {
            let error = with(from, to).expect_err(reason);
            assert!(error.contains(reason), "{error} does not say {reason}");
        }
    }
}
