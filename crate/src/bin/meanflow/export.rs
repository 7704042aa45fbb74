//! `meanflow export`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use meanflow::device;
use meanflow::generator::Generator;
use meanflow::train::{MAIN, RunFolder, replace};
use meanflow::weights::{self, Precision};

use crate::site;

/// Write the averaged weights of a run as one file for the page, the command line or Python.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE.safetensors", required_unless_present = "web")]
    out: Option<PathBuf>,
    /// Folder to write for a static host: the weights, a poster, a page that shows them, and the element
    #[arg(long, value_name = "DIR")]
    web: Option<PathBuf>,
    /// The built page, from which --web takes the element (`make build` leaves it)
    #[arg(long, value_name = "DIST", default_value = "dist")]
    site: PathBuf,
    /// Which average of the weights: main, or one of the run's [train.averages]
    #[arg(long, value_name = "NAME", default_value = MAIN)]
    ema: String,
    /// Precision of the stored weights
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
}

impl From<Dtype> for Precision {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F16 => Self::F16,
            Dtype::F32 => Self::F32,
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<()> {
    let (run, _) = RunFolder::open(&args.run)?;
    // Only copies numbers: no need to wake a GPU.
    let device = device::open(device::names().contains(&"cpu").then_some("cpu"))?;
    let (net, mut info) = run.averaged(&args.ema, &device, |text| eprintln!("warning: {text}"))?;
    info.check = Some(Generator::new(net.clone(), info.clone(), &device).check()?);
    if args.web.is_some() && info.latent.is_some() {
        bail!("the model `{}` makes latents, which a page cannot decode", info.name);
    }
    let bytes = weights::encode(&net, &info, args.dtype.into())?;
    let (step, megabytes) = (info.training.step, bytes.len() as f64 / 1e6);
    if let Some(out) = &args.out {
        replace(out, &bytes)?;
        println!("{}: step {step}, {megabytes:.2} MB", out.display());
    }
    if let Some(folder) = &args.web {
        site::write(folder, &args.site, &Generator::new(net, info, &device), &bytes)?;
        println!("{}: step {step}, {megabytes:.2} MB of weights; open it through any web server", folder.display());
    }
    Ok(())
}
