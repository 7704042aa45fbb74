//! Evaluations as Markdown.

use std::fmt::Write;

use super::record::{Evaluation, Row, mean_std, rows};
use crate::io::markdown;

/// Two tables: the distance at each number of network calls, and everything else about the fewest calls of each row.
///
/// Where a model was trained with several seeds, figures are mean ± standard deviation over them.
pub fn tables(records: &[Evaluation]) -> String {
    let (rows, calls) = rows(records);
    let Some(first) = records.first() else {
        return "no evaluations\n".into();
    };
    let metric = markdown(&first.metric);
    let features = markdown(&first.features);
    let mut text = format!("{metric} on {features}; {} generated, {} real images.\n\n", first.images, first.real);
    let heads: Vec<String> = calls.iter().map(|nfe| format!(" {nfe} ")).collect();
    let _ = writeln!(text, "| {metric} by network calls | solver |{}|", heads.join("|"));
    let _ = writeln!(text, "|---|---|{}", "--:|".repeat(calls.len()));
    for row in &rows {
        let cells: Vec<String> = calls.iter().map(|&nfe| cell(&row.at(nfe, |r| r.distance), 2)).collect();
        let _ = writeln!(text, "| {} | {} | {} |", markdown(row.model), markdown(row.solver), cells.join(" | "));
    }
    let _ = writeln!(text, "\n| | solver | calls | {metric} | KID × 1000 | precision | recall | ms per image |");
    let _ = writeln!(text, "|---|---|--:|--:|--:|--:|--:|--:|");
    for row in &rows {
        let _ = writeln!(text, "{}", fewest(row));
    }
    text
}

fn fewest(row: &Row) -> String {
    let nfe = row.records.iter().map(|record| record.nfe).min().unwrap_or(1);
    let figures = [
        cell(&row.at(nfe, |r| r.distance), 2),
        cell(&row.at(nfe, |r| r.kernel), if row.records.iter().any(|r| r.kernel > 1.0) { 2 } else { 5 }),
        cell(&row.at(nfe, |r| r.precision), 3),
        cell(&row.at(nfe, |r| r.recall), 3),
        cell(&row.at(nfe, |r| 1e3 * r.seconds), 2),
    ];
    format!("| {} | {} | {nfe} | {} |", markdown(row.model), markdown(row.solver), figures.join(" | "))
}

fn cell(values: &[f64], digits: usize) -> String {
    match (values.len(), mean_std(values)) {
        (0, _) => "–".into(),
        (1, (mean, _)) => format!("{mean:.digits$}"),
        (_, (mean, std)) => format!("{mean:.digits$} ± {std:.digits$}"),
    }
}
