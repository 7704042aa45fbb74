//! Sets of images: every format from samples made here, the class and conversion rules, and what bad input says.

pub(crate) mod data_samples;

use std::fs;
use std::path::Path;

use data_samples::{Member, cifar_record, encoded, file, folder, grey_png, gzip, idx, tar, zip};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use meanflow::data::{DataConfig, Images, load, load_stored};
use tempfile::TempDir;

fn config(size: usize, channels: usize) -> DataConfig {
    DataConfig { size, channels, ..DataConfig::default() }
}

fn ok(path: &Path, config: &DataConfig) -> Images {
    load(path, config).unwrap_or_else(|e| panic!("{e}"))
}

/// The message of a load that must fail.
fn failure(path: &Path, config: &DataConfig) -> String {
    load(path, config).expect_err("must fail").to_string()
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "“{message}” does not say “{part}”");
    }
}

/// Two classes, out of order, among files that are no images.
fn pets() -> Vec<Member> {
    vec![
        ("pets/dog/b.png", grey_png(30)),
        ("pets/cat/z.png", grey_png(20)),
        ("pets/README.md", b"GIF is not an image here".to_vec()),
        ("pets/cat/nested/a.png", grey_png(10)),
        ("pets/LICENSE", b"free".to_vec()),
        ("pets/dog/.hidden.png", b"junk".to_vec()),
        ("__MACOSX/pets/dog/b.png", b"junk".to_vec()),
        ("pets/dog/no_extension", grey_png(40)),
    ]
}

fn assert_is_pets(images: &Images) {
    assert_eq!(images.names, ["cat/nested/a.png", "cat/z.png", "dog/b.png", "dog/no_extension"]);
    assert_eq!(images.classes, ["cat", "dog"]);
    assert_eq!(images.labels, [0, 0, 1, 1]);
    let firsts: Vec<u8> = images.pixels.chunks(4).map(|image| image[0]).collect();
    assert_eq!(firsts, [10, 20, 30, 40]);
    assert!(images.skipped.is_empty());
}

#[test]
fn a_folder_and_its_archives_are_the_same_set() {
    let place = folder(&pets());
    assert_is_pets(&ok(&place.path().join("pets"), &config(2, 1)));
    // Their names say nothing: the content does.
    for content in [tar(&pets()), gzip(&tar(&pets())), zip(&pets())] {
        let (_place, path) = file("set.dat", content);
        assert_is_pets(&ok(&path, &config(2, 1)));
    }
}

#[test]
fn archive_paths_are_only_names() {
    let (_place, path) = file("set.tar", tar(&[("/abs/a.png", grey_png(1)), ("../up/b.png", grey_png(2))]));
    assert_eq!(ok(&path, &config(2, 1)).names, ["abs/a.png", "up/b.png"]);
}

#[test]
fn leading_folders_name_the_class() {
    let members = [
        ("item/axe/a.png", grey_png(1)),
        ("item/b.png", grey_png(2)),
        ("mon/c.png", grey_png(3)),
        ("mon/rat/d.png", grey_png(4)),
    ];
    let place = folder(&members);
    let classes = |class_depth| ok(place.path(), &DataConfig { class_depth, ..config(2, 1) }).classes;
    assert_eq!(classes(0), [""; 0]);
    assert_eq!(classes(1), ["item", "mon"]);
    assert_eq!(classes(2), ["item", "item/axe", "mon", "mon/rat"]);
}

#[test]
fn a_set_without_class_folders_has_no_classes() {
    let place = folder(&[("b.png", grey_png(2)), ("a.png", grey_png(1))]);
    let images = ok(place.path(), &config(2, 1));
    assert_eq!(
        (images.classes.len(), &images.labels[..], &images.names[..]),
        (0, &[0, 0][..], &["a.png".into(), "b.png".into()][..])
    );
}

#[test]
fn some_with_and_some_without_a_class_is_an_error() {
    let place = folder(&[("cat/a.png", grey_png(1)), ("stray.png", grey_png(2))]);
    assert_says(&failure(place.path(), &config(2, 1)), &["stray.png lies in no class folder", "cat/a.png"]);
    let without = DataConfig { exclude: vec!["stray.png".into()], ..config(2, 1) };
    assert_eq!(ok(place.path(), &without).classes, ["cat"]);
}

#[test]
fn include_and_exclude_name_files_or_folders() {
    let members = [
        ("item/axe/a1.png", grey_png(1)),
        ("item/axe/a2.png", grey_png(2)),
        ("item/axes/b1.png", grey_png(3)),
        ("mon/rat/c1.png", grey_png(4)),
    ];
    let place = folder(&members);
    let names = |include: &[&str], exclude: &[&str]| {
        let owned = |patterns: &[&str]| patterns.iter().map(|&p| p.to_owned()).collect();
        ok(place.path(), &DataConfig { include: owned(include), exclude: owned(exclude), ..config(2, 1) })
            .names
            .join(" ")
    };
    assert_eq!(names(&["item/axe"], &[]), "item/axe/a1.png item/axe/a2.png");
    assert_eq!(names(&["item/axe*"], &["*2.png"]), "item/axe/a1.png item/axes/b1.png");
    assert_eq!(names(&["*/rat/", "item/*s"], &[]), "item/axes/b1.png mon/rat/c1.png");
    let typo = DataConfig { include: vec!["itme".into()], ..config(2, 1) };
    assert_says(&failure(place.path(), &typo), &["include = \"itme\" matches none of its 4 images"]);
}

#[test]
fn every_mode_and_format_becomes_the_same_rgba() {
    let colour = [200, 100, 50];
    let rgb = RgbImage::from_pixel(2, 2, Rgb(colour));
    let wide = DynamicImage::from(rgb.clone()).into_rgb16();
    let grey = GrayImage::from_pixel(2, 2, Luma([90]));
    let (r, g) = ([200, 100, 50, 255], [90, 90, 90, 255]);
    let members = [
        ("a.bmp", encoded(rgb.clone(), ImageFormat::Bmp), r),
        ("b_palette.gif", encoded(DynamicImage::from(rgb.clone()).into_rgba8(), ImageFormat::Gif), r),
        ("c_16_bit.png", encoded(wide, ImageFormat::Png), r),
        ("d_lossless.webp", encoded(rgb, ImageFormat::WebP), r),
        ("e_grey.png", encoded(grey.clone(), ImageFormat::Png), g),
        ("f_grey.jpg", encoded(grey, ImageFormat::Jpeg), g),
    ];
    let place = folder(&members.clone().map(|(name, content, _)| (name, content)));
    let images = ok(place.path(), &config(2, 4));
    for ((name, _, expected), planes) in members.iter().zip(images.pixels.chunks(16)) {
        let expected: Vec<u8> = expected.iter().flat_map(|&value| [value; 4]).collect();
        assert_eq!(planes, expected, "{name}");
    }
}

/// Pixels of a set of one picture.
fn converted(image: RgbaImage, config: &DataConfig) -> Vec<u8> {
    let place = folder(&[("one.png", encoded(image, ImageFormat::Png))]);
    ok(place.path(), config).pixels
}

#[test]
fn what_is_transparent_shows_the_background() {
    let pixels = [[9, 8, 7, 0], [10, 20, 30, 255], [0, 0, 0, 51], [1, 2, 3, 1]];
    let image = RgbaImage::from_vec(2, 2, pixels.concat()).expect("2×2");
    let background = [255, 0, 100];
    let with = |channels| DataConfig { background, ..config(2, channels) };
    let straight = [[255, 10, 0, 1], [0, 20, 0, 2], [100, 30, 0, 3], [0, 255, 51, 1]].concat();
    assert_eq!(converted(image.clone(), &with(4)), straight);
    let over = [[255, 10, 204, 254], [0, 20, 0, 0], [100, 30, 80, 100]].concat();
    assert_eq!(converted(image, &with(3)), over);
}

#[test]
fn other_shapes_are_cropped_to_the_centre_and_scaled() {
    let rows = |width, height| RgbaImage::from_fn(width, height, |_, y| Rgba([y as u8, 0, 0, 255]));
    let tall = converted(rows(32, 48), &config(32, 3));
    assert_eq!((tall[0], tall[31 * 32]), (8, 39), "a 32×48 image keeps its 32 middle rows as they are");

    let doubled =
        converted(RgbaImage::from_fn(2, 2, |x, y| Rgba([(x * 100 + y * 10) as u8, 0, 0, 255])), &config(4, 3));
    assert_eq!(doubled[..16], [0, 0, 100, 100, 0, 0, 100, 100, 10, 10, 110, 110, 10, 10, 110, 110]);

    let half_hidden = RgbaImage::from_fn(8, 8, |x, _| Rgba(if x % 2 == 0 { [250, 0, 0, 255] } else { [0, 250, 0, 0] }));
    let halved = converted(half_hidden, &config(4, 4));
    let (red, green) = (&halved[..16], &halved[16..32]);
    assert!(red.iter().all(|&r| r == 250) && green.iter().all(|&g| g == 0), "hidden green bleeds: {red:?} {green:?}");
}

#[test]
fn idx_files_with_labels_are_a_set() {
    let images = idx(3, &[3, 2, 2], &[10, 10, 10, 10, 20, 20, 20, 20, 30, 30, 30, 30]);
    let labels = idx(1, &[3], &[7, 2, 7]);
    let plain = [("train-images-idx3-ubyte", images.clone()), ("train-labels-idx1-ubyte", labels.clone())];
    let packed = [
        ("train-images-idx3-ubyte.gz", gzip(&images)),
        ("train-labels-idx1-ubyte.gz", gzip(&labels)),
        ("t10k-images-idx3-ubyte.gz", gzip(&idx(3, &[1, 2, 2], &[0; 4]))),
    ];
    let (plain, packed) = (folder(&plain), folder(&packed));
    let paths = [plain.path(), packed.path(), &packed.path().join("train-images-idx3-ubyte.gz")].map(Path::to_path_buf);
    for path in paths {
        let set = ok(&path, &config(2, 1));
        assert_eq!((&set.classes[..], &set.labels[..]), (&["2".into(), "7".into()][..], &[1, 0, 1][..]));
        assert_eq!(set.pixels, [[10; 4], [20; 4], [30; 4]].concat());
        assert_eq!(set.names, ["7/00000", "2/00001", "7/00002"]);
    }
    let sevens = DataConfig { include: vec!["7".into()], ..config(2, 1) };
    assert_eq!(ok(plain.path(), &sevens).pixels, [[10; 4], [30; 4]].concat());
}

#[test]
fn idx_files_that_contradict_themselves_are_errors() {
    let says = |images: Vec<u8>, labels: Option<Vec<u8>>, parts: &[&str]| {
        let mut members = vec![("train-images-idx3-ubyte", images)];
        members.extend(labels.map(|labels| ("train-labels-idx1-ubyte", labels)));
        assert_says(&failure(folder(&members).path(), &config(2, 1)), parts);
    };
    let images = || idx(3, &[2, 2, 2], &[0; 8]);
    says(idx(3, &[2, 2, 2], &[0; 7]), None, &["train-images-idx3-ubyte", "claims 2 items of 2×2", "7 bytes follow"]);
    says(idx(3, &[u32::MAX; 3], &[0; 8]), None, &["claims 4294967295 items"]);
    says(b"\0\0\x08\x03\0".to_vec(), None, &["is no IDX file"]);
    says(images(), None, &["train-labels-idx1-ubyte (or .gz) is missing", "class_depth = 0"]);
    says(images(), Some(idx(1, &[3], &[0; 3])), &["train-labels-idx1-ubyte", "3 labels for 2 images"]);
    let place = folder(&[("train-images-idx3-ubyte", images())]);
    assert_eq!(ok(place.path(), &DataConfig { class_depth: 0, ..config(2, 1) }).len(), 2);
}

fn cifar() -> Vec<Member> {
    let second = [cifar_record(0, [7, 8, 9]), cifar_record(1, [10, 11, 12])].concat();
    vec![
        ("cifar-10-batches-bin/data_batch_1.bin", cifar_record(1, [1, 2, 3])),
        ("cifar-10-batches-bin/data_batch_2.bin", second),
        ("cifar-10-batches-bin/test_batch.bin", cifar_record(0, [0; 3])),
        ("cifar-10-batches-bin/batches.meta.txt", b"airplane\nautomobile\n\n".to_vec()),
    ]
}

#[test]
fn cifar_batches_are_a_set() {
    let (place, (_packed, archive)) = (folder(&cifar()), file("cifar.tar.gz", gzip(&tar(&cifar()))));
    for path in [place.path(), &archive] {
        let set = ok(path, &config(32, 3));
        assert_eq!(
            (&set.classes[..], &set.labels[..]),
            (&["airplane".into(), "automobile".into()][..], &[1, 0, 1][..])
        );
        let planes: Vec<u8> = set.pixels.chunks(1024).map(|plane| plane[0]).collect();
        assert_eq!(planes, [1, 2, 3, 7, 8, 9, 10, 11, 12]);
        assert_eq!(set.names[1], "airplane/data_batch_2-00000");
    }
    let one = ok(&place.path().join("cifar-10-batches-bin/data_batch_2.bin"), &config(32, 3));
    assert_eq!(one.names, ["airplane/data_batch_2-00000", "automobile/data_batch_2-00001"]);
}

#[test]
fn cifar_batches_that_contradict_themselves_are_errors() {
    let cut = folder(&[("data_batch_1.bin", vec![0; 3000])]);
    assert_says(
        &failure(cut.path(), &config(32, 3)),
        &["data_batch_1.bin", "3000 bytes are not a whole number of 3073"],
    );
    let label = folder(&[("data_batch_1.bin", cifar_record(12, [0; 3]))]);
    assert_says(&failure(label.path(), &config(32, 3)), &["label 12", "10 classes"]);
}

/// `good` readable pictures and one of these.
fn with_bad(good: usize, bad: Vec<u8>) -> TempDir {
    let place = folder(&[("050_bad.png", bad)]);
    for i in 0..good {
        fs::write(place.path().join(format!("{i:03}.png")), grey_png(i as u8)).expect("writes");
    }
    place
}

#[test]
fn unreadable_files_are_named_counted_and_skipped() {
    let set = ok(with_bad(99, b"not a picture".to_vec()).path(), &config(2, 1));
    assert_eq!((set.len(), set.pixels.len(), set.skipped.len()), (99, 99 * 4, 1));
    assert_eq!(set.skipped[0].name, "050_bad.png");
    assert_says(&set.skipped[0].reason, &["is not an image"]);
    let levels: Vec<u8> = set.pixels.chunks(4).map(|image| image[0]).collect();
    assert_eq!(levels, Vec::from_iter(0..99), "the gap is closed");
}

#[test]
fn more_than_one_percent_unreadable_stops() {
    let message = failure(with_bad(98, Vec::new()).path(), &config(2, 1));
    assert_says(&message, &["1 of 99 images cannot be read", "at most 1 %", "bad.png: is empty"]);
    let cut = &grey_png(0)[..40];
    assert_says(&failure(with_bad(3, cut.to_vec()).path(), &config(2, 1)), &["1 of 4 images", "bad.png: "]);
}

#[test]
fn a_huge_picture_is_refused_before_it_is_allocated() {
    let mut bomb = grey_png(0);
    bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let (head, crc) = (bomb[12..29].to_vec(), 29..33);
    bomb[crc].copy_from_slice(&crc32(&head).to_be_bytes());
    assert_says(&failure(with_bad(1, bomb).path(), &config(2, 1)), &["bad.png: ", "limit"]);
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn what_is_no_set_says_so() {
    let says = |name, content, parts: &[&str]| {
        let (_place, path) = file(name, content);
        assert_says(&failure(&path, &config(2, 1)), &[&[name], parts].concat());
    };
    assert_says(&failure(Path::new("/no/such/set"), &config(2, 1)), &["/no/such/set: no such file or folder"]);
    says("empty.tar.gz", Vec::new(), &["is empty (0 bytes)"]);
    says("notes.txt", b"hello".to_vec(), &["is not a set of images", "expected a folder"]);
    says("only-text.zip", zip(&[("a.txt", b"hello".to_vec())]), &["holds no images"]);
    assert_says(&failure(tempfile::tempdir().expect("a folder").path(), &config(2, 1)), &["holds no images"]);
    let sizes = [(config(0, 3), "size must be 1 to 1024"), (config(32, 2), "channels must be 1, 3 or 4, not 2")];
    for (config, part) in sizes {
        assert_says(&failure(Path::new("."), &config), &[part]);
    }
}

#[test]
fn cut_archives_are_errors() {
    let noise: Vec<u8> = (0..9000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let members = [("a.png", grey_png(1)), ("b.txt", noise), ("c.png", grey_png(2))];
    let (packed, plain, zipped) = (gzip(&tar(&members)), tar(&members), zip(&members));
    let cuts =
        [(&packed, 20), (&packed, packed.len() / 2), (&packed, packed.len() - 4), (&plain, 4000), (&zipped, 300)];
    for (whole, length) in cuts {
        let (_place, path) = file("cut.archive", whole[..length].to_vec());
        assert_says(&failure(&path, &config(2, 1)), &["cut.archive: "]);
    }
    let (_place, path) = file("cut.tar.gz", packed[..packed.len() / 2].to_vec());
    assert_says(&failure(&path, &config(2, 1)), &["cut.tar.gz", "ends too early, as if cut off"]);
}

/// As the hub's own library wrote it (`tests/fixtures/parquet.py`).
fn hub() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/hub")
}

#[test]
fn parquet_files_of_the_hub_load_by_their_own_description() {
    let set = ok(&hub(), &config(4, 1));
    assert_eq!(set.classes, ["cat", "dog"]);
    assert_eq!(set.labels, [0, 1, 0, 1, 0, 1, 0, 1]);
    let levels: Vec<u8> = set.pixels.chunks(16).map(|image| image[0]).collect();
    assert_eq!(levels, [0, 10, 20, 30, 40, 50, 60, 70], "the files of the training split, in order");
    assert_eq!(set.names[5], "dog/00005");
    let test = ok(&hub().join("test-00000-of-00001.parquet"), &config(4, 1));
    assert_eq!((test.len(), test.pixels[0], test.pixels[16]), (2, 200, 210));
    let dogs = DataConfig { include: vec!["dog".into()], ..config(4, 1) };
    assert_eq!(ok(&hub(), &dogs).labels, [0; 4]);
    let unlabelled = ok(&hub(), &DataConfig { class_depth: 0, ..config(4, 1) });
    assert_eq!((unlabelled.len(), unlabelled.classes.len()), (8, 0));
}

#[test]
fn damaged_parquet_files_say_what_is_wrong() {
    let whole = fs::read(hub().join("train-00000-of-00002.parquet")).expect("a fixture");
    let cut = folder(&[("train.parquet", whole[..whole.len() - 9].to_vec())]);
    assert_says(&failure(cut.path(), &config(4, 1)), &["train.parquet"]);
    let mut torn = whole.clone();
    torn[40..120].fill(0xff);
    let torn = folder(&[("train.parquet", torn)]);
    assert_says(&failure(torn.path(), &config(4, 1)), &["train.parquet"]);
    let packed = folder(&[("set.zip", zip(&[("train.parquet", whole)]))]);
    assert_says(&failure(&packed.path().join("set.zip"), &config(4, 1)), &["set.zip", "unpack"]);
}

#[test]
fn sets_larger_than_memory_are_converted_once_and_read_from_the_disk() {
    let place = folder(&pets());
    let (pets, cache) = (place.path().join("pets"), place.path().join("run/data"));
    let memory = ok(&pets, &config(2, 1));
    let disk = load_stored(&pets, &config(2, 1), &cache).expect("it loads");
    assert!(disk.pixels.is_empty());
    assert_eq!((&disk.labels, &disk.classes, &disk.names), (&memory.labels, &memory.classes, &memory.names));
    let stored = disk.stored.expect("it is on the disk");
    stored.keep().expect("it stays");
    for (i, pixels) in memory.pixels.chunks(4).enumerate() {
        assert_eq!(stored.read(i).expect("it reads"), pixels);
    }
    // Used again, unless the settings or the pixels are others.
    let bin = cache.join("pixels.bin");
    let made = |path: &std::path::Path| fs::metadata(path).expect("it is there").modified().expect("a time");
    let first = made(&bin);
    let again = load_stored(&pets, &config(2, 1), &cache).expect("it loads").stored.expect("it is on the disk");
    assert_eq!((again.read(3).expect("it reads"), made(&bin)), (memory.pixels[12..16].to_vec(), first));
    // A flipped bit is no pixel.
    let mut bytes = fs::read(&bin).expect("it reads");
    bytes[13] ^= 1;
    fs::write(&bin, bytes).expect("it writes");
    let error = again.read(3).expect_err("it is damaged").to_string();
    assert!(error.contains("pixels.bin") && error.contains("remove it"), "{error}");
    assert!(again.read(2).is_ok());
    fs::write(&bin, vec![7; 15]).expect("it writes");
    let mended = load_stored(&pets, &config(2, 1), &cache).expect("it loads").stored.expect("it is on the disk");
    assert_eq!(mended.read(0).expect("it reads"), memory.pixels[..4]);
    let colour = load_stored(&pets, &config(2, 3), &cache).expect("it loads").stored.expect("it is on the disk");
    assert_eq!(colour.read(0).expect("it reads").len(), 12);
    // In Parquet files, whose parts do not hold every class.
    let disk = load_stored(&hub(), &config(4, 1), &place.path().join("hub")).expect("it loads");
    assert_eq!((disk.labels, disk.classes), (vec![0, 1, 0, 1, 0, 1, 0, 1], vec!["cat".to_owned(), "dog".to_owned()]));
    // The order of the classes is the set's own, as in memory.
    let reversed = hub().join("reversed.parquet");
    let disk = load_stored(&reversed, &config(4, 1), &place.path().join("reversed")).expect("it loads");
    let memory = ok(&reversed, &config(4, 1));
    assert_eq!((&disk.labels, &disk.classes), (&memory.labels, &memory.classes));
    assert_eq!((memory.labels, memory.classes), (vec![0, 1, 0], vec!["dog".to_owned(), "cat".to_owned()]));
}
