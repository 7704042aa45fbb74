//! `meanflow export`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::Device;
use clap::ValueEnum;
use meanflow::generator::Generator;
use meanflow::generator::to_rgba;
use meanflow::infer::onnx;
use meanflow::model::Request;
use meanflow::model::weights::{self, ModelInfo, Precision};
use meanflow::train::{CheckpointSelector, PRIMARY_EMA, RunFolder};
use meanflow::{Condition, Net, device, io};

use crate::site::{self, Site};

/// Write the averaged weights of a run as one file for the page, the command line or Python.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE.safetensors", required_unless_present_any = ["web", "onnx"])]
    out: Option<PathBuf>,
    /// The same network for other runtimes, an ONNX file: u(z, r, t, label)
    #[arg(long, value_name = "FILE.onnx")]
    onnx: Option<PathBuf>,
    /// Folder to write for a static host: the weights, a poster, a page that shows them, and the element
    #[arg(long, value_name = "DIR")]
    web: Option<PathBuf>,
    /// The built page, from which --web takes the element: a dist folder, as `make build` leaves it, or its archive.
    /// The one that the program carries, or else dist, if not given
    #[arg(long, value_name = "DIST")]
    site: Option<PathBuf>,
    /// Which average of the weights: main, or one of the run's [train.averages]
    #[arg(long, value_name = "NAME", default_value = PRIMARY_EMA)]
    ema: String,
    /// The best checkpoint, as [log] keep_best keeps it, instead of the newest
    #[arg(long)]
    best: bool,
    /// Precision of the stored weights; in an ONNX file f16 stands for i8 too
    #[arg(long, value_enum, default_value_t = Dtype::F16)]
    dtype: Dtype,
}

/// How weights are stored.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Dtype {
    /// Half the size
    F16,
    /// Exact
    F32,
    /// A quarter of the size: matrices as whole numbers with a scale a row
    I8,
}

impl From<Dtype> for Precision {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F16 => Self::F16,
            Dtype::F32 => Self::F32,
            Dtype::I8 => Self::I8,
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    check_outputs(args.out.as_deref(), args.onnx.as_deref(), &args.run)?;
    let page = match &args.web {
        Some(folder) => {
            let site = Site::open(args.site.as_deref())?;
            site::check(folder, &site, &args.run)?;
            Some((folder, site))
        }
        None => None,
    };
    let (run, _) = RunFolder::open(&args.run)?;
    let which = if args.best { CheckpointSelector::Best } else { CheckpointSelector::Newest };
    // Only copies numbers: no need to wake a GPU.
    let device = device::cpu();
    let (net, mut info) = run.averaged(which, &args.ema, &device, |text| note!("warning: {text}"))?;
    if page.is_some() {
        site::check_model(&info)?;
    }
    let (bytes, loss) = store(Generator::new(net.clone(), info.clone(), &device), args.dtype.into(), &device)?;
    info = weights::read_info(&bytes)?;
    let (step, megabytes) = (info.training.step, bytes.len() as f64 / 1e6);
    if let Some(out) = &args.out {
        io::write_atomic(out, &bytes)?;
        say!("{}: step {step}, {megabytes:.2} MB, {loss}", out.display());
    }
    if let Some(file) = &args.onnx {
        write_onnx(file, &net, &info, args.dtype)?;
    }
    if let Some((folder, site)) = page {
        site::write(folder, site, &Generator::new(net, info, &device), bytes)?;
        say!("{}: step {step}, {megabytes:.2} MB of weights, {loss}; open it through any web server", folder.display());
    }
    Ok(())
}

/// Refuses files whose names do not fit, or that `input` is or holds. A weights file may become itself, in another
/// precision.
///
/// # Errors
/// Names the file and the reason.
pub(crate) fn check_outputs(weights: Option<&Path>, onnx: Option<&Path>, input: &Path) -> Result<()> {
    if let Some(out) = weights {
        io::check_extension(out, "a safetensors file", &["safetensors"])?;
    }
    if let Some(file) = onnx {
        io::check_extension(file, "an ONNX file", &["onnx"])?;
        if !input.is_dir() {
            io::check_not_input(file, [input])?;
        }
    }
    Ok(())
}

/// Pictures that stored weights are measured on.
const MEASURED: usize = 32;

/// The bytes of a weights file, with what its model makes of the known seed, and in words what storing cost.
pub(crate) fn store(exact: Generator, precision: Precision, device: &Device) -> Result<(Vec<u8>, String)> {
    let bytes = exact.to_bytes(precision)?;
    let stored = Generator::from_bytes(&bytes, device)?;
    let request = Request { seed: 0, count: MEASURED, class: Condition::Any, nfe: 1 };
    let rgba = |generator: &Generator| pollster::block_on(to_rgba(generator.images(request.clone())?));
    let loss = match exact.info().latent {
        // Whose values are no colours.
        Some(_) => "latents not compared".into(),
        None => in_decibels(&rgba(&exact)?, &rgba(&stored)?),
    };
    Ok((bytes, loss))
}

/// Writes the network for other runtimes.
pub(crate) fn write_onnx(file: &Path, net: &Net, info: &ModelInfo, dtype: Dtype) -> Result<()> {
    let graph = onnx::encode(net, info, dtype.into())?;
    io::write_atomic(file, &graph)?;
    say!("{}: step {}, {:.2} MB", file.display(), info.training.step, graph.len() as f64 / 1e6);
    Ok(())
}

/// How far pictures are from exact ones.
fn in_decibels(exact: &[u8], stored: &[u8]) -> String {
    let squares: f64 = exact.iter().zip(stored).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    match squares {
        0.0 => "its pictures are those of the exact weights".into(),
        squares => {
            let psnr = 10.0 * (255.0_f64.powi(2) * exact.len() as f64 / squares).log10();
            format!("{MEASURED} pictures {psnr:.1} dB from those of the exact weights")
        }
    }
}
