//! A graph that grows node by node; values are known by their names.

use half::f16;

use super::proto::{AttributeProto, AttributeType, DataType, GraphProto, NodeProto, TensorProto};
use crate::infer::layers::{Linear, Param, Table};
use crate::infer::ops::{Activation, ConditionOps, Gate, Modulation, Ops, Time};
use crate::model::tables::{MIN_DIVISOR, NORM_EPSILON, frequencies};
use crate::model::{NetConfig, Output};

/// Attributes of an operator.
enum Attribute<'a> {
    Int(&'a str, i64),
    Float(&'a str, f32),
    Ints(&'a str, &'a [i64]),
    Text(&'a str, &'a str),
}

use Attribute::{Float, Int, Ints, Text};

impl From<&Attribute<'_>> for AttributeProto {
    fn from(attribute: &Attribute) -> Self {
        let named = |name: &str, kind: AttributeType| Self {
            name: Some(name.into()),
            r#type: Some(kind.into()),
            ..Self::default()
        };
        match *attribute {
            Int(name, value) => Self { i: Some(value), ..named(name, AttributeType::Int) },
            Float(name, value) => Self { f: Some(value), ..named(name, AttributeType::Float) },
            Ints(name, values) => Self { ints: values.to_vec(), ..named(name, AttributeType::Ints) },
            Text(name, value) => Self { s: Some(value.into()), ..named(name, AttributeType::String) },
        }
    }
}

/// A network call as a graph.
pub(super) struct Graph<'a> {
    pub config: &'a NetConfig,
    /// The tensors of the network, as files have them.
    pub tensors: &'a [Vec<f32>],
    /// Whether matrices are stored in half precision.
    pub halved: bool,
    pub graph: GraphProto,
    /// How many values there are.
    pub values: usize,
    /// What the network is conditioned on, `[batch, 1, width]` each.
    pub conditions: Vec<String>,
    /// Tokens in front of the patches.
    pub prefix: usize,
    /// Text tokens beside the patches.
    pub text_tokens: usize,
    /// The value that holds either, where there are any.
    pub prefix_tokens: Option<String>,
    /// What is added to each patch's token; empty where nothing is.
    pub positions: Vec<f32>,
    /// Cosine and sine of each token's rotary positions.
    pub rotary: Vec<[f32; 2]>,
    /// The parts of modulations, by the modulation's index, once they are needed.
    pub modulations: Vec<Vec<String>>,
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
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        self.graph.node.push(NodeProto {
            input: names(inputs),
            output: names(outputs),
            name: Some(format!("{kind}_{}", outputs.concat())),
            op_type: Some(kind.into()),
            attribute: attributes.iter().map(Into::into).collect(),
        });
    }

    fn tensor(&mut self, kind: DataType, shape: &[usize], bytes: Vec<u8>) -> String {
        let name = self.fresh();
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|&length| length as i64).collect(),
            data_type: Some(kind.into()),
            name: Some(name.clone()),
            raw_data: Some(bytes),
        });
        name
    }

    fn floats(&mut self, shape: &[usize], values: &[f32]) -> String {
        self.tensor(DataType::Float, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// A matrix of weights.
    fn matrix(&mut self, shape: &[usize], values: &[f32]) -> String {
        if !self.halved {
            return self.floats(shape, values);
        }
        let bytes = values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
        let stored = self.tensor(DataType::Float16, shape, bytes);
        self.op("Cast", &[&stored], &[Int("to", i64::from(DataType::Float as i32))])
    }

    fn ints(&mut self, values: &[i64]) -> String {
        self.tensor(DataType::Int64, &[values.len()], values.iter().flat_map(|x| x.to_le_bytes()).collect())
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

    /// `x W + b`.
    fn product(&mut self, x: &str, layer: &Linear) -> String {
        let Linear { inputs, outputs, .. } = *layer;
        let columns: Vec<f32> = layer.weights().flat_map(|weight| &self.tensors[weight]).copied().collect();
        let turned: Vec<f32> = (0..inputs * outputs).map(|i| columns[i % outputs * inputs + i / outputs]).collect();
        let weight = self.matrix(&[inputs, outputs], &turned);
        let product = self.op("MatMul", &[x, &weight], &[]);
        match layer.bias {
            Some(bias) => {
                let bias = self.vector(bias);
                self.op("Add", &[&product, &bias], &[])
            }
            None => product,
        }
    }

    /// A tensor of one axis.
    fn vector(&mut self, param: Param) -> String {
        let values = &self.tensors[param];
        self.floats(&[values.len()], values)
    }

    /// A part of a modulation.
    fn part(&mut self, modulation: &Modulation, part: usize) -> String {
        let Modulation { layer, condition, index, .. } = modulation;
        if self.modulations.len() <= *index {
            self.modulations.resize(index + 1, Vec::new());
        }
        if self.modulations[*index].is_empty() {
            let condition = self.conditions[*condition].clone();
            let made = self.product(&condition, layer);
            self.modulations[*index] = self.split(&made, layer.outputs / self.config.width, 2);
        }
        self.modulations[*index][part].clone()
    }

    /// All tokens of a picture.
    fn token_count(&self) -> usize {
        self.prefix + self.config.side() * self.config.side()
    }

    /// `x / √(mean(x²) + ε)` times a gain, along the last axis.
    fn normalise(&mut self, x: &str, gain: Param) -> String {
        let square = self.op("Mul", &[x, x], &[]);
        let axes = self.ints(&[-1]);
        let mean = self.op("ReduceMean", &[&square, &axes], &[]);
        let epsilon = self.floats(&[1], &[NORM_EPSILON as f32]);
        let mean = self.op("Add", &[&mean, &epsilon], &[]);
        let size = self.op("Sqrt", &[&mean], &[]);
        let normal = self.op("Div", &[x, &size], &[]);
        let gain = self.vector(gain);
        self.op("Mul", &[&normal, &gain], &[])
    }

    /// Neighbouring pairs of the features of heads, `[batch, tokens, heads, width / heads]`, turned by their positions.
    fn turn(&mut self, x: &str) -> String {
        let (tokens, half) = (self.token_count(), self.config.width / self.config.heads / 2);
        let heads = self.config.heads as i64;
        let pairs = self.reshape(x, &[0, tokens as i64, heads, half as i64, 2]);
        let pair = self.split(&pairs, 2, 4);
        let [cos, sin] = [0, 1].map(|i| {
            let waves: Vec<f32> = self.rotary.iter().map(|turn| turn[i]).collect();
            self.floats(&[1, tokens, 1, half, 1], &waves)
        });
        let parts = [["Sub", &pair[0], &pair[1]], ["Add", &pair[1], &pair[0]]].map(|[join, own, other]| {
            let own = self.op("Mul", &[own, &cos], &[]);
            let other = self.op("Mul", &[other, &sin], &[]);
            self.op(join, &[&own, &other], &[])
        });
        let turned = self.op("Concat", &[&parts[0], &parts[1]], &[Int("axis", 4)]);
        self.reshape(&turned, &[0, tokens as i64, heads, 2 * half as i64])
    }

    /// Normalised along the last axis.
    fn layer_norm(&mut self, x: &str) -> String {
        let ones = self.floats(&[self.config.width], &vec![1.0; self.config.width]);
        self.op("LayerNormalization", &[x, &ones], &[Int("axis", -1), Float("epsilon", NORM_EPSILON as f32)])
    }

    /// Patches along one edge.
    fn side(&self) -> i64 {
        self.config.side() as i64
    }
}

impl Ops for Graph<'_> {
    type Value = String;

    fn patches(&mut self) -> String {
        let NetConfig { channels, patch, .. } = *self.config;
        let [c, p, n] = [channels as i64, patch as i64, self.side()];
        let patches = self.reshape("z", &[0, c, n, p, n, p]);
        let patches = self.transpose(&patches, &[0, 2, 4, 3, 5, 1]);
        self.reshape(&patches, &[0, n * n, p * p * c])
    }

    fn linear(&mut self, x: String, layer: &Linear, activation: Activation) -> String {
        let product = self.product(&x, layer);
        match activation {
            Activation::Identity | Activation::Heads => product,
            Activation::Gelu => self.op("Gelu", &[&product], &[Text("approximate", "tanh")]),
        }
    }

    fn swiglu(&mut self, x: String, gate: &Linear, up: &Linear) -> String {
        let gate = self.product(&x, gate);
        let gate = self.silu(gate);
        let up = self.product(&x, up);
        self.op("Mul", &[&gate, &up], &[])
    }

    fn tokens(&mut self, x: String, layer: &Linear) -> String {
        let mut tokens = self.product(&x, layer);
        if !self.positions.is_empty() {
            let positions = self.positions.clone();
            let positions = self.floats(&[1, positions.len() / layer.outputs, layer.outputs], &positions);
            tokens = self.op("Add", &[&tokens, &positions], &[]);
        }
        match self.prefix_tokens.clone().filter(|_| self.prefix > 0) {
            None => tokens,
            Some(prefix) => self.op("Concat", &[&prefix, &tokens], &[Int("axis", 1)]),
        }
    }

    fn rms_norm(&mut self, x: &String, gain: Param) -> String {
        self.normalise(x, gain)
    }

    fn rotary(&mut self, qkv: String, gains: [Param; 2]) -> String {
        let NetConfig { width, heads, .. } = *self.config;
        let tokens = self.token_count() as i64;
        let mut parts = self.split(&qkv, 3, 2);
        for (part, gain) in parts.iter_mut().zip(gains) {
            let each = self.reshape(part, &[0, tokens, heads as i64, (width / heads) as i64]);
            let normal = self.normalise(&each, gain);
            let turned = self.turn(&normal);
            *part = self.reshape(&turned, &[0, tokens, width as i64]);
        }
        self.op("Concat", &[&parts[0], &parts[1], &parts[2]], &[Int("axis", 2)])
    }

    fn modulate(&mut self, x: &String, modulation: &Modulation, part: usize) -> String {
        let [shift, scale] = [part, part + 1].map(|part| self.part(modulation, part));
        let normal = self.layer_norm(x);
        let one = self.floats(&[1], &[1.0]);
        let scale = self.op("Add", &[&scale, &one], &[]);
        let scaled = self.op("Mul", &[&normal, &scale], &[]);
        self.op("Add", &[&scaled, &shift], &[])
    }

    fn modulate_beside_text(&mut self, x: &String, modulation: &Modulation, part: usize) -> String {
        let tokens = self.modulate(x, modulation, part);
        let Some(text) = self.prefix_tokens.clone() else { return tokens };
        let text = self.layer_norm(&text);
        self.op("Concat", &[&text, &tokens], &[Int("axis", 1)])
    }

    fn attention(&mut self, qkv: String) -> String {
        let NetConfig { width, heads, .. } = *self.config;
        let (tokens, each) = (self.token_count() as i64, width / heads);
        let beside = self.text_tokens as i64;
        let qkv = self.reshape(&qkv, &[0, beside + tokens, 3, heads as i64, each as i64]);
        let qkv = self.transpose(&qkv, &[2, 0, 3, 1, 4]);
        let first = self.ints(&[0]);
        let parts = self.split(&qkv, 3, 0);
        let parts: Vec<String> = parts.iter().map(|part| self.op("Squeeze", &[part, &first], &[])).collect();
        let scale = self.floats(&[1], &[(each as f32).powf(-0.5)]);
        let mut queries = self.op("Mul", &[&parts[0], &scale], &[]);
        if beside > 0 {
            let [first, end, axis] = [beside, beside + tokens, 2].map(|at| self.ints(&[at]));
            queries = self.op("Slice", &[&queries, &first, &end, &axis], &[]);
        }
        let keys = self.transpose(&parts[1], &[0, 1, 3, 2]);
        let scores = self.op("MatMul", &[&queries, &keys], &[]);
        let shares = self.op("Softmax", &[&scores], &[Int("axis", -1)]);
        let joined = self.op("MatMul", &[&shares, &parts[2]], &[]);
        let joined = self.transpose(&joined, &[0, 2, 1, 3]);
        self.reshape(&joined, &[0, tokens, width as i64])
    }

    fn add(&mut self, x: String, gate: Gate, branch: String, layer: &Linear) -> String {
        let branch = self.product(&branch, layer);
        let gate = match gate {
            Gate::Modulation(modulation, part) => self.part(modulation, part),
            Gate::Learned(gain) => self.vector(gain),
        };
        let gated = self.op("Mul", &[&gate, &branch], &[]);
        self.op("Add", &[&x, &gated], &[])
    }

    fn output(&mut self, x: String, layer: &Linear) {
        let NetConfig { image_size, channels, patch, output, .. } = *self.config;
        let [size, c, p, n] = [image_size as i64, channels as i64, patch as i64, self.side()];
        let x = match self.prefix {
            0 => x,
            prefix => {
                let [first, end] = [prefix, self.token_count()].map(|token| self.ints(&[token as i64]));
                let axis = self.ints(&[1]);
                self.op("Slice", &[&x, &first, &end, &axis], &[])
            }
        };
        let patches = self.product(&x, layer);
        let patches = self.reshape(&patches, &[0, n, n, p, p, c]);
        let patches = self.transpose(&patches, &[0, 5, 1, 3, 2, 4]);
        let picture = self.reshape(&patches, &[0, c, size, size]);
        match output {
            Output::Velocity => self.node("Identity", &[&picture], &["u"], &[]),
            Output::Image => {
                let least = self.floats(&[1], &[MIN_DIVISOR as f32]);
                let divisor = self.op("Max", &["t", &least], &[]);
                let divisor = self.reshape(&divisor, &[-1, 1, 1, 1]);
                let way = self.op("Sub", &["z", &picture], &[]);
                self.node("Div", &[&way, &divisor], &["u"], &[]);
            }
        }
    }
}

/// Vectors are `[batch, 1, features]`, tokens `[batch, tokens, features]`, where the batch may be 1 for all.
impl ConditionOps for Graph<'_> {
    type Vector = String;

    fn sinusoids(&mut self, time: Time) -> String {
        let time = match time {
            Time::T => "t".to_owned(),
            Time::R => "r".to_owned(),
            Time::H => self.op("Sub", &["t", "r"], &[]),
            Time::Guidance | Time::Constant(_) => {
                // A graph draws without guidance, for which the input is 0.
                let time = if let Time::Constant(time) = time { time } else { 0.0 };
                let (time, batch) = (self.floats(&[1], &[time]), self.op("Shape", &["t"], &[]));
                self.op("Expand", &[&time, &batch], &[])
            }
        };
        let frequencies = frequencies();
        let column = self.reshape(&time, &[-1, 1, 1]);
        let frequencies = self.floats(&[1, 1, frequencies.len()], &frequencies);
        let angles = self.op("Mul", &[&column, &frequencies], &[]);
        let [cosines, sines] = ["Cos", "Sin"].map(|kind| self.op(kind, &[&angles], &[]));
        self.op("Concat", &[&cosines, &sines], &[Int("axis", -1)])
    }

    fn linear(&mut self, x: String, layer: &Linear) -> String {
        self.product(&x, layer)
    }

    fn silu(&mut self, x: String) -> String {
        let gate = self.op("Sigmoid", &[&x], &[]);
        self.op("Mul", &[&x, &gate], &[])
    }

    fn class(&mut self, table: &Table) -> String {
        let Table { param, rows, width } = *table;
        let values = &self.tensors[param];
        let table = self.matrix(&[rows, width], values);
        let rows = self.op("Gather", &[&table, "label"], &[Int("axis", 0)]);
        self.reshape(&rows, &[-1, 1, width as i64])
    }

    fn rows(&mut self, table: &Table, rows: usize) -> String {
        let values = &self.tensors[table.param];
        self.matrix(&[1, rows, table.width], &values[..rows * table.width])
    }

    fn prompt(&mut self, table: &Table, _: usize) -> String {
        let Table { param, rows, width } = *table;
        let values = &self.tensors[param];
        let table = self.matrix(&[rows, width], values);
        let rows = self.op("Gather", &[&table, "prompt_rows"], &[Int("axis", 0)]);
        let [last, parts] = [-1, 2].map(|axis| self.ints(&[axis]));
        let factors = self.op("Unsqueeze", &["prompt_factors", &last], &[]);
        let rows = self.op("Mul", &[&rows, &factors], &[]);
        self.op("ReduceSum", &[&rows, &parts], &[Int("keepdims", 0)])
    }

    fn sum(&mut self, tokens: String, _: usize) -> String {
        let axis = self.ints(&[1]);
        self.op("ReduceSum", &[&tokens, &axis], &[])
    }

    fn concat(&mut self, groups: Vec<String>) -> String {
        let names: Vec<&str> = groups.iter().map(String::as_str).collect();
        self.op("Concat", &names, &[Int("axis", 1)])
    }

    fn add(&mut self, a: String, b: String) -> String {
        self.op("Add", &[&a, &b], &[])
    }
}
