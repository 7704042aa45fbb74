//! `meanflow random-weights`: a network of any shape for tests and benches, without training.

use std::path::PathBuf;

use anyhow::{Context, Result};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use meanflow::NetConfig;
use meanflow::io;
use meanflow::model::weights::{DataInfo, FORMAT_VERSION, ModelInfo, TrainingInfo};
use meanflow::rng::{Purpose, Stream};

use crate::export::Dtype;

/// Write a network whose parameters are all random: what training leaves zero at first, too.
#[derive(clap::Args)]
pub struct Args {
    /// The network's configuration as JSON
    #[arg(long, value_name = "JSON")]
    net: String,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Seed of the parameters
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How to store the weights
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    io::check_extension(&args.out, "a safetensors file", &["safetensors"])?;
    let config: NetConfig = serde_json::from_str(&args.net).context("--net")?;
    config.validate()?;
    let device = Device::default();
    let net = config.init(args.seed, &device).map(&mut Randomise { seed: args.seed, made: 0, device: &device });
    let info = ModelInfo {
        format_version: FORMAT_VERSION,
        name: "random".into(),
        classes: (0..config.classes).map(|i| i.to_string()).collect(),
        vocabulary: (0..config.text.as_ref().map_or(0, |text| text.vocabulary))
            .map(|i| format!("word{i:05}"))
            .collect(),
        net: config,
        latent: None,
        check: None,
        data: DataInfo { license: "CC0-1.0".into(), ..Default::default() },
        training: TrainingInfo::default(),
    };
    let bytes = meanflow::net::encode(&net, &info, args.dtype.into())?;
    io::write_atomic(&args.out, bytes)?;
    Ok(())
}

/// Gives every parameter values of about the size that a trained one has: `N(0, 1 / rows)`, biases `N(0, 0.1²)`.
struct Randomise<'a> {
    seed: u64,
    made: u64,
    device: &'a Device,
}

impl ModuleMapper for Randomise<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape: [usize; D] = param.lazy_shape().dims();
        let deviation = if D == 1 { 0.1 } else { (shape[0] as f32).powf(-0.5) };
        let mut stream = Stream::new(self.seed, Purpose::Weights, self.made);
        self.made += 1;
        let values = stream.normals(shape.iter().product()).into_iter().map(|z| deviation * z).collect();
        Param::initialized(param.id, Tensor::from_data(TensorData::new::<f32, _>(values, shape), self.device))
    }
}
