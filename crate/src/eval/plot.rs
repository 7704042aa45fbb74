//! Quality against network calls, as SVG.

use std::fmt::Write;

use super::record::Evaluation;
use super::rows::{Row, mean_std, rows};
use crate::io::xml;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 290.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 56.0;
/// Told apart by people with any colour vision (Okabe and Ito), on white.
const COLOURS: [&str; 8] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1d1b19", "#8a8378"];

/// The place of a point in the figure: both axes are logarithmic.
struct Scale {
    calls: [f64; 2],
    distance: [f64; 2],
}

impl Scale {
    fn of(records: &[Evaluation]) -> Self {
        let range = |figure: fn(&Evaluation) -> Option<f64>| {
            let values = records.iter().filter_map(|record| figure(record).map(|value| value.max(1e-9).log2()));
            let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)));
            [low, high.max(low + 1.0)]
        };
        let [low, high] = range(|record| record.distance);
        Self { calls: range(|record| Some(record.nfe as f64)), distance: [low - 0.15, high + 0.15] }
    }

    fn x(&self, nfe: usize) -> f64 {
        let [low, high] = self.calls;
        LEFT + ((nfe as f64).log2() - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, distance: f64) -> f64 {
        let [low, high] = self.distance;
        HEIGHT - BOTTOM - (distance.max(1e-9).log2() - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
    }

    /// Round distances within the figure: 1, 2, 5, 10, …
    fn ticks(&self) -> Vec<f64> {
        let decades = (-3..7).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
        let [low, high] = self.distance;
        decades.filter(|tick| (low..=high).contains(&tick.log2())).collect()
    }
}

/// A line for each model and solver, with the mean over its seeds; the average velocity's lines are solid, those of
/// other solvers dashed, each in its own way.
pub fn plot(records: &[Evaluation]) -> String {
    let (rows, calls) = rows(records);
    let metric = records.first().map_or("", |record| &record.metric);
    let scale = Scale::of(records);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"14\" fill=\"#1d1b19\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    for &nfe in &calls {
        let (x, bottom) = (scale.x(nfe), HEIGHT - BOTTOM);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#eee9e2\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{nfe}</text>",
            bottom + 22.0
        );
    }
    for tick in scale.ticks() {
        let (y, right) = (scale.y(tick), WIDTH - RIGHT);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#eee9e2\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            LEFT - 8.0,
            y + 5.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">network calls per image</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 10.0
    );
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"18\">{}, lower is better</text>", xml(metric));
    let mut models: Vec<&str> = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let model = models.iter().position(|model| *model == row.label).unwrap_or_else(|| {
            models.push(&row.label);
            models.len() - 1
        });
        svg += &series(row, place, COLOURS[model % COLOURS.len()], &calls, &scale);
    }
    svg + "</svg>\n"
}

/// A row's line, and its entry in the legend.
fn series(row: &Row, place: usize, colour: &str, calls: &[usize], scale: &Scale) -> String {
    let means = calls.iter().filter_map(|&nfe| {
        let values = row.distances(nfe);
        (!values.is_empty()).then(|| [scale.x(nfe), scale.y(mean_std(&values).0)])
    });
    let points: Vec<[f64; 2]> = means.collect();
    let dashes = match row.solver {
        "mean-flow" => "",
        "restart" => " stroke-dasharray=\"6 4\"",
        "euler" => " stroke-dasharray=\"2 3\"",
        _ => " stroke-dasharray=\"12 4\"",
    };
    let path: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
    let mut svg = format!("<g stroke=\"{colour}\" fill=\"{colour}\">");
    let _ = write!(svg, "<polyline points=\"{}\" fill=\"none\" stroke-width=\"2\"{dashes}/>", path.join(" "));
    for [x, y] in points {
        let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" stroke=\"none\"/>");
    }
    let (x, y) = (WIDTH - RIGHT + 18.0, TOP + 12.0 + 22.0 * place as f64);
    let _ = write!(svg, "<path d=\"M{x} {y}h26\" stroke-width=\"2\"{dashes}/></g>");
    let words = xml(&format!("{}, {}", row.label, row.solver));
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{words}</text>", x + 34.0, y + 5.0);
    svg
}
