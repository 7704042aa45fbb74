//! The layers of a network as its forward speaks of them: places in the list of its parameters.
//!
//! [`NetConfig::params`](crate::model::NetConfig::params) is that list; an engine keeps the tensors in its order, each
//! in the form that the parameter's role asks for.

use std::ops::Range;

use crate::error::Error;
use crate::model::{ParamRole, ParamSpec};

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
    /// Which side are the features of attention heads.
    pub heads: Heads,
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

/// The sides of a layer that engines may fill up to whole vectors for each head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heads {
    /// Neither.
    Neither,
    /// The outputs are queries, keys and values.
    Outputs,
    /// The inputs are what the heads give.
    Inputs,
}

impl Linear {
    /// All of its weights.
    pub fn weights(&self) -> Range<Param> {
        self.weight..self.weight + self.count
    }

    /// Gives queries, keys and values.
    pub fn giving_heads(self) -> Self {
        Self { heads: Heads::Outputs, ..self }
    }

    /// Takes what the heads give.
    pub fn taking_heads(self) -> Self {
        Self { heads: Heads::Inputs, ..self }
    }
}

/// Whether a parameter is the weights of a linear layer that every token goes through, which engines keep as their
/// products want them; those of times and classes meet one row at a time.
pub(crate) fn acts_on_tokens(spec: &ParamSpec) -> bool {
    spec.is_linear && matches!(spec.role, ParamRole::Input | ParamRole::Hidden | ParamRole::Output)
}

/// The parameters of a part of a network by their names, as candle's `VarBuilder` has them. Its functions are not inlined:
/// they are called for every layer, and browsers download them.
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
    pub fn parts<T>(
        &self,
        name: &str,
        count: usize,
        of: impl Fn(usize, &Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let all = self.part(name);
        let mut parts = Vec::with_capacity(count);
        for i in 0..count {
            parts.push(of(i, &all.part(&i.to_string()))?);
        }
        Ok(parts)
    }

    /// A parameter that the network may have.
    #[inline(never)]
    pub fn find(&self, name: &str) -> Option<Param> {
        let is_it = |spec: &ParamSpec| spec.name.strip_prefix(&*self.prefix) == Some(name);
        self.params.iter().position(is_it)
    }

    /// A parameter.
    ///
    /// # Errors
    /// When the list has none of this name.
    #[inline(never)]
    pub fn param(&self, name: &str) -> Result<Param, Error> {
        self.find(name).ok_or_else(|| Error::Config(format!("the network has no parameter `{}{name}`", self.prefix)))
    }

    /// Learned rows that the network may have.
    #[inline(never)]
    pub fn table(&self, name: &str) -> Option<Table> {
        let param = self.part(name).find("weight")?;
        let shape = &self.params[param].shape;
        Some(Table { param, rows: shape[0], width: shape[1] })
    }

    /// Layers of the same sizes that follow each other in the list as one, their outputs side by side.
    ///
    /// # Errors
    /// As [`Self::param`], and layers that do not follow each other.
    pub fn side_by_side(&self, names: [&str; 3]) -> Result<Linear, Error> {
        let layers = [self.linear(names[0])?, self.linear(names[1])?, self.linear(names[2])?];
        let follows = |(i, layer): (usize, &Linear)| layer.weight == layers[0].weight + i && layer.bias.is_none();
        match layers.iter().enumerate().all(follows) {
            true => Ok(Linear { count: layers.len(), outputs: layers.len() * layers[0].outputs, ..layers[0] }),
            false => Err(Error::Config(format!("{names:?} do not follow each other"))),
        }
    }

    /// A linear layer.
    ///
    /// # Errors
    /// As [`Self::param`].
    #[inline(never)]
    pub fn linear(&self, name: &str) -> Result<Linear, Error> {
        let part = self.part(name);
        let weight = part.param("weight")?;
        let shape = &self.params[weight].shape;
        let bias = part.find("bias");
        Ok(Linear { weight, count: 1, bias, inputs: shape[0], outputs: shape[1], heads: Heads::Neither })
    }
}
