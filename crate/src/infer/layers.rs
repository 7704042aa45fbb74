//! The layers of a network as its forward speaks of them: places in the list of its parameters.
//!
//! [`NetConfig::params`](crate::model::NetConfig::params) is that list; an engine keeps the tensors in its order, each
//! in the form that the parameter's role asks for.

use std::ops::Range;

use crate::model::ParamSpec;

/// A parameter's place in the list.
pub(crate) type Param = usize;

/// A linear layer, `x W + b`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    /// `[inputs, outputs]`.
    pub weight: Param,
    /// How many weights there are, one after the other in the list; their outputs stand side by side.
    pub count: usize,
    /// `[outputs]`.
    pub bias: Option<Param>,
    /// Features of a row of the input.
    pub inputs: usize,
    /// Features of a row of the output.
    pub outputs: usize,
}

/// Learned rows, `[rows, width]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    /// Where they are.
    pub param: Param,
    /// How many.
    pub rows: usize,
    /// Features of a row.
    pub width: usize,
}

impl Linear {
    /// All of its weights.
    pub fn weights(&self) -> Range<Param> {
        self.weight..self.weight + self.count
    }
}

/// The parameters of a part of a network by their names, as candle's `VarBuilder` has them. Whoever asks for one that
/// the list must have, but has not, is wrong about the network: that panics. Its functions are not inlined: they are
/// called for every layer, and browsers download them.
#[derive(Clone, Debug)]
pub(crate) struct Scope<'a> {
    params: &'a [ParamSpec],
    prefix: String,
}

impl<'a> Scope<'a> {
    /// The whole network.
    pub fn new(params: &'a [ParamSpec]) -> Self {
        Self { params, prefix: String::new() }
    }

    /// A part of it.
    #[inline(never)]
    pub fn part(&self, name: &str) -> Self {
        Self { params: self.params, prefix: [&self.prefix, name, "."].concat() }
    }

    /// Parts alike, `name.0`, `name.1`, ….
    pub fn parts<T>(&self, name: &str, count: usize, of: impl Fn(usize, &Self) -> T) -> Vec<T> {
        let all = self.part(name);
        (0..count).map(|i| of(i, &all.part(&i.to_string()))).collect()
    }

    /// A parameter that the network may have.
    #[inline(never)]
    pub fn find(&self, name: &str) -> Option<Param> {
        let is_it = |spec: &ParamSpec| spec.name.strip_prefix(&*self.prefix) == Some(name);
        self.params.iter().position(is_it)
    }

    /// A parameter.
    ///
    /// # Panics
    /// When the list has none of this name.
    #[inline(never)]
    pub fn param(&self, name: &str) -> Param {
        self.find(name).unwrap_or_else(|| panic!("the network has no parameter `{}{name}`", self.prefix))
    }

    /// Learned rows that the network may have.
    #[inline(never)]
    pub fn table(&self, name: &str) -> Option<Table> {
        let param = self.part(name).find("weight")?;
        let shape = &self.params[param].shape;
        Some(Table { param, rows: shape[0], width: shape[1] })
    }

    /// Layers of the same sizes without biases that follow each other in the list, as one; their outputs side by side.
    ///
    /// # Panics
    /// As [`Self::param`], and of layers that do not follow each other.
    #[inline(never)]
    pub fn side_by_side(&self, names: &[&str]) -> Linear {
        let first = self.linear(names[0]);
        for (i, name) in names.iter().enumerate() {
            let layer = self.linear(name);
            assert!(layer.weight == first.weight + i && layer.bias.is_none(), "`{name}` is elsewhere in the list");
        }
        Linear { count: names.len(), outputs: names.len() * first.outputs, ..first }
    }

    /// A linear layer.
    ///
    /// # Panics
    /// As [`Self::param`].
    #[inline(never)]
    pub fn linear(&self, name: &str) -> Linear {
        let part = self.part(name);
        let weight = part.param("weight");
        let shape = &self.params[weight].shape;
        let bias = part.find("bias");
        Linear { weight, count: 1, bias, inputs: shape[0], outputs: shape[1] }
    }
}
