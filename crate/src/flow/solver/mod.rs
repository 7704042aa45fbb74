//! Solvers: from noise to images with a chosen number of network calls (function evaluations, NFE).

mod average;
mod runge_kutta;
mod velocity;

use std::fmt;
use std::str::FromStr;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub use average::{generate, invert, one_step, restart, step};
pub use runge_kutta::{Integral, Integrator, Method, TOLERANCES, integrate};
pub use velocity::{SamplingGuidance, Velocity};

use super::AverageVelocity;
use crate::error::Error;
use crate::net::Labels;

/// How noise becomes an image.
///
/// | solver | asks the network for | calls a step | steps |
/// |---|---|---|---|
/// | `mean-flow` | average velocity `u(z, r, t)` | 1 | NFE |
/// | `restart` | jumps `u(z, 0, t)`, with fresh noise between | 1 | NFE |
/// | `euler` | instantaneous velocity `u(z, t, t)` | 1 | NFE |
/// | `midpoint`, `heun` | the same | 2 | NFE / 2 |
/// | `dormand-prince` | the same | 6, and 1 at the start | as the tolerance asks |
///
/// Guidance while sampling doubles the calls of the last four; an NFE that is no whole number of steps is refused.
///
/// # Example
/// Eight network calls are four steps of Heun's method:
///
/// ```
/// use burn::tensor::Device;
/// use meanflow::NetConfig;
/// use meanflow::flow::{Sampling, Solver, sample};
/// use meanflow::rng::noise_images;
///
/// let device = Device::flex();
/// let net = NetConfig::preset("browser-s", 8, 3, 0)?.init(0, &device);
/// let solver: Solver = "heun".parse()?;
/// assert_eq!(solver.calls_per_step(), Some(2));
/// let sampling = Sampling { solver, nfe: 8, tolerance: 1e-4, guidance: None };
/// let sampled = sample(&net, |_| noise_images(7, 4, [3, 8, 8], &device), None, &sampling)?;
/// assert_eq!((sampled.images.dims(), sampled.nfe), ([4, 3, 8, 8], 8));
/// # Ok::<(), meanflow::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// The average velocity over a uniform grid: what MeanFlow is for.
    #[default]
    MeanFlow,
    /// Jumps to data with fresh noise between them, also called consistency sampling.
    Restart,
    /// The instantaneous velocity by Euler's method.
    Euler,
    /// The instantaneous velocity by the midpoint method.
    Midpoint,
    /// The instantaneous velocity by Heun's method.
    Heun,
    /// The instantaneous velocity by Dormand–Prince 5(4) with steps of its own choice.
    DormandPrince,
}

impl Solver {
    /// All of them, by the names that files and the command line use.
    pub const ALL: [(&'static str, Self); 6] = [
        ("mean-flow", Self::MeanFlow),
        ("restart", Self::Restart),
        ("euler", Self::Euler),
        ("midpoint", Self::Midpoint),
        ("heun", Self::Heun),
        ("dormand-prince", Self::DormandPrince),
    ];

    /// Network calls that a step takes without guidance; none for Dormand–Prince, which decides by itself.
    pub fn calls_per_step(self) -> Option<usize> {
        match self {
            Self::MeanFlow | Self::Restart | Self::Euler => Some(1),
            Self::Midpoint | Self::Heun => Some(2),
            Self::DormandPrince => None,
        }
    }

    /// Whether it follows the instantaneous velocity, which guidance while sampling is made of.
    pub fn follows_velocity(self) -> bool {
        !matches!(self, Self::MeanFlow | Self::Restart)
    }
}

impl fmt::Display for Solver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::ALL.into_iter().find(|(_, solver)| solver == self).map_or("", |(name, _)| name))
    }
}

impl FromStr for Solver {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, solver)| solver).ok_or_else(|| {
            Error::Request(format!("unknown solver `{name}`; there are {}", Self::ALL.map(|(name, _)| name).join(", ")))
        })
    }
}

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
