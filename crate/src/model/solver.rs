//! The names of the solvers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

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
/// use meanflow::flow::{Sampling, sample};
/// use meanflow::model::Solver;
/// use meanflow::generator::noise_images;
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
