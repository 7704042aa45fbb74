//! Attention with its derivative on GPUs: one kernel of CubeCL, for each interface that burn has.

mod attention_kernel;

use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, DispatchDevice, TensorMetadata, backend_extension};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::prelude::{CubeCount, CubeDim};

use super::{Dual, aligned_primal};

/// What the backend of GPUs gets beside burn's operations.
#[backend_extension(Cube, Fusion)]
pub(super) trait ForwardMode: Backend {
    /// Attention, and its derivative where queries, keys and values move so.
    #[fusion(meta = |q: &TensorSpec, _k, _v, _dq, _dk, _dv| (q.clone(), q.clone()))]
    fn attend_along(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        dq: FloatTensor<Self>,
        dk: FloatTensor<Self>,
        dv: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl ForwardMode for CubeBackend {
    fn attend_along(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        dq: FloatTensor<Self>,
        dk: FloatTensor<Self>,
        dv: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let shape = q.shape();
        let [batch, heads, tokens, width] = shape.dims();
        let client = q.client.clone();
        let empty = |shape: Shape| {
            let memory = client.empty(shape.num_elements() * size_of::<f32>());
            FloatTensor::<Self>::new_contiguous(client.clone(), q.device.clone(), shape, memory, DType::F32)
        };
        let (value, tangent) = (empty(shape.clone()), empty(shape));
        attention_kernel::attend::launch(
            &client,
            CubeCount::Static(tokens.div_ceil(attention_kernel::TILE) as u32, heads as u32, batch as u32),
            CubeDim::new_2d(attention_kernel::TILE as u32, attention_kernel::TILE as u32),
            q.into_tensor_arg(),
            k.into_tensor_arg(),
            v.into_tensor_arg(),
            dq.into_tensor_arg(),
            dk.into_tensor_arg(),
            dv.into_tensor_arg(),
            value.clone().into_tensor_arg(),
            tangent.clone().into_tensor_arg(),
            (width as f32).sqrt().recip(),
            width,
        );
        (value, tangent)
    }
}

/// Attention of the rows that move, and its derivative, both off the tape, where the matrix of its weights would be
/// larger than all that it is made from and gives: the kernel computes more than the explicit form, to write less.
/// Nothing elsewhere, on other devices, and where something does not move.
///
/// # Shapes
/// `[batch, heads, tokens, d]` each, and the same.
pub(super) fn attend(q: &Dual<4>, k: &Dual<4>, v: &Dual<4>) -> Option<[Tensor<4>; 2]> {
    let ([.., tokens, width], [.., others, _]) = (q.dims(), k.dims());
    if others < 4 * width || others != tokens { None } else { fused(q, k, v) }
}

/// The same whether or not it pays; also nothing of heads that are too wide for the shared memory of the device.
fn fused(q: &Dual<4>, k: &Dual<4>, v: &Dual<4>) -> Option<[Tensor<4>; 2]> {
    let [dq, dk, dv] = [q.tangent.clone()?, k.tangent.clone()?, v.tangent.clone()?];
    // The kernel has no backward pass.
    if [&dq, &dk, &dv].into_iter().any(Tensor::is_autodiff) {
        return None;
    }
    let primals = [q, k, v].map(|x| aligned_primal(&x.primal, x.motion()));
    let parts @ [of, ..] = [&primals[0], &primals[1], &primals[2], &dq, &dk, &dv];
    let device = of.device();
    // Where burn has no other backend, every device is of this kind.
    #[allow(irrefutable_let_patterns)]
    let DispatchDevice::Cube(device) = device.as_dispatch() else { return None };
    let [.., width] = of.dims();
    let room = device.client().properties().hardware.max_shared_memory_size;
    if parts.iter().any(|x| x.dtype() != DType::F32) || attention_kernel::shared(width) * size_of::<f32>() > room {
        return None;
    }
    let [q, k, v] = primals.map(Tensor::into_dispatch);
    let (value, tangent) = Dispatch::attend_along(q, k, v, dq.into_dispatch(), dk.into_dispatch(), dv.into_dispatch());
    Some([value, tangent].map(Tensor::from_dispatch))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::device;
    use crate::dual::attend as attend_dual;

    /// Queries, keys, values that move, drawn on the CPU.
    fn drawn(shape: [usize; 4]) -> [Dual<4>; 3] {
        let [batch, heads, tokens, width] = shape;
        let part = || {
            // As the network has them: heads are views of rows.
            let drawn = Tensor::random([batch, tokens, heads, width], Distribution::Normal(0.0, 1.0), &Device::flex());
            drawn.swap_dims(1, 2)
        };
        [(); 3].map(|()| Dual::new(part(), part()))
    }

    fn assert_unfused(a: Tensor<4>, b: Tensor<4>) -> f32 {
        let [a, b] = [a, b].map(|x| x.try_into_vec_as::<f32>().expect("numbers"));
        let most = b.iter().fold(1.0f32, |most, x| most.max(x.abs()));
        // `f32::max` would pass over what is no number.
        let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp);
        worst.expect("numbers") / most
    }

    #[test]
    fn attention_moves_on_a_gpu_as_on_the_cpu() {
        let gpu = device::open(Some("wgpu")).expect("a GPU, or a driver that computes on the CPU");
        for shape in [[1, 1, 1, 1], [2, 3, 7, 5], [1, 2, 16, 16], [2, 4, 64, 32], [1, 2, 37, 72]] {
            let parts = drawn(shape);
            let there = |x: &Tensor<4>| x.clone().to_device(&gpu);
            let [q, k, v] =
                parts.each_ref().map(|x| Dual { primal: there(&x.primal), tangent: x.tangent.as_ref().map(there) });
            let [value, tangent] = fused(&q, &k, &v).expect("the kernel applies");
            let [q, k, v] = parts;
            let expected = attend_dual(q, k, v);
            let [of_value, of_tangent] =
                [assert_unfused(value, expected.primal), assert_unfused(tangent, expected.tangent.expect("it moves"))];
            assert!(of_value < 1e-5 && of_tangent < 1e-5, "{shape:?}: {of_value}, {of_tangent}");
        }
    }
}
