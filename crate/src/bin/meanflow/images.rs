//! Sets of images as the commands read them.

use std::path::Path;

use anyhow::{Result, bail};
use meanflow::data::{self, DataConfig, Images, LabelColumn};
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

/// The images of a set with their classes by each of these settings, which differ in what the classes are.
///
/// # Errors
/// As [`load`], and settings by which the images themselves differ.
pub fn load_columns(path: &Path, settings: &[DataConfig]) -> Result<(Images, Vec<LabelColumn>)> {
    let [first, others @ ..] = settings else { bail!("no classes are asked for") };
    let column = |config: &DataConfig, images: &Images| LabelColumn {
        name: config.class_column(),
        labels: images.labels.clone(),
        classes: images.classes.clone(),
    };
    let images = load(path, first)?;
    let mut columns = vec![column(first, &images)];
    for config in others {
        let same = data::load(path, config)?;
        let added = column(config, &same);
        if same.names != images.names {
            let [name, of] = [&added, &columns[0]].map(|column| column.name.clone().unwrap_or_default());
            bail!("{}: other images have a class by {name} than by {of}", path.display());
        }
        columns.push(added);
    }
    Ok((images, columns))
}

/// The pictures of a set, in memory.
///
/// # Errors
/// As [`load`], and a file of latents, which are no pictures.
pub fn load_pictures(path: &Path, config: &DataConfig) -> Result<Images> {
    let images = load(path, config)?;
    require_pictures(path, &images)?;
    Ok(images)
}

/// Refuses latents.
///
/// # Errors
/// Says what to give instead.
pub fn require_pictures(path: &Path, images: &Images) -> Result<()> {
    match images.latents {
        None => Ok(()),
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
