//! A call for many pictures on the CPU, a few at a time on every core: burn computes much of a call on one core, and what a few
//! pictures need stays in its cache.

use std::sync::Mutex;
use std::thread::{available_parallelism, scope};

use burn::tensor::Tensor;

use super::{Labels, Net};
use crate::device::is_cpu;
use crate::dual::Dual;

/// Pictures of one part.
const ROWS: usize = 8;

/// The value of [`Net::forward`] in parts; `None` where parts are not worth it, or derivatives are wanted.
pub(super) fn forward(net: &Net, z: &Dual<4>, r: &Dual<1>, t: &Dual<1>, labels: Option<&Labels>) -> Option<Tensor<4>> {
    let [batch, ..] = z.dims();
    let moves = z.tangent.is_some() || r.tangent.is_some() || t.tangent.is_some();
    let tracked = z.primal.is_autodiff() || t.primal.is_autodiff();
    if cfg!(target_family = "wasm") || batch < 2 * ROWS || moves || tracked || !is_cpu(&z.primal.device()) {
        return None;
    }
    let part = |first: usize| {
        let count = ROWS.min(batch - first);
        let times = |x: &Dual<1>| x.clone().narrow(0, first, count);
        let labels = labels.map(|labels| labels.clone().narrow(first, count));
        net.forward(z.clone().narrow(0, first, count), times(r), times(t), labels).primal
    };
    let firsts = Mutex::new((0..batch).step_by(ROWS));
    let work = || {
        let next = || firsts.lock().ok()?.next();
        std::iter::from_fn(next).map(|first| (first, part(first))).collect::<Vec<_>>()
    };
    let threads = available_parallelism().map_or(1, std::num::NonZero::get).min(batch.div_ceil(ROWS));
    let mut parts = scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        // A part that is missing was a panic, which goes on here.
        others.into_iter().fold(own, |mut all, other| {
            all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            all
        })
    });
    parts.sort_by_key(|(first, _)| *first);
    Some(Tensor::cat(parts.into_iter().map(|(_, part)| part).collect(), 0))
}
