//! Which records stand together: a row of a table, a line of a plot.

use super::record::Evaluation;

/// Records of one model and solver, by training seeds: runs of the same settings that differ in the seed alone.
pub(super) struct Row<'a> {
    /// The model's name, with what tells it from others of the same name.
    pub label: String,
    pub solver: &'a str,
    pub records: Vec<&'a Evaluation>,
}

impl Row<'_> {
    /// A figure of all seeds at a number of calls.
    pub fn at(&self, nfe: usize, figure: fn(&Evaluation) -> f64) -> Vec<f64> {
        self.records.iter().filter(|record| record.nfe == nfe).map(|record| figure(record)).collect()
    }

    /// The Fréchet distances there are at a number of calls.
    pub fn distances(&self, nfe: usize) -> Vec<f64> {
        self.records.iter().filter(|record| record.nfe == nfe).filter_map(|record| record.distance).collect()
    }

    /// The training seeds, each once.
    pub fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.records.iter().map(|record| record.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// Whether a record is of this row: of the same settings but for the seed, and of each seed one model.
    fn takes(&self, record: &Evaluation) -> bool {
        let same_seed = || self.records.iter().filter(|other| other.seed == record.seed);
        let one_model = match hash(record) {
            Some(_) => same_seed().all(|other| hash(other) == hash(record)),
            // Results that do not say which file they are of cannot be of the same model twice.
            None => same_seed().all(|other| other.nfe != record.nfe),
        };
        self.solver == record.solver && self.records.iter().all(|other| same_settings(other, record)) && one_model
    }
}

fn hash(record: &Evaluation) -> Option<&str> {
    record.id.as_ref().map(|id| id.hash.as_str())
}

/// Whether two records are of runs with the same settings, measured in the same way.
fn same_settings(a: &Evaluation, b: &Evaluation) -> bool {
    let key = |r: &Evaluation| {
        let run = r.id.as_ref().map(|id| id.run.clone());
        (r.model.clone(), run, r.captioned, r.images, r.real, r.eval_seed, r.measure(), r.manifold, r.kernel_subsets)
    };
    key(a) == key(b)
}

/// Rows in the order in which they first appear, and all numbers of calls. Of a model that was measured twice in the
/// same way the later result counts.
pub(super) fn rows(records: &[Evaluation]) -> (Vec<Row<'_>>, Vec<usize>) {
    let mut rows: Vec<Row> = Vec::new();
    for record in records {
        match rows.iter_mut().find(|row| row.takes(record)) {
            Some(row) => match row.records.iter_mut().find(|old| (old.seed, old.nfe) == (record.seed, record.nfe)) {
                Some(old) => *old = record,
                None => row.records.push(record),
            },
            None => rows.push(Row { label: String::new(), solver: &record.solver, records: vec![record] }),
        }
    }
    let labels: Vec<String> = (0..rows.len()).map(|place| label(&rows, place)).collect();
    rows.iter_mut().zip(labels).for_each(|(row, label)| row.label = label);
    let mut calls: Vec<usize> = records.iter().map(|record| record.nfe).collect();
    calls.sort_unstable();
    calls.dedup();
    (rows, calls)
}

/// What may tell rows of one name apart, in words, the plainest first.
const FEATURES: [fn(&Row) -> String; 6] = [
    |row| {
        let mut files: Vec<&str> =
            row.records.iter().filter_map(|r| r.id.as_ref().map(|id| id.file.as_str())).collect();
        files.dedup();
        match files[..] {
            [] => "no file named".into(),
            [file] => file.into(),
            [first, ..] => format!("{first} and other seeds"),
        }
    },
    |row| if row.records[0].captioned { "of captions".into() } else { "of no captions".into() },
    |row| format!("{} images", row.records[0].images),
    |row| format!("{} real", row.records[0].real),
    |row| row.records[0].eval_seed.map_or_else(|| "no seed named".into(), |seed| format!("seeds from {seed}")),
    |row| hash(row.records[0]).unwrap_or("no hash").into(),
];

/// The name of a row, and all in which it differs from rows of other models of that name.
fn label(rows: &[Row], place: usize) -> String {
    let row = &rows[place];
    let name = &row.records[0].model;
    let run = |row: &Row| row.records[0].id.as_ref().map(|id| id.run.clone());
    // By another solver the same settings are the same model.
    let others: Vec<&Row> = rows
        .iter()
        .enumerate()
        .filter(|(at, other)| *at != place && other.records[0].model == *name)
        .filter(|(_, other)| other.solver == row.solver || run(other) != run(row))
        .map(|(_, other)| other)
        .collect();
    let differs = |feature: &&fn(&Row) -> String| others.iter().any(|other| feature(other) != feature(row));
    // The hash only where nothing else tells them apart.
    let (plain, hash) = FEATURES.split_at(FEATURES.len() - 1);
    let mut parts: Vec<String> = plain.iter().filter(differs).map(|feature| feature(row)).collect();
    let alike = |features: &[fn(&Row) -> String]| {
        let same = |other: &&&Row| features.iter().all(|feature| feature(other) == feature(row));
        others.iter().filter(same).count()
    };
    if alike(plain) > 0 {
        parts.extend(hash.iter().filter(differs).map(|feature| feature(row)));
    }
    if alike(&FEATURES) > 0 {
        let before = |other: &&Row| {
            other.records[0].model == *name && other.solver == row.solver && {
                FEATURES.iter().all(|feature| feature(other) == feature(row))
            }
        };
        parts.push(format!("no. {}", rows[..place].iter().filter(before).count() + 1));
    }
    match parts.is_empty() {
        true => name.clone(),
        false => format!("{name} ({})", parts.join(", ")),
    }
}

/// Mean and standard deviation over seeds; the deviation is 0 for one.
pub(super) fn mean_std(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (values.len().max(2) - 1) as f64).sqrt())
}
