//! Solvers: from noise to images with a chosen number of network calls (function evaluations, NFE).

mod average;
mod inverse;
mod runge_kutta;
mod velocity;

use burn::tensor::Tensor;

pub use average::{generate, one_step, restart, step};
pub use inverse::invert;
pub use runge_kutta::{Integral, Integrator, Method, TOLERANCES, integrate};
pub use velocity::{SamplingGuidance, Velocity};

use super::AverageVelocity;
use crate::error::Error;
use crate::model::Solver;
use crate::net::Labels;

/// A solver with its budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The solver.
    pub solver: Solver,
    /// Network calls per image; Dormand–Prince decides that itself.
    pub nfe: usize,
    /// Local error that Dormand–Prince allows.
    pub tolerance: f64,
    /// Guidance while sampling.
    pub guidance: Option<SamplingGuidance>,
}

/// Images and what they cost.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// The images, as the noise.
    pub images: Tensor<4>,
    /// Network calls per image that were made.
    pub nfe: usize,
}

/// Makes images from noise. `noise(0)` is the noise to start from, `noise(i)` that of restart `i`.
///
/// # Errors
/// An NFE that is no whole number of the solver's steps, guidance with a solver that does not follow the velocity, or
/// a tolerance that is out of range or not reached.
pub fn sample(
    net: &impl AverageVelocity,
    noise: impl Fn(usize) -> Tensor<4>,
    labels: Option<Labels>,
    sampling: &Sampling,
) -> Result<Sampled, Error> {
    let Sampling { solver, nfe, guidance, .. } = *sampling;
    if guidance.is_some() && !solver.follows_velocity() {
        return Err(Error::Request(format!(
            "{solver} has no guidance while sampling (a MeanFlow network is guided while it is trained); euler, \
             midpoint, heun and dormand-prince have"
        )));
    }
    let integrator = sampling.integrator()?;
    let images = match solver {
        Solver::MeanFlow => generate(net, noise(0), labels, nfe),
        Solver::Restart => restart(net, noise, labels, nfe),
        _ => {
            let velocity = Velocity::new(net, labels, guidance);
            let Integral { end, evaluations } = velocity.integrate(noise(0), 1.0, 0.0, integrator)?;
            return Ok(Sampled { images: end, nfe: evaluations * velocity.calls() });
        }
    };
    Ok(Sampled { images, nfe })
}

impl Sampling {
    /// What the budget buys; for the solvers that make one call a step, Euler's steps.
    fn integrator(&self) -> Result<Integrator, Error> {
        let method = match self.solver {
            Solver::Midpoint => Method::Midpoint,
            Solver::Heun => Method::Heun,
            Solver::DormandPrince if !TOLERANCES.contains(&self.tolerance) => {
                return Err(Error::Request(format!("the tolerance is {}; it must be 1e-6 to 0.1", self.tolerance)));
            }
            Solver::DormandPrince => return Ok(Integrator::Adaptive { tolerance: self.tolerance }),
            Solver::MeanFlow | Solver::Restart | Solver::Euler => Method::Euler,
        };
        let (solver, nfe) = (self.solver, self.nfe);
        let guided = if self.guidance.is_some() { 2 } else { 1 };
        let calls = guided * method.evaluations();
        if nfe == 0 || !nfe.is_multiple_of(calls) {
            let with = if guided == 2 { " with guidance" } else { "" };
            let below = if nfe > calls { format!("{} or ", nfe / calls * calls) } else { String::new() };
            return Err(Error::Request(format!(
                "{solver}{with} makes {calls} network calls a step, which {nfe} is no multiple of; {below}{} would do",
                (nfe / calls + 1) * calls
            )));
        }
        Ok(Integrator::Fixed { method, steps: nfe / calls })
    }
}
