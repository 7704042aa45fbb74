//! The networks `u_θ(z, r, t, y)`, written once over [`Dual`]: the Diffusion Transformer of MeanFlow, the transformer
//! of improved and pixel MeanFlow, and the U-Net of the CIFAR-10 experiments.

mod dit;
mod dropout;
mod embed;
mod in_context;
pub(crate) mod init;
mod labels;
mod parallel_forward;
mod patches;
mod quantization;
mod rotary;
mod text;
mod unet;
pub(crate) mod weights_file;

pub use dit::Dit;
pub use dropout::Dropout;
pub use in_context::InContext;
pub use labels::{GuidanceScale, Labels};
pub use text::Prompts;
pub use unet::Unet;
pub use weights_file::{decode, encode};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::dual::Dual;
use crate::error::Error;
use crate::model::tables::MIN_DIVISOR;
use crate::model::text::TextConfig;
use crate::model::{Architecture, InContextConfig, NetConfig, Output, ParamSpec, TimeInputs, UnetConfig};
use init::Init;

/// The average-velocity network. Made by [`NetConfig::init`].
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a program holds few networks, and for long")]
pub enum Net {
    /// Diffusion Transformer.
    Dit(Dit),
    /// Transformer conditioned by tokens.
    InContext(InContext),
    /// U-Net.
    Unet(Unet),
}

/// What a network gives in one call.
#[derive(Clone, Debug)]
pub struct Velocities {
    /// The average velocity `u`, with its directional derivative where an input moves.
    pub average: Dual<4>,
    /// The instantaneous velocity `v` of the auxiliary head, where the network has one.
    pub instant: Option<Tensor<4>>,
}

/// Where a call stands in time, and what it is told besides.
#[derive(Clone, Debug)]
struct Conditioning {
    r: Dual<1>,
    t: Dual<1>,
    labels: Option<Labels>,
}

/// Average velocity towards an image: `u = (z − x) / max(t, 0.05)`, so at `t = 1` one step lands on `x`.
///
/// # Shapes
/// `z`, `x`: `[batch, channels, height, width]`; `t`: `[batch]`; result as `z`.
pub fn velocity_from_image(z: Dual<4>, x: Dual<4>, t: Dual<1>) -> Dual<4> {
    let [batch] = t.dims();
    (z - x) * t.clamp_min(MIN_DIVISOR).recip().reshape([batch, 1, 1, 1])
}

impl NetConfig {
    /// A fresh network on `device`, whose parameters follow from `seed`; it gives zero.
    pub fn init(&self, seed: u64, device: &Device) -> Net {
        let init = Init::new(seed, self.params(), device);
        match &self.architecture {
            Architecture::Dit => Net::Dit(Dit::new(self, &init)),
            Architecture::InContext(parts) => Net::InContext(InContext::new(self, parts, &init)),
            Architecture::Unet(parts) => Net::Unet(Unet::new(self, parts, &init)),
        }
    }

    /// What the last layer gives, as the velocity.
    fn to_velocity(&self, z: Dual<4>, output: Dual<4>, t: Dual<1>) -> Dual<4> {
        match self.output {
            Output::Velocity => output,
            Output::Image => velocity_from_image(z, output, t),
        }
    }
}

impl Net {
    /// The configuration the network was made from.
    pub fn config(&self) -> &NetConfig {
        match self {
            Self::Dit(net) => &net.config,
            Self::InContext(net) => &net.config,
            Self::Unet(net) => &net.config,
        }
    }

    /// Every parameter: its name, its shape, and what it is for.
    pub fn param_specs(&self) -> Vec<ParamSpec> {
        self.config().params()
    }

    /// Average velocity `u(z, r, t, y)` between the times `r ≤ t`, with its directional derivative where an input
    /// moves.
    ///
    /// The network sees raw times, by default `t` and `h = t − r`; `h` is formed here from duals, so a caller states
    /// the paper's direction `(v, 0, 1)` for `(z, r, t)` and `dh/dt = 1` follows by itself. So does the derivative of
    /// the conversion, where the output is an image.
    ///
    /// # Shapes
    /// `z`: `[batch, channels, size, size]`, `t` and `r`: `[batch]`; result as `z`. `labels` are needed exactly when
    /// the network has classes or is conditioned on text.
    pub fn forward(&self, z: Dual<4>, r: Dual<1>, t: Dual<1>, labels: Option<Labels>) -> Dual<4> {
        match parallel_forward::forward(self, &z, &r, &t, labels.as_ref()) {
            Some(value) => value.into(),
            None => self.call(z, Conditioning { r, t, labels }, false, None).average,
        }
    }

    /// The same, with the velocity of the auxiliary head, and with dropout if it is given.
    pub fn velocities(
        &self,
        z: Dual<4>,
        r: Dual<1>,
        t: Dual<1>,
        labels: Option<Labels>,
        dropout: Option<&Dropout>,
    ) -> Velocities {
        self.call(z, Conditioning { r, t, labels }, true, dropout)
    }

    fn call(&self, z: Dual<4>, conditioning: Conditioning, both: bool, dropout: Option<&Dropout>) -> Velocities {
        match self {
            Self::Dit(net) => net.forward(z, conditioning, both),
            Self::InContext(net) => net.forward(z, conditioning, both),
            Self::Unet(net) => net.forward(z, conditioning, dropout).into(),
        }
    }

    /// A network of Flow Matching made into one of average velocities, as decoupled MeanFlow does (arXiv 2510.24474,
    /// section 3): its last `decoder_depth` blocks are told `r` where they were told `t`, by the same embedding. At `r
    /// = t` it gives what it gave; a network that was told `h` too takes over what that told it at `h = 0`. An
    /// auxiliary head is left out.
    ///
    /// # Errors
    /// A network that is no Diffusion Transformer, is told other times than `t` or `t, h`, has a decoder already, or
    /// has fewer blocks.
    pub fn into_decoupled(self, decoder_depth: usize) -> Result<Self, Error> {
        match self {
            Self::Dit(net) => net.into_decoupled(decoder_depth).map(Self::Dit),
            Self::InContext(_) | Self::Unet(_) => {
                Err(Error::Config("only a Diffusion Transformer can become a decoupled one".into()))
            }
        }
    }

    /// The network for other classes: class `i` of them begins as class `classes[i]` of this one, or as "no class"
    /// where it has none that fits. Without classes it stays as it is.
    pub fn with_classes(mut self, classes: &[Option<usize>]) -> Self {
        let null = self.config().null_label();
        let rows = classes.iter().map(|class| class.unwrap_or(null)).chain([null]).map(|row| row as i32).collect();
        let (label, config) = match &mut self {
            Self::Dit(net) => (&mut net.label, &mut net.config),
            Self::InContext(net) => (&mut net.label, &mut net.config),
            Self::Unet(net) => (&mut net.label, &mut net.config),
        };
        if let Some(table) = label.take() {
            let weight = table.weight.map(|weight| {
                let rows = TensorData::new::<i32, _>(rows, [classes.len() + 1]);
                let rows = Tensor::<1, Int>::from_data(rows, &weight.device());
                weight.select(0, rows)
            });
            *label = Some(embed::Table { weight });
            config.classes = classes.len();
        }
        self
    }

    /// The network for another vocabulary: word `i` of it begins as word `words[i]` of this one, or where that is none
    /// as in a fresh network of `seed`. So do the rows of trigrams where their number, `buckets`, is another, which
    /// puts each trigram in another row. Without words it stays as it is.
    pub fn with_vocabulary(mut self, words: &[Option<usize>], buckets: usize, seed: u64) -> Self {
        let Self::Dit(Dit { text: Some(text), config, .. }) = &mut self else { return self };
        let Some(before) = config.text else { return self };
        let after = TextConfig { vocabulary: words.len(), buckets, ..before };
        config.text = Some(after);
        // Rows of a fresh table stand after those of this one.
        let fresh = |row: usize| before.rows() + row;
        let of_words = words.iter().enumerate().map(|(i, word)| word.unwrap_or(fresh(i)));
        let of_buckets = (0..buckets).map(|bucket| match buckets == before.buckets {
            true => before.vocabulary + bucket,
            false => fresh(after.vocabulary + bucket),
        });
        let rows = of_words.chain(of_buckets).chain([before.padding() as usize]).map(|row| row as i32).collect();
        let specs = config.params();
        text.embedding.weight = text.embedding.weight.clone().map(|weight| {
            let device = weight.device();
            let fresh = Init::new(seed, specs, &device).scope("text").scope("embedding").param::<2>("weight").val();
            let rows = Tensor::<1, Int>::from_data(TensorData::new::<i32, _>(rows, [after.rows()]), &device);
            Tensor::cat(vec![weight, fresh], 0).select(0, rows)
        });
        self
    }

    /// The network without its auxiliary head, which only training needs.
    pub fn without_velocity_head(mut self) -> Self {
        match &mut self {
            Self::Dit(net) => (net.velocity, net.config.velocity_head) = (None, None),
            Self::InContext(net) => (net.velocity, net.config.velocity_head) = (None, None),
            Self::Unet(_) => {}
        }
        self
    }
}

impl From<Dual<4>> for Velocities {
    fn from(average: Dual<4>) -> Self {
        Self { average, instant: None }
    }
}
