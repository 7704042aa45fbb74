//! `meanflow repack`.

use std::path::PathBuf;

use anyhow::Result;
use meanflow::{device, io};

use crate::export::{Dtype, check_outputs, store, write_onnx};
use crate::model::read_generator;

/// Write a weights file anew, in another precision, or with what older versions did not store.
///
/// The numbers stay the same where the precision does. What the model makes of one known seed is stored with it, so
/// that a page can tell an engine that works from one that does not.
#[derive(clap::Args)]
pub struct Args {
    /// Weights file
    #[arg(value_name = "WEIGHTS")]
    weights: PathBuf,
    /// File to write, which may be the same
    #[arg(long, value_name = "FILE.safetensors", required_unless_present = "onnx")]
    out: Option<PathBuf>,
    /// The same network for other runtimes, an ONNX file: u(z, r, t, label)
    #[arg(long, value_name = "FILE.onnx")]
    onnx: Option<PathBuf>,
    /// Precision of the stored weights; in an ONNX file f16 stands for i8 too
    #[arg(long, value_enum, default_value_t = Dtype::F16)]
    dtype: Dtype,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    check_outputs(args.out.as_deref(), args.onnx.as_deref(), &args.weights)?;
    let device = device::cpu();
    let generator = read_generator(&args.weights, &device)?;
    if let Some(file) = &args.onnx {
        write_onnx(file, generator.net(), generator.info(), args.dtype)?;
    }
    if let Some(out) = &args.out {
        let (bytes, loss) = store(generator, args.dtype.into(), &device)?;
        io::write_atomic(out, &bytes)?;
        say!("{}: {:.2} MB, {loss}", out.display(), bytes.len() as f64 / 1e6);
    }
    Ok(())
}
