//! `meanflow report`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use meanflow::train::report;

/// Write a run as one HTML page: curves, samples and how they came about, settings.
///
/// The page holds everything in itself; it can be mailed, or opened from the disk.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// HTML file to write; report.html in the run's folder if not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let page = report(&args.run)?;
    let out = args.out.clone().unwrap_or_else(|| args.run.join("report.html"));
    std::fs::write(&out, &page).with_context(|| format!("cannot write {}", out.display()))?;
    println!("{}: {:.1} MB", out.display(), page.len() as f64 / 1e6);
    Ok(())
}
