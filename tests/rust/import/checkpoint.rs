//! Checkpoints of other programs: the same network under its published names, and everything that can be wrong with
//! one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Int, Tensor, TensorData};
use meanflow::flow::AverageVelocity;
use meanflow::import::{Array, Checkpoint, ImportChoice, import, left_out};
use meanflow::model::TimeInputs;
use meanflow::{Error, NetConfig};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::cli::{Place, fails, succeeds};
use crate::parity_log::DIT_PUBLISHED;
use crate::support::{device, values};
use crate::train::numbers;

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
    ImportChoice { prefix: Some(place.into()), heads: Some(2), ..ImportChoice::default() }
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
        checkpoint.names().map(|name| (name.to_owned(), checkpoint.read(name).expect("it is there"))).collect();
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
        let kept = kept.map(|name| (name.to_owned(), checkpoint.read(name).expect("it is there")));
        let extra = (extra.to_owned(), Array { shape: vec![1, 256], values: vec![0.0; 256] });
        let choice = ImportChoice { times: TimeInputs::T, decoder_depth, ..choice("") };
        let network: Checkpoint = kept.chain([extra.clone()]).collect();
        let found = left_out(&network, &choice).expect("one network");
        import(&network, &choice, &device()).inspect(|_| assert_eq!(found, [(extra.0, "only training needs it")]))
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
    let import = ["import", &checkpoint, "--out", &weights, "--heads", "2", "--pixels", "--prefix"];
    let with = |rest: &[&str]| [import.as_slice(), rest].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let call = with(&["ema.", "--name", "published", "--license", "MIT"]);
    succeeds(&call.iter().map(String::as_str).collect::<Vec<_>>());
    let said = succeeds(&["inspect", &weights]);
    assert!(said.contains("\"published.pth\"") && said.contains("\"MIT\""), "{said}");
    succeeds(&["sample", &weights, "--out", &grid, "--count", "4", "--class", "2"]);

    fails(
        &["import", &checkpoint, "--out", &weights, "--heads", "2"],
        &["several networks", "`ema.`, `model.`", "--prefix"],
    );
    // As it was called before.
    fails(&["import", &checkpoint, "--out", &weights, "--place", "net."], &["no one network lies at `net.`"]);
    fails(&["import", &checkpoint, "--out", &weights, "--prefix", "ema."], &["2 blocks of width 16", "--heads"]);
    let text = place.file("notes.pth", "no checkpoint at all");
    fails(&["import", &text, "--out", &weights], &["notes.pth", "neither a safetensors file nor a checkpoint"]);
    let bytes = std::fs::read(&checkpoint).expect("it reads");
    let cut = place.file("cut.pth", &bytes[..bytes.len() / 2]);
    fails(&["import", &cut, "--out", &weights], &["cut.pth"]);
    fails(&["import", &grid, "--out", &weights], &["g.png"]);
}

/// The tensors of a network of `networks.pth`, under its own names.
fn network(place: &str) -> BTreeMap<String, Array> {
    let checkpoint = Checkpoint::open(&fixture("networks.pth")).expect("it reads").at(place);
    checkpoint.names().map(|name| (name.to_owned(), checkpoint.read(name).expect("it is there"))).collect()
}

/// Every parameter of a network of `networks.pth`, or of tensors with its names.
fn parameters(checkpoint: &Checkpoint) -> (NetConfig, Vec<f32>) {
    let choice = ImportChoice { size: Some(8), ..choice("") };
    let net = import(checkpoint, &choice, &device()).expect("it is complete");
    (net.config().clone(), numbers(&net))
}

/// Flax has the class table of pixel MeanFlow as `[1, classes + 1, width]` (`models/torch_models.py` of Lyy-iiis/pMF).
#[test]
fn the_class_table_of_the_authors_jax_code_is_read() {
    let expected = parameters(&network("pixel.").into_iter().collect());
    let mut tensors = network("pixel.");
    let table = tensors.remove("y_embedder.embedding_table._flax_embedding.weight").expect("it is there");
    let [rows, width] = table.shape[..] else { panic!("a table has two axes") };
    for shape in [vec![1, rows, width], vec![rows, width]] {
        let array = Array { shape, values: table.values.clone() };
        tensors.insert("y_embedder.embedding_table.weight".into(), array);
        assert_eq!(parameters(&tensors.clone().into_iter().collect()), expected);
    }
    let array = Array { shape: vec![rows * width], values: table.values };
    tensors.insert("y_embedder.embedding_table.weight".into(), array);
    let error = import(&tensors.into_iter().collect(), &choice(""), &device()).expect_err("no table").to_string();
    assert!(error.contains("[64], which is no table of classes"), "{error}");
}

#[test]
fn a_complex_buffer_is_skipped_and_said() {
    let checkpoint = Checkpoint::open(&fixture("buffers.pth")).expect("it reads");
    assert_eq!(parameters(&checkpoint), parameters(&network("pixel.").into_iter().collect()));
    let place = Place::new();
    let (file, out) = (fixture("buffers.pth").to_string_lossy().into_owned(), place.path("w.safetensors"));
    let said = succeeds(&["import", &file, "--out", &out, "--heads", "2", "--size", "8"]);
    assert!(said.contains("skipped `rope_freqs`") && said.contains("skipped `double.rope_freqs`"), "{said}");
    assert!(said.contains("noise scale 1; it makes pictures"), "{said}");
}

#[test]
fn tensors_of_types_that_are_not_read_are_named() {
    let place = Place::new();
    let out = place.path("w.safetensors");
    let published = Checkpoint::open(&fixture("published.pth")).expect("it reads").at("ema.");
    let names: Vec<&str> = published.names().collect();
    let bytes = |name: &str| -> Vec<u8> {
        published.read(name).expect("it is there").values.iter().flat_map(|x| x.to_le_bytes()).collect()
    };
    let data: Vec<Vec<u8>> = names.iter().map(|name| bytes(name)).collect();
    let written = |small: &dyn Fn(&str) -> bool, dtype: Dtype| {
        let view = |(name, data): (&&str, &Vec<u8>)| {
            let shape = published.get(name).expect("it is there").shape.clone();
            let (dtype, data) = if small(name) { (dtype, &data[..data.len() / 4]) } else { (Dtype::F32, &data[..]) };
            // Static, since a view borrows: a test may leak.
            let view = TensorView::new(dtype, shape, data.to_vec().leak()).expect("it fits");
            ((*name).to_owned(), view)
        };
        let views: Vec<_> = names.iter().zip(&data).map(view).collect();
        place.file("small.safetensors", safetensors::serialize(views, None).expect("it is written"))
    };
    let import = |file: &str, words: &[&str]| {
        fails(&["import", file, "--out", &out, "--heads", "2", "--pixels"], words);
    };
    let file = written(&|name| name.ends_with("attn.qkv.weight"), Dtype::F8_E4M3);
    import(&file, &["small.safetensors", "`blocks.0.attn.qkv.weight` (F8_E4M3)", "convert them to F32, BF16 or F16"]);
    let file = written(&|name| name.ends_with("weight"), Dtype::I8);
    import(&file, &["(I8)", "and 1", "more"]);
    let file = written(&|_| false, Dtype::F8_E5M2);
    succeeds(&["import", &file, "--out", &out, "--heads", "2", "--pixels"]);
}

/// The tensors of a checkpoint as a file of safetensors.
fn safetensors_of(tensors: &BTreeMap<String, Array>) -> Vec<u8> {
    let view = |(name, array): (&String, &Array)| {
        let bytes: Vec<u8> = array.values.iter().flat_map(|x| x.to_le_bytes()).collect();
        (name.clone(), TensorView::new(Dtype::F32, array.shape.clone(), bytes.leak()).expect("it fits"))
    };
    safetensors::serialize(tensors.iter().map(view), None).expect("it is written")
}

/// The transformer of improved MeanFlow over four channels is one of latents, by its authors' statistics.
#[test]
fn what_a_network_makes_is_known_by_its_kind_or_chosen() {
    let place = Place::new();
    let mut tensors = network("improved.");
    let wider = |tensors: &mut BTreeMap<String, Array>, name: &str, shape: Vec<usize>| {
        let values = vec![0.1; shape.iter().product()];
        assert!(tensors.insert(name.into(), Array { shape, values }).is_some(), "{name}");
    };
    wider(&mut tensors, "x_embedder.proj.weight", vec![16, 4, 4, 4]);
    for head in ["u", "v"] {
        wider(&mut tensors, &format!("{head}_final_layer.linear._flax_linear.weight"), vec![64, 16]);
        wider(&mut tensors, &format!("{head}_final_layer.linear._flax_linear.bias"), vec![64]);
    }
    let (imf, out) = (place.file("imf.safetensors", safetensors_of(&tensors)), place.path("w.safetensors"));
    let dit = fixture("published.pth").to_string_lossy().into_owned();
    let made = |file: &str, more: &[&str]| {
        let call = ["import", file, "--out", &out, "--heads", "2", "--size", "8"];
        let place: &[&str] = if file == dit { &["--prefix", "ema."] } else { &[] };
        let said = succeeds(&[&call[..], place, more].concat());
        (said, succeeds(&["inspect", &out]))
    };
    let (said, inspected) = made(&imf, &[]);
    assert!(said.contains("normalized by \"imf\"") && inspected.contains("0.86488"), "{said}{inspected}");
    let (said, inspected) = made(&imf, &["--normalization", "sd", "--noise-scale", "2"]);
    assert!(said.contains("normalized by \"sd\"") && said.contains("noise scale 2"), "{said}");
    assert!(inspected.contains("\"scale\": 0.18215") && inspected.contains("\"noise_scale\": 2.0"), "{inspected}");
    let (said, _) = made(&dit, &[]);
    assert!(said.contains("normalized by \"sd\""), "{said}");
    let (_, inspected) = made(&dit, &["--normalization", "0,0,0,1.5/1,2,3,4"]);
    assert!(inspected.contains("1.5"), "{inspected}");
    let (said, inspected) = made(&dit, &["--pixels"]);
    assert!(said.contains("it makes pictures") && !inspected.contains("latent"), "{inspected}");

    let refused = |normalization: &str, words: &[&str]| {
        let call =
            ["import", &dit, "--prefix", "ema.", "--heads", "2", "--out", &out, "--normalization", normalization];
        fails(&call, words);
    };
    refused("sdxl", &["published.pth", "unknown normalization `sdxl`", "sd and imf"]);
    refused("0,1/1,1", &["published.pth", "--normalization", "2 channels of latents, but there are 4"]);
}
