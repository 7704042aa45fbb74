//! Distributions in the plane, within about `[−2, 2]²`, from the seed alone.

use std::f64::consts::{PI, TAU};
use std::str::FromStr;

use crate::error::Error;
use crate::rng::Stream;

/// A distribution of points in the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Points {
    /// Two half circles, each reaching into the other.
    TwoMoons,
    /// The dark squares of a 4 × 4 board.
    Checkerboard,
    /// Two arms of a spiral.
    Spiral,
}

impl Points {
    /// All of them, with their names.
    pub const NAMED: [(&'static str, Self); 3] =
        [("two-moons", Self::TwoMoons), ("checkerboard", Self::Checkerboard), ("spiral", Self::Spiral)];

    /// `count` points.
    pub fn draw(self, count: usize, stream: &mut Stream) -> Vec<[f32; 2]> {
        (0..count).map(|_| self.point(stream).map(|x| x as f32)).collect()
    }

    fn point(self, stream: &mut Stream) -> [f64; 2] {
        match self {
            Self::TwoMoons => {
                let (angle, [dx, dy]) = (PI * stream.uniform(), stream.normal_pair());
                let (sin, cos) = libm::sincos(angle);
                let [x, y] = if stream.uniform() < 0.5 { [cos - 0.5, sin - 0.25] } else { [0.5 - cos, 0.25 - sin] };
                [1.5 * x + 0.07 * dx, 1.5 * y + 0.07 * dy]
            }
            Self::Checkerboard => {
                let (column, row) = (stream.below(4), 2 * stream.below(2));
                let row = row + column % 2;
                [column as f64 - 2.0 + stream.uniform(), row as f64 - 2.0 + stream.uniform()]
            }
            Self::Spiral => {
                let way = libm::sqrt(stream.uniform());
                let (sin, cos) = libm::sincos(1.5 * TAU * way);
                let (side, [dx, dy]) = (if stream.uniform() < 0.5 { 2.0 } else { -2.0 }, stream.normal_pair());
                [side * way * cos + 0.05 * dx, side * way * sin + 0.05 * dy]
            }
        }
    }
}

impl FromStr for Points {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::NAMED.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, points)| points).ok_or_else(|| Error::Config(format!("there are no points called `{name}`")))
    }
}

/// Where the points of a batch come from.
#[derive(Clone, Debug, PartialEq)]
pub enum PointSource {
    /// A distribution that is known.
    Named(Points),
    /// Points that somebody drew, each a small cloud.
    Drawn(Vec<[f32; 2]>),
}

/// Standard deviation of the clouds of drawn points: what a hand's line is wide.
const HAND: f64 = 0.05;

impl PointSource {
    /// The points that somebody drew.
    ///
    /// # Errors
    /// Where there are none, or one is not in the plane.
    pub fn drawn(points: Vec<[f32; 2]>) -> Result<Self, Error> {
        let wrong = if points.is_empty() {
            "there are no points to learn"
        } else if points.iter().flatten().any(|x| !x.is_finite()) {
            "a point is not in the plane"
        } else {
            return Ok(Self::Drawn(points));
        };
        Err(Error::Config(wrong.into()))
    }

    /// `count` points.
    pub fn draw(&self, count: usize, stream: &mut Stream) -> Vec<[f32; 2]> {
        let cloud = |centre: [f32; 2], stream: &mut Stream| {
            let [dx, dy] = stream.normal_pair().map(|z| (HAND * z) as f32);
            [centre[0] + dx, centre[1] + dy]
        };
        match self {
            Self::Named(points) => points.draw(count, stream),
            Self::Drawn(points) => (0..count)
                .map(|_| {
                    let centre = points[stream.below(points.len())];
                    cloud(centre, stream)
                })
                .collect(),
        }
    }
}

impl From<Points> for PointSource {
    fn from(points: Points) -> Self {
        Self::Named(points)
    }
}
