//! Sizes of the network, the published presets, and what makes a configuration valid.

use serde::{Deserialize, Serialize};

use crate::error::{Error, check};

/// The shape of a [`Net`](super::Net); stored with the weights, so a weights file needs nothing beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// Which of the times `t`, `r` and `h = t − r` the network is told (MeanFlow, arXiv 2505.13447, table 1 (c)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeInputs {
    /// Where we stand and how far we go: the paper's best.
    #[default]
    #[serde(rename = "t,h")]
    StandAndSpan,
    /// Where we stand and where we land.
    #[serde(rename = "t,r")]
    StandAndLand,
    /// All three.
    #[serde(rename = "t,r,h")]
    All,
    /// How far we go alone, as improved and pixel MeanFlow do: the image shows where we stand.
    #[serde(rename = "h")]
    Span,
}

impl TimeInputs {
    /// Whether `t`, `r` and `h` are among them.
    pub fn told(self) -> [bool; 3] {
        match self {
            Self::StandAndSpan => [true, false, true],
            Self::StandAndLand => [true, true, false],
            Self::All => [true; 3],
            Self::Span => [false, false, true],
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

fn default_mlp_ratio() -> usize {
    4
}

/// Named sizes: depth, width, heads, patch.
const PRESETS: [(&str, usize, usize, usize, usize); 8] = [
    // For browsers: 1.9 M and 2.8 M parameters on 32 × 32 images.
    ("browser-s", 6, 128, 4, 4),
    ("browser-m", 6, 160, 5, 4),
    // Published sizes on ImageNet latents (MeanFlow, arXiv 2505.13447, table 2; DiT-S from arXiv 2212.09748).
    ("dit-s/2", 12, 384, 6, 2),
    ("dit-b/4", 12, 768, 12, 4),
    ("dit-b/2", 12, 768, 12, 2),
    ("dit-m/2", 16, 1024, 16, 2),
    ("dit-l/2", 24, 1024, 16, 2),
    ("dit-xl/2", 28, 1152, 16, 2),
];

impl NetConfig {
    /// A named size for images of `image_size` and `channels` with `classes` classes.
    ///
    /// # Errors
    /// An unknown name; the message lists the known ones.
    pub fn preset(name: &str, image_size: usize, channels: usize, classes: usize) -> Result<Self, Error> {
        let known = || PRESETS.map(|p| p.0).join(", ");
        let (_, depth, width, heads, patch) = PRESETS
            .into_iter()
            .find(|p| p.0 == name)
            .ok_or_else(|| Error::Config(format!("unknown network preset `{name}`; there are {}", known())))?;
        let (times, output) = Default::default();
        let config = Self { image_size, channels, patch, width, depth, heads, mlp_ratio: 4, classes, times, output };
        config.validate().map(|()| config)
    }

    /// Attention heads of the published network with this depth and width, which a checkpoint's shapes do not show.
    pub fn published_heads(depth: usize, width: usize) -> Option<usize> {
        PRESETS.into_iter().find(|preset| (preset.1, preset.2) == (depth, width)).map(|preset| preset.3)
    }

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
        ];
        check(rules, |rule| format!("network sizes do not fit: {rule} ({self:?})"))
    }

    /// The label that means "no class": the row after the last class.
    pub fn null_label(&self) -> usize {
        self.classes
    }

    /// Patches along one edge.
    pub fn side(&self) -> usize {
        self.image_size / self.patch
    }

    /// Values in one patch.
    pub fn patch_values(&self) -> usize {
        self.patch * self.patch * self.channels
    }

    /// Trainable parameters.
    pub fn parameters(&self) -> usize {
        let linear = |input: usize, output: usize| (input + 1) * output;
        let width = self.width;
        let hidden = self.mlp_ratio * width;
        let times = self.times.told().into_iter().filter(|told| *told).count();
        let time = linear(super::embed::FREQUENCIES, width) + linear(width, width);
        let label = if self.classes > 0 { (self.classes + 1) * width } else { 0 };
        let attention = linear(width, 3 * width) + linear(width, width);
        let block = linear(width, 6 * width) + attention + linear(width, hidden) + linear(hidden, width);
        let head = linear(width, 2 * width) + linear(width, self.patch_values());
        linear(self.patch_values(), width) + times * time + label + self.depth * block + head
    }
}
