//! Latents: the autoencoder against diffusers (`tests/fixtures/latents.py`), the file of a set, and training on it.

use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use meanflow::data::latents::{Latents, encode};
use meanflow::data::{DataConfig, Fit, load};
use meanflow::import::{Array, Checkpoint};
use meanflow::latent::Vae;
use meanflow::model::Request;
use meanflow::model::weights::{LatentSpace, ModelInfo, Normalization, Precision};
use meanflow::rng::{Purpose, Stream};
use meanflow::train::Sampler;
use meanflow::{Condition, Generator, NetConfig};
use safetensors::SafeTensors;

use crate::cli::{Place, fails, succeeds};
use crate::parity_log::{ADM_CROP, AUTOENCODER};
use crate::support::{assert_close, device, random_net, tiny_config, values};
use crate::weights::info;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn vae() -> Vae {
    Vae::open(&fixture("vae.safetensors"), &device()).expect("it is complete")
}

fn reference(name: &str) -> Tensor<4> {
    let bytes = std::fs::read(fixture("latents.safetensors")).expect("it is in the tree");
    let file = SafeTensors::deserialize(&bytes).expect("it reads");
    let view = file.tensor(name).expect("the fixture has it");
    let numbers: Vec<f32> =
        view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
    let shape: [usize; 4] = view.shape().to_vec().try_into().expect("four axes");
    Tensor::from_data(TensorData::new(numbers, shape), &device())
}

#[test]
fn the_autoencoder_agrees_with_diffusers() {
    let vae = vae();
    assert_eq!((vae.factor(), vae.channels()), (2, 4));
    let moments = vae.encode(reference("image"));
    AUTOENCODER.close("mean", &values(moments.mean), &values(reference("mean")), 1e-4);
    AUTOENCODER.close("deviation", &values(moments.deviation), &values(reference("deviation")), 1e-4);
    let decoded = vae.decode(reference("latent"), &Normalization::STABLE_DIFFUSION);
    AUTOENCODER.close("decoded", &values(decoded), &values(reference("decoded")), 1e-4);
}

#[test]
fn an_autoencoder_under_its_older_names_is_the_same_and_what_is_wrong_is_named() {
    let checkpoint = Checkpoint::open(&fixture("vae.safetensors")).expect("it reads");
    let tensors = |change: &dyn Fn(&str) -> String| -> Vec<(String, Array)> {
        checkpoint.names().map(|name| (change(name), checkpoint.read(name).expect("it is there"))).collect()
    };
    let old = |name: &str| name.replace("to_q", "query").replace("to_k", "key").replace("to_out.0", "proj_attn");
    let vae = Vae::read(&tensors(&old).into_iter().collect(), &device()).expect("older names");
    assert_close(
        "decoded",
        &values(vae.decode(reference("latent"), &Normalization::STABLE_DIFFUSION)),
        &values(reference("decoded")),
        1e-4,
    );

    let mut wrong = tensors(&|name| name.to_owned());
    wrong.retain(|(name, _)| name != "decoder.conv_in.bias");
    wrong.push(("loss.weight".into(), Array { shape: vec![1], values: vec![0.0] }));
    let error = Vae::read(&wrong.into_iter().collect(), &device()).expect_err("two are wrong").to_string();
    assert!(error.contains("`decoder.conv_in.bias` is missing") && error.contains("`loss.weight` belongs"), "{error}");
    let error = Vae::read(&Checkpoint::default(), &device()).expect_err("it is empty").to_string();
    assert!(error.contains("no autoencoder"), "{error}");
}

/// Latents of 8 × 8 × 4, of pictures of 16 × 16.
fn config(flip: bool) -> DataConfig {
    DataConfig { size: 8, channels: 4, class_depth: 1, flip, ..DataConfig::default() }
}

/// A folder of two classes, three pictures each, all different.
fn pictures(place: &Place) -> PathBuf {
    for (class, base) in [("leaf", 40u8), ("wave", 160)] {
        let folder = PathBuf::from(place.path("pictures")).join(class);
        std::fs::create_dir_all(&folder).expect("a folder");
        for i in 0..3u8 {
            let paint = |x: u32, y: u32| image::Rgb([base + 10 * i, (16 * x) as u8, (16 * y) as u8]);
            image::RgbImage::from_fn(16, 16, paint).save(folder.join(format!("{i}.png"))).expect("it saves");
        }
    }
    PathBuf::from(place.path("pictures"))
}

#[test]
fn a_set_is_encoded_once_and_drawn_from_anew() {
    let (place, vae) = (Place::new(), vae());
    let (data, out) = (pictures(&place), PathBuf::from(place.path("set.latents.safetensors")));
    let count = encode(&vae, &data, &config(true), &out, 4, &device(), |_| ()).expect("it encodes");
    assert_eq!(count, 6);
    let images = load(&out, &config(true)).expect("it loads");
    assert_eq!((images.len(), &images.classes[..]), (6, &["leaf".to_owned(), "wave".to_owned()][..]));
    assert_eq!(images.labels, [0, 0, 0, 1, 1, 1]);

    // A draw is the scaled mean plus the deviation times noise, of the picture or its mirror image.
    let latents = images.latents.clone().expect("latents");
    let pixels = load(&data, &DataConfig { size: 16, channels: 3, ..config(false) }).expect("pictures").pixels;
    let numbers: Vec<f32> = pixels[4 * 768..5 * 768].iter().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect();
    let picture = Tensor::<4>::from_data(TensorData::new(numbers, [1, 3, 16, 16]), &device());
    let mut seen = Vec::new();
    for (mirrored, picture) in [(false, picture.clone()), (true, picture.flip([3]))] {
        let moments = vae.encode(picture);
        let drawn = latents.draw(4, mirrored, &mut Stream::new(7, Purpose::Latents, 3)).expect("it reads");
        let noise = Stream::new(7, Purpose::Latents, 3).normals(256);
        let parts = values(moments.mean).into_iter().zip(values(moments.deviation)).zip(noise);
        let expected: Vec<f32> = parts.map(|((mean, deviation), e)| 0.18215 * (mean + deviation * e)).collect();
        // Stored in half precision.
        assert_close("drawn", &drawn, &expected, 2e-3);
        seen.push(drawn);
    }
    assert_ne!(seen[0], seen[1]);
    let settings = meanflow::train::Optimization { batch_size: 4, ..Default::default() };
    let batch = |step| values(Sampler::new(&images, &settings, true).batch(step, &device()).expect("it reads").images);
    assert_eq!(batch(3), batch(3));
    assert_eq!(batch(0).len(), 4 * 256);

    let error = |config: &DataConfig| load(&out, config).expect_err("it does not fit").to_string();
    assert!(error(&DataConfig { size: 16, ..config(false) }).contains("8×8×4"));
    let plain = PathBuf::from(place.path("plain.safetensors"));
    encode(&vae, &data, &config(false), &plain, 4, &device(), |_| ()).expect("it encodes");
    assert!(load(&plain, &config(true)).expect_err("no mirror images").to_string().contains("no mirror images"));
}

/// Mean and standard deviation of each channel in the code of improved MeanFlow (`utils/vae_util.py`).
const IMF: [[f64; 2]; 4] =
    [[0.86488, 4.85503674], [-0.27787343, 5.31922414], [0.21616915, 3.93725398], [0.3738409, 3.9870003]];

fn imf() -> Normalization {
    Normalization::named("imf").expect("it is known")
}

#[test]
fn each_channel_is_normalized_and_decoded_by_its_own_statistics() {
    let (place, vae) = (Place::new(), vae());
    // The latents of the fixture are multiplied by 0.18215.
    let plane = 64;
    let given = values(reference("latent"));
    let by_statistics = |x: f32, [mean, std]: [f64; 2]| ((f64::from(x) / 0.18215 - mean) / std) as f32;
    let normal = |(i, x): (usize, &f32)| by_statistics(*x, IMF[i / plane % 4]);
    let normalized: Vec<f32> = given.iter().enumerate().map(normal).collect();
    let latents = Tensor::from_data(TensorData::new(normalized, [2, 4, 8, 8]), &device());
    assert_close("decoded", &values(vae.decode(latents, &imf())), &values(reference("decoded")), 1e-4);

    let data = pictures(&place);
    let of = |name: &str, config: &DataConfig| {
        let out = PathBuf::from(place.path(name));
        encode(&vae, &data, config, &out, 4, &device(), |_| ()).expect("it encodes");
        out
    };
    let by_imf = DataConfig { normalization: Some(imf()), ..config(false) };
    let (plain, written) = (of("sd.safetensors", &config(false)), of("imf.safetensors", &by_imf));
    let draw = |file: &Path, config: &DataConfig| {
        let latents = load(file, config).expect("it loads").latents.expect("latents");
        let space = latents.info().space.normalization.clone();
        (latents.draw(1, false, &mut Stream::new(7, Purpose::Latents, 3)).expect("it reads"), space)
    };
    let (sd, space) = draw(&plain, &config(false));
    assert_eq!(space, Normalization::STABLE_DIFFUSION);
    let normal = |(i, x): (usize, &f32)| by_statistics(*x, IMF[i / plane]);
    let expected: Vec<f32> = sd.iter().enumerate().map(normal).collect();
    // The file's own, and that of the settings for a file of another: it holds what the autoencoder gave.
    for (name, file, config) in [("own", &written, &config(false)), ("chosen", &plain, &by_imf)] {
        let (drawn, space) = draw(file, config);
        assert_eq!(space, imf(), "{name}");
        assert_close(name, &drawn, &expected, 1e-5);
    }

    let three = Normalization::PerChannel { mean: vec![0.0; 3], std: vec![1.0; 3] };
    let three = DataConfig { normalization: Some(three), ..config(false) };
    let error = load(&plain, &three).expect_err("four channels").to_string();
    assert!(error.contains("sd.safetensors") && error.contains("3 channels of latents, but there are 4"), "{error}");
    let out = PathBuf::from(place.path("three.safetensors"));
    let error = encode(&vae, &data, &three, &out, 4, &device(), |_| ()).expect_err("four channels").to_string();
    assert!(error.contains("normalization") && !out.exists(), "{error}");
}

/// A weights file of a random network of latents, normalized so.
fn model(normalization: &Normalization, factor: usize) -> Vec<u8> {
    let config = NetConfig { patch: 2, ..tiny_config(4, 0) };
    let latent = Some(LatentSpace { factor, normalization: normalization.clone() });
    let info = ModelInfo { latent, ..info(config.clone()) };
    meanflow::net::encode(&random_net(&config, &device()), &info, Precision::F32).expect("it encodes")
}

#[test]
fn pictures_are_decoded_by_what_the_weights_say() {
    let (place, vae_file) = (Place::new(), fixture("vae.safetensors").to_string_lossy().into_owned());
    let custom = Normalization::PerChannel { mean: vec![0.5, 0.0, -1.0, 2.0], std: vec![1.0, 2.0, 3.0, 4.0] };
    let mut seen = Vec::new();
    for (name, normalization) in [("sd", Normalization::STABLE_DIFFUSION), ("imf", imf()), ("custom", custom)] {
        let bytes = model(&normalization, 2);
        let (weights, out) = (place.file(&format!("{name}.safetensors"), &bytes), place.path("one.png"));
        succeeds(&["sample", &weights, "--vae", &vae_file, "--out", &out, "--count", "1", "--seed", "4"]);
        let request = Request { seed: 4, count: 1, class: Condition::Any, nfe: 1 };
        let made = Generator::from_bytes(&bytes, &device()).expect("a model").images(request).expect("latents");
        let decoded = vae().decode(made, &normalization);
        let rgba = pollster::block_on(meanflow::generator::to_rgba(decoded)).expect("pixels");
        let picture = image::open(&out).expect("a picture").into_rgba8().into_raw();
        assert_eq!(picture, rgba, "{name}");
        seen.push(picture);
    }
    assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2]);

    let far = place.file("far.safetensors", model(&imf(), 8));
    fails(
        &["sample", &far, "--vae", &vae_file, "--out", &place.path("one.png"), "--count", "1"],
        &["vae.safetensors", "another latent space", "8 times smaller; give the autoencoder"],
    );
}

#[test]
fn another_latent_space_is_refused_with_what_to_do() {
    let place = Place::new();
    let data = pictures(&place).to_string_lossy().into_owned();
    let vae = fixture("vae.safetensors").to_string_lossy().into_owned();
    let settings = |name: &str, more: &str| {
        let text = format!("name = \"small\"\n[data]\nsize = 8\nchannels = 4\n{more}\n");
        let net = "[net]\nwidth = 16\ndepth = 1\nheads = 2\n[train]\nsteps = 2\nbatch_size = 2\n[log]\nsamples = 1\n";
        place.file(name, text + net)
    };
    let (sd, by_imf) = (settings("sd.toml", ""), settings("imf.toml", "normalization = \"imf\""));
    let set = place.path("set.safetensors");
    succeeds(&["encode", "--data", &data, "--vae", &vae, "--config", &sd, "--out", &set]);
    let trained = |config: &str, name: &str| {
        let (run, weights) = (place.path(name), place.path(&format!("{name}.safetensors")));
        succeeds(&["train", "--data", &set, "--config", config, "--out", &run]);
        succeeds(&["export", &run, "--out", &weights]);
        weights
    };
    let (of_sd, of_imf) = (trained(&sd, "run-sd"), trained(&by_imf, "run-imf"));
    assert!(succeeds(&["inspect", &of_sd]).contains("\"scale\": 0.18215"));
    assert!(succeeds(&["inspect", &of_imf]).contains("0.86488"));

    let other = place.path("other");
    for (weights, config, name, words) in [
        (&of_imf, &sd, "run-imf.safetensors", "set [data] normalization = \"imf\""),
        (&of_sd, &by_imf, "run-sd.safetensors", "set [data] normalization = \"sd\""),
    ] {
        let call = ["train", "--data", &set, "--config", config, "--out", &other, "--init", weights];
        fails(&call, &[name, "set.safetensors", words]);
    }
    // Settings that changed after the run began.
    let config = Path::new(&place.path("run-imf")).join("config.toml");
    let text = std::fs::read_to_string(&config).expect("it is there");
    std::fs::write(&config, text.replace("normalization = \"imf\"\n", "")).expect("it writes");
    let described = Path::new(&place.path("run-imf")).join("model.json");
    let before = std::fs::read(&described).expect("it is there");
    fails(
        &["train", "--data", &set, "--out", &place.path("run-imf"), "--resume", "--steps", "4"],
        &["run-imf", "set.safetensors", "set [data] normalization = \"imf\""],
    );
    assert_eq!(std::fs::read(&described).expect("it is there"), before);

    let unknown = settings("unknown.toml", "normalization = \"sdxl\"");
    fails(
        &["encode", "--data", &data, "--vae", &vae, "--config", &unknown, "--out", &place.path("x.safetensors")],
        &["unknown.toml", "unknown normalization `sdxl`; there are sd and imf"],
    );
    let config = settings("pictures.toml", "normalization = \"imf\"");
    fails(
        &["train", "--data", &data, "--config", &config, "--out", &other],
        &["normalization is for latents", "meanflow encode"],
    );
}

/// Pillow's pictures (`tests/fixtures/adm.py`), to the byte: also on the way into a file of latents.
#[test]
fn adms_crop_is_pillows() {
    let bytes = std::fs::read(fixture("adm.safetensors")).expect("it is in the tree");
    let file = SafeTensors::deserialize(&bytes).expect("it reads");
    let names: Vec<&str> = file.names().into_iter().filter_map(|name| name.strip_suffix(".picture")).collect();
    assert_eq!(names.len(), 7);
    for name in names {
        let [picture, crop] = ["picture", "crop"].map(|part| file.tensor(&format!("{name}.{part}")).expect("both"));
        let [height, width, _] = picture.shape()[..] else { panic!("a picture has three axes") };
        let place = Place::new();
        let picture = image::RgbImage::from_raw(width as u32, height as u32, picture.data().to_vec()).expect("RGB");
        picture.save(place.path("0.png")).expect("it saves");
        let config = DataConfig { size: 16, channels: 3, fit: Fit::Adm, ..DataConfig::default() };
        let ours = load(place.dir.path(), &config).expect("it loads").pixels;
        let theirs: Vec<u8> = (0..3).flat_map(|c| crop.data().iter().skip(c).step_by(3).copied()).collect();
        let most = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max();
        ADM_CROP.within("pixels, of 255", most.map_or(f64::INFINITY, f64::from), 0.0);

        let plain = load(place.dir.path(), &DataConfig { fit: Fit::Crop, ..config }).expect("it loads").pixels;
        assert_eq!(plain == theirs, name == "16x16", "{name}: another rule");
    }
}

/// What is invisible does not bleed into what is seen.
#[test]
fn adms_crop_weighs_colours_by_alpha() {
    let place = Place::new();
    let paint = |x: u32, _| if x < 20 { image::Rgba([255, 0, 0, 0]) } else { image::Rgba([0, 0, 200, 255]) };
    image::RgbaImage::from_fn(40, 40, paint).save(place.path("0.png")).expect("it saves");
    let config = DataConfig { size: 15, channels: 4, fit: Fit::Adm, ..DataConfig::default() };
    let planes = load(place.dir.path(), &config).expect("it loads").pixels;
    let [red, _, blue, alpha] = [0, 1, 2, 3].map(|c| &planes[c * 225..(c + 1) * 225]);
    for i in (0..225).filter(|&i| alpha[i] > 8) {
        // What a byte of alpha leaves of a colour; at the edge the filter overshoots, but alpha ends at 255.
        let (coarse, blue) = (255 / i32::from(alpha[i]) + 1, i32::from(blue[i]));
        let known = 200 - coarse..=220 + coarse;
        assert!(red[i] == 0 && known.contains(&blue), "pixel {i}: {} {blue} {}", red[i], alpha[i]);
    }
    assert_eq!((alpha[0], alpha[14]), (0, 255));
}

#[test]
fn damaged_files_of_latents_say_what_is_wrong() {
    let place = Place::new();
    let (data, out) = (pictures(&place), PathBuf::from(place.path("set.safetensors")));
    encode(&vae(), &data, &config(false), &out, 4, &device(), |_| ()).expect("it encodes");
    let bytes = std::fs::read(&out).expect("it is there");
    let open =
        |name: &str, bytes: &[u8]| Latents::open(Path::new(&place.file(name, bytes))).map(|found| found.is_some());
    assert!(open("whole", &bytes).expect("it is whole"));
    for (name, bytes, reason) in [
        ("cut", bytes[..bytes.len() - 5].to_vec(), "truncated"),
        ("short", bytes[..100].to_vec(), "truncated"),
        ("shape", replaced(&bytes, "[6,1,2,4,8,8]", "[6,1,2,4,8,9]"), "no known shape"),
        ("huge", replaced(&bytes, "[6,1,2,4,8,8]", "[6,1,2,4,8,8000000000000000]"), "no known shape"),
        ("space", replaced(&bytes, r#"\"scale\":0.18215"#, r#"\"scale\":0.0"#), "above 0"),
        ("classes", replaced(&bytes, r#"[\"leaf\",\"wave\"]"#, r#"[\"leaf\"]"#), "does not name"),
    ] {
        let error = open(name, &bytes).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(reason), "{error}");
    }
    // Other files are none of these.
    let weights = std::fs::read(fixture("vae.safetensors")).expect("it is in the tree");
    for (name, bytes) in [("vae", &weights[..]), ("empty", &[]), ("text", b"hello, world")] {
        assert!(!open(name, bytes).expect("it is something else"), "{name}");
    }
}

/// The same length, with one text in the header for another.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let head = 256 << 10;
    let text = String::from_utf8(bytes[8..head].to_vec()).expect("a header is text");
    assert!(text.contains(from), "the header has no {from}");
    let mut text = text.trim_end().replace(from, to);
    text.extend(std::iter::repeat_n(' ', head - 8 - text.len()));
    [&bytes[..8], text.as_bytes(), &bytes[head..]].concat()
}

#[test]
fn from_pictures_to_latents_to_pictures_on_the_command_line() {
    let place = Place::new();
    let data = pictures(&place).to_string_lossy().into_owned();
    let vae = fixture("vae.safetensors").to_string_lossy().into_owned();
    let config = place.file(
        "run.toml",
        "name = \"small\"\n[data]\nsize = 8\nchannels = 4\nflip = true\n[net]\nwidth = 16\ndepth = 1\nheads = 2\n\
         [train]\nsteps = 3\nbatch_size = 4\n[log]\nsamples = 4\n",
    );
    let [latents, run, weights, grid] =
        ["set.safetensors", "run", "w.safetensors", "g.png"].map(|name| place.path(name));
    let said = succeeds(&["encode", "--data", &data, "--vae", &vae, "--config", &config, "--out", &latents]);
    assert!(said.contains("6 pictures as latents of 8×8×4"), "{said}");
    succeeds(&["train", "--data", &latents, "--config", &config, "--out", &run]);
    succeeds(&["export", &run, "--out", &weights]);
    assert!(succeeds(&["inspect", &weights]).contains("\"factor\": 2"));
    succeeds(&["sample", &weights, "--vae", &vae, "--out", &grid, "--count", "1"]);
    let picture = image::open(&grid).expect("a picture");
    assert_eq!((picture.width(), picture.height()), (16, 16));

    fails(&["sample", &weights, "--out", &grid], &["small", "latents", "--vae"]);
    fails(&["likelihood", &weights, "--data", &data], &["w.safetensors", "latents"]);
    fails(
        &["encode", "--data", &data, "--vae", &weights, "--config", &config, "--out", &latents],
        &["w.safetensors", "no autoencoder"],
    );
    fails(
        &["encode", "--data", &vae, "--vae", &vae, "--config", &config, "--out", &latents],
        &["vae.safetensors", "not a set"],
    );
}
