//! Matrix products on the autodiff tape and off it.
//!
//! burn's backend takes them from the `gemm` crate, whose kernels reach half to two thirds of the speed of those here,
//! natively and in the browser, and it makes and copies each result once more than it must, on one core: a sixth of the
//! time of a DiT-B/4's training step.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Shape, Tensor};

use super::super::native::{multiply, zeros};
use super::super::packed::{matrix, multipliable};
use super::super::{is_here, laid, read, read_in_order, values};
use crate::dual::IN_BROWSER;

/// `x W + b`.
///
/// # Shapes
/// `[.., d_input]` → `[.., d_output]`.
pub fn linear<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>, bias: Option<&Tensor<1>>) -> Option<Tensor<D>> {
    if !is_here(x) {
        return None;
    }
    let mut shape = x.dims();
    let [inner, columns] = weight.dims();
    let rows = shape.iter().product::<usize>() / inner;
    shape[D - 1] = columns;
    let x = x.clone().reshape([rows, inner]);
    if let (Some(x), Some(weight), Some(bias)) = (read(&x), read(weight), bias.and_then(read_in_order)) {
        return Some(Tensor::<2>::from_primitive::<Flex>(product(&x, &weight, values(&bias))).reshape(shape));
    }
    let out = matmul(&x, weight)?.reshape(shape);
    Some(match bias {
        Some(bias) => out + bias.clone().unsqueeze(),
        None => out,
    })
}

/// `a b` over the last two axes, where those before are the same.
pub fn matmul<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> Option<Tensor<D>> {
    if a.dims()[..D - 2] != b.dims()[..D - 2] {
        return None;
    }
    if let (Some(a), Some(b)) = (read(a), read(b)) {
        return Some(Tensor::from_primitive::<Flex>(product(&a, &b, &[])));
    }
    if ![a, b].into_iter().all(|x| x.is_autodiff() && is_here(x)) {
        return None;
    }
    type Kept = Autodiff<Flex>;
    type Recomputed = Autodiff<Flex, BalancedCheckpointing>;
    if let (Ok(a), Ok(b)) = (a.clone().try_into_primitive::<Kept>(), b.clone().try_into_primitive::<Kept>()) {
        return Some(Tensor::from_primitive::<Kept>(on_tape::<NoCheckpointing>(a, b)));
    }
    if IN_BROWSER {
        // Nothing asks for it there.
        return None;
    }
    let [a, b] = [a, b].map(|x| x.clone().try_into_primitive::<Recomputed>().ok());
    Some(Tensor::from_primitive::<Recomputed>(on_tape::<BalancedCheckpointing>(a?, b?)))
}

/// A tensor on the tape, whatever the backward pass computes anew.
type Taped = FloatTensor<Autodiff<Flex>>;

fn on_tape<C: CheckpointStrategy>(a: Taped, b: Taped) -> Taped {
    let out = product(a.primitive(), b.primitive(), &[]);
    let tracked = [a.is_tracked(), b.is_tracked()];
    match Product.prepare::<C>([a.node(), b.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prepared) => {
            // Each is kept for the gradient of the other.
            let kept = [tracked[1].then(|| prepared.checkpoint(&a)), tracked[0].then(|| prepared.checkpoint(&b))];
            prepared.finish(kept, out)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    }
}

#[derive(Debug)]
struct Product;

impl Backward<Flex, 2> for Product {
    type State = [Option<NodeId>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [a, b] = ops.state.map(|kept| kept.map(|id| checkpointer.retrieve_node_output::<FlexTensor>(id)));
        let gradient = gradients.consume::<Flex>(&ops.node);
        let [to_a, to_b] = ops.parents;
        if let (Some(node), Some(b)) = (to_a, b) {
            gradients.register::<Flex>(node.id, product(&gradient, &turned(&b), &[]));
        }
        if let (Some(node), Some(a)) = (to_b, a) {
            gradients.register::<Flex>(node.id, product(&turned(&a), &gradient, &[]));
        }
    }
}

/// The last two axes exchanged.
fn turned(x: &FlexTensor) -> FlexTensor {
    let axes = x.layout().shape().num_dims();
    x.transpose(axes - 2, axes - 1)
}

/// `a b` of each pair of matrices, with `bias`, if there is one, added to each row.
fn product(a: &FlexTensor, b: &FlexTensor, bias: &[f32]) -> FlexTensor {
    let [a, b] = [a, b].map(multipliable);
    let mut shape = a.layout().shape().to_vec();
    let last = shape.len() - 1;
    let (rows, columns) = (shape[last - 1], b.layout().shape()[last]);
    let batch = shape[..last - 1].to_vec();
    let work = rows * columns * shape[last];
    shape[last] = columns;
    let count: usize = batch.iter().product();
    let mut out = match bias {
        [] => zeros(count * rows * columns),
        bias => bias.repeat(count * rows),
    };
    let pairs = |i: usize| {
        let place = place(i, &batch);
        [matrix(&a, &place), matrix(&b, &place)]
    };
    if !out.is_empty() {
        multiply(&mut out, [rows, columns], !bias.is_empty(), work, pairs);
    }
    laid(out, Layout::contiguous(Shape::from(shape)))
}

/// Where the `i`-th matrix lies along the axes before its own.
fn place(mut i: usize, batch: &[usize]) -> Vec<usize> {
    let mut place = vec![0; batch.len()];
    for (at, length) in place.iter_mut().zip(batch).rev() {
        (*at, i) = (i % length, i / length);
    }
    place
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, TensorData};

    use super::*;

    const SHAPES: [[usize; 5]; 5] =
        [[1, 1, 1, 1, 1], [2, 3, 5, 7, 4], [1, 1, 130, 70, 90], [2, 6, 64, 32, 64], [3, 1, 8, 1, 9]];

    fn draw<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
    }

    fn apart<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
        let largest = b.clone().abs().max().try_into_scalar::<f32>().expect("a number");
        (a - b).abs().max().try_into_scalar::<f32>().expect("a number") / largest
    }

    /// Values and gradients of `burns` and of ours for the same drawn factors.
    fn compare<const D: usize>(
        [a, b]: [TensorData; 2],
        device: &Device,
        arrange: impl Fn(Tensor<D>, Tensor<D>) -> [Tensor<D>; 2],
    ) {
        let run = |product: &dyn Fn(Tensor<D>, Tensor<D>) -> Tensor<D>| {
            let [a, b] = [&a, &b].map(|x| Tensor::<D>::from_data(x.clone(), device).require_grad());
            let [left, right] = arrange(a.clone(), b.clone());
            let out = product(left, right);
            // Each value counts differently.
            let gradients = (out.clone() * out.clone().sin()).sum().backward();
            let [da, db] = [a, b].map(|x| x.grad(&gradients).expect("it is tracked"));
            [out.inner(), da, db]
        };
        let shapes =
            arrange(Tensor::from_data(a.clone(), device), Tensor::from_data(b.clone(), device)).map(|x| x.dims());
        let ours = run(&|a, b| matmul(&a, &b).expect("it is the CPU"));
        let theirs = run(&|a, b| a.matmul(b));
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            let apart = apart(ours, theirs);
            assert!(apart < 1e-5, "{shapes:?}: {apart}");
        }
    }

    #[test]
    fn products_and_their_gradients_are_those_of_burn_also_on_views() {
        let plain = Device::flex();
        let tapes = [plain.clone().autodiff(), plain.clone().autodiff().gradient_checkpointing()];
        for (device, [one, two, rows, inner, columns]) in
            tapes.iter().flat_map(|device| SHAPES.map(|shape| (device, shape)))
        {
            let data = |shape: [usize; 4]| draw(shape, &plain).into_data();
            compare::<4>([data([one, two, rows, inner]), data([one, two, inner, columns])], device, |a, b| [a, b]);
            // As attention splits its heads, and as layers turn their weights.
            compare::<4>([data([one, rows, two, inner]), data([one, two, columns, inner])], device, |a, b| {
                [a.swap_dims(1, 2), b.swap_dims(2, 3)]
            });
        }
    }

    #[test]
    fn a_linear_layer_is_that_of_burn() {
        let device = Device::flex();
        for [one, two, rows, inner, columns] in SHAPES {
            let (x, weight, bias) =
                (draw([one * two, rows, inner], &device), draw([inner, columns], &device), draw([columns], &device));
            let theirs = burn::tensor::module::linear(x.clone(), weight.clone(), Some(bias.clone()));
            let ours = linear(&x, &weight, Some(&bias)).expect("it is the CPU");
            assert!(apart(ours, theirs) < 1e-5, "{rows} × {inner} × {columns}");
        }
    }

    #[test]
    fn what_is_broadcast_is_left_to_burn() {
        let device = Device::flex();
        assert!(matmul(&draw([2, 3, 4], &device), &draw([1, 4, 5], &device)).is_none());
    }
}
