//! Latents: the autoencoder against diffusers (`tests/fixtures/latents.py`), the file of a set, and training on it.

use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use meanflow::checkpoint::{Array, Checkpoint};
use meanflow::latent::{Latents, Vae, encode};
use meanflow::rng::{Purpose, Stream};
use meanflow::train::Sampler;
use meanflow::train::data::{DataConfig, load};
use safetensors::SafeTensors;

use crate::cli::{Place, fails, succeeds};
use crate::parity_log::AUTOENCODER;
use crate::support::{assert_close, device, values};

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
    AUTOENCODER.close("decoded", &values(vae.decode(reference("latent"))), &values(reference("decoded")), 1e-4);
}

#[test]
fn an_autoencoder_under_its_older_names_is_the_same_and_what_is_wrong_is_named() {
    let checkpoint = Checkpoint::open(&fixture("vae.safetensors")).expect("it reads");
    let tensors = |change: &dyn Fn(&str) -> String| -> Vec<(String, Array)> {
        checkpoint.names().map(|name| (change(name), checkpoint.get(name).expect("it is there").clone())).collect()
    };
    let old = |name: &str| name.replace("to_q", "query").replace("to_k", "key").replace("to_out.0", "proj_attn");
    let vae = Vae::read(&tensors(&old).into_iter().collect(), &device()).expect("older names");
    assert_close("decoded", &values(vae.decode(reference("latent"))), &values(reference("decoded")), 1e-4);

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
        ("shape", replaced(&bytes, "[6,1,2,4,8,8]", "[6,1,2,4,8,9]"), "no known shape"),
        ("huge", replaced(&bytes, "[6,1,2,4,8,8]", "[6,1,2,4,8,8000000000000000]"), "no known shape"),
        ("classes", replaced(&bytes, r#"[\"leaf\",\"wave\"]"#, r#"[\"leaf\"]"#), "does not name"),
    ] {
        let error = open(name, &bytes).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(reason), "{error}");
    }
    // Other files are none of these.
    let weights = std::fs::read(fixture("vae.safetensors")).expect("it is in the tree");
    for (name, bytes) in [("vae", &weights[..]), ("empty", &[]), ("short", &bytes[..100]), ("text", b"hello, world")] {
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
