//! `meanflow import`.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use burn::tensor::Device;
use clap::ValueEnum;
use meanflow::NetConfig;
use meanflow::import::{Checkpoint, ImportChoice, import, left_out};
use meanflow::io;
use meanflow::model::weights::{
    DataInfo, FORMAT_VERSION, LatentSpace, ModelInfo, Normalization, Precision, TrainingInfo,
};
use meanflow::model::{Architecture, TimeInputs};

/// Read a checkpoint of another program into a weights file.
///
/// CHECKPOINT is a .pth or .pt file of PyTorch (its tensors are read, nothing in it is run) or a safetensors file, that
/// holds a Diffusion Transformer, the transformer of improved or pixel MeanFlow, or the U-Net of CIFAR-10 under their
/// published names. Checkpoints of the authors' JAX code become safetensors by crate/tools/jax_to_safetensors.py.
#[derive(clap::Args)]
pub struct Args {
    /// The checkpoint
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// Weights file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Which of several networks in it, by what stands before their names, such as ema. or net_ema1.
    #[arg(long, value_name = "PREFIX", alias = "place")]
    prefix: Option<String>,
    /// Attention heads; known for the published sizes, and 1 in the U-Net
    #[arg(long)]
    heads: Option<usize>,
    /// Edge of the images, in pixels or latent cells; from its positions if not given, else 32
    #[arg(long)]
    size: Option<usize>,
    /// What the network is told besides t: how far it goes (h = t - r), where it lands (r), or nothing (none), as
    /// networks of Flow Matching
    #[arg(long, value_enum, default_value_t = Second::H)]
    second_time: Second,
    /// Last blocks that are told r in place of t, of a network of decoupled MeanFlow: its depth less the authors'
    /// dmf_depth
    #[arg(long, value_name = "BLOCKS", conflicts_with = "second_time")]
    decoder_depth: Option<usize>,
    /// Whether its images are pictures; those of 4 channels are else taken for latents of Stable Diffusion's
    /// autoencoder
    #[arg(long, conflicts_with = "normalization")]
    pixels: bool,
    /// How its latents are normalized: sd (times 0.18215), imf (the statistics of improved MeanFlow's authors), a
    /// factor such as 0.13025, or means and standard deviations of the channels such as 0.1,0.2/4.5,5. Without it the
    /// authors': imf for the transformer of improved MeanFlow, sd for others
    #[arg(long, value_name = "NAME|VALUES")]
    normalization: Option<String>,
    /// Standard deviation of the noise that it begins with; if not given that of the published pixel MeanFlow of its
    /// size, else 1
    #[arg(long, value_name = "S")]
    noise_scale: Option<f64>,
    /// Name of the model; the name of the checkpoint if not given
    #[arg(long)]
    name: Option<String>,
    /// Licence of the weights and where they come from, for the file
    #[arg(long, value_name = "TEXT", default_value = "")]
    license: String,
    /// Numbers of 16 or 32 bits
    #[arg(long, value_enum, default_value_t = Bits::F16)]
    precision: Bits,
}

#[derive(Clone, Copy, ValueEnum)]
enum Second {
    H,
    R,
    None,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bits {
    F16,
    F32,
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    io::check_extension(&args.out, "a safetensors file", &["safetensors"])?;
    io::check_not_input(&args.out, [args.checkpoint.as_path()])?;
    let device = Device::flex();
    let file = args.checkpoint.display().to_string();
    let normalization = args.normalization.as_deref().map(str::parse::<Normalization>).transpose();
    let normalization = normalization.with_context(|| format!("{file}: --normalization"))?;
    let checkpoint = Checkpoint::open(&args.checkpoint).with_context(|| file.clone())?;
    let times = match args.second_time {
        _ if args.decoder_depth.is_some() => TimeInputs::T,
        Second::H => TimeInputs::TAndH,
        Second::R => TimeInputs::TAndR,
        Second::None => TimeInputs::T,
    };
    let choice = ImportChoice {
        prefix: args.prefix,
        heads: args.heads,
        size: args.size,
        times,
        decoder_depth: args.decoder_depth,
        noise_scale: args.noise_scale,
    };
    let net = import(&checkpoint, &choice, &device).with_context(|| file.clone())?;
    for (name, why) in left_out(&checkpoint, &choice)? {
        say!("skipped `{name}`: {why}");
    }
    let config = net.config().clone();
    let latent = latent_space(&config, args.pixels, normalization).with_context(|| file.clone())?;
    let source = args.checkpoint.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = || args.checkpoint.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let info = ModelInfo {
        format_version: FORMAT_VERSION,
        name: args.name.unwrap_or_else(stem),
        classes: (0..config.classes).map(|class| class.to_string()).collect(),
        vocabulary: Vec::new(),
        latent,
        check: None,
        net: config,
        data: DataInfo { source, license: args.license, ..DataInfo::default() },
        training: TrainingInfo {
            program: concat!("meanflow ", env!("CARGO_PKG_VERSION"), " import").into(),
            ..TrainingInfo::default()
        },
    };
    let precision = match args.precision {
        Bits::F16 => Precision::F16,
        Bits::F32 => Precision::F32,
    };
    let bytes = meanflow::net::encode(&net, &info, precision)?;
    io::write_atomic(&args.out, &bytes)?;
    let parameters = info.net.parameters() as f64 / 1e6;
    let made = match &info.latent {
        Some(space) => space.to_string(),
        None => "pictures".into(),
    };
    say!(
        "{}: {parameters:.2} M parameters, {} classes, noise scale {}; it makes {made}",
        args.out.display(),
        info.net.classes,
        info.net.noise_scale
    );
    Ok(())
}

/// What its images are: the shapes do not show it, so four channels are taken for Stable Diffusion's latents.
fn latent_space(config: &NetConfig, pixels: bool, normalization: Option<Normalization>) -> Result<Option<LatentSpace>> {
    if pixels || (config.channels != 4 && normalization.is_none()) {
        return Ok(None);
    }
    let authors = match &config.architecture {
        Architecture::InContext(parts) if parts.bottleneck.is_none() => Normalization::named("imf"),
        _ => None,
    };
    let normalization = normalization.or(authors).unwrap_or(Normalization::STABLE_DIFFUSION);
    normalization.suits(config.channels).map_err(|reason| anyhow!("--normalization: {reason}"))?;
    Ok(Some(LatentSpace { normalization, ..LatentSpace::STABLE_DIFFUSION }))
}
