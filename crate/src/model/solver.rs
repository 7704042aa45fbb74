//! The names of the solvers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How noise becomes an image.
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
