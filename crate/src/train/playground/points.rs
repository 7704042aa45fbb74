//! Distributions in the plane, within about `[−2, 2]²`, from the seed alone.

use std::f64::consts::{PI, TAU};

use clap::ValueEnum;

use crate::rng::Stream;

/// A distribution of points in the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Points {
    /// Two half circles, each reaching into the other.
    TwoMoons,
    /// The dark squares of a 4 × 4 board.
    Checkerboard,
    /// Two arms of a spiral.
    Spiral,
}

impl Points {
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
