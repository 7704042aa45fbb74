//! The network `u_θ(z, r, t, y)`: a Diffusion Transformer (DiT, arXiv 2212.09748) as MeanFlow uses it
//! (arXiv 2505.13447, appendix A), written once over [`Dual`].

mod block;
mod config;
pub(crate) mod embed;
pub(crate) mod init;

pub use config::{NetConfig, Output, TimeInputs};

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};

use crate::dual::{Dual, linear, silu};
use block::{Block, modulate};
use embed::{TimeEmbedding, positions};
use init::{Init, Start};
#[cfg(feature = "webgpu")]
pub(crate) use {
    block::NORM_EPSILON,
    embed::{FREQUENCIES, frequencies, position_table},
};

/// Class labels of a batch, `[batch]`; [`NetConfig::null_label`] means "no class".
pub type Labels = Tensor<1, Int>;

/// The average-velocity network. Made by [`NetConfig::init`].
#[derive(Module, Debug)]
pub struct Net {
    patch: Linear,
    time_t: Option<TimeEmbedding>,
    time_r: Option<TimeEmbedding>,
    time_h: Option<TimeEmbedding>,
    label: Option<Table>,
    blocks: Vec<Block>,
    head: Head,
    #[module(skip)]
    positions: Tensor<3>,
    #[module(skip)]
    config: NetConfig,
}

/// One learned row per class, and one for "no class".
#[derive(Module, Debug)]
struct Table {
    weight: Param<Tensor<2>>,
}

/// Final modulation and projection of tokens to patches; zero at the start, so a fresh network gives zero.
#[derive(Module, Debug)]
struct Head {
    modulation: Linear,
    linear: Linear,
}

/// Below this time the velocity from an image is divided by this instead of `t` (pixel MeanFlow).
pub(crate) const SMALLEST_DIVISOR: f64 = 0.05;

/// Average velocity towards an image: `u = (z − x) / max(t, 0.05)`, so at `t = 1` one step lands on `x`.
///
/// # Shapes
/// `z`, `x`: `[batch, channels, height, width]`; `t`: `[batch]`; result as `z`.
pub fn velocity_from_image(z: Dual<4>, x: Dual<4>, t: Dual<1>) -> Dual<4> {
    let [batch] = t.dims();
    (z - x) * t.clamp_min(SMALLEST_DIVISOR).recip().reshape([batch, 1, 1, 1])
}

impl NetConfig {
    /// A fresh network on `device`, whose parameters follow from `seed`.
    ///
    /// Initialisation is the DiT's: linear layers Xavier-uniform, embeddings N(0, 0.02²), and zero for modulation and
    /// output, so that every block starts as the identity and the output is zero.
    pub fn init(&self, seed: u64, device: &Device) -> Net {
        let width = self.width;
        let init = Init::new(seed, device);
        let zeros = |output| init.linear(width, output, Start::Zeros);
        let time = |told: bool| told.then(|| TimeEmbedding::new(width, &init));
        let [t, r, h] = self.times.told();
        Net {
            patch: init.linear(self.patch_values(), width, Start::Xavier),
            time_t: time(t),
            time_r: time(r),
            time_h: time(h),
            label: (self.classes > 0).then(|| Table { weight: init.matrix(self.classes + 1, width, Start::Normal) }),
            blocks: (0..self.depth).map(|_| Block::new(width, self.heads, self.mlp_ratio, &init)).collect(),
            head: Head { modulation: zeros(2 * width), linear: zeros(self.patch_values()) },
            positions: positions(self.side(), width, device),
            config: self.clone(),
        }
    }
}

impl Net {
    /// The configuration the network was made from.
    pub fn config(&self) -> &NetConfig {
        &self.config
    }

    /// Average velocity `u(z, r, t, y)` between the times `r ≤ t`, with its directional derivative where an input moves.
    ///
    /// The network sees raw times, by default `t` and `h = t − r`; `h` is formed here from duals, so a caller states
    /// the paper's direction `(v, 0, 1)` for `(z, r, t)` and `dh/dt = 1` follows by itself. So does the derivative of
    /// the conversion, where the output is an image.
    ///
    /// # Shapes
    /// `z`: `[batch, channels, size, size]`, `t` and `r`: `[batch]`; result as `z`. `labels` are needed exactly when
    /// the network has classes.
    pub fn forward(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        let [batch, ..] = z.dims();
        let times = [(&self.time_t, t.clone()), (&self.time_r, r.clone()), (&self.time_h, t.clone() - r)];
        let told = times.into_iter().filter_map(|(embedding, time)| Some(embedding.as_ref()?.forward(time)));
        let mut condition = told.reduce(|sum, time| sum + time).expect("every network is told some time");
        if let Some(table) = &self.label {
            let labels = labels.expect("a class-conditional network needs labels");
            condition = condition + table.weight.val().select(0, labels).into();
        }
        let condition = silu(condition).reshape([batch, 1, self.config.width]);

        let tokens = linear(&self.patch, self.patchify(z.clone())) + self.positions.clone().into();
        let tokens = self.blocks.iter().fold(tokens, |x, block| block.forward(x, condition.clone()));

        let [shift, scale] = linear(&self.head.modulation, condition).chunk(2);
        let output = self.unpatchify(linear(&self.head.linear, modulate(tokens, shift, scale)));
        match self.config.output {
            Output::Velocity => output,
            Output::Image => velocity_from_image(z, output, t),
        }
    }

    /// `[B, C, S, S]` → `[B, tokens, p·p·C]`: patches row by row, values inside a patch ordered (row, column, channel).
    fn patchify(&self, z: Dual<4>) -> Dual<3> {
        let NetConfig { channels, patch, .. } = self.config;
        let [batch, side] = [z.dims()[0], self.config.side()];
        z.reshape([batch, channels, side, patch, side, patch]).permute([0, 2, 4, 3, 5, 1]).reshape([
            batch,
            side * side,
            self.config.patch_values(),
        ])
    }

    /// The inverse of [`Self::patchify`].
    fn unpatchify(&self, tokens: Dual<3>) -> Dual<4> {
        let NetConfig { image_size, channels, patch, .. } = self.config;
        let [batch, side] = [tokens.dims()[0], self.config.side()];
        tokens
            .reshape([batch, side, side, patch, patch, channels])
            .permute([0, 5, 1, 3, 2, 4])
            .reshape([batch, channels, image_size, image_size])
    }
}
