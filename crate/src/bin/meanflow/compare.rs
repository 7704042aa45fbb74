//! `meanflow compare`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use meanflow::eval::{plot, read_records, tables};
use meanflow::io;

/// Make tables and a plot from results that `meanflow eval --out` wrote.
///
/// Runs that differ in their training seed alone become one row, mean ± standard deviation; other models of one name
/// are told apart. Results that do not say which file they are of, as older versions wrote, count as such runs where
/// their seeds differ.
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
    for (path, what, endings) in
        [(&args.table, "Markdown", &["md", "markdown", "txt"][..]), (&args.plot, "SVG", &["svg"])]
    {
        let Some(path) = path else { continue };
        io::check_extension(path, what, endings)?;
        io::check_not_input(path, args.results.iter().map(PathBuf::as_path))?;
    }
    let records = read_records(&args.results)?;
    let Some(first) = records.first() else { bail!("the files hold no results") };
    if let Some(other) = records.iter().find(|record| record.measure() != first.measure()) {
        bail!("distances on different features do not compare: {}, and {}", first.measure(), other.measure());
    }
    if args.plot.is_some() && records.iter().all(|record| record.distance.is_none()) {
        bail!("no result has a {} to plot", first.metric);
    }
    match &args.table {
        Some(path) => io::write_atomic(path, tables(&records))?,
        None => say!("{}", tables(&records).trim_end()),
    }
    if let Some(path) = &args.plot {
        io::write_atomic(path, plot(&records))?;
    }
    Ok(())
}
