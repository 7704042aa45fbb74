//! `meanflow playground`.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use meanflow::io;
use meanflow::train::playground::{Points, learn, portray};

use crate::dashboard::Dashboard;
use crate::inputs::DeviceArg;

/// Learn points in the plane in seconds, and draw what was learnt as an SVG file.
///
/// Three panels: the data beside what one network call makes of noise; the curved ways along the velocity v beside the
/// straight jumps of the average velocity u; and both velocities where the ways begin.
#[derive(clap::Args)]
pub struct Args {
    /// The distribution
    #[arg(long, default_value = "two-moons", value_parser = points())]
    data: Points,
    /// SVG file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Optimizer steps
    #[arg(long, default_value_t = 2500, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArg,
}

fn points() -> impl TypedValueParser<Value = Points> {
    PossibleValuesParser::new(Points::NAMED.map(|(name, _)| name)).try_map(|name| name.parse::<Points>())
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    io::check_extension(&args.out, "SVG", &["svg"])?;
    let device = args.device.open()?;
    let mut bar = Dashboard::new(args.steps);
    let net = learn(args.data, args.steps, args.seed, &device, &mut bar)?;
    bar.finish(true);
    let svg = portray(&net, args.data, args.seed, &device)?.to_svg();
    io::write_atomic(&args.out, svg)?;
    say!("{}: what {} steps learnt", args.out.display(), args.steps);
    Ok(())
}
