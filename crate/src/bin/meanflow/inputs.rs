//! What several commands take: a model, the images that it is measured on, and a device.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn::tensor::Device;
use meanflow::data::{DataConfig, DataError, Images};
use meanflow::device;
use meanflow::generator::Generator;
use meanflow::train::TrainConfig;

use crate::images::load_pictures;
use crate::model::read_picture_model;
use crate::train::read_config;

/// Where to compute.
#[derive(clap::Args)]
pub struct DeviceArg {
    /// Device, such as cpu, vulkan, wgpu or cuda:1, as compiled in
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

impl DeviceArg {
    /// Its name, where one was given.
    pub fn name(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Opens it.
    ///
    /// # Errors
    /// A device that is not there, or not compiled in.
    pub fn open(&self) -> Result<Device> {
        Ok(device::open(self.name())?)
    }
}

/// A set of images.
#[derive(clap::Args)]
pub struct DataArgs {
    /// The images, as for training
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Settings, a TOML file, of which [data] says how files become images; where a model is measured, their size is
    /// the model's
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which split of the images to take, such as train or test, in place of what [data] says
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
}

impl DataArgs {
    /// The settings; the split is that of [data] if not given.
    ///
    /// # Errors
    /// A file that does not read, or that holds no settings.
    pub fn settings(&self) -> Result<TrainConfig> {
        let mut config = read_config(self.config.as_deref())?;
        if let Some(split) = &self.split {
            config.data.split = Some(split.clone());
        }
        Ok(config)
    }

    /// The settings of what training did not show; if the split is not given, it is test where combinations of layers
    /// are held out, and else that of [data].
    ///
    /// # Errors
    /// As [`Self::settings`].
    pub fn unseen_settings(&self) -> Result<TrainConfig> {
        let mut config = self.settings()?;
        if self.split.is_none() && config.data.holds_out() {
            config.data.split = Some("test".into());
        }
        Ok(config)
    }

    /// The files that are read.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.data.as_path()).chain(self.config.as_deref())
    }
}

/// What says which classes images are of, where a set has several kinds of them.
#[derive(clap::Args)]
pub struct ColumnArgs {
    /// With [data.layers]: a folder whose parts are classes, or its name in captions; may be given several times
    #[arg(long, value_name = "FOLDER")]
    layer: Vec<String>,
    /// Without layers: a column, or a key of JSON files, that holds classes; may be given several times
    #[arg(long, value_name = "COLUMN", conflicts_with = "layer")]
    label: Vec<String>,
}

impl ColumnArgs {
    /// Whether any is given.
    pub fn is_given(&self) -> bool {
        !self.layer.is_empty() || !self.label.is_empty()
    }

    /// The settings by each layer or column in turn; as they are where none is given.
    ///
    /// # Errors
    /// A layer that there is not, a layer of a set without any, a column of one with layers, or two of one name.
    pub fn settings(&self, config: &DataConfig) -> Result<Vec<DataConfig>> {
        let by = |set: &dyn Fn(&mut DataConfig) -> Result<(), DataError>| {
            let mut config = config.clone();
            set(&mut config)?;
            Ok(config)
        };
        let layers = self.layer.iter().map(|layer| by(&|config| config.set_class_layer(layer)));
        let labels = self.label.iter().map(|label| by(&|config| config.set_label_column(label)));
        let all: Vec<DataConfig> = layers.chain(labels).collect::<Result<_>>()?;
        let mut names: Vec<String> = all.iter().filter_map(DataConfig::class_column).collect();
        names.sort();
        if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
            bail!("{} `{name}` is given twice", if self.layer.is_empty() { "--label" } else { "--layer" });
        }
        Ok(if self.is_given() { all } else { vec![config.clone()] })
    }
}

/// A model that makes pictures, and the images that it is measured on.
#[derive(clap::Args)]
pub struct ModelOnData {
    /// Weights file
    #[arg(value_name = "WEIGHTS")]
    pub weights: PathBuf,
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub device: DeviceArg,
}

impl ModelOnData {
    /// The device, and the model on it.
    ///
    /// # Errors
    /// A device or a file that cannot be opened, or a model that makes latents.
    pub fn open(&self) -> Result<(Device, Generator)> {
        let device = self.device.open()?;
        let model = read_picture_model(&self.weights, &device)?;
        Ok((device, model))
    }

    /// The images by these settings, of the model's size and channels.
    ///
    /// # Errors
    /// As [`load_pictures`].
    pub fn load(&self, config: DataConfig, model: &Generator) -> Result<Images> {
        load_pictures(&self.data.data, &for_model(config, model))
    }

    /// The files that are read.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.weights.as_path()).chain(self.data.paths())
    }
}

/// The settings for images of the model's size and channels.
pub fn for_model(config: DataConfig, model: &Generator) -> DataConfig {
    let net = &model.info().net;
    DataConfig { size: net.image_size, channels: net.channels, ..config }
}
