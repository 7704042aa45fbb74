//! Prompts, and the tokens that a Diffusion Transformer is told of them.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::embed::Table;
use super::init::Init;
use super::{Labels, NetConfig};
use crate::dual::Dual;
use crate::model::text::{TextConditioning, TextConfig, Token};

/// The prompts of a batch: for each token the rows of the table that it is made of, and the factor of each.
#[derive(Clone, Debug)]
pub struct Prompts {
    /// `[batch, tokens, parts]`; [`TextConfig::padding`] in places that no word takes.
    rows: Tensor<3, Int>,
    /// The factors, as `rows`; 0 for parts that a token does not have.
    factors: Tensor<3>,
    /// The row of such places.
    padding: u32,
}

impl Prompts {
    /// From the tokens of each image's prompt; none for an empty one.
    pub fn new(prompts: &[Vec<Token>], config: &TextConfig, device: &Device) -> Self {
        let (batch, tokens, padding) = (prompts.len(), config.tokens, config.padding());
        let parts = prompts.iter().flatten().map(Vec::len).max().unwrap_or(0).max(1);
        let mut rows = vec![padding as i32; batch * tokens * parts];
        let mut factors = vec![0.0_f32; batch * tokens * parts];
        let empty = vec![(padding, 1.0)];
        for (i, prompt) in prompts.iter().enumerate() {
            let tokens_of = prompt.iter().chain(std::iter::repeat(&empty)).take(tokens);
            for (j, token) in tokens_of.enumerate() {
                for (k, &(row, factor)) in token.iter().enumerate() {
                    let at = (i * tokens + j) * parts + k;
                    (rows[at], factors[at]) = (row as i32, factor);
                }
            }
        }
        let shape = [batch, tokens, parts];
        Self {
            rows: Tensor::from_data(TensorData::new(rows, shape), device),
            factors: Tensor::from_data(TensorData::new(factors, shape), device),
            padding,
        }
    }

    /// As many empty prompts.
    pub(super) fn emptied(&self) -> Self {
        let [batch, tokens, _] = self.rows.dims();
        let rows = self.rows.clone().narrow(2, 0, 1).full_like(self.padding as i32);
        let factors = Tensor::ones([batch, tokens, 1], &self.factors.device());
        Self { rows, factors, padding: self.padding }
    }

    /// Which images have a prompt, `[batch]`.
    pub(super) fn are_given(&self) -> Tensor<1, Bool> {
        // The first place is taken if any is.
        let first = self.rows.clone().narrow(1, 0, 1).narrow(2, 0, 1);
        first.not_equal_elem(self.padding as i32).squeeze_dim::<2>(2).squeeze_dim(1)
    }

    pub(super) fn narrow(self, start: usize, length: usize) -> Self {
        self.map(|rows| rows.narrow(0, start, length), |factors| factors.narrow(0, start, length))
    }

    pub(super) fn select(self, images: &Tensor<1, Int>) -> Self {
        self.map(|rows| rows.select(0, images.clone()), |factors| factors.select(0, images.clone()))
    }

    pub(super) fn moved_to(self, device: &Device) -> Self {
        self.map(|rows| rows.to_device(device), |factors| factors.to_device(device))
    }

    fn map(
        self,
        rows: impl FnOnce(Tensor<3, Int>) -> Tensor<3, Int>,
        factors: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Self {
        Self { rows: rows(self.rows), factors: factors(self.factors), padding: self.padding }
    }
}

/// Embeds the tokens of prompts.
#[derive(Module, Debug)]
pub(super) struct TextEmbedding {
    pub embedding: Table,
    positions: Table,
}

impl TextEmbedding {
    pub fn new(init: &Init) -> Self {
        Self { embedding: Table::new(&init.scope("embedding")), positions: Table::new(&init.scope("positions")) }
    }

    /// The prompts for a network that is conditioned on them in this way: tokens with positions, `[batch, tokens,
    /// width]`, or for [`TextConditioning::Adaln`] their sum, `[batch, 1, width]`. Their tangent is zero.
    pub fn embed(&self, kind: TextConditioning, config: &NetConfig, labels: Option<&Labels>) -> Option<Dual<3>> {
        config.text.as_ref().filter(|text| text.conditioning == kind)?;
        let prompts = labels.and_then(Labels::prompts).expect("a network that is conditioned on text needs prompts");
        let words = self.rows(prompts);
        Some(match kind {
            TextConditioning::Adaln => words.sum_dim(1).into(),
            _ => (words + self.positions.weight.val().unsqueeze::<3>()).into(),
        })
    }

    fn rows(&self, prompts: &Prompts) -> Tensor<3> {
        let [batch, tokens, parts] = prompts.rows.dims();
        let table = self.embedding.weight.val();
        let [_, width] = table.dims();
        let rows = table.select(0, prompts.rows.clone().reshape([batch * tokens * parts]));
        let factors = prompts.factors.clone().reshape([batch * tokens * parts, 1]);
        let rows = (rows * factors).reshape([batch * tokens, parts, width]);
        rows.sum_dim(1).reshape([batch, tokens, width])
    }
}
