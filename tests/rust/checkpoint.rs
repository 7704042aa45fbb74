//! Checkpoints of other programs: the same network under its published names, and everything that can be wrong with one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Int, Tensor, TensorData};
use meanflow::Error;
use meanflow::checkpoint::{Array, Checkpoint, ImportChoice, import};
use meanflow::flow::AverageVelocity;
use meanflow::net::TimeInputs;
use safetensors::SafeTensors;

use crate::cli::{Place, fails, succeeds};
use crate::parity_log::DIT_PUBLISHED;
use crate::support::{device, values};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn tensor<const D: usize>(file: &SafeTensors, name: &str) -> Tensor<D> {
    let view = file.tensor(name).expect("the fixture has it");
    let numbers: Vec<f32> =
        view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
    let shape: [usize; D] = view.shape().to_vec().try_into().expect("the shape fits");
    Tensor::from_data(TensorData::new(numbers, shape), &device())
}

fn choice(place: &str) -> ImportChoice {
    ImportChoice { place: Some(place.into()), heads: Some(2), ..ImportChoice::default() }
}

#[test]
fn a_checkpoint_of_pytorch_gives_the_network_that_pytorch_had() {
    let checkpoint = Checkpoint::open(&fixture("published.pth")).expect("it reads");
    let bytes = std::fs::read(fixture("published.safetensors")).expect("it is in the tree");
    let reference = SafeTensors::deserialize(&bytes).expect("it reads");
    let [r, t] = ["r", "t"].map(|name| tensor::<1>(&reference, name));
    for place in ["model", "ema"] {
        let net = import(&checkpoint, &choice(&format!("{place}.")), &device()).expect("it is complete");
        assert_eq!((net.config().image_size, net.config().classes), (8, 3));
        let labels = Tensor::<1, Int>::from_data([1, 3], &device());
        let z = tensor::<4>(&reference, "z");
        let u = net.u(z.into(), r.clone().into(), t.clone().into(), Some(labels.into())).primal;
        DIT_PUBLISHED.close("u", &values(u), &values(tensor::<4>(&reference, place)), 1e-4);
    }
}

/// The network at `ema.`, with some of its tensors changed.
fn changed(change: impl FnOnce(&mut BTreeMap<String, Array>)) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(&fixture("published.pth")).expect("it reads").at("ema.");
    let mut tensors: BTreeMap<String, Array> =
        checkpoint.names().map(|name| (name.to_owned(), checkpoint.get(name).expect("it is there").clone())).collect();
    change(&mut tensors);
    import(&tensors.into_iter().collect(), &choice(""), &device()).map(|_| ())
}

/// A network of Flow Matching as its authors store it, and one of decoupled MeanFlow: one time, and what only training
/// needs.
#[test]
fn networks_that_are_told_one_time_are_read() {
    let checkpoint = Checkpoint::open(&fixture("published.pth")).expect("it reads").at("ema.");
    let read = |decoder_depth, extra: &str| {
        let kept = checkpoint.names().filter(|name| !name.starts_with("h_embedder."));
        let kept = kept.map(|name| (name.to_owned(), checkpoint.get(name).expect("it is there").clone()));
        let extra = (extra.to_owned(), Array { shape: vec![1, 256], values: vec![0.0; 256] });
        let choice = ImportChoice { times: TimeInputs::Stand, decoder_depth, ..choice("") };
        import(&kept.chain([extra]).collect(), &choice, &device())
    };
    let plain = read(None, "projectors.0.0.weight").expect("a network of Flow Matching");
    let decoupled = read(Some(1), "logvar_linear.weight").expect("a decoupled network");
    let u = |net: &meanflow::Net| {
        let time = |x: [f32; 2]| Tensor::<1>::from_data(x, &device());
        let labels = Tensor::<1, Int>::from_data([1, 3], &device());
        let z = crate::support::random(1, [2, 4, 8, 8]);
        values(net.u(z.into(), time([0.0, 0.3]).into(), time([1.0, 0.8]).into(), Some(labels.into())).primal)
    };
    assert_eq!(u(&decoupled), u(&plain.clone().into_decoupled(1).expect("it can become one")));
    assert_ne!(u(&decoupled), u(&plain));
    let error = read(None, "other.weight").expect_err("a tensor of no part").to_string();
    assert!(error.contains("other.weight"), "{error}");
}

#[test]
fn every_tensor_that_is_missing_extra_or_misshapen_is_named_at_once() {
    assert!(changed(|_| ()).is_ok());
    let error = changed(|tensors| {
        tensors.remove("blocks.1.mlp.fc2.bias");
        tensors.remove("t_embedder.mlp.0.weight");
        tensors.insert("guidance.weight".into(), Array { shape: vec![1], values: vec![0.0] });
        tensors.get_mut("final_layer.linear.bias").expect("it is there").shape = vec![8, 8];
        tensors.get_mut("blocks.0.attn.qkv.bias").expect("it is there").values[3] = f32::NAN;
    });
    let message = error.expect_err("five tensors are wrong").to_string();
    for part in [
        "`blocks.1.mlp.fc2.bias` is missing",
        "`t_embedder.mlp.0.weight` is missing",
        "`guidance.weight` belongs to no part",
        "`final_layer.linear.bias` has shape [8, 8], not [64]",
        "`blocks.0.attn.qkv.bias` holds numbers that are not finite",
    ] {
        assert!(message.contains(part), "`{message}` does not say `{part}`");
    }
    let error = changed(|tensors| tensors.get_mut("pos_embed").expect("it is there").values[5] += 0.1);
    assert!(error.expect_err("the table is another").to_string().contains("fixed sine-cosine table"));
}

#[test]
fn from_a_checkpoint_to_pictures_and_every_mistake_on_the_way() {
    let place = Place::new();
    let (checkpoint, weights, grid) =
        (fixture("published.pth").to_string_lossy().into_owned(), place.path("w.safetensors"), place.path("g.png"));
    let import = ["import", &checkpoint, "--out", &weights, "--heads", "2", "--pixels", "--place"];
    let with = |rest: &[&str]| [import.as_slice(), rest].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let call = with(&["ema.", "--name", "published", "--license", "MIT"]);
    succeeds(&call.iter().map(String::as_str).collect::<Vec<_>>());
    let said = succeeds(&["inspect", &weights]);
    assert!(said.contains("\"published.pth\"") && said.contains("\"MIT\""), "{said}");
    succeeds(&["sample", &weights, "--out", &grid, "--count", "4", "--class", "2"]);

    fails(
        &["import", &checkpoint, "--out", &weights, "--heads", "2"],
        &["several networks", "`ema.`, `model.`", "--place"],
    );
    fails(&["import", &checkpoint, "--out", &weights, "--place", "net."], &["no one network lies at `net.`"]);
    fails(&["import", &checkpoint, "--out", &weights, "--place", "ema."], &["2 blocks of width 16", "--heads"]);
    let text = place.file("notes.pth", "no checkpoint at all");
    fails(&["import", &text, "--out", &weights], &["notes.pth", "neither a safetensors file nor a checkpoint"]);
    let bytes = std::fs::read(&checkpoint).expect("it reads");
    let cut = place.file("cut.pth", &bytes[..bytes.len() / 2]);
    fails(&["import", &cut, "--out", &weights], &["cut.pth"]);
    fails(&["import", &grid, "--out", &weights], &["g.png"]);
}
