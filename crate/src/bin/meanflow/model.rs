//! Weights files as the commands use them: the model, and the autoencoder that makes pictures of latents.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use meanflow::generator::Generator;
use meanflow::io;
use meanflow::latent::Vae;
use meanflow::model::Solver;
use meanflow::model::weights::ModelInfo;

/// The bytes of a weights file.
pub fn read_weights(path: &Path) -> Result<Vec<u8>> {
    Ok(io::read_whole(path)?)
}

/// The model in a weights file. It must make of the known seed what the file says that it makes.
pub fn read_generator(path: &Path, device: &Device) -> Result<Generator> {
    let read = || {
        let generator = Generator::from_bytes(&io::read_whole(path)?, device)?;
        generator.verify().map(|()| generator)
    };
    read().with_context(|| path.display().to_string())
}

/// The same, of a model whose images are no latents.
pub fn read_picture_model(path: &Path, device: &Device) -> Result<Generator> {
    let model = read_generator(path, device)?;
    match model.info().latent {
        None => Ok(model),
        Some(_) => bail!("{} makes latents; this command is for models that make pictures", path.display()),
    }
}

/// The autoencoder of a model that makes latents.
#[derive(clap::Args)]
pub struct Decoder {
    /// Weights of the autoencoder for a model of latents: safetensors with diffusers' names
    #[arg(long, value_name = "FILE")]
    vae: Option<PathBuf>,
}

impl Decoder {
    /// Its file, where one is given.
    pub fn path(&self) -> Option<&Path> {
        self.vae.as_deref()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When a model needs one and it is not given, or the reverse, or it is of other latents.
    pub fn open(&self, info: &ModelInfo, device: &Device) -> Result<Option<Vae>> {
        let (latent, path) = match (&info.latent, &self.vae) {
            (None, None) => return Ok(None),
            (Some(latent), Some(path)) => (latent, path),
            (Some(_), None) => bail!("the model `{}` makes latents; give their autoencoder with --vae", info.name),
            (None, Some(_)) => bail!("the model `{}` makes pictures by itself; it takes no --vae", info.name),
        };
        let vae = Vae::open(path, device).with_context(|| path.display().to_string())?;
        if (vae.channels(), vae.factor()) != (info.net.channels, latent.factor) {
            bail!(
                "{} is of another latent space: {} channels, {} times smaller than pictures, where the model `{}` \
                 makes {} channels, {} times smaller; give the autoencoder that its training images were encoded with",
                path.display(),
                vae.channels(),
                vae.factor(),
                info.name,
                info.net.channels,
                latent.factor
            );
        }
        Ok(Some(vae))
    }
}

/// Latents at a time: a decoded picture of 256 × 256 takes a few hundred megabytes on the way.
const DECODED: usize = 4;

/// Pictures of what a model made, decoded by the normalization that its file says.
pub fn pictures(images: Tensor<4>, vae: Option<&Vae>, info: &ModelInfo) -> Tensor<4> {
    let (Some(vae), Some(space)) = (vae, &info.latent) else { return images };
    let decode = |latents| vae.decode(latents, &space.normalization);
    Tensor::cat(images.split(DECODED, 0).into_iter().map(decode).collect(), 0)
}

/// Solvers by name, which `--help` lists.
pub fn solvers() -> impl TypedValueParser<Value = Solver> {
    PossibleValuesParser::new(Solver::ALL.map(|(name, _)| name)).try_map(|name| name.parse())
}
