//! What a run shows while it trains: a few lines that stand still where there is a terminal, plain lines where there is
//! none.

use indicatif::{ProgressBar, ProgressStyle};
use meanflow::train::{Observer, Record};

/// Columns of a curve.
const WIDTH: usize = 48;

/// Progress, figures, and the curves of the residuals over the whole run.
pub(crate) struct Dashboard {
    bar: ProgressBar,
    silent: bool,
    intervals: Curve,
    instants: Curve,
}

impl Dashboard {
    pub(crate) fn new(steps: u64) -> Self {
        let style =
            ProgressStyle::with_template("{bar:48.cyan/dim} {percent}% · step {pos} of {len} · {eta} left\n{msg}");
        let bar = ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, silent: false, intervals: Curve::default(), instants: Curve::default() }
    }

    /// Shows nothing, beside one of another process that shows it all.
    pub(crate) fn silent() -> Self {
        Self { bar: ProgressBar::hidden(), silent: true, intervals: Curve::default(), instants: Curve::default() }
    }

    /// Leaves the bar where it is: full where all steps were taken.
    pub(crate) fn finish(&self, finished: bool) {
        match finished {
            true => self.bar.finish(),
            false => self.bar.abandon(),
        }
    }

    /// The lines below the bar.
    fn lines(&self, record: &Record) -> String {
        let memory = record.peak_memory.map_or(String::new(), |bytes| format!(" · {:.1} GB", bytes as f64 / 1e9));
        let mut text = format!(
            "{:.0} img/s · learning rate {:.1e}{memory} · residuals, on a logarithmic scale:",
            record.images_per_second, record.learning_rate
        );
        for (name, curve, last) in
            [("r < t", &self.intervals, record.residual_interval), ("r = t", &self.instants, record.residual_instant)]
        {
            text += &format!("\n{name} {:WIDTH$} {}", curve.draw(), last.map_or("–".into(), |x| format!("{x:.1}")));
        }
        text
    }
}

impl Observer for Dashboard {
    fn step(&mut self, done: u64) {
        if self.bar.position() == 0 {
            // A resumed run must not count the steps of the past into its speed.
            self.bar.set_position(done);
            self.bar.reset_eta();
        }
        self.bar.set_position(done);
    }

    fn record(&mut self, record: &Record) {
        if self.silent {
            return;
        }
        self.intervals.add(record.residual_interval);
        self.instants.add(record.residual_instant);
        if self.bar.is_hidden() {
            let part = |value: Option<f64>| value.map_or("–".into(), |v| format!("{v:.1}"));
            let [intervals, instants] = [record.residual_interval, record.residual_instant].map(part);
            let speed = record.images_per_second;
            say!("step {} · {speed:.0} img/s · residual r<t {intervals} · r=t {instants}", record.step);
        }
        self.bar.set_message(self.lines(record));
    }

    fn notice(&mut self, text: &str) {
        if !self.silent {
            self.bar.suspend(|| say!("{text}"));
        }
    }
}

/// A curve in a line of text. As it grows each column stands for more of the run, so that it always shows all of it.
struct Curve {
    columns: Vec<f64>,
    /// The logarithms that make the next column, and how many make one.
    next: Vec<f64>,
    each: usize,
}

impl Default for Curve {
    fn default() -> Self {
        Self { columns: Vec::new(), next: Vec::new(), each: 1 }
    }
}

impl Curve {
    fn add(&mut self, value: Option<f64>) {
        let Some(value) = value.filter(|x| x.is_finite() && *x > 0.0) else { return };
        self.next.push(value.ln());
        if self.next.len() < self.each {
            return;
        }
        self.columns.push(mean(&self.next));
        self.next.clear();
        if self.columns.len() > WIDTH {
            self.columns = self.columns.chunks(2).map(mean).collect();
            self.each *= 2;
        }
    }

    fn draw(&self) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let [low, high] = [f64::min, f64::max].map(|pick| self.columns.iter().copied().reduce(pick).unwrap_or(0.0));
        let height = |x: &f64| if high > low { (x - low) / (high - low) } else { 0.0 };
        self.columns.iter().map(|x| BARS[(height(x) * 7.0).round() as usize]).collect()
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_stopped_leaves_its_bar_where_it_is() {
        let mut dashboard = Dashboard::new(100);
        dashboard.step(17);
        dashboard.finish(false);
        assert_eq!(dashboard.bar.position(), 17);
        dashboard.step(100);
        dashboard.finish(true);
        assert_eq!(dashboard.bar.position(), 100);
    }

    #[test]
    fn a_curve_shows_the_whole_run_however_long_it_is() {
        let mut curve = Curve::default();
        assert_eq!(curve.draw(), "");
        for value in [1.0, 10.0, 100.0, f64::NAN, 1.0] {
            curve.add(Some(value));
        }
        curve.add(None);
        assert_eq!(curve.draw(), "▁▅█▁", "equal factors are equal steps");
        for step in 0..10_000 {
            curve.add(Some(1e3 * (-f64::from(step) / 2e3).exp()));
            assert!(curve.draw().chars().count() <= WIDTH);
        }
        let drawn: Vec<char> = curve.draw().chars().collect();
        assert!(drawn.len() > WIDTH / 3 && drawn.last() == Some(&'▁') && drawn[1..].is_sorted_by(|a, b| a >= b));
    }
}
