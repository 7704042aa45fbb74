//! Words for who gives a setting as a flag: what other trainers take on the command line stands in the TOML file here.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use meanflow::train::TrainConfig;

/// What other trainers call what is called otherwise here.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("epochs", "training is counted in steps: --steps N (an epoch is as many as images / batch_size)"),
    ("max_steps", "the number of steps is --steps"),
    ("output_dir", "the folder of the run is --out"),
    ("outdir", "the folder of the run is --out"),
    ("dataset", "the images are --data"),
    ("data_dir", "the images are --data"),
    ("train_data_dir", "the images are --data"),
    ("model", "the network is a setting: [net] preset, in a TOML file that --config names"),
    ("resume_from_checkpoint", "--resume goes on from the newest checkpoint in --out"),
    ("gradient_accumulation_steps", "it is a setting: [train] accumulate, in a TOML file that --config names"),
    ("max_grad_norm", "it is a setting: [train] clip, in a TOML file that --config names"),
    ("mixed_precision", "it is a setting: [train] precision, in a TOML file that --config names"),
];

/// What a person who gave an unknown flag to `meanflow train` may have meant.
pub(crate) fn for_unknown_flag(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument || std::env::args().nth(1).as_deref() != Some("train") {
        return None;
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    let name = flag.trim_start_matches('-').replace('-', "_").to_lowercase();
    let name = name.split('=').next().unwrap_or_default();
    if let Some((_, hint)) = OTHER_NAMES.iter().find(|(other, _)| *other == name) {
        return Some((*hint).into());
    }
    let places = TrainConfig::tables_with(name.rsplit('.').next().unwrap_or(name));
    let name = name.rsplit('.').next().unwrap_or(name);
    let places: Vec<String> = places
        .into_iter()
        .map(|table| if table.is_empty() { format!("`{name}`") } else { format!("[{table}] {name}") })
        .collect();
    (!places.is_empty()).then(|| {
        format!("it is a setting: {}, in a TOML file that --config names (crate/configs has some)", places.join(" or "))
    })
}
