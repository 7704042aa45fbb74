//! Pictures of layers: what is drawn, what lies over what, what it is called.

use std::fs;

use image::{ImageFormat, Rgba, RgbaImage};
use meanflow::data::{DataConfig, DataError, HeldOut, Images, LayerSet, Layers, load, load_stored};
use tempfile::TempDir;

use super::data::data_samples::{encoded, folder, png};

const RED: [u8; 4] = [255, 0, 0, 255];
const BLUE: [u8; 4] = [0, 0, 255, 255];
const GREEN: [u8; 4] = [0, 255, 0, 255];

/// Two backs, and two marks of which one covers a pixel and the other none.
fn parts() -> TempDir {
    let clear = RgbaImage::from_pixel(2, 2, Rgba([9, 9, 9, 0]));
    let mut dot = clear.clone();
    dot.put_pixel(1, 0, Rgba(GREEN));
    folder(&[
        ("all/1-backs/back-red.png", png(RED)),
        ("all/1-backs/back-blue.png", png(BLUE)),
        ("all/2-marks/mark-dot.png", encoded(dot, ImageFormat::Png)),
        ("all/2-marks/mark-no-dot.png", encoded(clear, ImageFormat::Png)),
        ("all/other/x.png", png(GREEN)),
    ])
}

fn config(count: usize, seed: u64, class: Option<&str>) -> DataConfig {
    let folders = ["all/1-backs", "all/2-marks"].map(String::from).to_vec();
    let layers = Layers { folders, count, class: class.map(String::from), seed, caption: None, held_out: None };
    DataConfig { size: 2, channels: 4, layers: Some(layers), ..DataConfig::default() }
}

fn ok(place: &TempDir, config: &DataConfig) -> Images {
    load(place.path(), config).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_picture_is_its_parts_over_one_another_and_has_their_names() {
    let place = parts();
    let set = ok(&place, &config(200, 0, Some("all/2-marks")));
    assert_eq!((set.len(), &set.classes[..]), (200, &["dot".to_owned(), "no-dot".to_owned()][..]));
    let mut seen = std::collections::BTreeMap::new();
    for (i, name) in set.names.iter().enumerate() {
        *seen.entry(name.as_str()).or_insert(0) += 1;
        let (back, mark) = name.split_once(" + ").expect("two parts");
        let under = if back == "red" { RED } else { BLUE };
        let corner = if mark == "dot" { GREEN } else { under };
        for (channel, plane) in set.pixels[16 * i..16 * (i + 1)].chunks(4).enumerate() {
            let (under, corner) = (under[channel], corner[channel]);
            assert_eq!(plane, [under, corner, under, under], "{name}, channel {channel}");
        }
        assert_eq!(set.classes[set.labels[i] as usize], mark);
    }
    assert_eq!(seen.len(), 4, "each of the four pictures occurs: {seen:?}");
    assert!(seen.values().all(|&times| times > 25), "about as often as the others: {seen:?}");
}

#[test]
fn what_is_drawn_depends_on_the_seed_alone() {
    let place = parts();
    let set = ok(&place, &config(1200, 0, None));
    assert_eq!((set.classes.len(), set.labels[7]), (0, 0));
    assert_eq!(ok(&place, &config(50, 0, None)).names, set.names[..50], "fewer are the first of more");
    assert_ne!(ok(&place, &config(1200, 1, None)).names, set.names, "another seed draws others");
    // In a file on the disk, which is written in parts.
    let marks = config(1200, 0, Some("all/2-marks"));
    let disk = load_stored(place.path(), &marks, &place.path().join("cache")).expect("it loads");
    let memory = ok(&place, &marks);
    assert_eq!((&disk.names, &disk.labels, &disk.classes), (&memory.names, &memory.labels, &memory.classes));
    let stored = disk.stored.expect("it is on the disk");
    for i in [0, 511, 512, 1199] {
        assert_eq!(stored.read(i).expect("it reads"), memory.pixels[16 * i..16 * (i + 1)]);
    }
}

#[test]
fn captions_name_the_parts_and_combinations_are_held_out() {
    let place = parts();
    let mut config = config(300, 0, None);
    let folders = ["all/1-backs", "all/2-marks"].map(String::from).to_vec();
    let layers = config.layers.as_mut().expect("layers");
    layers.caption = Some("a {marks} on {backs}".into());
    layers.held_out = Some(HeldOut { folders, share: 0.5 });
    let of = |split: Option<&str>| {
        let set = ok(&place, &DataConfig { split: split.map(String::from), ..config.clone() });
        let names: std::collections::BTreeSet<String> = set.names.iter().cloned().collect();
        for (name, caption) in set.names.iter().zip(&set.captions) {
            let (back, mark) = name.split_once(" + ").expect("two parts");
            assert_eq!(*caption, format!("a {mark} on {back}"));
        }
        (set.len(), names)
    };
    let (shown, held) = (of(None), of(Some("test")));
    assert_eq!((shown.0, held.0), (300, 300), "as many as asked for");
    assert!(shown.1.is_disjoint(&held.1) && !shown.1.is_empty() && !held.1.is_empty(), "{shown:?} {held:?}");
    assert_eq!(shown.1.len() + held.1.len(), 4);
    assert_eq!(of(Some("all")).1.len(), 4);
    assert_eq!(of(Some("train")), shown);
}

#[test]
fn a_first_word_that_nearly_all_names_share_is_left_out() {
    let files: Vec<(String, Vec<u8>)> = (0..12)
        .map(|i| (format!("all/1-backs/back-{i:02}.png"), png(RED)))
        .chain([("all/1-backs/other-x.png".into(), png(RED)), ("all/2-marks/a.png".into(), png(BLUE))])
        .collect();
    let files: Vec<(&str, Vec<u8>)> = files.into_iter().map(|(name, bytes)| (&*name.leak(), bytes)).collect();
    let set = ok(&folder(&files), &config(200, 0, Some("all/1-backs")));
    assert_eq!(
        (set.classes.len(), &set.classes[..1], &set.classes[12..]),
        (13, &["00".to_owned()][..], &["other-x".to_owned()][..])
    );
}

#[test]
fn layers_that_cannot_be_say_why() {
    let place = parts();
    let says = |change: &dyn Fn(&mut Layers), part: &str| {
        let mut config = config(8, 0, None);
        change(config.layers.as_mut().expect("layers"));
        let message = load(place.path(), &config).expect_err(part).to_string();
        assert!(message.contains(part), "“{message}” does not say “{part}”");
    };
    says(&|layers| layers.folders.truncate(1), "two folders or more, not 1");
    says(&|layers| layers.count = 0, "count must be 1 or more");
    says(&|layers| layers.class = Some("3-hats".into()), "class = \"3-hats\" is none of the folders");
    says(&|layers| layers.folders.push("3-hats".into()), "folder \"3-hats\" matches none");
    says(&|layers| layers.caption = Some("{hats}".into()), "caption = \"{hats}\" must be made of {backs}, {marks}");
    let held_out = |folder: &str, share| Some(HeldOut { folders: vec![folder.into()], share });
    says(&|layers| layers.held_out = held_out("hats", 0.5), "held_out.folders: \"hats\" is none of the folders");
    says(&|layers| layers.held_out = held_out("all/1-backs", 1.0), "held_out.share must be above 0 and below 1, not 1");
    // A part that is left out or damaged is not silently missing.
    let without = DataConfig { exclude: vec!["*/mark-no*".into()], ..config(9, 0, Some("all/2-marks")) };
    assert_eq!(ok(&place, &without).classes, ["mark-dot"], "a name alone is kept whole");
    let torn = place.path().join("all/2-marks/mark-dot.png");
    fs::write(&torn, &png(RED)[..20]).expect("it writes");
    let error = load(place.path(), &config(8, 0, None)).expect_err("a torn part");
    assert!(matches!(&error, DataError::Damaged { path, .. } if *path == torn), "{error}");
}

#[test]
fn chosen_combinations_are_the_pictures_that_are_loaded() {
    let place = parts();
    let mut config = config(40, 3, Some("all/2-marks"));
    config.layers.as_mut().expect("layers").caption = Some("{marks} on {backs}".into());
    let (images, set) = (ok(&place, &config), LayerSet::open(place.path(), &config).expect("a set"));
    let drawn: Vec<Vec<usize>> = (0..40).map(|i| set.draw(i).expect("a combination")).collect();
    assert_eq!(set.pictures(&drawn).expect("pictures"), images);
    // One by one, in any order, each is the same.
    let [last] = &set.pictures(&drawn[39..]).expect("a picture").captions[..] else { panic!("one picture") };
    assert_eq!(*last, images.captions[39]);
    let marks = set.layer("all/2-marks").expect("a layer");
    assert_eq!((marks, set.layer("marks").expect("a layer"), &*set.layer_name(marks)), (1, 1, "marks"));
    assert_eq!(set.part_name(marks, drawn[0][marks]), images.classes[images.labels[0] as usize]);
    let error = set.layer("hats").expect_err("no layer").to_string();
    assert!(error.contains("\"hats\" is none of the folders, which are all/1-backs, all/2-marks"), "{error}");
    let plain = DataConfig { layers: None, ..config.clone() };
    assert!(LayerSet::open(place.path(), &plain).is_err_and(|e| e.to_string().contains("no [data.layers]")));
    // A layer is a class by its name in captions too.
    config.set_class_layer("backs").expect("a layer");
    assert_eq!(ok(&place, &config).classes, ["blue", "red"]);
    assert!(config.set_class_layer("hats").is_err_and(|e| e.to_string().contains("hats")));
    // A name that two have is neither's.
    let mut twice = config.clone();
    twice.layers.as_mut().expect("layers").folders.push("all/3-marks".into());
    let error = twice.set_class_layer("marks").expect_err("two are called so").to_string();
    assert!(error.contains("\"marks\" may be all/2-marks or all/3-marks; give the folder"), "{error}");
    twice.set_class_layer("all/3-marks").expect("a folder");
    // Their classes are parts, which no column says.
    assert!(config.set_label_column("eyes").is_err_and(|e| e.to_string().contains("--label")));
}

#[test]
fn words_are_exchanged_where_both_layers_have_parts_of_either() {
    let place = folder(&[
        ("all/1-backs/back-green.png", png(RED)),
        ("all/1-backs/back-plain.png", png(RED)),
        ("all/1-backs/back-Red.png", png(RED)),
        ("all/1-backs/back-teal-light.png", png(RED)),
        ("all/2-marks/mark-dot-green.png", png(RED)),
        ("all/2-marks/mark-dot-red.png", png(RED)),
        ("all/2-marks/mark-plain-red.png", png(RED)),
        ("all/2-marks/mark-teal.png", png(RED)),
    ]);
    let set = LayerSet::open(place.path(), &config(1, 0, None)).expect("a set");
    let names = |[back, mark]: [usize; 2]| [set.part_name(0, back), set.part_name(1, mark)].join(" ");
    // Not `teal-light` and `dot-red`, as there is no `red-light`; nor `plain` and `plain-red`, which share a word.
    let found: Vec<_> = set.exchanges([0, 1]).iter().map(|e| (e.parts.map(names), e.words.clone())).collect();
    let [([one, other], words)] = &found[..] else { panic!("{found:?}") };
    let (mut pair, mut words) = ([one.as_str(), other.as_str()], words.clone());
    pair.sort_unstable();
    words.sort_unstable();
    assert_eq!(pair, ["Red dot-green", "green dot-red"]);
    assert_eq!(words, ["green", "red"]);
    // The other way round they are the same.
    let back = set.exchanges([1, 0]);
    assert_eq!(back.len(), 1);
    assert_eq!(
        back[0]
            .parts
            .map(|[mark, back]| names([back, mark]))
            .iter()
            .filter(|name| pair.contains(&name.as_str()))
            .count(),
        2
    );
    // Held-out combinations are of the other split.
    let mut held_out = config(1, 0, None);
    let layers = held_out.layers.as_mut().expect("layers");
    layers.held_out = Some(HeldOut { folders: layers.folders.clone(), share: 0.5 });
    let [train, test] = ["train", "test"].map(|split| {
        let config = DataConfig { split: Some(split.into()), ..held_out.clone() };
        LayerSet::open(place.path(), &config).expect("a set")
    });
    for combination in (0..4).flat_map(|back| (0..4).map(move |mark| [back, mark])) {
        assert_ne!(train.holds(&combination), test.holds(&combination));
    }
    assert!((0..9).all(|i| test.holds(&test.draw(i).expect("a combination"))));
}
