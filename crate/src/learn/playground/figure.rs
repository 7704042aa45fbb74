//! Three panels as SVG: what one call makes, the ways of the velocity beside the jumps, and `v` beside `u`.

use std::fmt::Write;

/// Points in the plane.
pub type Series = Vec<[f32; 2]>;

/// What a network has learnt of a distribution.
#[derive(Clone, Debug)]
pub struct Portrait {
    /// Points of the distribution.
    pub data: Series,
    /// Noise `e`.
    pub noise: Series,
    /// Where one call takes each of them: `e − u(e, 0, 1)`.
    pub jumps: Series,
    /// Where the first of them are as they follow `v`, step by step.
    pub walks: Vec<Series>,
    /// A grid of places, with the velocities there at `t = 1`.
    pub places: Series,
    /// Instantaneous velocity `v(z, 1)`.
    pub v: Series,
    /// Average velocity `u(z, 0, 1)`.
    pub u: Series,
}

/// Edge of a panel, in pixels.
const PANEL: f32 = 300.0;
const GAP: f32 = 24.0;
/// The plane is shown within `±RANGE`.
const RANGE: f32 = 2.8;
const GREY: &str = "#8a8378";
const ACCENT: &str = "#d6482b";

impl Portrait {
    /// The figure as the text of an SVG file.
    pub fn to_svg(&self) -> String {
        let (width, height) = (3.0 * PANEL + 4.0 * GAP, PANEL + 2.0 * GAP + 28.0);
        let panels = [
            ("data, and one call from noise", self.map()),
            ("64 steps along v, and one call", self.ways()),
            ("v and u at t = 1", self.velocities()),
        ];
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"15\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
        );
        for (i, (title, shapes)) in panels.iter().enumerate() {
            let left = GAP + i as f32 * (PANEL + GAP);
            let _ = write!(
                svg,
                "<text x=\"{left}\" y=\"{}\" fill=\"#1d1b19\">{title}</text>\n\
                 <svg x=\"{left}\" y=\"{}\" width=\"{PANEL}\" height=\"{PANEL}\">\
                 <rect width=\"100%\" height=\"100%\" fill=\"#faf8f5\"/>\n{shapes}</svg>\n",
                GAP + 6.0,
                GAP + 28.0
            );
        }
        svg + "</svg>\n"
    }

    fn map(&self) -> String {
        dots(&self.data, GREY, 1.8) + &dots(&self.jumps, ACCENT, 1.8)
    }

    fn ways(&self) -> String {
        let count = self.walks.first().map_or(0, Vec::len);
        let mut shapes = String::new();
        for i in 0..count {
            let way: Series = self.walks.iter().map(|points| points[i]).collect();
            shapes += &line(&way, GREY, 1.0);
            shapes += &line(&[self.noise[i], self.jumps[i]], ACCENT, 0.7);
        }
        shapes + &dots(&self.noise[..count], GREY, 2.0) + &dots(&self.jumps[..count], ACCENT, 2.4)
    }

    fn velocities(&self) -> String {
        // Samples move against the velocity, so the arrows show where a point is taken, a seventh of the way.
        let arrows = |velocity: &Series, colour: &str| -> String {
            let arrow = |(place, velocity): (&[f32; 2], &[f32; 2])| {
                let tip = [place[0] - velocity[0] / 7.0, place[1] - velocity[1] / 7.0];
                line(&[*place, tip], colour, 1.6) + &dots(&[tip], colour, 2.2)
            };
            self.places.iter().zip(velocity).map(arrow).collect()
        };
        arrows(&self.v, GREY) + &arrows(&self.u, ACCENT)
    }
}

/// Pixels of a point: the second axis points up.
fn pixel([x, y]: [f32; 2]) -> [f32; 2] {
    let scale = PANEL / (2.0 * RANGE);
    [(x + RANGE) * scale, (RANGE - y) * scale]
}

fn dots(points: &[[f32; 2]], colour: &str, radius: f32) -> String {
    let mut shapes = format!("<g fill=\"{colour}\" fill-opacity=\"0.75\">");
    for [x, y] in points.iter().copied().map(pixel) {
        let _ = write!(shapes, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>");
    }
    shapes + "</g>\n"
}

fn line(points: &[[f32; 2]], colour: &str, width: f32) -> String {
    let places: Vec<String> = points.iter().copied().map(pixel).map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
    format!("<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" points=\"{}\"/>\n", places.join(" "))
}
