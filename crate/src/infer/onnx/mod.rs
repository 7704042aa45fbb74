//! The network as an ONNX graph, for other runtimes.
//!
//! Inputs are `z: [batch, channels, size, size]`, `r: [batch]`, `t: [batch]`, and for a model with classes `label:
//! [batch]` (whole numbers; the count of classes stands for none); the output is `u`, of the shape of `z`. One step
//! makes an image: `x = z − u(z, 0, 1)` of `z = noise_scale · e`, `e` standard normal. `noise_scale` is in the file's
//! metadata, 1 for most networks. A model that takes prompts has two more inputs, both `[batch, tokens, parts]`:
//! `prompt_rows` and `prompt_factors`, the rows of the table that each token is the sum of, and the factor of each. A
//! word of the metadata's `vocabulary` (a line each) is its line, counted from 0, with the factor 1; any other word the
//! hashes of its letter trigrams ([`Tokenizer::trigrams`](crate::model::text::Tokenizer::trigrams)), in
//! `trigram_buckets` rows after those; places that no word takes the row after these. All is computed in `f32`; the
//! operators are of opset 20.

mod graph;
mod proto;

use prost::Message;

use super::network::Network;
use super::webgpu::tensors::Tensors;
use crate::error::Error;
use crate::model::weights::{ModelInfo, Precision};
use crate::net::{Net, encode as encode_weights};
use graph::Graph;
use proto::{
    DataType, Dimension, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};

const OPSET: i64 = 20;
/// The version of the format that came with that opset.
const IR_VERSION: i64 = 9;

/// The bytes of an ONNX file. Its matrices are stored in `f32` where that is the precision, else in half of it, with a
/// `Cast` that runtimes do once, when they load.
///
/// # Errors
/// When the network is a U-Net or has an auxiliary head, which only training needs, or the device cannot be read.
pub fn encode(net: &Net, info: &ModelInfo, precision: Precision) -> Result<Vec<u8>, Error> {
    let config = &info.net;
    let params = config.params();
    let network = Network::new(config, &params)?;
    let bytes = encode_weights(net, info, Precision::F32)?;
    let (_, file) = Tensors::open(&bytes)?;
    let tensors =
        params.iter().map(|spec| file.values(&spec.name, &spec.stored_shape())).collect::<Result<Vec<_>, _>>()?;
    let mut graph = Graph {
        config,
        tensors: &tensors,
        halved: precision != Precision::F32,
        graph: GraphProto { name: Some(info.name.clone()), ..GraphProto::default() },
        values: 0,
        conditions: Vec::new(),
        prefix: network.prefix(),
        text_tokens: network.text_tokens(),
        prefix_tokens: None,
        positions: network.positions(config, &tensors),
        rotary: network.rotary(config),
        modulations: Vec::new(),
    };
    graph.conditions = network.conditions(&mut graph);
    graph.prefix_tokens = network.prefix_tokens(&mut graph);
    network.forward(&mut graph);
    let picture = [config.channels, config.image_size, config.image_size];
    let mut inputs =
        [("z", &picture[..]), ("r", &[]), ("t", &[])].map(|(name, shape)| value(name, DataType::Float, shape)).to_vec();
    if config.classes > 0 {
        inputs.push(value("label", DataType::Int64, &[]));
    }
    let mut metadata = vec![("noise_scale", config.noise_scale.to_string())];
    if let Some(text) = &config.text {
        inputs.push(prompt("prompt_rows", DataType::Int64, text.tokens));
        inputs.push(prompt("prompt_factors", DataType::Float, text.tokens));
        metadata.extend([
            ("vocabulary", info.vocabulary.join("\n")),
            ("trigram_buckets", text.buckets.to_string()),
            ("prompt_tokens", text.tokens.to_string()),
        ]);
    }
    let output = vec![value("u", DataType::Float, &picture)];
    let entry = |(key, value): (&str, String)| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("meanflow".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        graph: Some(GraphProto { input: inputs, output, ..graph.graph }),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props: metadata.into_iter().map(entry).collect(),
    };
    Ok(model.encode_to_vec())
}

/// An input or output whose first axis is the batch.
fn value(name: &str, kind: DataType, rest: &[usize]) -> ValueInfoProto {
    of_shape(name, kind, [named("batch")].into_iter().chain(rest.iter().map(|&length| fixed(length))).collect())
}

/// An input for prompts, `[batch, tokens, parts]`: a token may be made of any number of parts.
fn prompt(name: &str, kind: DataType, tokens: usize) -> ValueInfoProto {
    of_shape(name, kind, vec![named("batch"), fixed(tokens), named("parts")])
}

fn named(axis: &str) -> Dimension {
    Dimension { dim_param: Some(axis.into()), dim_value: None }
}

fn fixed(length: usize) -> Dimension {
    Dimension { dim_value: Some(length as i64), dim_param: None }
}

fn of_shape(name: &str, kind: DataType, dim: Vec<Dimension>) -> ValueInfoProto {
    let shape = TensorShapeProto { dim };
    let tensor = TensorTypeProto { elem_type: Some(kind.into()), shape: Some(shape) };
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}
