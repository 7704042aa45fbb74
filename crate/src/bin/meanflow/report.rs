//! `meanflow report`.

use std::path::PathBuf;

use anyhow::Result;
use meanflow::io;
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
    let out = args.out.clone().unwrap_or_else(|| args.run.join("report.html"));
    io::check_extension(&out, "HTML", &["html", "htm"])?;
    let page = report(&args.run)?;
    io::write_atomic(&out, &page)?;
    say!("{}: {:.1} MB", out.display(), page.len() as f64 / 1e6);
    Ok(())
}
