//! `meanflow encode`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use meanflow::data::latents;
use meanflow::io;
use meanflow::latent::Vae;

use crate::inputs::DeviceArg;
use crate::train::read_config;

/// Turn a set of pictures into latents, which `meanflow train` takes as its data.
///
/// The autoencoder is that of Stable Diffusion, as diffusers stores it; its weights are yours to supply. Of the
/// settings [data] counts: size and channels are those of the latents (32 and 4 for pictures of 256 × 256), and with
/// flip the mirror images are encoded too. fit = "adm" crops as the papers of ImageNet do. normalization ("sd", "imf",
/// or values) is written down for training and for decoding; the file itself holds what the autoencoder gives. Pictures
/// are read part by part, so a set may be larger than memory.
#[derive(clap::Args)]
pub struct Args {
    /// The pictures, as for training
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Weights of the autoencoder: safetensors with diffusers' names
    #[arg(long, value_name = "FILE")]
    vae: PathBuf,
    /// Settings, a TOML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Pictures at a time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    #[command(flatten)]
    device: DeviceArg,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    io::check_extension(&args.out, "a safetensors file", &["safetensors"])?;
    io::check_not_input(&args.out, [&args.data, &args.vae, &args.config].map(PathBuf::as_path))?;
    let device = args.device.open()?;
    let config = read_config(Some(&args.config))?.data;
    let vae = Vae::open(&args.vae, &device).with_context(|| args.vae.display().to_string())?;
    let bar = ProgressBar::new_spinner();
    let count = latents::encode(&vae, &args.data, &config, &args.out, args.batch as usize, &device, |done| {
        bar.set_message(format!("{done} pictures"));
        bar.tick();
    })?;
    bar.finish_and_clear();
    say!("{}: {count} pictures as latents of {}×{}×{}", args.out.display(), config.size, config.size, config.channels);
    Ok(())
}
