//! A set of images as latents in one safetensors file, which training draws from without holding it in memory.
//!
//! The tensor `moments`, `[images, views, 2, channels, size, size]` as F16, has mean and standard deviation of each
//! image, of its mirror image too where there are two views, as the autoencoder gives them; `labels`, `[images]` as
//! I32, are −1 for none. The header's metadata has one entry, `meanflow-latents`: a JSON [`LatentInfo`], which says how
//! draws are normalized.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use crate::data::{DataConfig, DataError, Digest, Images, label, load_parts};
use crate::io::{AtomicFile, SafetensorsFile};
use crate::latent::{Moments, Vae};
use crate::model::from_byte;
use crate::model::weights::{LatentSpace, Normalization};
use crate::rng::Stream;

/// The metadata entry that holds the [`LatentInfo`].
const METADATA_KEY: &str = "meanflow-latents";
/// Bytes reserved for the header of a file, which is known whole only at the end; a thousand long class names fit.
const HEADER: usize = 256 << 10;

/// What a file of latents says about itself, or the settings in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatentInfo {
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// How they become pictures.
    pub space: LatentSpace,
}

/// A file of latents, open.
#[derive(Debug)]
pub struct Latents {
    path: PathBuf,
    file: SafetensorsFile,
    info: LatentInfo,
    /// Where the moments begin.
    start: u64,
    /// `[images, views, 2, channels, size, size]`.
    shape: [usize; 6],
    labels: Vec<i32>,
}

impl PartialEq for Latents {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.info, self.shape) == (&other.path, &other.info, other.shape)
    }
}

impl Latents {
    /// Opens a file of latents; `None` where the path is something else.
    ///
    /// # Errors
    /// When it is one but contradicts itself, or the disk refuses.
    pub fn open(path: &Path) -> Result<Option<Self>, DataError> {
        let damaged = |reason: &str| DataError::damaged(path, reason.to_owned());
        if !path.is_file() {
            return Ok(None);
        }
        let unreadable = |e: crate::Error| DataError::Read(e.to_string());
        let Some(file) = SafetensorsFile::open(path).map_err(unreadable)? else { return Ok(None) };
        let Some(json) = file.metadata().and_then(|metadata| metadata.get(METADATA_KEY)) else { return Ok(None) };
        let info: LatentInfo = serde_json::from_str(json).map_err(|e| damaged(&format!("metadata: {e}")))?;
        let tensors = file.tensors();
        let (Some(&moments), Some(&labels)) = (tensors.get("moments"), tensors.get("labels")) else {
            return Err(damaged("it lacks `moments` or `labels`"));
        };
        let shape: [usize; 6] = moments.shape.clone().try_into().map_err(|_| damaged("`moments` has no six axes"))?;
        let [count, views, two, _, height, width] = shape;
        let fits = moments.dtype == Dtype::F16 && labels.dtype == Dtype::I32 && labels.shape == [count];
        if !fits || two != 2 || height != width || !matches!(views, 1 | 2) || shape[3..].contains(&0) {
            return Err(damaged("`moments` and `labels` are of no known shape"));
        }
        let (start, _) = file.place(moments);
        let bytes = file.read(labels).map_err(unreadable)?;
        let labels: Vec<i32> = bytes.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
        let known = -1..info.classes.len() as i32;
        if labels.iter().any(|label| !known.contains(label)) || labels.is_empty() {
            return Err(damaged("it holds no images, or labels of classes that it does not name"));
        }
        info.space.normalization.suits(shape[3]).map_err(|reason| damaged(&reason))?;
        Ok(Some(Self { path: path.into(), file, info, start, shape, labels }))
    }

    /// A digest of the file by its description, shape, labels and some of its moments: all of them can be many
    /// gigabytes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn digest(&self) -> Result<String, DataError> {
        /// Records that are read.
        const SAMPLED: usize = 64;
        let io = |e| DataError::io(&self.path, e);
        let mut digest = Digest::default();
        digest.add(format!("{:?} {:?}", self.info, self.shape).as_bytes());
        self.labels.iter().for_each(|label| digest.add(&label.to_le_bytes()));
        let [count, views, two, channels, size, _] = self.shape;
        let mut bytes = vec![0; 2 * two * channels * size * size];
        let records = count * views;
        for record in (0..records).step_by(records.div_ceil(SAMPLED).max(1)) {
            let place = self.start + (record * bytes.len()) as u64;
            self.file.read_at(place, &mut bytes).map_err(io)?;
            digest.add(&bytes);
        }
        Ok(digest.finish())
    }

    /// As a set to train on, normalized as the settings say, or else as the file says.
    ///
    /// # Errors
    /// Settings of another size or number of channels, of a normalization of so many channels, or of mirror images that
    /// the file does not have.
    pub(crate) fn into_images(mut self, config: &DataConfig) -> Result<Images, DataError> {
        let [count, views, _, channels, size, _] = self.shape;
        if config.size != size || ![0, channels].contains(&config.channels) {
            return Err(DataError::Config(format!(
                "{} holds latents of {size}×{size}×{channels}, but the settings say {1}×{1}×{2}",
                self.path.display(),
                config.size,
                config.channels
            )));
        }
        if let Some(normalization) = &config.normalization {
            let refused =
                |reason| DataError::Config(format!("{}: [data] normalization: {reason}", self.path.display()));
            normalization.suits(channels).map_err(refused)?;
            self.info.space.normalization = normalization.clone();
        }
        if config.flip && views == 1 {
            return Err(DataError::Config(format!(
                "flip = true, but {} holds no mirror images; encode it again with flip = true",
                self.path.display()
            )));
        }
        let named = config.class_depth > 0 && self.labels.iter().all(|&label| label >= 0);
        Ok(Images {
            size,
            channels,
            labels: self.labels.iter().map(|&label| if named { label as u32 } else { 0 }).collect(),
            classes: if named { self.info.classes.clone() } else { Vec::new() },
            names: (0..count).map(|i| i.to_string()).collect(),
            latents: Some(Arc::new(self)),
            ..Images::default()
        })
    }

    /// What the file says about itself, with the normalization of the settings where they have one.
    pub fn info(&self) -> &LatentInfo {
        &self.info
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Numbers of a latent.
    fn values(&self) -> usize {
        let [_, _, _, channels, size, _] = self.shape;
        channels * size * size
    }

    /// Takes from the stream what [`draw`](Self::draw) takes, and reads nothing.
    pub(crate) fn skip(&self, stream: &mut Stream) {
        stream.normals(self.values());
    }

    /// One latent of an image, drawn anew and normalized: `[channels, size, size]`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn draw(&self, image: usize, mirrored: bool, stream: &mut Stream) -> Result<Vec<f32>, DataError> {
        let [_, views, _, _, size, _] = self.shape;
        let values = self.values();
        let record = (image * views + usize::from(mirrored)) as u64;
        let mut bytes = vec![0; 4 * values];
        let place = self.start + record * bytes.len() as u64;
        self.file.read_at(place, &mut bytes).map_err(|e| DataError::io(&self.path, e))?;
        let numbers: Vec<f32> =
            bytes.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect();
        let (mean, deviation) = numbers.split_at(values);
        let noise = stream.normals(values);
        let moments = mean.iter().zip(deviation).zip(noise);
        let mut latent: Vec<f32> = moments.map(|((mean, deviation), e)| mean + deviation * e).collect();
        for (channel, plane) in latent.chunks_exact_mut(size * size).enumerate() {
            let [shift, factor] = self.info.space.normalization.shift_and_factor(channel).map(|x| x as f32);
            plane.iter_mut().for_each(|x| *x = factor * (*x - shift));
        }
        Ok(latent)
    }
}

/// Encodes a set of pictures at `data` into a file at `out`; `config` is that of the latents. Returns how many there
/// are.
///
/// # Errors
/// As [`load_parts`], settings that do not fit the autoencoder, or a disk that refuses; nothing is left at `out` then.
pub fn encode(
    vae: &Vae,
    data: &Path,
    config: &DataConfig,
    out: &Path,
    batch: usize,
    device: &Device,
    mut done: impl FnMut(usize),
) -> Result<usize, DataError> {
    if config.channels != vae.channels() {
        return Err(DataError::Config(format!(
            "channels is {}, but the autoencoder makes latents of {}",
            config.channels,
            vae.channels()
        )));
    }
    let normalization = config.normalization.clone().unwrap_or(Normalization::STABLE_DIFFUSION);
    normalization
        .suits(config.channels)
        .map_err(|reason| DataError::Config(format!("[data] normalization: {reason}")))?;
    let pictures = DataConfig { size: config.size * vae.factor(), channels: 3, ..config.clone() };
    let mut file = AtomicFile::create(out).map_err(DataError::Write)?;
    file.write_all(&vec![b' '; HEADER]).map_err(DataError::Write)?;
    let mut of_class = Vec::new();
    let whole = load_parts(data, &pictures, &mut |images| {
        for (i, class) in images.class_names().enumerate() {
            of_class.push(class);
            if (i + 1) % batch == 0 || i + 1 == images.len() {
                let rows = i / batch * batch..i + 1;
                let bytes = moments(vae, &images, rows, config.flip, device)
                    .map_err(|e| DataError::damaged(data, format!("cannot be encoded: {e}")))?;
                file.write_all(&bytes).map_err(DataError::Write)?;
                done(of_class.len());
            }
        }
        Ok(())
    })?;
    let (labels, classes) = label(&of_class, &whole.classes);
    let or_none = |(label, class): (&u32, &String)| if class.is_empty() { -1 } else { *label as i32 };
    let bytes: Vec<u8> = labels.iter().zip(&of_class).map(or_none).flat_map(i32::to_le_bytes).collect();
    file.write_all(&bytes).map_err(DataError::Write)?;
    let views = 1 + usize::from(config.flip);
    let shape = [labels.len(), views, 2, config.channels, config.size, config.size];
    let info = LatentInfo { classes, space: LatentSpace { factor: vae.factor(), normalization } };
    let head = header(&info, shape).map_err(|reason| DataError::damaged(data, reason))?;
    let finish = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&head));
    finish.and_then(|()| file.commit()).map_err(DataError::Write)?;
    Ok(labels.len())
}

/// Mean and deviation of some pictures, and of their mirror images, as F16.
fn moments(
    vae: &Vae,
    images: &Images,
    rows: std::ops::Range<usize>,
    flip: bool,
    device: &Device,
) -> Result<Vec<u8>, String> {
    let values = images.channels * images.size * images.size;
    let numbers = images.pixels[rows.start * values..rows.end * values].iter().map(|&byte| from_byte(byte)).collect();
    let shape = [rows.len(), images.channels, images.size, images.size];
    let x = Tensor::<4>::from_data(TensorData::new::<f32, _>(numbers, shape), device);
    let mut views = vec![vae.encode(x.clone())];
    if flip {
        views.push(vae.encode(x.flip([3])));
    }
    // `[batch, views, 2, channels, size, size]`.
    let parts = views.into_iter().map(|Moments { mean, deviation }| Tensor::stack::<5>(vec![mean, deviation], 1));
    let all: Tensor<6> = Tensor::stack(parts.collect(), 1);
    let numbers = all.try_into_vec_as::<f32>().map_err(|e| e.to_string())?;
    Ok(numbers.into_iter().flat_map(|x| f16::from_f32(x).to_le_bytes()).collect())
}

/// The header of a file with these moments, as long as the room that was left for it.
fn header(info: &LatentInfo, shape: [usize; 6]) -> Result<Vec<u8>, String> {
    let json = serde_json::to_string(info).map_err(|e| e.to_string())?;
    let moments = 2 * shape.iter().product::<usize>();
    let text = serde_json::json!({
        "__metadata__": { METADATA_KEY: json },
        "moments": { "dtype": "F16", "shape": shape, "data_offsets": [0, moments] },
        "labels": { "dtype": "I32", "shape": [shape[0]], "data_offsets": [moments, moments + 4 * shape[0]] },
    })
    .to_string();
    if text.len() > HEADER - 8 {
        return Err("has more class names than a header has room for".into());
    }
    let mut head = ((HEADER - 8) as u64).to_le_bytes().to_vec();
    head.extend(text.bytes());
    head.resize(HEADER, b' ');
    Ok(head)
}
