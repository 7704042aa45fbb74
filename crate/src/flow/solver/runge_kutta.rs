//! Explicit Runge–Kutta methods, each a table of numbers, for `dy/dt = f(y, t)` over tensors of any rank.

use burn::tensor::Tensor;

use crate::error::Error;

/// A method of fixed steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// First order, 1 evaluation a step.
    Euler,
    /// Second order, 2 evaluations: the slope in the middle.
    Midpoint,
    /// Second order, 2 evaluations: the mean of the slopes at both ends.
    Heun,
}

/// Tolerances that an adaptive integration can be asked for: f32 carries no less, and more says nothing.
pub const TOLERANCES: std::ops::RangeInclusive<f64> = 1e-6..=0.1;

/// How an equation is integrated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Integrator {
    /// Equal steps.
    Fixed {
        /// The method.
        method: Method,
        /// How many steps.
        steps: usize,
    },
    /// Dormand–Prince 5(4), whose steps keep the local error of every image below the tolerance, both absolute and
    /// relative to its values (root mean square).
    ///
    /// The batch shares its steps, so an image's result depends on its company, within the tolerance.
    Adaptive {
        /// The tolerance, one of [`TOLERANCES`].
        tolerance: f64,
    },
}

/// Where an integration ended and what it cost.
#[derive(Clone, Debug)]
pub struct Integral<const D: usize> {
    /// `y` at the last time.
    pub end: Tensor<D>,
    /// Evaluations of the field.
    pub evaluations: usize,
}

/// A Butcher tableau. Stage `i` is asked at `t + nodes[i] dt`, `y + dt Σ stages[i][j] k_j`; the step is
/// `y + dt Σ weights[i] k_i`.
struct Tableau {
    nodes: &'static [f64],
    stages: &'static [&'static [f64]],
    weights: &'static [f64],
}

const EULER: Tableau = Tableau { nodes: &[0.0], stages: &[&[]], weights: &[1.0] };
const MIDPOINT: Tableau = Tableau { nodes: &[0.0, 0.5], stages: &[&[], &[0.5]], weights: &[0.0, 1.0] };
const HEUN: Tableau = Tableau { nodes: &[0.0, 1.0], stages: &[&[], &[1.0]], weights: &[0.5, 0.5] };

/// Dormand and Prince 1980, the method RK5(4)7M. Its last stage is the first of the next step.
const DORMAND_PRINCE: Tableau = Tableau {
    nodes: &[0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0],
    stages: &[
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ],
    weights: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0, 0.0],
};
/// Fifth order minus the embedded fourth: what a step is off by.
const DORMAND_PRINCE_ERROR: [f64; 7] =
    [71.0 / 57600.0, 0.0, -71.0 / 16695.0, 71.0 / 1920.0, -17253.0 / 339200.0, 22.0 / 525.0, -1.0 / 40.0];

/// First step of an adaptive integration, as a share of the whole.
const FIRST_STEP: f64 = 0.05;
/// Smallest step, as a share of the whole: below it f32 no longer tells the times apart.
const MIN_STEP: f64 = 1e-5;
/// Most evaluations of an adaptive integration; a field that needs more is not one that was learnt.
const MAX_EVALUATIONS: usize = 6000;

impl Method {
    fn tableau(self) -> &'static Tableau {
        match self {
            Self::Euler => &EULER,
            Self::Midpoint => &MIDPOINT,
            Self::Heun => &HEUN,
        }
    }

    /// Evaluations of the field per step.
    pub fn evaluations(self) -> usize {
        self.tableau().nodes.len()
    }
}

impl Tableau {
    /// The slopes of one step, of which the first is known.
    fn slopes<const D: usize>(
        &self,
        field: &mut impl FnMut(Tensor<D>, f64) -> Tensor<D>,
        y: &Tensor<D>,
        [t, dt]: [f64; 2],
        first: Tensor<D>,
    ) -> Vec<Tensor<D>> {
        let mut slopes = vec![first];
        for (node, stage) in self.nodes.iter().zip(self.stages).skip(1) {
            slopes.push(field(advance(y.clone(), stage, &slopes, dt), t + node * dt));
        }
        slopes
    }
}

/// `y + dt Σ weights[i] slopes[i]`.
fn advance<const D: usize>(y: Tensor<D>, weights: &[f64], slopes: &[Tensor<D>], dt: f64) -> Tensor<D> {
    let terms = weights.iter().zip(slopes).filter(|(weight, _)| **weight != 0.0);
    terms.fold(y, |y, (weight, slope)| y + slope.clone() * (weight * dt))
}

/// Integrates `dy/dt = field(y, t)` between two times, forwards or backwards. The first axis of `y` is the batch.
///
/// # Errors
/// [`Error::Request`] when an adaptive integration does not reach its tolerance, as when the field is not finite.
///
/// # Panics
/// When there are no steps.
pub fn integrate<const D: usize>(
    mut field: impl FnMut(Tensor<D>, f64) -> Tensor<D>,
    start: Tensor<D>,
    from: f64,
    to: f64,
    integrator: Integrator,
) -> Result<Integral<D>, Error> {
    let (method, steps) = match integrator {
        Integrator::Fixed { method, steps } => (method, steps),
        Integrator::Adaptive { tolerance } => return adapt(field, start, from, to, tolerance),
    };
    assert!(steps > 0, "an integration takes at least one step");
    let (tableau, dt) = (method.tableau(), (to - from) / steps as f64);
    let end = (0..steps).fold(start, |y, i| {
        let t = from + (to - from) * (i as f64 / steps as f64);
        let first = field(y.clone(), t);
        let slopes = tableau.slopes(&mut field, &y, [t, dt], first);
        advance(y, tableau.weights, &slopes, dt)
    });
    Ok(Integral { end, evaluations: steps * method.evaluations() })
}

/// Dormand–Prince with the usual controller: the next step is `0.9 error^(−1/5)` times this one, at most 5 times.
fn adapt<const D: usize>(
    mut field: impl FnMut(Tensor<D>, f64) -> Tensor<D>,
    start: Tensor<D>,
    from: f64,
    to: f64,
    tolerance: f64,
) -> Result<Integral<D>, Error> {
    let (mut y, mut done, mut step) = (start, 0.0, FIRST_STEP);
    let mut first = field(y.clone(), from);
    let mut evaluations = 1;
    while 1.0 - done > MIN_STEP / 2.0 {
        // A sliver at the end would be a step for nothing.
        let size = if done + 1.001 * step > 1.0 { 1.0 - done } else { step };
        let [t, dt] = [from + (to - from) * done, (to - from) * size];
        let mut slopes = DORMAND_PRINCE.slopes(&mut field, &y, [t, dt], first.clone());
        evaluations += slopes.len() - 1;
        let next = advance(y.clone(), DORMAND_PRINCE.weights, &slopes, dt);
        let off = advance(y.zeros_like(), &DORMAND_PRINCE_ERROR, &slopes, dt);
        let error = relative_error(&y, &next, off, tolerance)?;
        if error <= 1.0 {
            (y, done) = (next, done + size);
            first = slopes.pop().expect("there are seven slopes");
        }
        let factor = 0.9 * error.max(1e-10).powf(-0.2);
        step = size * if factor.is_finite() { factor.clamp(0.2, 5.0) } else { 0.2 };
        if step < MIN_STEP || evaluations > MAX_EVALUATIONS {
            return Err(Error::Request(format!(
                "Dormand–Prince does not reach the tolerance {tolerance:e} after {evaluations} evaluations; a larger \
                 one may do, unless the model's velocity is not finite"
            )));
        }
    }
    Ok(Integral { end: y, evaluations })
}

/// Largest error of the batch's rows over what the tolerance allows, read back from the device.
fn relative_error<const D: usize>(
    y: &Tensor<D>,
    next: &Tensor<D>,
    off: Tensor<D>,
    tolerance: f64,
) -> Result<f64, Error> {
    let allowed = (y.clone().abs().max_pair(next.clone().abs()) + 1.0) * tolerance;
    let share = off / allowed;
    let squares: Tensor<2> = (share.clone() * share).flatten(1, D - 1);
    let worst: Tensor<1> = squares.mean_dim(1).sqrt().max();
    worst.try_into_scalar::<f32>().map(f64::from).map_err(|e| Error::Device(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Conditions on any Runge–Kutta method: `Σ b = 1`, and each node is the sum of its row.
    #[test]
    fn the_tables_are_consistent() {
        for Tableau { nodes, stages, weights } in [EULER, MIDPOINT, HEUN, DORMAND_PRINCE] {
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            for (node, stage) in nodes.iter().zip(stages) {
                assert!((stage.iter().sum::<f64>() - node).abs() < 1e-14, "node {node}");
            }
        }
        assert!(DORMAND_PRINCE_ERROR.iter().sum::<f64>().abs() < 1e-14);
    }

    /// `Σ b cᵏ = 1/(k + 1)`: Dormand–Prince up to k = 4, and its embedded method, `b − error`, up to k = 3.
    #[test]
    fn dormand_prince_has_the_quadrature_order_of_both_its_methods() {
        let moment = |weights: &[f64], k: i32| -> f64 {
            weights.iter().zip(DORMAND_PRINCE.nodes).map(|(b, c)| b * c.powi(k)).sum()
        };
        for k in 0..5 {
            assert!((moment(DORMAND_PRINCE.weights, k) - 1.0 / f64::from(k + 1)).abs() < 1e-14, "k = {k}");
            let error = moment(&DORMAND_PRINCE_ERROR, k).abs();
            assert_eq!(error < 1e-14, k < 4, "k = {k}: {error:e}");
        }
    }
}
