//! Sizes of the network, the published presets, and what makes a configuration valid.

use serde::{Deserialize, Serialize};

use super::text::TextConfig;
use crate::error::{Error, check};

/// The shape of a network (`net::Net`); stored with the weights, so a weights file needs nothing beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetConfig {
    /// Edge of the square images, in pixels.
    pub image_size: usize,
    /// Channels: 3 for RGB, 4 for RGBA (alpha is generated like a colour), 1 for grey.
    pub channels: usize,
    /// Edge of a patch, in pixels; divides `image_size`.
    pub patch: usize,
    /// Features per token; a multiple of 4 (positions) and of `heads`.
    pub width: usize,
    /// Number of transformer blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP over `width`.
    #[serde(default = "default_mlp_ratio")]
    pub mlp_ratio: usize,
    /// Number of classes; 0 makes the network unconditional.
    #[serde(default)]
    pub classes: usize,
    /// Which times the network is told; files that do not say were told `t, h`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub times: TimeInputs,
    /// What the last layer gives; files that do not say give the velocity.
    #[serde(default, skip_serializing_if = "is_default")]
    pub output: Output,
    /// How it is built; files that do not say hold a Diffusion Transformer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub architecture: Architecture,
    /// What it is told of guidance; files that do not say are told nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub guidance: GuidanceInputs,
    /// How it is conditioned on text; files that do not say are not.
    #[serde(default, skip_serializing_if = "is_default")]
    pub text: Option<TextConfig>,
    /// Blocks that the auxiliary head for the instantaneous velocity has of its own, where there is such a head
    /// (improved MeanFlow, arXiv 2512.02012). Only training needs it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub velocity_head: Option<usize>,
    /// Last blocks that are told `r` in place of `t`, and with them the output layer, where there are any: the decoder
    /// of decoupled MeanFlow (arXiv 2510.24474), in a Diffusion Transformer with `times` `"t"`. Its one embedding of
    /// time serves both, so its parameters are those of the Flow Matching network without it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub decoder_depth: Option<usize>,
    /// Standard deviation of the noise at `t = 1` (pixel MeanFlow, arXiv 2601.22158, which lets it grow with the
    /// image); files that do not say have 1. Above 0, at most 100.
    #[serde(default = "default_noise_scale", skip_serializing_if = "is_default_noise_scale")]
    pub noise_scale: f64,
}

/// How a network is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Architecture {
    /// Diffusion Transformer (arXiv 2212.09748): times and class modulate its blocks.
    #[default]
    Dit,
    /// The transformer of improved and pixel MeanFlow: times and class are tokens. It is told `h` alone.
    InContext(InContextConfig),
    /// The U-Net of the CIFAR-10 experiments. `width` is its base of channels, `depth` its blocks per level; `patch`
    /// and `heads` are 1, and `mlp_ratio` means nothing.
    Unet(UnetConfig),
}

/// What is particular to the transformer of improved and pixel MeanFlow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InContextConfig {
    /// Hidden features of the MLP.
    pub hidden: usize,
    /// Tokens for the class.
    pub class_tokens: usize,
    /// Tokens for the scale of guidance.
    pub guidance_tokens: usize,
    /// Tokens for each end of the interval of guidance.
    pub interval_tokens: usize,
    /// Tokens for the time.
    pub time_tokens: usize,
    /// Features that a patch is first pressed into, where it is (pixel MeanFlow).
    #[serde(default, skip_serializing_if = "is_default")]
    pub bottleneck: Option<usize>,
    /// How tokens know their place.
    #[serde(default, skip_serializing_if = "is_default")]
    pub positions: Positions,
}

/// How the tokens of a sequence know their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// Rotary along the whole sequence (improved MeanFlow).
    #[default]
    Sequence,
    /// A learned row per token, and rotary by row and column for the patches (pixel MeanFlow).
    Plane,
}

/// What is particular to the U-Net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnetConfig {
    /// Channels of each level over `width`, from the full image down; each level halves the edge.
    pub multipliers: Vec<usize>,
    /// Edges at which the blocks attend over the image.
    pub attention: Vec<usize>,
    /// Whether it is told how training images were changed, in [`AUGMENT_DIM`] numbers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub augmentation: bool,
}

/// Numbers that say how a training image was changed (EDM, arXiv 2206.00364, appendix F.2): whether it was mirrored,
/// its scale, two of how it was stretched, and two of where it was shifted to.
pub const AUGMENT_DIM: usize = 6;

/// What a network is told of guidance (improved MeanFlow, arXiv 2512.02012); it needs classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuidanceInputs {
    /// Nothing.
    #[default]
    None,
    /// The scale.
    Scale,
    /// The scale and the interval of times in which it holds.
    ScaleAndInterval,
}

impl GuidanceInputs {
    /// Whether the scale and the interval are told.
    pub fn flags(self) -> [bool; 2] {
        [self != Self::None, self == Self::ScaleAndInterval]
    }

    /// How many numbers are told.
    pub fn count(self) -> usize {
        let [scale, interval] = self.flags();
        usize::from(scale) + 2 * usize::from(interval)
    }
}

/// Which of the times `t`, `r` and `h = t − r` the network is told (MeanFlow, arXiv 2505.13447, table 1 (c)), by an
/// embedding of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeInputs {
    /// Where we stand and how far we go: the paper's best.
    #[default]
    #[serde(rename = "t,h")]
    TAndH,
    /// Where we stand and where we land.
    #[serde(rename = "t,r")]
    TAndR,
    /// All three.
    #[serde(rename = "t,r,h")]
    All,
    /// How far we go alone, as improved and pixel MeanFlow do: the image shows where we stand.
    #[serde(rename = "h")]
    H,
    /// Where we stand alone, as networks of Flow Matching are; with [`NetConfig::decoder_depth`] the same embedding
    /// tells the last blocks where we land.
    #[serde(rename = "t")]
    T,
}

impl TimeInputs {
    /// Whether `t`, `r` and `h` are among them.
    pub fn flags(self) -> [bool; 3] {
        match self {
            Self::TAndH => [true, false, true],
            Self::TAndR => [true, true, false],
            Self::All => [true; 3],
            Self::H => [false, false, true],
            Self::T => [true, false, false],
        }
    }
}

/// What the last layer of a network gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// The average velocity `u`.
    #[default]
    Velocity,
    /// The image `x = z − t u`, as pixel MeanFlow (arXiv 2601.22158).
    Image,
}

/// What a file need not say: then programs that do not know the field read the file too.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// [`NetConfig::mlp_ratio`] of what does not say.
pub(crate) fn default_mlp_ratio() -> usize {
    4
}

/// [`NetConfig::noise_scale`] of what does not say.
pub(crate) fn default_noise_scale() -> f64 {
    1.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_default_noise_scale(scale: &f64) -> bool {
    *scale == default_noise_scale()
}

impl NetConfig {
    /// Checks that the sizes fit together and are not absurd (a hostile file must not make us allocate gigabytes).
    ///
    /// # Errors
    /// Names the first field that is wrong and why.
    pub fn validate(&self) -> Result<(), Error> {
        let limits = [
            ("image_size", self.image_size, 1024),
            ("channels", self.channels, 16),
            ("patch", self.patch, 64),
            ("width", self.width, 4096),
            ("depth", self.depth, 128),
            ("heads", self.heads, 64),
            ("mlp_ratio", self.mlp_ratio, 16),
        ];
        for (name, value, most) in limits {
            if value == 0 || value > most {
                return Err(Error::Config(format!("network {name} is {value}; it must be 1 to {most}")));
            }
        }
        let rules = [
            (self.image_size.is_multiple_of(self.patch), "patch must divide image_size"),
            (self.width.is_multiple_of(4), "width must be a multiple of 4"),
            (self.width.is_multiple_of(self.heads), "heads must divide width"),
            (self.side() <= 128, "there may be at most 128 × 128 patches"),
            (self.classes <= 100_000, "there may be at most 100000 classes"),
            (self.noise_scale > 0.0 && self.noise_scale <= 100.0, "noise_scale must be above 0 and at most 100"),
        ];
        check(rules, |rule| format!("network sizes do not fit: {rule}"))?;
        self.validate_architecture()
    }

    /// What each way of building asks for.
    fn validate_architecture(&self) -> Result<(), Error> {
        let head_width = self.width / self.heads;
        let rules = match &self.architecture {
            Architecture::Dit => vec![
                (
                    self.decoder_depth.is_none_or(|own| (1..self.depth).contains(&own)),
                    "decoder_depth must be 1 to below depth: the blocks before it are told t",
                ),
                (
                    self.decoder_depth.is_none() || self.times == TimeInputs::T,
                    "with decoder_depth the blocks are told t or r by one embedding: times must be \"t\"",
                ),
                (
                    self.decoder_depth.is_none() || self.velocity_head.is_none(),
                    "with decoder_depth there is no auxiliary head: at r = t the network gives the velocity itself",
                ),
            ],
            Architecture::InContext(parts) => {
                let counts = [parts.class_tokens, parts.guidance_tokens, parts.interval_tokens, parts.time_tokens];
                vec![
                    (head_width.is_multiple_of(4), "a head's width must be a multiple of 4, for its rotary positions"),
                    (self.times == TimeInputs::H, "a network conditioned by tokens is told h alone"),
                    (counts.iter().all(|count| (1..=64).contains(count)), "there must be 1 to 64 tokens of each kind"),
                    ((1..=16 * self.width).contains(&parts.hidden), "hidden must be 1 to 16 widths"),
                    (
                        parts.bottleneck.is_none_or(|narrow| (1..=4096).contains(&narrow)),
                        "bottleneck must be 1 to 4096",
                    ),
                ]
            }
            Architecture::Unet(parts) => {
                let levels = parts.multipliers.len();
                vec![
                    ((1..=8).contains(&levels), "a U-Net has 1 to 8 levels"),
                    (parts.multipliers.iter().all(|by| (1..=16).contains(by)), "multipliers must be 1 to 16"),
                    (self.image_size.is_multiple_of(1 << levels.saturating_sub(1)), "every level must halve the edge"),
                    (self.patch == 1 && self.heads == 1, "a U-Net has patch and heads 1"),
                    (self.width <= 1024 && self.width.is_multiple_of(4), "a U-Net's width must be 4 to 1024, by 4"),
                    (self.depth <= 16, "a U-Net has at most 16 blocks a level"),
                    (self.velocity_head.is_none(), "a U-Net has no auxiliary head"),
                    (self.guidance == GuidanceInputs::None, "a U-Net is not told of guidance"),
                ]
            }
        };
        let common = [
            (
                self.decoder_depth.is_none() || self.architecture == Architecture::Dit,
                "decoder_depth is for Diffusion Transformers",
            ),
            (
                self.guidance == GuidanceInputs::None || self.is_conditional(),
                "guidance as an input needs classes or text",
            ),
            (self.text.is_none() || self.architecture == Architecture::Dit, "text is for Diffusion Transformers"),
            (self.velocity_head.is_none_or(|own| own <= self.depth), "the auxiliary head has at most `depth` blocks"),
        ];
        let of_text = self.text.iter().flat_map(TextConfig::rules);
        check(rules.into_iter().chain(common).chain(of_text), |rule| format!("network does not fit: {rule}"))
    }

    /// Whether it is told what a picture is of.
    pub fn is_conditional(&self) -> bool {
        self.classes > 0 || self.text.is_some()
    }

    /// The label that means "no class": the row after the last class.
    pub fn null_label(&self) -> usize {
        self.classes
    }

    /// Whether its velocity depends on where a jump lands, rather than being the instantaneous one of Flow Matching.
    pub fn knows_r(&self) -> bool {
        self.times != TimeInputs::T || self.decoder_depth.is_some()
    }

    /// Patches along one edge.
    pub fn side(&self) -> usize {
        self.image_size / self.patch
    }

    /// Values in one patch.
    pub fn patch_values(&self) -> usize {
        self.patch * self.patch * self.channels
    }

    /// Makes standard normals the noise that sampling starts from: multiplies them by [`Self::noise_scale`], in place.
    pub fn scale_noise(&self, values: &mut [f32]) {
        let scale = self.noise_scale as f32;
        values.iter_mut().for_each(|value| *value *= scale);
    }

    /// The groups of tokens in front of the patches, in their order: what each carries, and how many they are.
    pub(crate) fn prefix(&self, parts: &InContextConfig) -> Vec<(&'static str, usize)> {
        let [scale, interval] = self.guidance.flags();
        let groups = [
            ("class", self.classes > 0, parts.class_tokens),
            ("scale", scale, parts.guidance_tokens),
            ("start", interval, parts.interval_tokens),
            ("end", interval, parts.interval_tokens),
            ("time", true, parts.time_tokens),
        ];
        groups.into_iter().filter_map(|(name, is_input, count)| is_input.then_some((name, count))).collect()
    }

    /// Tokens in front of the patches.
    pub(crate) fn prefix_tokens(&self, parts: &InContextConfig) -> usize {
        self.prefix(parts).into_iter().map(|(_, count)| count).sum()
    }
}
