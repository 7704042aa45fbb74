//! The network as an ONNX graph, for other runtimes.
//!
//! Inputs are `z: [batch, channels, size, size]`, `r: [batch]`, `t: [batch]`, and for a model with classes
//! `label: [batch]` (whole numbers; the count of classes stands for none); the output is `u`, of the shape of `z`. One
//! step makes an image: `x = z − u(z, 0, 1)` of `z = noise_scale · e`, `e` standard normal. `noise_scale` is in the
//! file's metadata, 1 for most networks. All is computed in `f32`; the operators are of opset 20.

use half::f16;
use safetensors::SafeTensors;

use crate::error::Error;
use crate::io::protobuf::Message;
use crate::model::tables::{MIN_DIVISOR, NORM_EPSILON, frequencies, position_table};
use crate::model::weights::{ModelInfo, Precision};
use crate::model::{Architecture, GuidanceInputs, NetConfig, Output};
use crate::net::{self, Net};

const OPSET: u64 = 20;
/// The version of the format that came with that opset.
const IR_VERSION: u64 = 9;
const FLOAT: u64 = 1;
const INT64: u64 = 7;
const FLOAT16: u64 = 10;

/// The bytes of an ONNX file. Its matrices are stored in `f32` where that is the precision, else in half of it, with a
/// `Cast` that runtimes do once, when they load.
///
/// # Errors
/// When the network is none of the plain Diffusion Transformers, or the device cannot be read.
pub fn encode(net: &Net, info: &ModelInfo, precision: Precision) -> Result<Vec<u8>, Error> {
    let config = &info.net;
    if config.architecture != Architecture::Dit
        || config.guidance != GuidanceInputs::None
        || config.velocity_head.is_some()
    {
        return Err(Error::Config("only plain Diffusion Transformers have an ONNX form".into()));
    }
    let bytes = net::encode(net, info, Precision::F32)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::Weights(e.to_string()))?;
    let halved = precision != Precision::F32;
    let mut graph = Graph { file: &file, config, halved, message: Message::default(), values: 0 };
    graph.message.text(2, &info.name);
    graph.network()?;
    let [picture, times] = [[config.channels, config.image_size, config.image_size].to_vec(), Vec::new()];
    for (name, kind, shape) in [("z", FLOAT, &picture), ("r", FLOAT, &times), ("t", FLOAT, &times)] {
        graph.message.message(11, &value(name, kind, shape));
    }
    if config.classes > 0 {
        graph.message.message(11, &value("label", INT64, &times));
    }
    graph.message.message(12, &value("u", FLOAT, &picture));
    let mut opset = Message::default();
    opset.text(1, "").integer(2, OPSET);
    let mut model = Message::default();
    model.integer(1, IR_VERSION).text(2, "meanflow").text(3, env!("CARGO_PKG_VERSION"));
    model.message(7, &graph.message).message(8, &opset);
    let mut noise_scale = Message::default();
    noise_scale.text(1, "noise_scale").text(2, &config.noise_scale.to_string());
    model.message(14, &noise_scale);
    Ok(model.as_bytes().to_vec())
}

/// An input or output whose first axis is the batch.
fn value(name: &str, kind: u64, rest: &[usize]) -> Message {
    let (mut shape, mut batch) = (Message::default(), Message::default());
    batch.text(2, "batch");
    shape.message(1, &batch);
    for &length in rest {
        let mut axis = Message::default();
        axis.integer(1, length as u64);
        shape.message(1, &axis);
    }
    let (mut tensor, mut of, mut info) = (Message::default(), Message::default(), Message::default());
    tensor.integer(1, kind).message(2, &shape);
    of.message(1, &tensor);
    info.text(1, name).message(2, &of);
    info
}

/// Attributes of an operator.
enum Attribute<'a> {
    Int(&'a str, i64),
    Float(&'a str, f32),
    Ints(&'a str, &'a [i64]),
    Text(&'a str, &'a str),
}

impl Attribute<'_> {
    fn message(&self) -> Message {
        let mut message = Message::default();
        match *self {
            Self::Int(name, value) => message.text(1, name).integer(3, value as u64).integer(20, 2),
            Self::Float(name, value) => message.text(1, name).float(2, value).integer(20, 1),
            Self::Text(name, value) => message.text(1, name).text(4, value).integer(20, 3),
            Self::Ints(name, values) => {
                message.text(1, name);
                for &value in values {
                    message.integer(8, value as u64);
                }
                message.integer(20, 7)
            }
        };
        message
    }
}

use Attribute::{Float, Int, Ints, Text};

/// A graph that grows node by node; values are known by their names.
struct Graph<'a> {
    file: &'a SafeTensors<'a>,
    config: &'a NetConfig,
    /// Whether matrices are stored in half precision.
    halved: bool,
    message: Message,
    values: usize,
}

impl Graph<'_> {
    fn fresh(&mut self) -> String {
        self.values += 1;
        format!("v{}", self.values)
    }

    /// A node of one result.
    fn op(&mut self, kind: &str, inputs: &[&str], attributes: &[Attribute]) -> String {
        let output = self.fresh();
        self.node(kind, inputs, &[&output], attributes);
        output
    }

    fn node(&mut self, kind: &str, inputs: &[&str], outputs: &[&str], attributes: &[Attribute]) {
        let mut node = Message::default();
        for name in inputs {
            node.text(1, name);
        }
        for name in outputs {
            node.text(2, name);
        }
        node.text(3, &format!("{kind}_{}", outputs.concat())).text(4, kind);
        for attribute in attributes {
            node.message(5, &attribute.message());
        }
        self.message.message(1, &node);
    }

    fn tensor(&mut self, kind: u64, shape: &[usize], bytes: &[u8]) -> String {
        let name = self.fresh();
        let mut tensor = Message::default();
        for &length in shape {
            tensor.integer(1, length as u64);
        }
        tensor.integer(2, kind).text(8, &name).bytes(9, bytes);
        self.message.message(5, &tensor);
        name
    }

    fn floats(&mut self, shape: &[usize], values: &[f32]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(FLOAT, shape, &bytes)
    }

    /// A matrix of weights.
    fn matrix(&mut self, shape: &[usize], values: &[f32]) -> String {
        if !self.halved {
            return self.floats(shape, values);
        }
        let bytes: Vec<u8> = values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
        let stored = self.tensor(FLOAT16, shape, &bytes);
        self.op("Cast", &[&stored], &[Int("to", FLOAT as i64)])
    }

    fn ints(&mut self, values: &[i64]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(INT64, &[values.len()], &bytes)
    }

    /// `0` copies the length of an axis.
    fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.op("Reshape", &[x, &shape], &[])
    }

    fn transpose(&mut self, x: &str, axes: &[i64]) -> String {
        self.op("Transpose", &[x], &[Ints("perm", axes)])
    }

    fn split(&mut self, x: &str, parts: usize, axis: i64) -> Vec<String> {
        let outputs: Vec<String> = (0..parts).map(|_| self.fresh()).collect();
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        self.node("Split", &[x], &names, &[Int("axis", axis), Int("num_outputs", parts as i64)]);
        outputs
    }

    fn parameter(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), Error> {
        let view = self.file.tensor(name).map_err(|e| Error::Weights(e.to_string()))?;
        let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok((view.shape().to_vec(), values))
    }

    fn linear(&mut self, x: &str, name: &str) -> Result<String, Error> {
        let (shape, weight) = self.parameter(&format!("{name}.weight"))?;
        let (_, bias) = self.parameter(&format!("{name}.bias"))?;
        let [outputs, inputs] = shape[..] else { return Err(Error::Weights(format!("{name} is no matrix"))) };
        let turned: Vec<f32> = (0..inputs * outputs).map(|i| weight[i % outputs * inputs + i / outputs]).collect();
        let (weight, bias) = (self.matrix(&[inputs, outputs], &turned), self.floats(&[outputs], &bias));
        let product = self.op("MatMul", &[x, &weight], &[]);
        Ok(self.op("Add", &[&product, &bias], &[]))
    }

    fn silu(&mut self, x: &str) -> String {
        let gate = self.op("Sigmoid", &[x], &[]);
        self.op("Mul", &[x, &gate], &[])
    }

    fn time(&mut self, time: &str, name: &str) -> Result<String, Error> {
        let waves = frequencies();
        let column = self.reshape(time, &[-1, 1]);
        let waves = self.floats(&[1, waves.len()], &waves);
        let angles = self.op("Mul", &[&column, &waves], &[]);
        let [cosines, sines] = ["Cos", "Sin"].map(|kind| self.op(kind, &[&angles], &[]));
        let waves = self.op("Concat", &[&cosines, &sines], &[Int("axis", 1)]);
        let hidden = self.linear(&waves, &format!("{name}.fc1"))?;
        let hidden = self.silu(&hidden);
        self.linear(&hidden, &format!("{name}.fc2"))
    }

    /// What modulates the blocks that stand at the input `at` (`"t"`; the last blocks of a decoupled network stand at
    /// `"r"`), `[batch, 1, width]`.
    fn condition(&mut self, at: &str) -> Result<String, Error> {
        let mut parts = Vec::new();
        let [t, r, h] = self.config.times.flags();
        for (time, name, is_input) in [(at, "time_t", t), ("r", "time_r", r)] {
            if is_input {
                parts.push(self.time(time, name)?);
            }
        }
        if h {
            let span = self.op("Sub", &["t", "r"], &[]);
            parts.push(self.time(&span, "time_h")?);
        }
        if self.config.classes > 0 {
            let (shape, values) = self.parameter("label.weight")?;
            let table = self.matrix(&shape, &values);
            parts.push(self.op("Gather", &[&table, "label"], &[Int("axis", 0)]));
        }
        let sum = parts.into_iter().reduce(|a, b| self.op("Add", &[&a, &b], &[]));
        let sum = sum.ok_or_else(|| Error::Config("the network is told nothing".into()))?;
        let condition = self.silu(&sum);
        Ok(self.reshape(&condition, &[-1, 1, self.config.width as i64]))
    }

    fn modulate(&mut self, x: &str, shift: &str, scale: &str) -> String {
        let (ones, one) = (self.floats(&[self.config.width], &vec![1.0; self.config.width]), self.floats(&[1], &[1.0]));
        let normal =
            self.op("LayerNormalization", &[x, &ones], &[Int("axis", -1), Float("epsilon", NORM_EPSILON as f32)]);
        let scale = self.op("Add", &[scale, &one], &[]);
        let scaled = self.op("Mul", &[&normal, &scale], &[]);
        self.op("Add", &[&scaled, shift], &[])
    }

    fn attention(&mut self, x: &str, name: &str) -> Result<String, Error> {
        let NetConfig { width, heads, .. } = *self.config;
        let (tokens, each) = ((self.config.side() * self.config.side()) as i64, width / heads);
        let qkv = self.linear(x, &format!("{name}.qkv"))?;
        let qkv = self.reshape(&qkv, &[0, tokens, 3, heads as i64, each as i64]);
        let qkv = self.transpose(&qkv, &[2, 0, 3, 1, 4]);
        let first = self.ints(&[0]);
        let parts: Vec<String> = self.split(&qkv, 3, 0);
        let parts: Vec<String> = parts.iter().map(|part| self.op("Squeeze", &[part, &first], &[])).collect();
        let scale = self.floats(&[1], &[(each as f32).powf(-0.5)]);
        let queries = self.op("Mul", &[&parts[0], &scale], &[]);
        let keys = self.transpose(&parts[1], &[0, 1, 3, 2]);
        let scores = self.op("MatMul", &[&queries, &keys], &[]);
        let shares = self.op("Softmax", &[&scores], &[Int("axis", -1)]);
        let joined = self.op("MatMul", &[&shares, &parts[2]], &[]);
        let joined = self.transpose(&joined, &[0, 2, 1, 3]);
        let joined = self.reshape(&joined, &[0, tokens, width as i64]);
        self.linear(&joined, &format!("{name}.proj"))
    }

    /// `x += gate · branch`.
    fn residual(&mut self, x: &str, gate: &str, branch: &str) -> String {
        let gated = self.op("Mul", &[gate, branch], &[]);
        self.op("Add", &[x, &gated], &[])
    }

    fn block(&mut self, x: &str, condition: &str, name: &str) -> Result<String, Error> {
        let modulation = self.linear(condition, &format!("{name}.modulation"))?;
        let m = self.split(&modulation, 6, 2);
        let normal = self.modulate(x, &m[0], &m[1]);
        let branch = self.attention(&normal, &format!("{name}.attention"))?;
        let x = self.residual(x, &m[2], &branch);
        let normal = self.modulate(&x, &m[3], &m[4]);
        let hidden = self.linear(&normal, &format!("{name}.mlp.fc1"))?;
        let hidden = self.op("Gelu", &[&hidden], &[Text("approximate", "tanh")]);
        let branch = self.linear(&hidden, &format!("{name}.mlp.fc2"))?;
        Ok(self.residual(&x, &m[5], &branch))
    }

    fn network(&mut self) -> Result<(), Error> {
        let NetConfig { image_size, channels, patch, width, depth, .. } = *self.config;
        let side = self.config.side();
        let [size, c, p, n] = [image_size, channels, patch, side].map(|length| length as i64);
        let patches = self.reshape("z", &[0, c, n, p, n, p]);
        let patches = self.transpose(&patches, &[0, 2, 4, 3, 5, 1]);
        let patches = self.reshape(&patches, &[0, n * n, p * p * c]);
        let tokens = self.linear(&patches, "patch")?;
        let places = self.floats(&[1, side * side, width], &position_table(side, width));
        let mut x = self.op("Add", &[&tokens, &places], &[]);
        let mut condition = self.condition("t")?;
        let encoder = depth - self.config.decoder_depth.unwrap_or(0);
        for i in 0..depth {
            if i == encoder {
                condition = self.condition("r")?;
            }
            x = self.block(&x, &condition, &format!("blocks.{i}"))?;
        }
        let modulation = self.linear(&condition, "head.modulation")?;
        let m = self.split(&modulation, 2, 2);
        let normal = self.modulate(&x, &m[0], &m[1]);
        let patches = self.linear(&normal, "head.linear")?;
        let patches = self.reshape(&patches, &[0, n, n, p, p, c]);
        let patches = self.transpose(&patches, &[0, 5, 1, 3, 2, 4]);
        let output = self.reshape(&patches, &[0, c, size, size]);
        self.finish(&output);
        Ok(())
    }

    /// What the network gives, as a velocity.
    fn finish(&mut self, output: &str) {
        match self.config.output {
            Output::Velocity => self.node("Identity", &[output], &["u"], &[]),
            Output::Image => {
                let least = self.floats(&[1], &[MIN_DIVISOR as f32]);
                let divisor = self.op("Max", &["t", &least], &[]);
                let divisor = self.reshape(&divisor, &[-1, 1, 1, 1]);
                let way = self.op("Sub", &["z", output], &[]);
                self.node("Div", &[&way, &divisor], &["u"], &[]);
            }
        }
    }
}
