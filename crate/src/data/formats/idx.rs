//! MNIST-style IDX: a file of grey images and a file of labels, either as they are or as gzip.
//!
//! `00 00 08 03`, then count, height and width as big-endian `u32`, then a byte per pixel; labels are `00 00 08 01`,
//! count, then a byte each.

use image::{GrayImage, RgbaImage};

use super::Format;
use crate::data::build::{Builder, Item};
use crate::data::error::DataError;
use crate::data::files::Files;
use crate::data::{DataConfig, Visit, paths};

const IMAGES_MAGIC: [u8; 4] = [0, 0, 8, 3];
const LABELS_MAGIC: [u8; 4] = [0, 0, 8, 1];

pub(super) static FORMAT: Format = Format {
    name: "MNIST-style IDX files",
    sniff: |head| head.content.starts_with(&IMAGES_MAGIC),
    claims: is_images,
    may_have_columns: false,
    load,
};

/// Whether a file is called like MNIST's images, such as `train-images-idx3-ubyte.gz`.
fn is_images(name: &str) -> bool {
    let base = paths::base(name);
    base.contains("images") && base.contains("idx3")
}

fn load(files: &Files, config: &DataConfig, _: usize, visit: &mut Visit) -> Result<Vec<String>, DataError> {
    let entry = choose(files)?;
    let content = files.read_packed(&[entry])?.concat();
    let [count, height, width] = header(files, entry, &content, IMAGES_MAGIC)?;
    let (count, pixels) = (count as usize, &content[16..]);
    let labels = match config.class_depth {
        0 => None,
        _ => Some(read_labels(files, entry, count)?),
    };
    let class = |i: usize| labels.as_ref().map(|labels| labels[i].to_string()).unwrap_or_default();
    let items = (0..count).map(|i| Item::numbered(class(i), i, i));
    let mut builder = Builder::new(&files.path, config, items.collect())?;
    for i in 0..builder.items.len() {
        let at = builder.items[i].source * (height * width) as usize;
        let grey = pixels[at..at + (height * width) as usize].to_vec();
        let image = GrayImage::from_raw(width, height, grey).ok_or_else(|| "has a wrong size".to_owned());
        builder.put(i, image.map(to_rgba));
    }
    let order: Vec<String> = (0..=u8::MAX).map(|label| label.to_string()).collect();
    visit(builder.finish(&order))?;
    Ok(order)
}

fn to_rgba(grey: GrayImage) -> RgbaImage {
    image::DynamicImage::from(grey).into_rgba8()
}

/// The one file of images.
fn choose(files: &Files) -> Result<usize, DataError> {
    match files.claimed()[..] {
        [only] => Ok(only),
        _ => Err(DataError::damaged(&files.path, "holds several IDX image files of one split; name one of them")),
    }
}

/// The labels of the images file `images`, which is called alike.
fn read_labels(files: &Files, images: usize, count: usize) -> Result<Vec<u8>, DataError> {
    let name = &files.entries[images].path;
    let (folder, base) = name.split_at(name.len() - paths::base(name).len());
    let wanted = format!("{folder}{}", base.replace("images", "labels").replace("idx3", "idx1"));
    let wanted = wanted.strip_suffix(".gz").unwrap_or(&wanted);
    let Some(entry) = files.find(wanted).filter(|&entry| entry != images) else {
        let reason =
            format!("has no labels: {wanted} (or .gz) is missing; set class_depth = 0 to train without classes");
        return Err(files.damaged(images, reason));
    };
    let content = files.read_packed(&[entry])?.concat();
    let [labels, ..] = header(files, entry, &content, LABELS_MAGIC)?;
    if labels as usize != count {
        return Err(files.damaged(entry, format!("holds {labels} labels for {count} images")));
    }
    Ok(content[8..].to_vec())
}

/// Count, height and width (1 and 1 for labels), after checking that exactly so many bytes follow.
fn header(files: &Files, entry: usize, content: &[u8], magic: [u8; 4]) -> Result<[u32; 3], DataError> {
    let dimensions = usize::from(magic[3]);
    let start = 4 + 4 * dimensions;
    if content.len() < start || !content.starts_with(&magic) {
        return Err(files.damaged(entry, format!("is no IDX file of bytes in {dimensions} dimensions")));
    }
    let mut sizes = [1; 3];
    for (size, bytes) in sizes.iter_mut().zip(content[4..start].chunks_exact(4)) {
        *size = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    let claimed = sizes.iter().try_fold(1_u64, |product, &size| product.checked_mul(u64::from(size)));
    let held = (content.len() - start) as u64;
    match claimed {
        Some(0) => Err(files.damaged(entry, "holds nothing")),
        Some(bytes) if bytes == held => Ok(sizes),
        _ => {
            let [count, height, width] = sizes;
            Err(files
                .damaged(entry, format!("claims {count} items of {height}×{width} bytes, but {held} bytes follow")))
        }
    }
}
