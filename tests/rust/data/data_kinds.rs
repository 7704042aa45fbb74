//! Sets as people have them: splits, labels and captions beside images, the formats of other programs, damaged and odd
//! files.
//!
//! `tests/fixtures/sets.py` made what other programs wrote.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use meanflow::data::{DataConfig, Fit, Images, load, load_stored};

use crate::data::data_samples::{Member, encoded, file, folder, grey_png, gzip, tar, zip};

fn config() -> DataConfig {
    DataConfig { size: 2, channels: 1, ..DataConfig::default() }
}

#[track_caller]
fn ok(path: &Path, config: &DataConfig) -> Images {
    load(path, config).unwrap_or_else(|e| panic!("{e}"))
}

fn failure(path: &Path, config: &DataConfig) -> String {
    load(path, config).expect_err("must fail").to_string()
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "“{text}” does not say “{part}”");
    }
}

fn sets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/sets").join(name)
}

/// The first value of each image.
fn levels(images: &Images) -> Vec<u8> {
    images.pixels.chunks(images.channels * images.size * images.size).map(|image| image[0]).collect()
}

/// The class of each image by its name.
fn classes(images: &Images) -> Vec<&str> {
    images.labels.iter().map(|&label| images.classes.get(label as usize).map_or("", String::as_str)).collect()
}

#[track_caller]
fn assert_set(images: &Images, expected_levels: &[u8], expected_classes: &[&str]) {
    assert_eq!(levels(images), expected_levels);
    assert_eq!(classes(images), expected_classes);
}

/// Train: 10, 20, 30; val: 40, 50; test: 60.
fn splits() -> Vec<Member> {
    vec![
        ("s/train/cat/0.png", grey_png(10)),
        ("s/train/dog/0.png", grey_png(20)),
        ("s/train/dog/1.png", grey_png(30)),
        ("s/val/cat/0.png", grey_png(40)),
        ("s/val/dog/0.png", grey_png(50)),
        ("s/test/0.png", grey_png(60)),
    ]
}

#[test]
fn splits_are_no_classes_and_the_training_split_is_taken() {
    let (place, (_packed, archive)) = (folder(&splits()), file("s.tar.gz", gzip(&tar(&splits()))));
    for path in [place.path(), &place.path().join("s"), &archive] {
        let images = ok(path, &config());
        assert_set(&images, &[10, 20, 30], &["cat", "dog", "dog"]);
        assert_says(
            &images.summary(),
            &["takes the split train (3 images), not test (1), validation (2)", "[data] split"],
        );
    }
    let of = |split: &str| ok(place.path(), &DataConfig { split: Some(split.into()), ..config() });
    assert_set(&of("val"), &[40, 50], &["cat", "dog"]);
    assert_set(&of("test"), &[60], &[""]);
    assert_says(
        &failure(place.path(), &DataConfig { split: Some("extra".into()), ..config() }),
        &["split = \"extra\", but the splits are test, train, validation"],
    );
    let all = DataConfig { split: Some("all".into()), exclude: vec!["s/test".into()], ..config() };
    assert_set(&ok(place.path(), &all), &[10, 20, 30, 40, 50], &["cat", "dog", "dog", "cat", "dog"]);
}

#[test]
fn flat_splits_have_no_classes() {
    let place = folder(&[("train/0.png", grey_png(1)), ("train/1.png", grey_png(2)), ("test/0.png", grey_png(3))]);
    assert_set(&ok(place.path(), &config()), &[1, 2], &["", ""]);
    let named = folder(&[("train_0.png", grey_png(1)), ("test_0.png", grey_png(2)), ("train_1.png", grey_png(3))]);
    assert_set(&ok(named.path(), &config()), &[1, 3], &["", ""]);
    let neither = folder(&[("val/0.png", grey_png(1)), ("test/0.png", grey_png(3))]);
    assert_says(&failure(neither.path(), &config()), &["test, validation", "no train", "split ="]);
}

#[test]
fn wrapping_folders_are_no_classes() {
    let wrapped = [
        ("w/my images/cat/0.png", grey_png(1)),
        ("w/my images/dog/0.png", grey_png(2)),
        ("w/README.md", b"about".to_vec()),
    ];
    let place = folder(&wrapped);
    for path in [place.path(), &place.path().join("w"), &file("w.zip", zip(&wrapped)).1] {
        if path.exists() {
            assert_set(&ok(path, &config()), &[1, 2], &["cat", "dog"]);
        }
    }
    let imagenet = folder(&[
        ("ILSVRC/Data/CLS-LOC/train/n01/a.png", grey_png(1)),
        ("ILSVRC/Data/CLS-LOC/train/n02/b.png", grey_png(2)),
        ("ILSVRC/Data/CLS-LOC/val/c.png", grey_png(3)),
        ("ILSVRC/Annotations/CLS-LOC/train/n01/a.xml", b"<a/>".to_vec()),
    ]);
    let images = ok(imagenet.path(), &config());
    assert_set(&images, &[1, 2], &["n01", "n02"]);
    assert_says(&images.summary(), &["2 classes: n01 (1), n02 (1)", "not looked at: 1 .xml"]);
    // Patterns are of names or whole paths.
    let one = DataConfig { include: vec!["ILSVRC/Data/CLS-LOC/train/n02".into()], ..config() };
    assert_set(&ok(imagenet.path(), &one), &[2], &["n02"]);
}

#[test]
fn the_summary_names_classes_with_their_counts() {
    let place = tempfile::tempdir().expect("a folder");
    for class in 0..12 {
        for i in 0..=usize::from(class == 3) {
            let path = place.path().join(format!("class{class:02}"));
            fs::create_dir_all(&path).expect("makes it");
            fs::write(path.join(format!("{i}.png")), grey_png(9)).expect("writes");
        }
    }
    let summary = ok(place.path(), &config()).summary();
    assert_says(&summary, &["13 images of 2×2×1, 12 classes: class00 (1)", "class03 (2)", "class09 (1) and 2 more"]);
    assert!(!summary.contains("class10"), "{summary}");
}

#[test]
fn labels_of_stylegan_and_edm_are_read() {
    let json = br#"{"labels": [["00000/a.png", 4], ["00000/b.png", 10], ["00001/c.png", 4]]}"#;
    let members = |json: &[u8]| {
        vec![
            ("00000/a.png", grey_png(1)),
            ("00000/b.png", grey_png(2)),
            ("00001/c.png", grey_png(3)),
            ("dataset.json", json.to_vec()),
        ]
    };
    let (place, (_packed, archive)) = (folder(&members(json)), file("edm.zip", zip(&members(json))));
    for path in [place.path(), &archive] {
        let images = ok(path, &config());
        assert_set(&images, &[1, 2, 3], &["4", "10", "4"]);
        assert_eq!(images.classes, ["4", "10"], "numbers by their value");
        assert_says(&images.summary(), &["classes are from column label of dataset.json"]);
    }
    let without = folder(&members(br#"{"labels": null}"#));
    assert_set(&ok(without.path(), &config()), &[1, 2, 3], &["", "", ""]);
    let partly = folder(&members(br#"{"labels": [["00000/a.png", 4], ["00001/c.png", 4]]}"#));
    assert_says(&failure(partly.path(), &config()), &["00000/b.png: has no class in column label of dataset.json"]);
}

#[test]
fn labels_and_captions_of_image_folders_are_read() {
    let csv = "file_name,label,text\n0.png,cat,\"a cat, grey\"\n1.png,dog,a dog\n";
    let lines = "{\"file_name\":\"0.png\",\"label\":\"cat\"}\n{\"file_name\":\"1.png\",\"label\":\"dog\"}\n";
    let with = |name, text: &str| {
        folder(&[("train/0.png", grey_png(1)), ("train/1.png", grey_png(2)), (name, text.as_bytes().to_vec())])
    };
    let images = ok(with("train/metadata.csv", csv).path(), &config());
    assert_set(&images, &[1, 2], &["cat", "dog"]);
    assert_eq!(images.captions, ["a cat, grey", "a dog"]);
    assert_says(&images.summary(), &["column label of train/metadata.csv", "2 images have captions"]);
    assert_set(&ok(with("train/metadata.jsonl", lines).path(), &config()), &[1, 2], &["cat", "dog"]);
    let unlabelled = DataConfig { class_depth: 0, ..config() };
    assert_set(&ok(with("train/metadata.csv", csv).path(), &unlabelled), &[1, 2], &["", ""]);
}

#[test]
fn labels_in_other_tables_are_read() {
    let images = || vec![("images/0.png", grey_png(1)), ("images/1.png", grey_png(2))];
    let tables = [
        "filename,label\n0.png,cat\n1.png,dog\n",
        "\u{feff}image_id;breed\r\n1;dog\r\n0;cat\r\n",
        "images/0.png,cat\nimages/1.png,dog\n",
        "id,width,label\n0,2,cat\n1,2,dog\n",
    ];
    for table in tables {
        let place = folder(&[images(), vec![("labels.csv", table.as_bytes().to_vec())]].concat());
        assert_set(&ok(place.path(), &config()), &[1, 2], &["cat", "dog"]);
    }
    // A column of another name is named by a setting; another table is none of labels.
    let table = b"file,width,kind,colour\n0.png,2,cat,red\n1.png,2,dog,blue\n".to_vec();
    let place = folder(&[images(), vec![("data.csv", table), ("notes.csv", b"a,b\n1,2\n".to_vec())]].concat());
    let set = ok(place.path(), &config());
    assert_says(&set.summary(), &["data.csv names no classes", "colour, kind, width", "label_column", "1 .csv"]);
    let chosen = DataConfig { label_column: Some("colour".into()), ..config() };
    assert_set(&ok(place.path(), &chosen), &[1, 2], &["red", "blue"]);
    // Tables that are called after splits tell the images of each.
    let place = folder(
        &[
            images(),
            vec![("images/2.png", grey_png(3))],
            vec![("train.csv", b"id,breed\n0,cat\n2,dog\n".to_vec()), ("test.csv", b"id\n1\n".to_vec())],
        ]
        .concat(),
    );
    let set = ok(place.path(), &config());
    assert_set(&set, &[1, 3], &["cat", "dog"]);
    assert_says(&set.summary(), &["only test.csv names"]);
    // One that is about something else does no harm.
    let place = folder(&[images(), vec![("log.jsonl", b"[1]\nnot json\n".to_vec())]].concat());
    assert_says(&ok(place.path(), &config()).summary(), &["log.jsonl is not read: line 1"]);
    // A table of the test split says nothing of images of the same name in the training split.
    let place = folder(&[
        ("train/0.png", grey_png(1)),
        ("train/labels.csv", b"file,label\n0.png,cat\n".to_vec()),
        ("test/0.png", grey_png(2)),
        ("test/labels.csv", b"file,label\n0.png,dog\n".to_vec()),
    ]);
    assert_set(&ok(place.path(), &config()), &[1], &["cat"]);
}

/// Keys `first` to `last` of a WebDataset: class i modulo 2, caption, level 10·i.
fn samples(range: std::ops::Range<u8>) -> Vec<u8> {
    let names: Vec<(String, Vec<u8>)> = range
        .flat_map(|i| {
            [
                (format!("{i:06}.png"), grey_png(10 * i)),
                (format!("{i:06}.cls"), (i % 2).to_string().into_bytes()),
                (format!("{i:06}.txt"), format!("number {i}").into_bytes()),
            ]
        })
        .collect();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in names {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, &content[..]).expect("appends");
    }
    archive.into_inner().expect("finishes")
}

#[test]
fn webdatasets_are_read_in_one_or_many_archives() {
    let (_place, one) = file("set.tar", samples(0..3));
    let images = ok(&one, &config());
    assert_set(&images, &[0, 10, 20], &["0", "1", "0"]);
    assert_eq!(images.captions, ["number 0", "number 1", "number 2"]);
    let shards = folder(&[
        ("train-000000.tar", samples(0..2)),
        ("train-000001.tar", samples(2..4)),
        ("train-000002.tar.gz", gzip(&samples(4..5))),
        ("val-000000.tar", samples(7..8)),
        ("README.md", b"about".to_vec()),
    ]);
    let images = ok(shards.path(), &config());
    assert_set(&images, &[0, 10, 20, 30, 40], &["0", "1", "0", "1", "0"]);
    assert_says(&images.summary(), &["takes the split train (3 archives), not validation (1)", "README.md"]);
    let listed = ok(&shards.path().join("train-{000000..000001}.tar"), &config());
    assert_set(&listed, &[0, 10, 20, 30], &["0", "1", "0", "1"]);
    let missing = failure(&shards.path().join("train-{000001..000003}.tar"), &config());
    assert_says(&missing, &["train-000002.tar: no such file"]);
    // The same keys in several shards stay apart.
    let alike = folder(&[("a.tar", samples(1..2)), ("b.tar", samples(1..3))]);
    let images = ok(alike.path(), &config());
    assert_set(&images, &[10, 10, 20], &["1", "1", "0"]);
    assert_eq!(images.names, ["a/000001.png", "b/000001.png", "b/000002.png"]);
    let disk = load_stored(alike.path(), &config(), &alike.path().join("run/data")).expect("it loads");
    assert_eq!((disk.labels, disk.captions), (images.labels, images.captions));
}

#[test]
fn json_beside_images_is_read_by_its_keys() {
    let members = |json: &str| {
        vec![
            ("a.png", grey_png(1)),
            ("a.json", json.replace('#', "7").into_bytes()),
            ("b.png", grey_png(2)),
            ("b.json", json.replace('#', "12").into_bytes()),
        ]
    };
    let images = ok(folder(&members(r#"{"label": #, "caption": "one of #"}"#)).path(), &config());
    assert_set(&images, &[1, 2], &["7", "12"]);
    assert_eq!(images.captions, ["one of 7", "one of 12"]);
    let odd = folder(&members(r#"{"synset": "n#", "url": "x"}"#));
    assert_says(&ok(odd.path(), &config()).summary(), &["no class", "synset, url", "label_column"]);
    let chosen = DataConfig { label_column: Some("synset".into()), ..config() };
    assert_set(&ok(odd.path(), &chosen), &[1, 2], &["n7", "n12"]);
}

#[test]
fn parquet_columns_and_codecs_are_read() {
    let of = |name: &str, config: &DataConfig| ok(&sets("parquet").join(format!("{name}.parquet")), config);
    for name in ["gzip", "lz4", "brotli", "png_cls", "list", "float"] {
        assert_set(&of(name, &config()), &[0, 10, 20, 30], &["0", "1", "0", "1"]);
    }
    assert_set(&of("bool", &config()), &[0, 10, 20, 30], &["false", "true", "false", "true"]);
    let images = of("webdataset", &config());
    assert_set(&images, &[0, 10, 20, 30], &["0", "1", "0", "1"]);
    assert_eq!(images.captions, ["one", "two", "three", "four"]);
    let null = sets("parquet/null.parquet");
    assert_says(&failure(&null, &config()), &["1 of 4 images", "has no label"]);
    let some = DataConfig { max_unreadable: 0.25, ..config() };
    assert_set(&ok(&null, &some), &[0, 10, 30], &["0", "1", "1"]);
    // Columns that nothing would find.
    let (label, caption) = (Some("diagnosis".into()), Some("remark".into()));
    let images = of("odd_names", &DataConfig { label_column: label, caption_column: caption, ..config() });
    assert_set(&images, &[0, 10, 20, 30], &["ill", "well", "ill", "well"]);
    assert_eq!(images.captions, ["a", "b", "c", "d"]);
    let two = sets("parquet/two_images.parquet");
    assert_says(&failure(&two, &config()), &["left, right", "image_column"]);
    let right = DataConfig { image_column: Some("right".into()), ..config() };
    assert_eq!(levels(&ok(&two, &right)), [100, 110, 120, 130]);
    let absent = DataConfig { image_column: Some("middle".into()), ..config() };
    assert_says(&failure(&two, &absent), &["no column middle", "left, right"]);
}

#[test]
fn the_hubs_folders_of_splits_are_splits() {
    assert_set(&ok(&sets("parquet/hub"), &config()), &[0, 10], &["0", "1"]);
    let test = DataConfig { split: Some("test".into()), ..config() };
    assert_set(&ok(&sets("parquet/hub"), &test), &[200, 210], &["0", "1"]);
}

#[test]
fn arrow_of_save_to_disk_is_read() {
    let images = ok(&sets("arrow"), &config());
    assert_set(&images, &[0, 10, 20, 30], &["dog", "cat", "dog", "cat"]);
    assert_eq!(images.classes, ["dog", "cat"], "in the order of the features");
    assert_eq!(images.captions[3], "number 3");
    assert_set(&ok(&sets("arrow/test/data-00000-of-00001.arrow"), &config()), &[200, 210], &["dog", "cat"]);
    let whole = fs::read(sets("arrow/test/data-00000-of-00001.arrow")).expect("a fixture");
    for length in [9, 100, whole.len() / 2, whole.len() - 200] {
        let (_place, path) = file("cut.arrow", whole[..length].to_vec());
        assert_says(&failure(&path, &config()), &["cut.arrow"]);
    }
    // A body that claims 2⁶² bytes.
    let at = whole.windows(8).enumerate().filter(|(i, w)| i % 8 == 0 && *w != [0; 8]).map(|(i, _)| i);
    for at in at.take(60) {
        let mut wild = whole.clone();
        wild[at..at + 8].copy_from_slice(&(1_u64 << 62).to_le_bytes());
        let (_place, path) = file("wild.arrow", wild);
        let _ = load(&path, &config());
    }
}

#[test]
fn numpy_arrays_are_read() {
    assert_set(&ok(&sets("mnist.npz"), &config()), &[0, 10, 20], &["7", "2", "7"]);
    let test = DataConfig { split: Some("test".into()), ..config() };
    assert_set(&ok(&sets("mnist.npz"), &test), &[200], &["2"]);
    let colour = DataConfig { channels: 3, ..config() };
    let medical = ok(&sets("medical.npz"), &colour);
    assert_set(&medical, &[1, 5], &["3", "11"]);
    assert_eq!(medical.pixels[..12], [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
    assert_eq!(medical.classes, ["3", "11"]);
    assert_set(&ok(&sets("adm.npz"), &colour), &[1, 5], &["ant", "bee"]);
    assert_eq!(ok(&sets("planes.npz"), &colour).pixels[..12], [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
    assert_says(&failure(&sets("float.npz"), &config()), &["images (f4, 2×4×4×3)", "uint8"]);
    // Headers that claim more than the file holds.
    let header = |shape: &str| {
        let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
        [b"\x93NUMPY\x01\0", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), &[5; 16]].concat()
    };
    for shape in ["(2, 4, 4)", "(1000000000000, 4, 4)", "(18446744073709551615, 4, 4)", "(0, 4, 4)"] {
        let (_place, path) = file("images.npy", header(shape));
        assert_says(&failure(&path, &config()), &["images.npy"]);
    }
    let (_place, path) = file("images.npy", header("(1, 4, 4)"));
    assert_eq!(levels(&ok(&path, &config())), [5]);
}

#[test]
fn cifar_in_python_is_read() {
    let config = DataConfig { size: 32, channels: 3, ..config() };
    let images = ok(&sets("cifar10"), &config);
    assert_set(&images, &[10, 20, 30, 40], &["automobile", "airplane", "automobile", "automobile"]);
    assert_eq!((images.pixels[1024], images.pixels[2048]), (11, 12), "planes of red, green and blue");
    assert_eq!(images.names[0], "automobile/data_batch_1-00000");
    assert_set(&ok(&sets("cifar10/test_batch"), &config), &[99], &["airplane"]);
    assert_set(&ok(&sets("cifar100"), &config), &[10, 20], &["bowl", "apple"]);
    let coarse = DataConfig { label_column: Some("coarse".into()), ..config.clone() };
    assert_set(&ok(&sets("cifar100"), &coarse), &[10, 20], &["things", "things"]);
    // Nothing of a pickle is run, and a cut one is an error.
    let whole = fs::read(sets("cifar10/data_batch_1")).expect("a fixture");
    let system = b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.".to_vec();
    for content in [whole[..whole.len() / 2].to_vec(), system, b"\x80\x02}.".to_vec(), b"\x80\x02h\x07.".to_vec()] {
        let (_place, path) = file("data_batch_1", content);
        assert_says(&failure(&path, &config), &["data_batch_1"]);
    }
}

#[test]
fn cifar_100_in_binary_is_read() {
    let record = |coarse: u8, fine: u8, level: u8| [vec![coarse, fine], vec![level; 3072]].concat();
    let members = [
        ("cifar-100-binary/train.bin", [record(0, 1, 10), record(0, 0, 20)].concat()),
        ("cifar-100-binary/test.bin", record(0, 0, 30)),
        ("cifar-100-binary/fine_label_names.txt", b"apple\nbowl\n".to_vec()),
        ("cifar-100-binary/coarse_label_names.txt", b"things\n".to_vec()),
    ];
    let config = DataConfig { size: 32, ..config() };
    for path in [folder(&members).keep(), file("cifar.tar.gz", gzip(&tar(&members))).0.keep().join("cifar.tar.gz")] {
        assert_set(&ok(&path, &config), &[10, 20], &["bowl", "apple"]);
    }
}

#[test]
fn archives_of_every_compression_are_read() {
    let members = [("cat/0.png", grey_png(1)), ("dog/0.png", grey_png(2))];
    let plain = tar(&members);
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).expect("compresses");
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).expect("begins");
    xz.write_all(&plain).expect("compresses");
    let packed = [
        bzip2.finish().expect("finishes"),
        xz.finish().expect("finishes"),
        zstd::encode_all(&plain[..], 3).expect("compresses"),
        gzip(&plain),
    ];
    for content in packed {
        let (_place, path) = file("set", content.clone());
        assert_set(&ok(&path, &config()), &[1, 2], &["cat", "dog"]);
        let (_place, path) = file("cut", content[..content.len() - 9].to_vec());
        assert_says(&failure(&path, &config()), &["cut: "]);
    }
    for name in ["bzip2.zip", "lzma.zip", "deflate64.zip"] {
        assert_set(&ok(&sets(name), &config()), &[0, 10, 20], &["cat", "cat", "dog"]);
    }
    assert_says(&failure(&sets("aes.zip"), &config()), &["3 of 3 images", "is encrypted"]);
    let mut odd = zip(&members);
    // The method, in the local headers and in the directory.
    for (magic, at) in [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)] {
        let places: Vec<usize> = odd.windows(4).enumerate().filter(|(_, w)| w == magic).map(|(i, _)| i).collect();
        places.iter().for_each(|place| odd[place + at] = 97);
    }
    let (_place, path) = file("odd.zip", odd);
    assert_says(&failure(&path, &config()), &["not supported, WavPack (97)"]);
}

/// A zip archive whose names are these bytes, without the flag of UTF-8 unless it is asked for.
fn zip_of_names(members: &[(&[u8], Vec<u8>)], flag: bool) -> Vec<u8> {
    let placeholder = |i: usize, name: &[u8]| ["a", "b", "c"][i].repeat(name.len());
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (i, (name, content)) in members.iter().enumerate() {
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file(placeholder(i, name), options).expect("starts");
        archive.write_all(content).expect("writes");
    }
    let mut bytes = archive.finish().expect("finishes").into_inner();
    for (i, (name, _)) in members.iter().enumerate() {
        let wanted = placeholder(i, name).into_bytes();
        for (magic, flags, start) in [(b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)] {
            let places: Vec<usize> = bytes.windows(4).enumerate().filter(|(_, w)| w == magic).map(|(i, _)| i).collect();
            for place in places {
                let range = place + start..place + start + name.len();
                if bytes.get(range.clone()) == Some(&wanted[..]) {
                    bytes[range].copy_from_slice(name);
                    bytes[place + flags + 1] = if flag { 8 } else { 0 };
                }
            }
        }
    }
    bytes
}

#[test]
fn names_of_archives_never_merge() {
    let set = |names: &[&[u8]], flag| {
        let members: Vec<(&[u8], Vec<u8>)> = names.iter().map(|&name| (name, grey_png(1))).collect();
        let (_place, path) = file("set.zip", zip_of_names(&members, flag));
        ok(&path, &config()).classes
    };
    // Code page 437; Shift-JIS, one of whose second bytes is a backslash; UTF-8 with and without its flag.
    assert_eq!(set(&[b"\x80/0.png", b"\x81/0.png"], false), ["Ç", "ü"]);
    assert_eq!(set(&[b"\x8c\xa2/0.png", b"\x95\x5c/0.png", b"cat/0.png"], false), ["cat", "îó", "ò\\"]);
    for flag in [false, true] {
        assert_eq!(set(&["é/0.png".as_bytes(), "猫/0.png".as_bytes()], flag), ["é", "猫"]);
    }
    assert_eq!(set(&[b"set\\cat\\0.png", b"set\\dog\\0.png"], false), ["cat", "dog"], "old Windows programs");
    let mut archive = tar::Builder::new(Vec::new());
    for name in [&b"\xe9/0.png"[..], b"\xe8/0.png", b"b/0.png"] {
        let (mut header, content) = (tar::Header::new_gnu(), grey_png(1));
        header.set_size(content.len() as u64);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_cksum();
        archive.append(&header, &content[..]).expect("appends");
    }
    let (_place, path) = file("set.tar", archive.into_inner().expect("finishes"));
    assert_eq!(ok(&path, &config()).classes, ["\\xE8", "\\xE9", "b"]);
}

#[test]
fn links_and_sparse_files_in_archives_are_read_or_named() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let content = grey_png(7);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, "cat/0.png", &content[..]).expect("appends");
    let links = [
        (tar::EntryType::Link, "cat/1.png", "cat/0.png"),
        (tar::EntryType::Link, "dog/0.png", "cat/1.png"),
        (tar::EntryType::Symlink, "dog/1.png", "../cat/0.png"),
        (tar::EntryType::Symlink, "dog/2.png", "1.png"),
        (tar::EntryType::Symlink, "dog/out.png", "/etc/passwd"),
        (tar::EntryType::Symlink, "dog/up.png", "../../x.png"),
        (tar::EntryType::Symlink, "dog/loop.png", "loop.png"),
    ];
    for (kind, name, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        archive.append_link(&mut header, name, target).expect("appends");
    }
    // Old GNU format: two pieces of the file, a hole between them.
    let mut sparse = tar::Header::new_gnu();
    let hole = [encoded(GrayImage::from_pixel(2, 2, Luma([9])), ImageFormat::Pnm), vec![0; 1024]].concat();
    sparse.set_entry_type(tar::EntryType::GNUSparse);
    sparse.set_path("dog/3.pgm").expect("fits");
    sparse.set_size(512);
    {
        let gnu = sparse.as_gnu_mut().expect("it is");
        gnu.set_real_size(hole.len() as u64);
        let octal =
            |field: &mut [u8; 12], value: usize| field[..11].copy_from_slice(format!("{value:011o}").as_bytes());
        octal(&mut gnu.sparse[0].offset, 0);
        octal(&mut gnu.sparse[0].numbytes, 512);
        octal(&mut gnu.sparse[1].offset, hole.len());
        octal(&mut gnu.sparse[1].numbytes, 0);
    }
    sparse.set_cksum();
    let padded = [&hole[..hole.len().min(512)], &vec![0; 512 - hole.len().min(512)][..]].concat();
    archive.append(&sparse, &padded[..]).expect("appends");
    let (_place, path) = file("set.tar", archive.into_inner().expect("finishes"));
    let images = ok(&path, &config());
    assert_set(&images, &[7, 7, 7, 7, 7, 9], &["cat", "cat", "dog", "dog", "dog", "dog"]);
    assert_says(&images.summary(), &["3 links that lead to no file of their archive", "dog/loop.png"]);
}

#[cfg(unix)]
#[test]
fn folders_of_unix_end_and_stay_apart() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let place = tempfile::tempdir().expect("a folder");
    for name in [&b"\xe9"[..], b"\xe8", b"b"] {
        let folder = place.path().join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir(&folder).expect("makes it");
        fs::write(folder.join("0.png"), grey_png(1)).expect("writes");
    }
    assert_eq!(ok(place.path(), &config()).classes, ["\\xE8", "\\xE9", "b"]);
    // A pipe would be waited for without end.
    let pipe = place.path().join("b/1.png");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    assert_says(&ok(place.path(), &config()).summary(), &["1 pipes, sockets or devices (b/1.png)"]);
    assert_says(&failure(&pipe, &config()), &["1.png: is a pipe or a device"]);
    // 2²¹ paths lead to the same folder.
    let graph = tempfile::tempdir().expect("a folder");
    for i in 0..21 {
        fs::create_dir(graph.path().join(format!("d{i}"))).expect("makes it");
        if i > 0 {
            for link in ["a", "b"] {
                symlink(graph.path().join(format!("d{i}")), graph.path().join(format!("d{}/{link}", i - 1)))
                    .expect("links");
            }
        }
    }
    fs::write(graph.path().join("d20/0.png"), grey_png(5)).expect("writes");
    let begun = std::time::Instant::now();
    let images = ok(graph.path(), &config());
    assert_eq!(levels(&images), [5]);
    assert!(begun.elapsed().as_secs() < 10);
    assert_says(&images.summary(), &["links to folders that are read already"]);
    // A link to images elsewhere is followed.
    let elsewhere = tempfile::tempdir().expect("a folder");
    symlink(place.path().join("b"), elsewhere.path().join("cat")).expect("links");
    symlink(graph.path().join("d20"), elsewhere.path().join("dog")).expect("links");
    assert_set(&ok(elsewhere.path(), &config()), &[1, 5], &["cat", "dog"]);
}

#[test]
fn what_systems_and_runs_leave_behind_is_no_data() {
    let place = folder(&[
        ("cat/0.png", grey_png(1)),
        ("dog/0.png", grey_png(2)),
        ("dog/1.png.partial", grey_png(9)),
        ("@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", grey_png(9)),
        ("dog/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", grey_png(9)),
        ("cat/Thumbs.db", b"thumbs".to_vec()),
        ("run/config.toml", b"[data]\n".to_vec()),
        ("run/checkpoints/step-1/state.json", b"{}".to_vec()),
        ("run/samples/step-1.png", grey_png(9)),
    ]);
    let images = ok(place.path(), &config());
    assert_set(&images, &[1, 2], &["cat", "dog"]);
    assert_says(&images.summary(), &["1 folders of training runs (run)", "files or folders that are no data", "1 .db"]);
    // A run in the folder of its own data.
    let inside = folder(&[
        ("0.png", grey_png(1)),
        ("config.toml", b"[data]\n".to_vec()),
        ("checkpoints/step-1/state.json", b"{}".to_vec()),
        ("samples/step-1.png", grey_png(9)),
    ]);
    assert_set(&ok(inside.path(), &config()), &[1], &[""]);
}

#[test]
fn jpegs_are_whole_or_skipped() {
    let folder_of = sets("jpeg");
    let config = DataConfig { size: 8, channels: 3, ..config() };
    let whole = ok(&folder_of, &config);
    assert_eq!((whole.len(), &whole.skipped[..]), (10, &[][..]));
    let loads = |content: &[u8]| {
        let (_place, path) = file("a.jpg", content.to_vec());
        load(path.parent().expect("a folder"), &config).map(|_| ()).map_err(|e| e.to_string())
    };
    for name in ["baseline", "full_colour", "progressive", "restarts", "optimized", "grey", "cmyk", "flat", "odd_size"]
    {
        let bytes = fs::read(folder_of.join(format!("{name}.jpg"))).expect("a fixture");
        let start = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).expect("a scan") + 14;
        assert_eq!(loads(&bytes), Ok(()), "{name}");
        assert_eq!(loads(&[&bytes[..], b"trailing"].concat()), Ok(()), "{name}: what follows the image is not its own");
        for percent in (5..100).step_by(5) {
            let keep = start + (bytes.len() - start) * percent / 100;
            if keep >= bytes.len() - 2 {
                continue;
            }
            let cut = &bytes[..keep];
            let zeros = [cut, &vec![0; bytes.len() - keep]].concat();
            for (form, content) in [("cut", cut), ("zeros", &zeros)] {
                assert!(loads(content).is_err(), "{name} {form} to {percent} % loads");
            }
            if name != "progressive" && name != "flat" {
                for tail in [&b"\xff\xd9"[..], b"\0\0\0\0\0\0\0\0\xff\xd9"] {
                    assert!(loads(&[cut, tail].concat()).is_err(), "{name} ended early at {percent} % loads");
                }
            }
        }
    }
    let message = loads(&fs::read(folder_of.join("grey.jpg")).expect("a fixture")[..400]).expect_err("it is cut");
    assert_says(&message, &["a.jpg: is cut off"]);
}

#[test]
fn tiff_is_read() {
    let image = RgbImage::from_pixel(2, 2, Rgb([200, 100, 50]));
    let place =
        folder(&[("a.tif", encoded(image.clone(), ImageFormat::Tiff)), ("b.ppm", encoded(image, ImageFormat::Pnm))]);
    assert_eq!(levels(&ok(place.path(), &DataConfig { channels: 3, ..config() })), [200, 200]);
}

#[test]
fn files_that_are_something_else_say_what_to_do() {
    let says = |name: &'static str, head: &[u8], parts: &[&str]| {
        let place = folder(&[(name, [head, &[0; 64]].concat())]);
        assert_says(&failure(place.path(), &config()), &[&[name], parts].concat());
    };
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
    says("a.png", pointer, &["Git LFS", "git lfs pull"]);
    says("train.parquet", pointer, &["Git LFS", "git lfs pull"]);
    says("train.tar", pointer, &["Git LFS", "git lfs pull"]);
    says("a.heic", b"\0\0\0\x18ftypheic", &["HEIC", "convert it"]);
    says("a.HEIF", b"\0\0\0\x18ftypmif1", &["HEIC", "convert it"]);
    says("a.jpg", b"\0\0\0\x18ftypavif", &["AVIF", "convert it"]);
    says("a.jxl", b"\xff\x0a", &["JPEG XL", "convert it"]);
    says("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", &["JPEG 2000", "convert it"]);
    says("a.png", b"<!DOCTYPE html>", &["web page"]);
    says("a.tga", b"\0\0\x02", &["a.tga: is not an image"]);
    let weights = file("model.safetensors", pointer.to_vec());
    let error = meanflow::import::Checkpoint::open(&weights.1).expect_err("it is none").to_string();
    assert_says(&error, &["Git LFS", "git lfs pull"]);
    let single = file("set.parquet", pointer.to_vec());
    assert_says(&failure(&single.1, &config()), &["Git LFS"]);
}

#[test]
fn what_was_done_to_images_is_said() {
    let dark = DynamicImage::from(image::ImageBuffer::<Luma<u16>, _>::from_pixel(2, 2, Luma([4000])));
    let place = folder(&[
        ("dark.png", encoded(dark, ImageFormat::Png)),
        ("small.png", encoded(GrayImage::from_pixel(1, 1, Luma([9])), ImageFormat::Png)),
        ("wide.png", encoded(GrayImage::from_pixel(2000, 3, Luma([9])), ImageFormat::Png)),
        ("notes.txt", b"text".to_vec()),
        ("photo.svg", b"<svg/>".to_vec()),
    ]);
    let summary = ok(place.path(), &config()).summary();
    assert_says(
        &summary,
        &[
            "1 of 3 images are enlarged to 2×2; the smallest is 1×1",
            "1 of 3 images lose more than half to the crop: wide.png is 2000×3 and keeps 3×3",
            "fit = \"pad\" or \"squeeze\"",
            "1 of 3 images are nearly black",
            "not looked at: 1 .svg, 1 .txt",
        ],
    );
    let plain = folder(&[("a.png", grey_png(1))]);
    assert_eq!(ok(plain.path(), &config()).summary(), "1 images of 2×2×1, no classes");
}

#[test]
fn images_are_cropped_padded_or_squeezed() {
    // Two rows of four: 10, 20, 30, 40.
    let wide = RgbImage::from_fn(4, 2, |x, _| Rgb([10 * (x as u8 + 1); 3]));
    let place = folder(&[("a.png", encoded(wide, ImageFormat::Png))]);
    let of = |fit, size| ok(place.path(), &DataConfig { fit, size, background: [99; 3], ..config() }).pixels;
    assert_eq!(of(Fit::Crop, 2), [20, 30, 20, 30]);
    assert_eq!(of(Fit::Pad, 4), [99, 99, 99, 99, 10, 20, 30, 40, 10, 20, 30, 40, 99, 99, 99, 99]);
    assert_eq!(of(Fit::Squeeze, 4), [[10, 20, 30, 40]; 4].concat());
    // What is around a transparent image is transparent.
    let clear = image::RgbaImage::from_fn(4, 2, |x, _| image::Rgba([7, 7, 7, if x == 0 { 0 } else { 255 }]));
    let place = folder(&[("a.png", encoded(clear, ImageFormat::Png))]);
    let padded = ok(place.path(), &DataConfig { fit: Fit::Pad, size: 4, channels: 4, ..config() }).pixels;
    assert_eq!(padded[48..], [0, 0, 0, 0, 0, 255, 255, 255, 0, 255, 255, 255, 0, 0, 0, 0]);
    let parsed: DataConfig = toml::from_str("fit = \"squeeze\"\nmax_unreadable = 0.5").expect("it parses");
    assert_eq!((parsed.fit, parsed.max_unreadable), (Fit::Squeeze, 0.5));
    assert!(DataConfig { max_unreadable: 1.5, ..config() }.validate().is_err());
}

#[test]
fn how_many_may_be_unreadable_is_a_setting() {
    let place = folder(&[("a.png", grey_png(1)), ("b.png", b"junk".to_vec()), ("c.png", grey_png(3))]);
    let with = |max_unreadable| DataConfig { max_unreadable, ..config() };
    assert_says(&failure(place.path(), &with(0.2)), &["1 of 3", "at most 20 %", "max_unreadable", "b.png"]);
    let images = ok(place.path(), &with(0.5));
    assert_eq!((levels(&images), images.skipped.len()), (vec![1, 3], 1));
    assert_says(&images.summary(), &["skipped 1 unreadable images", "b.png: is not an image"]);
    let none = folder(&[("b.png", b"junk".to_vec())]);
    assert_says(&failure(none.path(), &with(1.0)), &["1 of 1"]);
}

#[test]
fn decoders_that_panic_spoil_one_image() {
    let place = folder(&[("good.png", grey_png(1))]);
    for name in ["1.webp", "2.webp", "3.webp"] {
        fs::copy(sets("panics").join(name), place.path().join(name)).expect("copies");
    }
    let images = ok(place.path(), &DataConfig { max_unreadable: 0.9, ..config() });
    assert_eq!((levels(&images), images.skipped.len()), (vec![1], 3));
    for skipped in &images.skipped {
        assert_says(&skipped.reason, &["the decoder failed"]);
    }
}

#[test]
fn channels_follow_the_data_unless_they_are_set() {
    let follow = DataConfig { size: 2, ..DataConfig::default() };
    let image = |colour: [u8; 4]| encoded(image::RgbaImage::from_pixel(2, 2, image::Rgba(colour)), ImageFormat::Png);
    let cases = [
        ([[9, 9, 9, 255], [7, 7, 7, 255]], 1),
        ([[9, 9, 9, 255], [1, 2, 3, 255]], 3),
        ([[1, 2, 3, 255], [9, 9, 9, 254]], 4),
    ];
    for (colours, channels) in cases {
        let place = folder(&[("a.png", image(colours[0])), ("b.png", image(colours[1]))]);
        let wanted = ok(place.path(), &DataConfig { channels, ..follow.clone() });
        let found = ok(place.path(), &follow);
        assert_eq!((found.channels, &found.pixels), (channels, &wanted.pixels));
        let stored = load_stored(place.path(), &follow, &place.path().join("run/data")).expect("it loads");
        assert_eq!(stored.channels, channels);
        let again = load_stored(place.path(), &follow, &place.path().join("run/data")).expect("it loads");
        let pixels: Vec<u8> =
            (0..2).flat_map(|i| again.stored.as_ref().expect("stored").read(i).expect("reads")).collect();
        assert_eq!((again.channels, pixels), (channels, wanted.pixels));
    }
    assert_eq!(toml::from_str::<DataConfig>("size = 8").expect("it parses").channels, 0);
}

/// Two classes of two images in a training split, and one image in the other.
fn split_into(train: &str, other: &str) -> Vec<(String, Vec<u8>)> {
    let of = |split: &str, rest: &str, level| (format!("{split}/{rest}.png"), grey_png(level));
    vec![of(train, "cat/0", 10), of(train, "dog/0", 20), of(train, "dog/1", 30), of(other, "cat/0", 40)]
}

/// Files of names that are made at run time.
fn folder_of(members: &[(String, Vec<u8>)]) -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a folder");
    for (name, content) in members {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("makes it");
        fs::write(path, content).expect("writes");
    }
    place
}

#[test]
fn splits_have_longer_names_too() {
    for (train, other, called) in [
        ("training_set/training_set", "test_set/test_set", "test"),
        ("seg_train/seg_train", "seg_test/seg_test", "test"),
        ("train_images", "test_images", "test"),
        ("train_32x32", "valid_32x32", "validation"),
        ("trainset", "testset", "test"),
        ("Training Data", "Validation Data", "validation"),
        ("imagenet_train", "imagenet_val", "validation"),
        ("train", "holdout", "test"),
    ] {
        let place = folder_of(&split_into(train, other));
        let images = ok(place.path(), &config());
        assert_set(&images, &[10, 20, 30], &["cat", "dog", "dog"]);
        assert_says(&images.summary(), &[&format!("takes the split train (3 images), not {called} (1)")]);
        let chosen = DataConfig { split: Some(called.into()), class_depth: 0, ..config() };
        assert_set(&ok(place.path(), &chosen), &[40], &[""]);
    }
    let packed: Vec<Member> = vec![
        ("training_set/training_set/cat/0.png", grey_png(1)),
        ("training_set/training_set/dog/0.png", grey_png(2)),
        ("test_set/test_set/cat/0.png", grey_png(3)),
    ];
    for path in [file("s.zip", zip(&packed)), file("s.tar.gz", gzip(&tar(&packed)))] {
        assert_set(&ok(&path.1, &config()), &[1, 2], &["cat", "dog"]);
    }
    // Unpaired translation: what stays of the name is the class.
    let pairs = folder(&[
        ("trainA/0.png", grey_png(1)),
        ("trainB/0.png", grey_png(2)),
        ("testA/0.png", grey_png(3)),
        ("testB/0.png", grey_png(4)),
    ]);
    assert_set(&ok(pairs.path(), &config()), &[1, 2], &["A", "B"]);
    let suffixes = folder(&[("0_train.png", grey_png(1)), ("0_test.png", grey_png(2)), ("1_train.png", grey_png(3))]);
    assert_set(&ok(suffixes.path(), &config()), &[1, 3], &["", ""]);
}

#[test]
fn classes_may_be_called_like_splits() {
    for other in ["plane", "test_tube", "valley", "devil"] {
        let place = folder_of(&[(format!("train/{other}.png"), grey_png(1)), (format!("{other}/0.png"), grey_png(2))]);
        let images = ok(place.path(), &config());
        let mut expected = ["train", other];
        expected.sort();
        assert_eq!(images.classes, expected);
    }
    let place = folder(&[("train/0.png", grey_png(1)), ("plane/0.png", grey_png(2)), ("test_tube/0.png", grey_png(3))]);
    assert_eq!(ok(place.path(), &config()).classes, ["plane", "test_tube", "train"]);
}

#[test]
fn the_hubs_partial_splits_and_configurations_are_told_apart() {
    let read = |split: &str| fs::read(sets("parquet/hub/default").join(split).join("0000.parquet")).expect("a fixture");
    let set = |names: &[(&str, &str)]| {
        folder_of(&names.iter().map(|(name, split)| ((*name).to_owned(), read(split))).collect::<Vec<_>>())
    };
    let partial =
        set(&[("default/partial-train/0000.parquet", "train"), ("default/partial-test/0000.parquet", "test")]);
    assert_set(&ok(partial.path(), &config()), &[0, 10], &["0", "1"]);
    let named = set(&[("x_trainset.parquet", "train"), ("x_testset.parquet", "test")]);
    assert_set(&ok(named.path(), &config()), &[0, 10], &["0", "1"]);
    for (first, second, taken) in [("full", "mini", "full"), ("all", "default", "default")] {
        let several = set(&[
            (&format!("{first}/train/0000.parquet"), "train"),
            (&format!("{first}/test/0000.parquet"), "test"),
            (&format!("{second}/train/0000.parquet"), "train"),
            (&format!("{second}/test/0000.parquet"), "test"),
        ]);
        let images = ok(several.path(), &config());
        assert_set(&images, &[0, 10], &["0", "1"]);
        let other = if taken == first { second } else { first };
        assert_says(&images.summary(), &[&format!("takes the configuration {taken}, not {other}")]);
    }
    let parts = set(&[("a/x.parquet", "train"), ("b/y.parquet", "train")]);
    let images = ok(parts.path(), &config());
    assert_set(&images, &[0, 10, 0, 10], &["0", "1", "0", "1"]);
    assert_says(&images.summary(), &["read as one set: a, b"]);
}

#[test]
fn columns_tell_splits() {
    let table = sets("parquet/split.parquet");
    let images = ok(&table, &config());
    assert_set(&images, &[0, 10, 30], &["0", "1", "1"]);
    assert_says(&images.summary(), &["takes the split train (3 rows), not test (1)"]);
    let test = DataConfig { split: Some("test".into()), ..config() };
    assert_set(&ok(&table, &test), &[20], &["0"]);
    let all = DataConfig { split: Some("all".into()), ..config() };
    assert_set(&ok(&table, &all), &[0, 10, 20, 30], &["0", "1", "0", "1"]);
    assert_set(&ok(&sets("split.arrow"), &config()), &[0, 10, 30], &["0", "1", "1"]);
    assert_set(&ok(&sets("split.arrow"), &test), &[20], &["0"]);
    let images = || vec![("0.png", grey_png(1)), ("1.png", grey_png(2)), ("2.png", grey_png(3))];
    let with = |text: &str| folder(&[images(), vec![("list.csv", text.as_bytes().to_vec())]].concat());
    let labelled = with("filename,label,split\n0.png,cat,train\n1.png,dog,test\n2.png,dog,train\n");
    assert_set(&ok(labelled.path(), &config()), &[1, 3], &["cat", "dog"]);
    assert_set(&ok(labelled.path(), &test), &[2], &["dog"]);
    let plain = with("filename,split\n0.png,train\n1.png,test\n2.png,train\n");
    assert_set(&ok(plain.path(), &config()), &[1, 3], &["", ""]);
    // Numbers may mean anything.
    let numbers = with("filename,partition\n0.png,0\n1.png,2\n2.png,0\n");
    let all = ok(numbers.path(), &config());
    assert_set(&all, &[1, 2, 3], &["", "", ""]);
    assert_says(&all.summary(), &["list.csv names no classes; its columns are partition"]);
    let none = with("filename,label\n0.png,cat\n1.png,dog\n2.png,dog\n");
    assert_says(&failure(none.path(), &test), &["no folder, file or column names a split"]);
}

#[test]
fn names_that_nest_without_end_are_left_out() {
    let deep = format!("{}0.png", "a/".repeat(32000));
    let members = |deep: &str| vec![("cat/0.png".to_owned(), grey_png(1)), (deep.to_owned(), grey_png(2))];
    let mut packed = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members(&deep) {
        packed.start_file(name, zip::write::SimpleFileOptions::default()).expect("starts");
        packed.write_all(&content).expect("writes");
    }
    // A name as GNU tar writes long ones: a member of its own, before the one that it names.
    let long_name = |kind: tar::EntryType, name: &[u8]| {
        let mut archive = tar::Builder::new(tar(&[("cat/0.png", grey_png(1))])[..1024].to_vec());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(name.len() as u64);
        header.set_cksum();
        archive.append(&header, name).expect("appends");
        let (mut header, content) = (tar::Header::new_gnu(), grey_png(2));
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, &content[..]).expect("appends");
        archive.into_inner().expect("finishes")
    };
    let of_tar = long_name(tar::EntryType::GNULongName, format!("{}0.png\0", "a/".repeat(100_000)).as_bytes());
    for content in [packed.finish().expect("finishes").into_inner(), of_tar.clone(), gzip(&of_tar)] {
        let (_place, path) = file("set", content);
        let images = ok(&path, &config());
        assert_set(&images, &[1], &[""]);
        assert_says(&images.summary(), &["1 files whose names are longer than 4096 bytes or nest deeper than 32"]);
    }
    let record = format!("8388630 path={}.png\n", "a".repeat(8_388_630 - 18));
    for (kind, name) in [(tar::EntryType::XHeader, record), (tar::EntryType::GNULongName, "a".repeat(8 << 20))] {
        let (_place, path) = file("set.tar", long_name(kind, name.as_bytes()));
        assert_says(&failure(&path, &config()), &["set.tar", "name or header of 83886"]);
    }
}

#[test]
fn damaged_files_of_labels_are_errors() {
    let images = || vec![("00000/a.png", grey_png(1)), ("00001/b.png", grey_png(2))];
    let cut = folder(&[images(), vec![("dataset.json", br#"{"labels": [["00000/a.png", 1"#.to_vec())]].concat());
    assert_says(&failure(cut.path(), &config()), &["dataset.json", "cut off"]);
    let beside = folder(&[images(), vec![("00000/a.json", br#"{"label": "#.to_vec())]].concat());
    assert_says(&ok(beside.path(), &config()).summary(), &["1 files .json beside the images are cut off"]);
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
    for name in ["dataset.json", "labels.csv", "metadata.csv", "metadata.jsonl", "00000/a.txt", "00000/a.cls"] {
        let place = folder(&[images(), vec![(name, pointer.to_vec())]].concat());
        let base = name.rsplit('/').next().expect("a name");
        assert_says(&failure(place.path(), &config()), &[base, "git lfs pull"]);
    }
}

#[test]
fn labels_of_other_encodings_stay_apart() {
    let images = || vec![("0.png", grey_png(1)), ("1.png", grey_png(2))];
    let latin = b"filename,label\n0.png,caf\xe9\n1.png,caf\xe8\n".to_vec();
    let place = folder(&[images(), vec![("labels.csv", latin)]].concat());
    assert_set(&ok(place.path(), &config()), &[1, 2], &["caf\\xE9", "caf\\xE8"]);
    let text = "\u{feff}filename,label\n0.png,café\n1.png,dog\n";
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let place = folder(&[images(), vec![("labels.csv", wide)]].concat());
    assert_set(&ok(place.path(), &config()), &[1, 2], &["café", "dog"]);
}

/// A `.npy` file.
fn array(kind: &str, shape: &str, content: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\0", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), content].concat()
}

#[test]
fn labels_of_numpy_are_read_or_said() {
    let images = || ("images.npy", array("|u1", "(3, 1, 1)", &[10, 20, 30]));
    let with = |name: &'static str, labels: Vec<u8>| file("set.npz", zip(&[images(), (name, labels)]));
    let one_hot = with("labels.npy", array("|u1", "(3, 2)", &[0, 1, 1, 0, 0, 1]));
    assert_set(&ok(&one_hot.1, &config()), &[10, 20, 30], &["1", "0", "1"]);
    let halves: Vec<u8> = [1.0_f32, 0., 0., 1., 1., 0.].into_iter().flat_map(f32::to_le_bytes).collect();
    let floats = with("y.npy", array("<f4", "(3, 2)", &halves));
    assert_set(&ok(&floats.1, &config()), &[10, 20, 30], &["0", "1", "0"]);
    let several = with("labels.npy", array("|u1", "(3, 2)", &[1, 1, 1, 0, 0, 1]));
    assert_says(&failure(&several.1, &config()), &["labels.npy", "several labels", "class_depth = 0"]);
    let few = with("labels.npy", array("|u1", "(2,)", &[0, 1]));
    assert_says(&failure(&few.1, &config()), &["labels (u1, 2) are no labels of images (u1, 3×1×1)"]);
    let objects = with("labels.npy", array("|O", "(3,)", b"\x80\x02."));
    assert_says(&failure(&objects.1, &config()), &["labels (O, 3) are no labels of images"]);
    let unlabelled = DataConfig { class_depth: 0, ..config() };
    for place in [&several, &few, &objects] {
        assert_set(&ok(&place.1, &unlabelled), &[10, 20, 30], &["", "", ""]);
    }
    // The names of the classes are no labels, and other arrays are named.
    let others = with("mean.npy", array("<f4", "(1,)", &[0; 4]));
    assert_says(&ok(&others.1, &config()).summary(), &["no classes", "not read are mean"]);
    let names = with("classes.npy", array("|S3", "(2,)", b"catdog"));
    assert_set(&ok(&names.1, &config()), &[10, 20, 30], &["", "", ""]);
}

#[test]
fn columns_of_tables_that_are_not_read_are_named() {
    let table = sets("parquet/digit.parquet");
    let images = ok(&table, &config());
    assert_says(&images.summary(), &["no classes", "digit.parquet names no classes; its columns are digit"]);
    let chosen = DataConfig { label_column: Some("digit".into()), ..config() };
    assert_set(&ok(&table, &chosen), &[0, 10, 20, 30], &["0", "1", "0", "1"]);
}

#[test]
fn only_columns_of_labels_are_labels() {
    let classes_of = |name: &'static str, table: &str| {
        let images = vec![("cat/c0.png", grey_png(1)), ("cat/c1.png", grey_png(2)), ("dog/d0.png", grey_png(3))];
        let place = folder(&[images, vec![(name, table.as_bytes().to_vec())]].concat());
        let images = ok(place.path(), &config());
        (images.classes.join(" "), images.summary())
    };
    for (name, table) in [
        ("md5.csv", "filename,md5\nc0.png,0cc1\nc1.png,92eb\nd0.png,4a8a\n"),
        ("urls.csv", "filename,url\nc0.png,http://x/0\nc1.png,http://x/1\nd0.png,http://x/2\n"),
        ("sizes.csv", "filename,bytes\nc0.png,100\nc1.png,100\nd0.png,7\n"),
        ("list.csv", "c0.png,0cc1\nc1.png,92eb\nd0.png,4a8a\n"),
    ] {
        let (classes, summary) = classes_of(name, table);
        assert_eq!(classes, "cat dog", "{name}");
        assert_says(&summary, &[&format!("{name} names no classes; its columns are")]);
    }
    for table in [
        "File Name,Kind\nc0.png,a\nc1.png,b\nd0.png,b\n",
        "ImageName,ClassId\nc0.png,a\nc1.png,b\nd0.png,b\n",
        "c0.png,a\nc1.png,b\nd0.png,b\n",
    ] {
        assert_eq!(classes_of("labels.csv", table).0, "a b", "{table}");
    }
}

#[test]
fn tables_complete_one_another() {
    let of = |first: &str, second: &str| (first.as_bytes().to_vec(), second.as_bytes().to_vec());
    let (cats, dogs) = of("file_name,label\n0.png,Cat\n", "file_name,label\n0.png,Dog\n");
    let place = folder(&[
        ("cat/0.png", grey_png(1)),
        ("dog/0.png", grey_png(2)),
        ("cat/metadata.csv", cats),
        ("dog/metadata.csv", dogs),
    ]);
    let images = ok(place.path(), &config());
    assert_set(&images, &[1, 2], &["Cat", "Dog"]);
    assert_says(&images.summary(), &["column label of cat/metadata.csv and 1 more tables"]);
    let (first, second) = of("filename,label\n0.png,a\n", "filename,label\n0.png,b\n1.png,b\n");
    let place = folder(&[("0.png", grey_png(1)), ("1.png", grey_png(2)), ("a.csv", first), ("b.csv", second)]);
    let images = ok(place.path(), &config());
    assert_set(&images, &[1, 2], &["a", "b"]);
    assert_says(&images.summary(), &["b.csv tells other classes of 1 images"]);
}

#[test]
fn rows_without_images_are_counted() {
    let table = b"filename,label\n0.png,cat\n1.png,dog\n8.png,cat\n9.png,dog\n".to_vec();
    let place = folder(&[("0.png", grey_png(1)), ("1.png", grey_png(2)), ("labels.csv", table)]);
    let summary = ok(place.path(), &config()).summary();
    assert_says(&summary, &["2 of 4 rows of labels.csv name no image of the set, or several: 8.png"]);
    // Images of another split are none that is missing.
    let table = b"file_name,label\ntrain/0.png,cat\ntest/0.png,dog\n".to_vec();
    let place = folder(&[("train/0.png", grey_png(1)), ("test/0.png", grey_png(2)), ("metadata.csv", table)]);
    assert!(!ok(place.path(), &config()).summary().contains("rows"));
}

#[test]
fn archives_of_classes_are_classes() {
    let of = |level| zip(&[("0.png", grey_png(level)), ("1.png", grey_png(level + 1))]);
    let place = folder(&[("cat.zip", of(1)), ("dog.zip", of(3))]);
    let images = ok(place.path(), &config());
    assert_set(&images, &[1, 2, 3, 4], &["cat", "cat", "dog", "dog"]);
    assert_says(&images.summary(), &["classes are the names of the 2 archives"]);
    let numbered = folder(&[("set-000.zip", of(1)), ("set-001.zip", of(3))]);
    assert_set(&ok(numbered.path(), &config()), &[1, 2, 3, 4], &["", "", "", ""]);
    let described = folder(&[("a.tar", samples(0..1)), ("b.tar", samples(1..2))]);
    assert_set(&ok(described.path(), &config()), &[0, 10], &["0", "1"]);
}

#[test]
fn what_is_not_opened_is_named() {
    let place = folder(&[("cat/0.png", grey_png(1)), ("inner.zip", zip(&[("0.png", grey_png(2))]))]);
    assert_says(&ok(place.path(), &config()).summary(), &["1 archives inside the set", "(inner.zip)"]);
    let (_place, nested) = file("outer.zip", zip(&[("inner.zip", zip(&[("0.png", grey_png(2))]))]));
    assert_says(&failure(&nested, &config()), &["holds no images", "inner.zip"]);
    // The same name twice: the last, as unpacking leaves it.
    let twice = || vec![("cat/0.png", grey_png(1)), ("dog/0.png", grey_png(2)), ("cat/0.png", grey_png(3))];
    let of_zip =
        zip_of_names(&[(b"cat/0.png", grey_png(1)), (b"dog/0.png", grey_png(2)), (b"cat/0.png", grey_png(3))], false);
    for content in [tar(&twice()), of_zip] {
        let (_place, path) = file("set", content);
        let images = ok(&path, &config());
        assert_set(&images, &[3, 2], &["cat", "dog"]);
        assert_says(&images.summary(), &["1 files whose name occurs again", "cat/0.png"]);
    }
}

#[cfg(unix)]
#[test]
fn pipes_that_are_called_like_sets_are_named() {
    let place = tempfile::tempdir().expect("a folder");
    let made = std::process::Command::new("mkfifo").arg(place.path().join("train.tar")).status().expect("mkfifo");
    assert!(made.success());
    assert_says(&failure(place.path(), &config()), &["holds no images", "pipes", "train.tar"]);
}
