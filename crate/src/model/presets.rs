//! Networks by name: the sizes of the papers, and two for browsers.

use super::{Architecture, GuidanceInputs, InContextConfig, NetConfig, Output, Positions, TimeInputs, UnetConfig};
use crate::error::Error;

/// Named sizes of Diffusion Transformers: depth, width, heads, patch.
const DITS: [(&str, [usize; 4]); 8] = [
    // For browsers: 1.9 M and 2.8 M parameters on 32 × 32 images.
    ("browser-s", [6, 128, 4, 4]),
    ("browser-m", [6, 160, 5, 4]),
    // Published sizes on ImageNet latents (MeanFlow, arXiv 2505.13447, table 2; DiT-S from arXiv 2212.09748).
    ("dit-s/2", [12, 384, 6, 2]),
    ("dit-b/4", [12, 768, 12, 4]),
    ("dit-b/2", [12, 768, 12, 2]),
    ("dit-m/2", [16, 1024, 16, 2]),
    ("dit-l/2", [24, 1024, 16, 2]),
    ("dit-xl/2", [28, 1152, 16, 2]),
];

/// Named sizes of the transformers of improved and pixel MeanFlow: depth, width, heads, patch.
const IN_CONTEXT: [(&str, [usize; 4]); 10] = [
    ("imf-b/2", [12, 768, 12, 2]),
    ("imf-m/2", [24, 768, 12, 2]),
    ("imf-l/2", [32, 1024, 16, 2]),
    ("imf-xl/2", [48, 1024, 16, 2]),
    ("pmf-b/16", [16, 768, 12, 16]),
    ("pmf-b/32", [16, 768, 12, 32]),
    ("pmf-l/16", [32, 1024, 16, 16]),
    ("pmf-l/32", [32, 1024, 16, 32]),
    ("pmf-h/16", [48, 1280, 16, 16]),
    ("pmf-h/32", [48, 1280, 16, 32]),
];

/// The noise scales of pixel MeanFlow that are not 1, as its authors' settings have them (`configs` of Lyy-iiis/pMF,
/// those of H on its branch `hsdp`); the paper's table has the edge of the image over 256.
const NOISE_SCALES: [(&str, f64); 4] = [("pmf-b/32", 2.0), ("pmf-l/32", 4.0), ("pmf-h/16", 2.0), ("pmf-h/32", 4.0)];

/// The name of the U-Net.
const UNET: &str = "unet";

impl NetConfig {
    /// A named size for images of `image_size` and `channels` with `classes` classes.
    ///
    /// # Errors
    /// An unknown name; the message lists the known ones.
    pub fn preset(name: &str, image_size: usize, channels: usize, classes: usize) -> Result<Self, Error> {
        let config = Self::named(name, image_size, channels, classes)?;
        config.validate().map(|()| config)
    }

    /// The same before its sizes are checked: some may yet be replaced.
    pub(crate) fn named(name: &str, image_size: usize, channels: usize, classes: usize) -> Result<Self, Error> {
        let all = || DITS.into_iter().chain(IN_CONTEXT);
        let ([depth, width, heads, patch], architecture) = match all().find(|preset| preset.0 == name) {
            Some((_, sizes)) if name.starts_with("imf") => (sizes, InContextConfig::improved(sizes[1]).into()),
            Some((_, sizes)) if name.starts_with("pmf") => (sizes, InContextConfig::pixel(sizes[1]).into()),
            Some((_, sizes)) => (sizes, Architecture::Dit),
            None if name == UNET => ([4, 128, 1, 1], Architecture::Unet(UnetConfig::cifar())),
            None => {
                let known: Vec<_> = all().map(|preset| preset.0).chain([UNET]).collect();
                return Err(Error::Config(format!("unknown network preset `{name}`; there are {}", known.join(", "))));
            }
        };
        let in_context = matches!(architecture, Architecture::InContext(_));
        Ok(Self {
            image_size,
            channels,
            patch,
            width,
            depth,
            heads,
            mlp_ratio: 4,
            classes,
            times: if in_context { TimeInputs::H } else { TimeInputs::default() },
            output: if name.starts_with("pmf") { Output::Image } else { Output::default() },
            architecture,
            guidance: match in_context && classes > 0 {
                true => GuidanceInputs::ScaleAndInterval,
                false => GuidanceInputs::None,
            },
            text: None,
            velocity_head: None,
            decoder_depth: None,
            noise_scale: noise_scale(name),
        })
    }

    /// Attention heads of the published network with this depth and width, which a checkpoint's shapes do not show.
    pub fn published_heads(depth: usize, width: usize) -> Option<usize> {
        let sizes = DITS.into_iter().chain(IN_CONTEXT).map(|preset| preset.1);
        sizes.into_iter().find(|sizes| (sizes[0], sizes[1]) == (depth, width)).map(|sizes| sizes[2])
    }

    /// The noise scale of the published pixel MeanFlow of this depth, width and patch, which a checkpoint does not say.
    pub fn published_noise_scale(depth: usize, width: usize, patch: usize) -> Option<f64> {
        let pixel = IN_CONTEXT.into_iter().filter(|(name, _)| name.starts_with("pmf"));
        let mut same = pixel.filter(|(_, sizes)| (sizes[0], sizes[1], sizes[3]) == (depth, width, patch));
        same.next().map(|(name, _)| noise_scale(name))
    }
}

/// The noise scale of a preset.
fn noise_scale(name: &str) -> f64 {
    NOISE_SCALES.into_iter().find(|(scaled, _)| *scaled == name).map_or(1.0, |(_, scale)| scale)
}

impl InContextConfig {
    /// The hidden features that networks of this kind have at a width: 8/3 of it, which the largest of pixel MeanFlow
    /// round up to a multiple of eight (`models/pmfDiT.py` of Lyy-iiis/pMF, branch `hsdp`).
    pub fn published_hidden(&self, width: usize) -> usize {
        let hidden = width * 8 / 3;
        if self.bottleneck.is_some() && width > 1024 { hidden.next_multiple_of(8) } else { hidden }
    }

    /// Improved MeanFlow's, for a width.
    pub fn improved(width: usize) -> Self {
        Self {
            hidden: width * 8 / 3,
            class_tokens: 8,
            guidance_tokens: 4,
            interval_tokens: 2,
            time_tokens: 4,
            bottleneck: None,
            positions: Positions::Sequence,
        }
    }

    /// Pixel MeanFlow's, for a width.
    pub fn pixel(width: usize) -> Self {
        let parts = Self {
            bottleneck: Some(if width <= 1024 { 128 } else { 256 }),
            positions: Positions::Plane,
            ..Self::improved(width)
        };
        Self { hidden: parts.published_hidden(width), ..parts }
    }
}

impl From<InContextConfig> for Architecture {
    fn from(parts: InContextConfig) -> Self {
        Self::InContext(parts)
    }
}

impl UnetConfig {
    /// That of CIFAR-10: three levels of 256 channels, attention at 16 × 16.
    pub fn cifar() -> Self {
        Self { multipliers: vec![2, 2, 2], attention: vec![16], augmentation: false }
    }
}
