//! What is fixed about the networks and has no parameters: constants of layers, the sinusoids of times, the positions
//! of patches.

use super::Positions;

/// ε of every normalisation (DiT).
pub const NORM_EPSILON: f64 = 1e-6;
/// Below this time the velocity from an image is divided by this instead of `t` (pixel MeanFlow).
pub const MIN_DIVISOR: f64 = 0.05;
/// Sinusoids per time; half cosines, half sines.
pub const FREQUENCIES: usize = 256;
/// Base of the frequencies of rotary positions.
const THETA: f64 = 10_000.0;
/// Longest period of the sinusoids, in units of time / 2π.
const MAX_PERIOD: f64 = 10_000.0;

/// Angular frequencies of the sinusoids of a time, `[FREQUENCIES / 2]`.
pub fn frequencies() -> Vec<f32> {
    let half = FREQUENCIES / 2;
    (0..half).map(|i| libm::exp(-libm::log(MAX_PERIOD) * i as f64 / half as f64) as f32).collect()
}

/// Fixed 2-D sine-cosine table of patch positions, `[side², width]`.
///
/// The first half of the channels encodes the column, the second half the row, each as `[sin | cos]` (DiT, MAE).
pub fn position_table(side: usize, width: usize) -> Vec<f32> {
    let quarter = width / 4;
    let periods: Vec<f64> = (0..quarter).map(|i| libm::pow(MAX_PERIOD, i as f64 / quarter as f64)).collect();
    // Of each coordinate once: a visitor waits for this.
    let waves = |coordinate: usize| {
        let angles = || periods.iter().map(move |period| coordinate as f64 / period);
        let waves = angles().map(libm::sin).chain(angles().map(libm::cos));
        waves.map(|wave| wave as f32).collect::<Vec<_>>()
    };
    let waves: Vec<Vec<f32>> = (0..side).map(waves).collect();
    let mut table = Vec::with_capacity(side * side * width);
    for index in 0..side * side {
        for coordinate in [index % side, index / side] {
            table.extend_from_slice(&waves[coordinate]);
        }
    }
    table
}

/// Rotary positions (RoFormer, arXiv 2104.09864): the angles by which neighbouring pairs of a head's features turn,
/// `[prefix + side², head_width / 2]`, of tokens in front of a square of patches.
pub fn rotary_angles(positions: Positions, prefix: usize, side: usize, head_width: usize) -> Vec<f64> {
    // Of pair `i` of a number of features, at a place.
    let turn = |place: usize, i: usize, width: usize| place as f64 / libm::pow(THETA, 2.0 * i as f64 / width as f64);
    let half = head_width / 2;
    match positions {
        // One place per token, counted over the whole sequence.
        Positions::Sequence => {
            let places = 0..prefix + side * side;
            places.flat_map(|place| (0..half).map(move |i| turn(place, i, head_width))).collect()
        }
        // The tokens in front at rest; the first half of the pairs turns with the row, the second with the column.
        Positions::Plane => {
            let mut angles = vec![0.0; prefix * half];
            for place in 0..side * side {
                for coordinate in [place / side, place % side] {
                    angles.extend((0..half / 2).map(|i| turn(coordinate, i, half)));
                }
            }
            angles
        }
    }
}
