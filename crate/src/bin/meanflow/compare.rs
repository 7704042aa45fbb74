//! `meanflow compare`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use meanflow::eval::{plot, read_records, tables};

/// Make tables and a plot from results that `meanflow eval --out` wrote. Runs of one name become mean ± deviation.
#[derive(clap::Args)]
pub struct Args {
    /// Files of results, a line of JSON each
    #[arg(value_name = "FILE", required = true)]
    results: Vec<PathBuf>,
    /// Markdown file to write; without it the tables are printed
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// SVG file to write: quality against network calls
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let records = read_records(&args.results)?;
    let Some(first) = records.first() else { bail!("the files hold no results") };
    if let Some(other) = records.iter().find(|record| record.features != first.features) {
        bail!("distances on different features do not compare: {}, and {}", first.features, other.features);
    }
    let write = |path: &PathBuf, text: String| {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    match &args.table {
        Some(path) => write(path, tables(&records))?,
        None => print!("{}", tables(&records)),
    }
    args.plot.as_ref().map_or(Ok(()), |path| write(path, plot(&records)))
}
