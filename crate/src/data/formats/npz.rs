//! NumPy arrays: `.npz` archives such as Keras' `mnist.npz`, MedMNIST's, or the ImageNet files of guided diffusion, and
//! `.npy` files beside one another.
//!
//! The images are the array of bytes with three or four axes (`[count, height, width]`, with a last or second axis of
//! 1, 3 or 4 channels); the labels the array of whole numbers or texts of as many. Where arrays are named after splits
//! (`x_train`, `test_images`), one split is taken, as with folders.

use std::io::{self, Read};

use image::RgbaImage;

use super::Format;
use crate::data::build::{Builder, choose};
use crate::data::columns::{self, Cell};
use crate::data::error::{DataError, explain};
use crate::data::files::Files;
use crate::data::{DataConfig, Visit, layout, paths};

const MAGIC: &[u8] = b"\x93NUMPY";
/// A longer header is none.
const MAX_HEADER: usize = 1 << 16;
/// Bytes of an image beyond which it is none.
const MAX_IMAGE: usize = 1 << 30;
/// Bytes of labels beyond which they are none.
const MAX_LABELS: usize = 1 << 30;

pub(super) static FORMAT: Format = Format {
    name: "NumPy arrays",
    sniff: |head| head.content.starts_with(MAGIC),
    claims: |name| name.ends_with(".npy"),
    may_have_columns: false,
    load,
};

/// What the header of an array says.
struct Header {
    /// Without its byte order, such as `u1` or `i8`.
    kind: String,
    is_big_endian: bool,
    is_fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    fn read(reader: &mut dyn Read) -> Result<Self, String> {
        let mut start = [0; 8];
        reader.read_exact(&mut start).map_err(|e| explain(&e))?;
        let mut length = [0; 4];
        let wide = usize::from(start[6] > 1);
        reader.read_exact(&mut length[..2 + 2 * wide]).map_err(|e| explain(&e))?;
        let length = u32::from_le_bytes(length) as usize;
        if !start.starts_with(MAGIC) || length > MAX_HEADER {
            return Err("is no NumPy array".into());
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text).map_err(|e| explain(&e))?;
        Self::parse(&String::from_utf8_lossy(&text)).ok_or_else(|| "has a header that is not understood".into())
    }

    /// `{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 28, 28), }`
    fn parse(text: &str) -> Option<Self> {
        let after = |key: &str| text.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
        let kind = after("descr")?.strip_prefix('\'')?.split_once('\'')?.0;
        let shape = after("shape")?.strip_prefix('(')?.split_once(')')?.0;
        let numbers = shape.split(',').map(str::trim).filter(|number| !number.is_empty());
        Some(Self {
            is_big_endian: kind.starts_with('>'),
            kind: kind.trim_start_matches(['<', '>', '|', '=']).to_owned(),
            is_fortran: after("fortran_order")?.starts_with("True"),
            shape: numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?,
        })
    }

    fn count(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Height, width, channels and whether these come first, where this may be an array of images.
    fn image(&self) -> Option<([usize; 3], bool)> {
        let (size, is_planar) = match self.shape[..] {
            [_, height, width] => ([height, width, 1], false),
            // Small images may be either: square ones are likelier.
            [_, channels @ (1 | 3 | 4), height, width] if height == width && channels != height => {
                ([height, width, channels], true)
            }
            [_, height, width, channels @ (1 | 3 | 4)] => ([height, width, channels], false),
            [_, channels @ (1 | 3 | 4), height, width] => ([height, width, channels], true),
            _ => return None,
        };
        let bytes = size.iter().try_fold(1_usize, |product, &edge| product.checked_mul(edge))?;
        (1..=MAX_IMAGE).contains(&bytes).then_some((size, is_planar))
    }

    fn is_of_values(&self) -> bool {
        self.kind.starts_with(['i', 'u', 'b', 'f'])
    }

    /// Whether each image may have a row with a 1 at the place of its class.
    fn may_be_one_hot(&self, count: usize) -> bool {
        let is_kind = self.is_of_values() && !self.is_fortran;
        is_kind && matches!(self.shape[..], [n, classes] if n == count && classes > 1)
    }

    fn may_be_labels(&self, count: usize) -> bool {
        let is_kind = self.is_of_values() || self.kind.starts_with(['U', 'S']);
        is_kind && matches!(self.shape[..], [n] | [n, 1] if n == count)
    }
}

/// An array of the set: its entry, its name and its header.
struct Array {
    entry: usize,
    name: String,
    header: Header,
}

fn load(files: &Files, config: &DataConfig, most: usize, visit: &mut Visit) -> Result<Vec<String>, DataError> {
    let arrays = headers(files)?;
    let images = find_images(files, &arrays, config)?;
    let count = images.header.count();
    let labels = match config.class_depth {
        0 => None,
        _ => find_labels(files, &arrays, images, config)?,
    };
    let of_row = match labels {
        Some(labels) => read_labels(files, labels)?,
        None => {
            check_length(files, images)?;
            vec![None; count]
        }
    };
    if let Some(labels) = labels {
        files.notes.say(format!("images are the array {}, classes the array {}", images.name, labels.name));
    }
    let order = columns::sorted(of_row.iter().flatten().map(String::as_str));
    let items = choose(&files.path, config, columns::items(of_row))?;
    let (size, is_planar) = images.header.image().unwrap_or(([1; 3], false));
    let mut rest = items.into_iter().peekable();
    let mut part = Builder::of(config, rest.by_ref().take(most).collect())?;
    let (mut filled, mut failed) = (0, None);
    let mut pixels = vec![0; size.iter().product()];
    files.stream(&[images.entry], &mut |_, content| {
        let reader = content.map_err(io::Error::other)?;
        Header::read(reader).map_err(io::Error::other)?;
        for row in 0..count {
            if filled == part.items.len() {
                if rest.peek().is_none() {
                    break;
                }
                let next = Builder::of(config, rest.by_ref().take(most).collect()).map_err(io::Error::other)?;
                filled = 0;
                if let Err(e) = visit(std::mem::replace(&mut part, next).finish(&order)) {
                    failed = Some(e);
                    return Ok(());
                }
            }
            if let Err(e) = reader.read_exact(&mut pixels) {
                failed = Some(files.damaged(images.entry, explain(&e)));
                return Ok(());
            }
            if part.items[filled].source == row {
                part.put(filled, Ok::<_, String>(to_rgba(&pixels, size, is_planar)));
                filled += 1;
            }
        }
        Ok(())
    })?;
    match failed {
        Some(e) => Err(e),
        None => visit(part.finish(&order)).map(|()| order),
    }
}

/// The headers of all arrays.
fn headers(files: &Files) -> Result<Vec<Array>, DataError> {
    let entries: Vec<usize> = match files.chosen {
        // Beside an array that was named itself, others may hold its labels.
        Some(_) => (0..files.entries.len()).filter(|&i| files.entries[i].path.ends_with(".npy")).collect(),
        None => files.claimed(),
    };
    let mut found: Vec<Result<Header, String>> = entries.iter().map(|_| Err("was not found again".into())).collect();
    files.stream(&entries, &mut |places, content| {
        let header = content.and_then(Header::read);
        if let [place, ..] = *places {
            found[place] = header;
        }
        Ok(())
    })?;
    let array = |(&entry, header): (&usize, Result<Header, String>)| {
        let name = paths::base(&files.entries[entry].path).trim_end_matches(".npy").to_owned();
        header.map(|header| Array { entry, name, header }).map_err(|e| files.damaged(entry, e))
    };
    entries.iter().zip(found).map(array).collect()
}

fn listing<'a>(arrays: impl Iterator<Item = &'a Array>) -> String {
    let one = |array: &Array| {
        let shape: Vec<String> = array.header.shape.iter().map(usize::to_string).collect();
        format!("{} ({}, {})", array.name, array.header.kind, shape.join("×"))
    };
    arrays.map(one).collect::<Vec<_>>().join(", ")
}

/// The array of images.
fn find_images<'a>(files: &Files, arrays: &'a [Array], config: &DataConfig) -> Result<&'a Array, DataError> {
    let damaged = |reason: String| Err(DataError::damaged(&files.path, reason));
    let candidates: Vec<&Array> = match (&config.image_column, files.chosen) {
        (Some(name), _) => arrays.iter().filter(|array| array.name == *name).collect(),
        (None, Some(chosen)) => arrays.iter().filter(|array| array.entry == chosen).collect(),
        (None, None) => arrays.iter().filter(|array| array.header.image().is_some()).collect(),
    };
    match candidates[..] {
        [] => damaged(format!("holds no array of images; its arrays are {}", listing(arrays.iter()))),
        [array] if array.header.image().is_none() => damaged(format!("{} are no images", listing([array].into_iter()))),
        [array] if array.header.kind != "u1" => damaged(format!(
            "{} does not hold bytes; images are read from arrays of uint8, 0 to 255",
            listing([array].into_iter())
        )),
        [array] if array.header.is_fortran => {
            damaged(format!("{} is in Fortran order; save it with numpy.ascontiguousarray", array.name))
        }
        [array] => Ok(array),
        _ => damaged(format!(
            "holds several arrays of images, {}; choose one with [data] image_column",
            listing(candidates.into_iter())
        )),
    }
}

/// The array of labels, if there is one.
fn find_labels<'a>(
    files: &Files,
    arrays: &'a [Array],
    images: &Array,
    config: &DataConfig,
) -> Result<Option<&'a Array>, DataError> {
    let count = images.header.count();
    let fits = |array: &'a Array| match array.header.may_be_labels(count) || array.header.may_be_one_hot(count) {
        true => Ok(array),
        false => {
            let (labels, images) = (listing([array].into_iter()), listing([images].into_iter()));
            let reason = format!(
                "{labels} are no labels of {images}: those are as many numbers or texts, or rows with a single 1; \
                 class_depth = 0 needs none"
            );
            Err(DataError::damaged(&files.path, reason))
        }
    };
    if let Some(name) = &config.label_column {
        let found = arrays.iter().find(|array| array.name == *name);
        let unknown = || format!("holds no array {name}; its arrays are {}", listing(arrays.iter()));
        let array = found.ok_or_else(|| DataError::damaged(&files.path, unknown()))?;
        return fits(array).map(Some);
    }
    let others = arrays.iter().filter(|array| array.entry != images.entry);
    let fitting: Vec<&Array> = others.filter(|array| array.header.may_be_labels(images.header.count())).collect();
    let is_called = |array: &&&Array| {
        let name = array.name.to_ascii_lowercase();
        ["label", "target", "class", "cls"].iter().any(|word| name.contains(word)) || name.starts_with('y')
    };
    if let Some(called) = fitting.iter().find(is_called) {
        return Ok(Some(called));
    }
    // What is called labels is never left unread without a word.
    if let Some(called) = arrays.iter().find(|array| array.entry != images.entry && is_called_labels(array)) {
        return fits(called).map(Some);
    }
    if let [only] = fitting[..] {
        return Ok(Some(only));
    }
    let unread: Vec<&str> =
        arrays.iter().filter(|array| array.entry != images.entry).map(|array| array.name.as_str()).collect();
    if !unread.is_empty() {
        files.notes.say(format!(
            "no array is called labels or alike; not read are {} ([data] label_column chooses)",
            unread.join(", ")
        ));
    }
    Ok(None)
}

/// Whether an array is called as labels are, its split aside, and is not the names of the classes.
fn is_called_labels(array: &Array) -> bool {
    let words = array.name.split(['_', '-']).filter(|word| layout::split_of_file(word).is_none());
    let are_names = array.header.kind.starts_with(['U', 'S']);
    columns::is_usual_label(&words.collect::<Vec<_>>().join("_")) && !are_names && !array.header.shape.is_empty()
}

/// Whether the file is as long as the header says, before as many images are made room for.
fn check_length(files: &Files, array: &Array) -> Result<(), DataError> {
    let claimed = array.header.shape.iter().try_fold(1_u64, |product, &edge| product.checked_mul(edge as u64));
    let mut held = Ok(0);
    files.stream(&[array.entry], &mut |_, content| {
        held = content.and_then(|reader| {
            Header::read(reader)?;
            io::copy(reader, &mut io::sink()).map_err(|e| explain(&e))
        });
        Ok(())
    })?;
    let held = held.map_err(|e| files.damaged(array.entry, e))?;
    match claimed == Some(held) && held > 0 {
        true => Ok(()),
        false => {
            let shape = listing([array].into_iter());
            Err(files.damaged(array.entry, format!("claims to be {shape}, but {held} bytes follow")))
        }
    }
}

/// The class of each row.
fn read_labels(files: &Files, array: &Array) -> Result<Vec<Option<String>>, DataError> {
    let mut read = Err("was not found again".to_owned());
    files.stream(&[array.entry], &mut |_, content| {
        read = content.and_then(labels);
        Ok(())
    })?;
    read.map_err(|e| files.damaged(array.entry, e))
}

fn labels(reader: &mut dyn Read) -> Result<Vec<Option<String>>, String> {
    let header = Header::read(reader)?;
    let (kind, width) = header.kind.split_at(1);
    let width: usize = width.parse().map_err(|_| format!("holds labels of type {}", header.kind))?;
    let bytes = width.checked_mul(if kind == "U" { 4 } else { 1 }).filter(|&bytes| bytes > 0);
    let each = header.shape.get(1).copied().unwrap_or(1);
    let total = bytes.and_then(|bytes| bytes.checked_mul(header.count())?.checked_mul(each));
    let total = total.filter(|&total| total <= MAX_LABELS);
    let (Some(bytes), Some(total)) = (bytes, total) else {
        return Err(format!("holds labels of type {}", header.kind));
    };
    let mut content = Vec::new();
    reader.take(total as u64 + 1).read_to_end(&mut content).map_err(|e| explain(&e))?;
    if content.len() != total {
        return Err(format!("holds {} bytes, not {total}", content.len()));
    }
    let cell = |value: &[u8]| {
        let mut value = value.to_vec();
        if header.is_big_endian && matches!(kind, "i" | "u" | "f") {
            value.reverse();
        }
        number_or_text(kind, &value)
    };
    match each {
        1 => content.chunks_exact(bytes).map(|value| cell(value).class(None)).collect(),
        0 => Err("holds rows of no labels".into()),
        _ => {
            content.chunks_exact(bytes * each).map(|row| one_hot(row.chunks_exact(bytes).map(cell)).map(Some)).collect()
        }
    }
}

/// The class that a row of zeros and a single 1 means: the place of the 1.
fn one_hot(row: impl Iterator<Item = Cell>) -> Result<String, String> {
    let several = || "holds rows of several labels, not of a single 1 each; class_depth = 0 needs none".to_owned();
    let mut class = None;
    for (place, cell) in row.enumerate() {
        match cell {
            Cell::Number(0) => {}
            Cell::Number(1) if class.is_none() => class = Some(place.to_string()),
            _ => return Err(several()),
        }
    }
    class.ok_or_else(several)
}

/// A little-endian number, a text, or texts of four bytes for each letter.
fn number_or_text(kind: &str, bytes: &[u8]) -> Cell {
    match (kind, bytes) {
        ("i", [a]) => Cell::Number((*a as i8).into()),
        ("u" | "b", [a]) => Cell::Number((*a).into()),
        ("i", &[a, b]) => Cell::Number(i16::from_le_bytes([a, b]).into()),
        ("u", &[a, b]) => Cell::Number(u16::from_le_bytes([a, b]).into()),
        ("i", &[a, b, c, d]) => Cell::Number(i32::from_le_bytes([a, b, c, d]).into()),
        ("u", &[a, b, c, d]) => Cell::Number(u32::from_le_bytes([a, b, c, d]).into()),
        ("f", &[a, b, c, d]) => Cell::from(f64::from(f32::from_le_bytes([a, b, c, d]))),
        ("i" | "u", &[a, b, c, d, e, f, g, h]) => Cell::Number(i64::from_le_bytes([a, b, c, d, e, f, g, h])),
        ("f", &[a, b, c, d, e, f, g, h]) => Cell::from(f64::from_le_bytes([a, b, c, d, e, f, g, h])),
        ("S", bytes) => Cell::from(paths::text(bytes).trim_end_matches('\0')),
        ("U", bytes) => {
            let letter = |b: &[u8; 4]| char::from_u32(u32::from_ne_bytes(*b)).unwrap_or('\u{fffd}');
            let text: String = bytes.as_chunks::<4>().0.iter().map(letter).collect();
            Cell::from(text.trim_end_matches('\0'))
        }
        _ => Cell::Other,
    }
}

fn to_rgba(pixels: &[u8], [height, width, channels]: [usize; 3], is_planar: bool) -> RgbaImage {
    let plane = height * width;
    RgbaImage::from_fn(width as u32, height as u32, |x, y| {
        let i = y as usize * width + x as usize;
        let value =
            |channel: usize| if is_planar { pixels[channel * plane + i] } else { pixels[i * channels + channel] };
        image::Rgba(match channels {
            1 => [value(0), value(0), value(0), 255],
            3 => [value(0), value(1), value(2), 255],
            _ => [value(0), value(1), value(2), value(3)],
        })
    })
}
