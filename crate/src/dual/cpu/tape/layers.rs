//! The layers of [`symmetric`](super::super::symmetric) on the autodiff tape.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;

use super::super::symmetric::{Layer, along};
use super::super::{in_order, is_here};
use crate::dual::IN_BROWSER;

/// As [`symmetric`](super::super::symmetric)'s, for a tensor on the tape.
pub fn apply<const D: usize, L: Layer>(layer: L, x: &Tensor<D>) -> Option<(Tensor<D>, L::Derivatives)> {
    if !x.is_autodiff() || !is_here(x) {
        return None;
    }
    // In the browser nothing asks for it.
    kept(layer, x).or_else(|| if IN_BROWSER { None } else { recomputed(layer, x) })
}

/// Where what the backward pass needs is kept.
fn kept<const D: usize, L: Layer>(layer: L, x: &Tensor<D>) -> Option<(Tensor<D>, L::Derivatives)> {
    let (x, node) = x.clone().try_into_primitive::<Autodiff<Flex>>().ok()?.into_parts();
    let (value, derivatives) = layer.at(in_order(x));
    let value = match Kept(layer).prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(derivatives.clone(), value),
        OpsKind::UnTracked(prepared) => prepared.finish(value),
    };
    Some((Tensor::from_primitive::<Autodiff<Flex>>(value), derivatives))
}

#[derive(Debug)]
struct Kept<L>(L);

impl<L: Layer> Backward<Flex, 1> for Kept<L> {
    type State = L::Derivatives;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        unary::<Flex, _>(ops.parents, ops.node, gradients, |gradient| along(&ops.state, gradient));
    }
}

/// Where it is computed again.
fn recomputed<const D: usize, L: Layer>(layer: L, x: &Tensor<D>) -> Option<(Tensor<D>, L::Derivatives)> {
    let x = x.clone().try_into_primitive::<Autodiff<Flex, BalancedCheckpointing>>().ok()?;
    let (value, derivatives) = layer.at(in_order(x.primitive().clone()));
    let again = Again { input: x.id(), layer };
    let prepared = Recomputed(layer).prepare::<BalancedCheckpointing>([x.node()]).memory_bound();
    let value = match prepared.retro_forward(again).parents([&x]).stateful() {
        OpsKind::Tracked(mut prepared) => {
            let input = prepared.checkpoint(&x);
            prepared.finish(input, value)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(value),
    };
    Some((Tensor::from_primitive::<Autodiff<Flex, BalancedCheckpointing>>(value), derivatives))
}

#[derive(Debug)]
struct Recomputed<L>(L);

impl<L: Layer> Backward<Flex, 1> for Recomputed<L> {
    type State = NodeId;

    fn backward(self, ops: Ops<NodeId, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let x = checkpointer.retrieve_node_output::<FlexTensor>(ops.state);
        let (_, derivatives) = self.0.at(in_order(x));
        unary::<Flex, _>(ops.parents, ops.node, gradients, |gradient| along(&derivatives, gradient));
    }
}

/// The value again, for what comes after it.
#[derive(Debug)]
struct Again<L> {
    input: NodeId,
    layer: L,
}

impl<L: Layer> RetroForward for Again<L> {
    fn forward(&self, states: &mut BackwardStates, output: NodeId) {
        let x = states.get_state::<FlexTensor>(&self.input);
        states.save(output, self.layer.at(in_order(x)).0);
    }
}
