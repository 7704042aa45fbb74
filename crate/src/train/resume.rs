//! What a run keeps to its end, and what may be other when it goes on.

use anyhow::{Context, Result, bail};

use super::config::TrainConfig;

/// Settings, and tables of them, that may change: how long and how fast it learns, how it is computed, and what is
/// written.
const CHANGEABLE: &[&str] = &[
    "name",
    "card",
    "log",
    "train.steps",
    "train.learning_rate",
    "train.warmup_steps",
    "train.cooldown_steps",
    "train.cooldown",
    "train.clip",
    "train.weight_decay",
    "train.accumulate",
    "train.recompute",
    "train.precision",
    "train.threads",
    "train.averages",
];

/// Checks that a run may go on with other settings.
///
/// # Errors
/// Names the settings that it may not, with both values: with them it would be neither the old run nor a new one.
pub(super) fn check(before: &TrainConfig, now: &TrainConfig) -> Result<()> {
    let refused: Vec<String> = differences(before, now)?
        .into_iter()
        .filter(|(path, _)| !is_changeable(path))
        .map(|(path, [before, now])| format!("{} was {before} and is now {now}", setting_name(&path)))
        .collect();
    match refused.is_empty() {
        true => Ok(()),
        false => bail!(
            "a run keeps these settings to its end: {}; go on with the old ones, or begin another run (with the trained weights: \
             `meanflow export`, then `train --init`)",
            refused.join(", ")
        ),
    }
}

/// A setting as a person finds it in the file, such as `[train] seed`.
pub(super) fn setting_name(path: &str) -> String {
    match path.rsplit_once('.') {
        Some((table, key)) => format!("[{table}] {key}"),
        None => path.to_owned(),
    }
}

fn is_changeable(path: &str) -> bool {
    let covers = |kept: &&str| path.strip_prefix(*kept).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    CHANGEABLE.iter().any(covers)
}

/// The settings that differ, by their names, with both values as TOML writes them.
pub(super) fn differences(before: &TrainConfig, now: &TrainConfig) -> Result<Vec<(String, [String; 2])>> {
    let [before, now] = [before, now].map(|config| toml::Value::try_from(config).context("the settings are no TOML"));
    let mut found = Vec::new();
    compare("", Some(&before?), Some(&now?), &mut found);
    Ok(found)
}

fn compare(
    path: &str,
    before: Option<&toml::Value>,
    now: Option<&toml::Value>,
    found: &mut Vec<(String, [String; 2])>,
) {
    let tables = [before, now].map(|value| value.map_or(Some(None), |value| value.as_table().map(Some)));
    match tables {
        [Some(before), Some(now)] if before.or(now).is_some() => {
            let mut keys: Vec<&String> = [before, now].into_iter().flatten().flat_map(|table| table.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let [before, now] = [before, now].map(|table| table.and_then(|table| table.get(key)));
                compare(&inner, before, now, found);
            }
        }
        _ if before != now => {
            let text = |value: Option<&toml::Value>| value.map_or("not set".into(), ToString::to_string);
            found.push((path.into(), [text(before), text(now)]));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::EmaDecay;

    #[test]
    fn a_run_keeps_its_seed_and_may_gain_an_average() {
        let before = TrainConfig::default();
        let mut now = before.clone();
        now.train.steps += 1;
        now.train.averages.insert("slow".into(), EmaDecay::Constant { decay: 0.5 });
        now.log.keep_every = Some(5);
        check(&before, &now).expect("these may change");
        now.train.seed = 7;
        now.data.size = 16;
        let refusal = check(&before, &now).expect_err("these may not").to_string();
        assert!(refusal.contains("[train] seed was 0 and is now 7"), "{refusal}");
        assert!(refusal.contains("[data] size was 32 and is now 16"), "{refusal}");
        assert!(!refusal.contains("steps was") && !refusal.contains("keep_every"), "{refusal}");
    }
}
