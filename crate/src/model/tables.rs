//! What is fixed about the networks and has no parameters: constants of layers, the sinusoids of times, the positions of
//! patches.

/// ε of every normalisation (DiT).
pub const NORM_EPSILON: f64 = 1e-6;
/// Below this time the velocity from an image is divided by this instead of `t` (pixel MeanFlow).
pub const MIN_DIVISOR: f64 = 0.05;
/// `2·√(2/π)`: with it the tanh-GELU is `x σ(κ (x + 0.044715 x³))`, since `½(1 + tanh y) = σ(2y)`.
const KAPPA: f64 = 1.595_769_121_605_730_7;
/// The cubic coefficient of the tanh approximation.
const CUBIC: f64 = 0.044_715;
/// The polynomial of the gate, of `x` and `x³`.
pub const GELU: [f64; 2] = [KAPPA, KAPPA * CUBIC];
/// Sinusoids per time; half cosines, half sines.
pub const FREQUENCIES: usize = 256;
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
