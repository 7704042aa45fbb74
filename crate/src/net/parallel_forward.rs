//! A call for many pictures on the CPU, a few at a time on every core: burn computes much of a call on one core, and
//! what a few pictures need stays in its cache.

use burn::tensor::Tensor;

use super::{Labels, Net};
use crate::device::is_cpu;
use crate::dual::{Dual, IN_BROWSER, in_parallel};

/// Pictures of one part.
const ROWS: usize = 8;

/// The value of [`Net::forward`] in parts; `None` where parts are not worth it, or derivatives are wanted.
pub(super) fn forward(net: &Net, z: &Dual<4>, r: &Dual<1>, t: &Dual<1>, labels: Option<&Labels>) -> Option<Tensor<4>> {
    let [batch, ..] = z.dims();
    let moves = z.tangent.is_some() || r.tangent.is_some() || t.tangent.is_some();
    let tracked = z.primal.is_autodiff() || t.primal.is_autodiff();
    if IN_BROWSER || batch < 2 * ROWS || moves || tracked || !is_cpu(&z.primal.device()) {
        return None;
    }
    let part = |index: usize| {
        let first = index * ROWS;
        let count = ROWS.min(batch - first);
        let times = |x: &Dual<1>| x.clone().narrow(0, first, count);
        let labels = labels.map(|labels| labels.clone().narrow(first, count));
        net.forward(z.clone().narrow(0, first, count), times(r), times(t), labels).primal
    };
    Some(Tensor::cat(in_parallel(batch.div_ceil(ROWS), part), 0))
}
