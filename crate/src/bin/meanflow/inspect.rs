//! `meanflow inspect`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use meanflow::{io, model::weights};

/// Print what a weights file says about itself, as JSON.
#[derive(clap::Args)]
pub struct Args {
    /// Weights file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let bytes = io::read_whole(&args.file)?;
    let info = weights::read_info(&bytes).with_context(|| args.file.display().to_string())?;
    let mut report = serde_json::to_value(&info)?;
    report["parameters"] = info.net.parameters().into();
    report["bytes"] = bytes.len().into();
    say!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
