//! Sets of images as the commands read them.

use std::path::Path;

use anyhow::{Result, bail};
use meanflow::data::{self, DataConfig, Images};
use meanflow::model::Condition;
use meanflow::model::weights::ModelInfo;

/// The images of a set; what its user should know about it goes to standard error.
pub fn load(path: &Path, config: &DataConfig) -> Result<Images> {
    let images = data::load(path, config)?;
    for remark in images.remarks() {
        note!("{remark}");
    }
    Ok(images)
}

/// The pictures of a set, in memory.
///
/// # Errors
/// As [`load`], and a file of latents, which are no pictures.
pub fn load_pictures(path: &Path, config: &DataConfig) -> Result<Images> {
    let images = load(path, config)?;
    match images.latents {
        None => Ok(images),
        Some(_) => bail!("{} holds latents; give the pictures that they were encoded from", path.display()),
    }
}

/// What describes these images of a set, for models that take prompts: the first caption of each, or the name of its
/// class. Says so where nothing describes any, so that they are of the empty prompt.
pub fn captions(images: &Images, rows: &[usize]) -> Vec<String> {
    let captions: Vec<String> = rows.iter().map(|&row| images.description(row)).collect();
    if captions.iter().all(String::is_empty) {
        note!("the images have neither captions nor classes: the model is asked with the empty prompt");
    }
    captions
}

/// The captions as prompts of a model.
pub fn prompts(captions: &[String], info: &ModelInfo) -> Result<Vec<Condition>> {
    Ok(captions.iter().map(|caption| info.prompt(caption)).collect::<Result<_, _>>()?)
}
