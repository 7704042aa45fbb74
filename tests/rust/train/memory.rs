//! How much memory training takes, against what is computed before it begins.

use meanflow::train::TrainConfig;

use crate::cli::{Place, succeeds};

/// Settings of prompts of so many words.
fn settings(conditioning: &str, tokens: usize) -> String {
    format!(
        "data = {{ size = 8 }}\n\
         net = {{ patch = 4, width = 128, depth = 4, heads = 2, \
         text = {{ conditioning = \"{conditioning}\", tokens = {tokens}, buckets = 32 }} }}\n\
         train = {{ steps = 2, batch_size = 128, flow_matching_steps = 0, ramp_steps = 0 }}\n\
         log = {{ every = 1, sample_every = 100, samples = 1 }}\n"
    )
}

#[test]
fn words_take_as_much_memory_as_is_planned_for_or_more() {
    let place = Place::new();
    let (images, _) = place.images();
    for conditioning in ["keys-values", "in-context"] {
        let [few, many] = [1, 64].map(|tokens| {
            let config = place.file("words.toml", settings(conditioning, tokens));
            let run = place.path(&format!("{conditioning}-{tokens}"));
            succeeds(&["train", "--data", &images, "--config", &config, "--out", &run, "--devices", "0"]);
            let log = std::fs::read_to_string(format!("{run}/log.jsonl")).expect("a log");
            let last: serde_json::Value = serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
            let taken = last["peak_memory"].as_u64();
            let planned = TrainConfig::from_toml(&settings(conditioning, tokens)).expect("settings");
            (planned.net_config(0).expect("a network").step_bytes(128), taken)
        });
        let planned = many.0 - few.0;
        assert!(planned > 40_000_000, "{conditioning}: {planned}");
        // Not every system says how much a process has taken.
        if let (Some(few), Some(many)) = (few.1, many.1) {
            let taken = many.saturating_sub(few);
            println!("{conditioning}: {planned} bytes planned for 63 words more, {taken} taken");
            assert!(taken >= planned, "{conditioning}: {taken} bytes taken, {planned} planned");
        }
    }
}
