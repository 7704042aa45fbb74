//! AdamW, on the CPU in one pass over memory.

use burn::optim::{AdamWConfig, AdamWState, AdaptiveMomentumState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use super::optimization::Optimization;
use crate::dual::cpu::fused_update;

/// Added to the root of the second moment.
const EPSILON: f32 = 1e-8;

/// burn's AdamW, bit for bit. Its dozen passes on one core were a seventh of a step of a network of 130 million
/// parameters and a small batch; where the parameters are on the CPU, one pass on all cores takes their place.
#[derive(Clone)]
pub struct AdamW {
    /// On any other device.
    burns: burn::optim::AdamW,
    betas: [f32; 2],
    weight_decay: f32,
    nesterov: bool,
}

impl AdamW {
    /// As the settings say: its betas, weight decay, and whether it looks ahead.
    pub fn new(train: &Optimization) -> Self {
        let Optimization { beta1, beta2, weight_decay, nesterov, .. } = *train;
        let config = AdamWConfig::new().with_beta_1(beta1).with_beta_2(beta2).with_epsilon(EPSILON);
        Self { burns: config.with_weight_decay(weight_decay).build(), betas: [beta1, beta2], weight_decay, nesterov }
    }

    /// `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`, `θ ← (1 − λ w) θ − λ m̂ / (√v̂ + ε)` with the hats for the
    /// moments over `1 − βⁿ` at step `n` (arXiv 1711.05101), rounded as burn does it.
    fn update(&self, rate: LearningRate, step: usize, [weight, m, v]: [&mut [f32]; 3], gradient: &[f32]) {
        let [beta1, beta2] = self.betas;
        let [lean1, lean2] = self.betas.map(|beta| 1.0 - beta.powi(step as i32));
        let decay = rate * f64::from(self.weight_decay);
        let (kept, rate) = ((1.0 - decay) as f32, rate as f32);
        for (((weight, m), v), g) in weight.iter_mut().zip(m).zip(v).zip(gradient) {
            *m = *m * beta1 + g * (1.0 - beta1);
            *v = *v * beta2 + g * g * (1.0 - beta2);
            let delta = (*m / lean1) / ((*v / lean2).sqrt() + EPSILON);
            *weight = *weight * kept - delta * rate;
        }
    }

    /// With Nesterov's momentum (NAdam, Dozat 2016, as optax has it): in place of `m̂` stands
    /// `β₁ m/(1 − β₁ⁿ⁺¹) + (1 − β₁) g/(1 − β₁ⁿ)`.
    fn look_ahead<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        // burn's step moves the moments; the step itself is another.
        let (_, state) = self.burns.step(rate, weight.clone(), gradient.clone(), state);
        let Some(AdamWState { momentum }) = &state else { return (weight, state) };
        let [beta1, beta2] = self.betas.map(f64::from);
        let step = momentum.time as i32;
        let ahead = momentum.moment_1.clone() * (beta1 / (1.0 - beta1.powi(step + 1)))
            + gradient * ((1.0 - beta1) / (1.0 - beta1.powi(step)));
        let size = (momentum.moment_2.clone() / (1.0 - beta2.powi(step))).sqrt() + EPSILON;
        (weight * (1.0 - rate * f64::from(self.weight_decay)) - ahead / size * rate, state)
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        if self.nesterov {
            return self.look_ahead(rate, weight, gradient, state);
        }
        // The first step makes the moments.
        let Some(AdamWState { momentum }) = state else { return self.burns.step(rate, weight, gradient, None) };
        let AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2 } = momentum;
        let update = |own: [&mut [f32]; 3], [gradient]: [&[f32]; 1]| self.update(rate, time + 1, own, gradient);
        let moments = |time, moment_1, moment_2| {
            Some(AdamWState { momentum: AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2 } })
        };
        match fused_update([weight, moment_1, moment_2], [&gradient], update) {
            Ok([weight, m, v]) => (weight, moments(time + 1, m, v)),
            Err([weight, m, v]) => self.burns.step(rate, weight, gradient, moments(time, m, v)),
        }
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        <burn::optim::AdamW as Optimizer>::to_device(state, device)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    /// Against the same in f64, number by number.
    #[test]
    fn nesterovs_steps_are_those_of_a_reference_in_double_precision() {
        let (device, rate) = (Device::flex(), 1e-2);
        let train = Optimization { nesterov: true, weight_decay: 0.1, beta2: 0.95, ..Optimization::default() };
        let adamw = AdamW::new(&train);
        let draw = || Tensor::<2>::random([3, 5], Distribution::Normal(0.0, 1.0), &device);
        let values = |tensor: &Tensor<2>| -> Vec<f64> {
            let values = tensor.clone().try_into_vec_as::<f32>().expect("numbers");
            values.into_iter().map(f64::from).collect()
        };
        let (mut weight, mut state) = (draw(), None);
        let (mut expected, mut moments) = (values(&weight), vec![[0.0; 2]; 15]);
        for step in 1..=4 {
            let gradient = draw();
            for ((w, [m, v]), g) in expected.iter_mut().zip(&mut moments).zip(values(&gradient)) {
                (*m, *v) = (0.9 * *m + 0.1 * g, 0.95 * *v + 0.05 * g * g);
                let ahead = 0.9 * *m / (1.0 - 0.9_f64.powi(step + 1)) + 0.1 * g / (1.0 - 0.9_f64.powi(step));
                let size = (*v / (1.0 - 0.95_f64.powi(step))).sqrt() + 1e-8;
                *w = *w * (1.0 - rate * 0.1) - rate * ahead / size;
            }
            (weight, state) = adamw.step(rate, weight, gradient, state);
            for (ours, expected) in values(&weight).iter().zip(&expected) {
                assert!((ours - expected).abs() < 1e-6, "step {step}: {ours}, expected {expected}");
            }
        }
    }

    #[test]
    fn a_step_is_burns_bit_for_bit() {
        let device = Device::flex();
        let draw = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        for (decay, shape) in [(0.0, [3, 5]), (0.1, [130, 300])] {
            let ours = AdamW::new(&Optimization { weight_decay: decay, ..Optimization::default() });
            let (mut mine, mut state) = (draw(shape), None);
            let (mut theirs, mut theirs_state) = (mine.clone(), None);
            for step in 0..4 {
                // A gradient may come as a view.
                let gradient = if step == 2 { draw([shape[1], shape[0]]).transpose() } else { draw(shape) };
                let rate = 1e-2 / f64::from(step + 1);
                (mine, state) = ours.step(rate, mine, gradient.clone(), state);
                (theirs, theirs_state) = ours.burns.step(rate, theirs, gradient, theirs_state);
                assert_eq!(mine.to_data(), theirs.to_data(), "step {step}, decay {decay}");
            }
            let [a, b] = [state, theirs_state].map(|state| state.expect("it took steps").momentum);
            assert_eq!(
                (a.time, a.moment_1.to_data(), a.moment_2.to_data()),
                (b.time, b.moment_1.to_data(), b.moment_2.to_data())
            );
        }
    }
}
