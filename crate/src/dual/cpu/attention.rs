//! Attention's value by our kernel, for where no derivative is asked for; `dual/layers.rs` has the rule.

use burn::tensor::Tensor;

use super::packed::matrix;
use super::{native, read, write};
use crate::dual::IN_BROWSER;
use crate::kernels::attention::{AttentionScratch, attend as attend_head};

/// `softmax(q kᵀ / √d) v`.
///
/// # Shapes
/// `[batch, heads, tokens, d]` each, and the same; the values lie in the order `[batch, tokens, heads, d]`, as the
/// layer after it wants them.
pub fn attend(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>) -> Option<Tensor<4>> {
    match IN_BROWSER {
        true => in_browser(q, k, v),
        false => native::attend_dense(q, k, v),
    }
}

fn in_browser(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>) -> Option<Tensor<4>> {
    let shape @ [batch, heads, tokens, width] = q.dims();
    let parts = [read(q)?, read(k)?, read(v)?];
    let strides = [tokens * heads * width, width, heads * width, 1];
    let mut out = vec![0.0; batch * heads * tokens * width];
    let mut scratch = AttentionScratch::default();
    for (picture, head) in (0..batch).flat_map(|picture| (0..heads).map(move |head| (picture, head))) {
        let [q, k, v] = parts.each_ref().map(|part| matrix(part, &[picture, head]));
        attend_head(q, k, v, &mut scratch, &mut out[picture * strides[0] + head * strides[1]..], strides[2]);
    }
    Some(write(out, shape, strides))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn attention_is_that_of_burn_also_on_views() {
        let device = Device::flex();
        for (batch, heads, tokens, width) in [(1, 1, 1, 1), (2, 3, 7, 5), (2, 6, 64, 32)] {
            let part = || {
                let drawn = Tensor::<4>::random([batch, tokens, heads, width], Distribution::Default, &device);
                (drawn * 6.0 - 3.0).swap_dims(1, 2)
            };
            let [q, k, v] = [part(), part(), part()];
            let ours = [in_browser(&q, &k, &v), native::attend_dense(&q, &k, &v)];
            let theirs = burn::tensor::module::attention(q, k, v, None, None, Default::default());
            for ours in ours {
                let apart = (ours.expect("it is the CPU") - theirs.clone()).abs().max();
                let apart = apart.try_into_scalar::<f32>().expect("a number");
                assert!(apart < 1e-5, "{batch} × {heads} × {tokens} × {width}: {apart}");
            }
        }
    }
}
