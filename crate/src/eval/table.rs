//! Evaluations as Markdown.

use std::fmt::Write;

use super::neighbours::NearestDistance;
use super::record::{Draw, Evaluation};
use super::rows::{Row, mean_std, rows};
use crate::io::markdown;
use crate::model::Solver;

/// Two tables: the distance at each number of network calls, and everything else about the fewest calls of each row;
/// above them what was measured and with what. Where records have it, a third table compares one call with 32 steps of
/// Euler's method from the same noise.
///
/// Where runs differ in the training seed alone, figures are mean ± standard deviation over them.
pub fn tables(records: &[Evaluation]) -> String {
    let (rows, calls) = rows(records);
    let Some(first) = records.first() else {
        return "no evaluations\n".into();
    };
    let metric = markdown(&first.metric);
    let mut text = heading(records, &rows);
    let heads: Vec<String> = calls.iter().map(|nfe| format!(" {nfe} ")).collect();
    let _ = writeln!(text, "| {metric} by network calls | solver |{}|", heads.join("|"));
    let _ = writeln!(text, "|---|---|{}", "--:|".repeat(calls.len()));
    for row in &rows {
        let cells: Vec<String> = calls.iter().map(|&nfe| cell(&row.distances(nfe), 2)).collect();
        let _ = writeln!(text, "| {} | {} | {} |", markdown(&row.label), markdown(row.solver), cells.join(" | "));
    }
    let _ = writeln!(text, "\n| | solver | calls | {metric} | KID | precision | recall | ms per image |");
    let _ = writeln!(text, "|---|---|--:|--:|--:|--:|--:|--:|");
    let mixed = draws(records).len() > 1;
    for row in &rows {
        let _ = writeln!(text, "{}", fewest(row, mixed));
    }
    text + &smears(&rows)
}

/// One call against 32 steps of Euler's method from the same noise: how much farther its pictures are from the nearest
/// real one, as mixtures of several are; and its distance against the best of the model.
fn smears(rows: &[Row]) -> String {
    let (one, many) = ((Solver::MeanFlow.to_string(), 1), (Solver::Euler.to_string(), 32));
    let mut lines = String::new();
    for row in rows.iter().filter(|row| row.solver == one.0) {
        let of = |(solver, nfe): &(String, usize), seed: u64| {
            let rows = rows.iter().filter(|other| other.label == row.label && other.solver == solver);
            let mut records = rows.flat_map(|row| &row.records).filter(|r| (r.nfe, r.seed) == (*nfe, seed));
            records.find_map(|record| record.nearest_distance)
        };
        let pairs: Vec<[NearestDistance; 2]> =
            row.seeds().into_iter().filter_map(|seed| Some([of(&one, seed)?, of(&many, seed)?])).collect();
        if pairs.is_empty() {
            continue;
        }
        let figures = |of: fn(&NearestDistance) -> f64| {
            let values: Vec<[f64; 2]> = pairs.iter().map(|pair| pair.each_ref().map(of)).collect();
            let column = |of: fn(&[f64; 2]) -> f64| cell(&values.iter().map(of).collect::<Vec<_>>(), 2);
            format!("{} | {} | {}", column(|v| v[0]), column(|v| v[1]), column(|v| v[0] / v[1]))
        };
        let records = || rows.iter().filter(|other| other.label == row.label).flat_map(|other| &other.records);
        let best = |seed| {
            let of_seed = records().filter(|record| record.seed == seed);
            of_seed.filter_map(|record| record.distance).min_by(f64::total_cmp)
        };
        let first = row.records.iter().filter(|record| record.nfe == 1);
        let ratios: Vec<f64> = first.filter_map(|record| Some(record.distance? / best(record.seed)?)).collect();
        let _ = writeln!(
            lines,
            "| {} | {} | {} | {} | {} |",
            markdown(&row.label),
            figures(|n| n.pixels[0]),
            figures(|n| n.pixels[1]),
            figures(|n| n.features[0]),
            cell(&ratios, 2)
        );
    }
    if lines.is_empty() {
        return lines;
    }
    format!(
        "\nDistance to the nearest real image, one call of MeanFlow (1) against 32 steps of Euler's method (32) from the \
         same noise; the ratio is above 1 where one call mixes images.\n\n\
         | | pixels, median: 1 | 32 | ratio | 95 %: 1 | 32 | ratio | features, median: 1 | 32 | ratio | distance at 1 call \
         / best |\n|---|{}\n{lines}",
        "--:|".repeat(10)
    )
}

/// What was measured, on which images, and what the figures are of.
fn heading(records: &[Evaluation], rows: &[Row]) -> String {
    let mut measures: Vec<String> = records.iter().map(Evaluation::measure).collect();
    measures.dedup();
    let mut text = format!("{} on {}; ", markdown(&records[0].metric), markdown(&measures.join(", and on ")));
    text += &format!("{} generated, {} real images.\n", counts(records, |r| r.images), counts(records, |r| r.real));
    let captioned = records.iter().filter(|r| r.captioned).count();
    if captioned > 0 {
        let which = if captioned == records.len() { "Images" } else { "Images of models that take prompts" };
        text += &format!("{which} are generated from the captions of the real ones.\n");
    }
    for draw in draws(records) {
        text += &match draw {
            Draw::Uniform => {
                let named: Vec<&Evaluation> = records.iter().filter(|r| r.manifold.draw == draw).collect();
                let count = |i: usize| counts(&named, |r| r.manifold.counts.map_or(0, |counts| counts[i]));
                let seeds = counts(&named, |r| r.eval_seed.unwrap_or(0) as usize);
                format!(
                    "Precision and recall: {} generated against {} real images, drawn uniformly by seed {seeds}.\n",
                    count(1),
                    count(0)
                )
            }
            Draw::First => {
                let marked = if draws(records).len() > 1 { " of rows with †" } else { "" };
                format!(
                    "Precision and recall{marked}: against the first real images in the order of the set, at most 5000, \
                     as older versions took them; they compare with no others.\n"
                )
            }
        };
    }
    let mut subsets: Vec<[usize; 2]> = records.iter().filter_map(|r| r.kernel_subsets).collect();
    subsets.sort_unstable();
    subsets.dedup();
    if !subsets.is_empty() {
        let each: Vec<String> = subsets
            .iter()
            .map(|[subsets, rows]| match subsets {
                1 => format!("all {rows} images of either kind at once"),
                _ => format!("{subsets} subsets of {rows} images of either kind"),
            })
            .collect();
        text += &format!("KID: {}.\n", each.join("; "));
    }
    let mut seeds: Vec<String> = rows.iter().map(Row::seeds).filter(|seeds| seeds.len() > 1).map(listed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    if !seeds.is_empty() {
        text += &format!("±: standard deviation over runs with the training seeds {}.\n", seeds.join("; or "));
    }
    let mut reasons: Vec<&String> = records.iter().filter_map(|r| r.no_distance.as_ref()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons.iter().for_each(|reason| text += &format!("No {}: {}.\n", markdown(&records[0].metric), markdown(reason)));
    text + "\n"
}

/// The ways in which the real images of precision and recall were chosen.
fn draws(records: &[Evaluation]) -> Vec<Draw> {
    [Draw::Uniform, Draw::First].into_iter().filter(|draw| records.iter().any(|r| r.manifold.draw == *draw)).collect()
}

/// The different values of a count.
fn counts<R: std::borrow::Borrow<Evaluation>>(records: &[R], of: impl Fn(&Evaluation) -> usize) -> String {
    let mut values: Vec<usize> = records.iter().map(|record| of(record.borrow())).collect();
    values.sort_unstable();
    values.dedup();
    values.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ")
}

fn listed(seeds: Vec<u64>) -> String {
    seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// `mixed` marks precision and recall that do not compare with those of other rows.
fn fewest(row: &Row, mixed: bool) -> String {
    let nfe = row.records.iter().map(|record| record.nfe).min().unwrap_or(1);
    let mark = if mixed && row.records[0].manifold.draw == Draw::First { " †" } else { "" };
    let figures = [
        cell(&row.distances(nfe), 2),
        cell(&row.at(nfe, |r| r.kernel), if row.records.iter().any(|r| r.kernel > 1.0) { 2 } else { 5 }),
        cell(&row.at(nfe, |r| r.precision), 3) + mark,
        cell(&row.at(nfe, |r| r.recall), 3) + mark,
        cell(&row.at(nfe, |r| 1e3 * r.seconds), 2),
    ];
    format!("| {} | {} | {nfe} | {} |", markdown(&row.label), markdown(row.solver), figures.join(" | "))
}

fn cell(values: &[f64], digits: usize) -> String {
    match (values.len(), mean_std(values)) {
        (0, _) => "–".into(),
        (1, (mean, _)) => format!("{mean:.digits$}"),
        (_, (mean, std)) => format!("{mean:.digits$} ± {std:.digits$}"),
    }
}
