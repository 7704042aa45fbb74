//! Several processes that train one network (data parallelism): each takes its rows of every batch, and the gradients
//! are added up before the optimizer's step, which is the same in all of them.
//!
//! Batches, times and noise follow from the seed and the step alone, so no process sends another anything but
//! gradients. The first process writes the run; the others write nothing.

#[cfg(feature = "mpi")]
mod mpi;

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use burn::module::Module as _;
use serde::{Deserialize, Serialize};

use super::config::TrainConfig;
use super::manifest::DataManifest;
use super::resume;
use crate::data::sha256;
pub use crate::learn::ProcessGroup;
use crate::learn::process_group::Flatten;
use crate::net::Net;

/// Environment variables in which launchers put the number of processes: Open MPI's, that of MPICH and Intel MPI, and
/// that of Slurm's `srun`.
const LAUNCHERS: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// The processes that `mpirun` or another launcher has started together; `None` for a process on its own.
///
/// # Errors
/// When a launcher has started several, and the program was built without MPI.
pub fn join() -> Result<Option<Arc<dyn ProcessGroup>>> {
    let launcher = LAUNCHERS.into_iter().find(|name| std::env::var(name).is_ok_and(|size| size != "1"));
    match launcher {
        #[cfg(feature = "mpi")]
        Some(_) => Ok(mpi::Mpi::join()),
        #[cfg(not(feature = "mpi"))]
        Some(name) => bail!(
            "{name} says that a launcher has started several processes, and this program was built without MPI: build \
             it with `--features mpi`, or start it on its own"
        ),
        None => Ok(None),
    }
}

/// Whether this process writes the run: the first of several, or the only one.
pub(super) fn writes(processes: Option<&dyn ProcessGroup>) -> bool {
    processes.is_none_or(|processes| processes.rank() == 0)
}

/// Whether any process says so.
pub(super) fn any(group: &dyn ProcessGroup, says_so: bool) -> bool {
    let mut count = [if says_so { 1.0 } else { 0.0 }];
    group.all_reduce(&mut count);
    count[0] > 0.0
}

/// Waits until all processes are here.
pub(super) fn barrier(group: &dyn ProcessGroup) {
    group.all_gather(&[]);
}

/// What must be the same in all processes.
#[derive(Serialize, Deserialize)]
struct Setup {
    version: String,
    settings: String,
    data: DataManifest,
}

/// Checks that all processes train the same network on the same images.
///
/// # Errors
/// In every process; names the ranks, and what of theirs is not as with rank 0.
pub(super) fn check_same(group: &dyn ProcessGroup, config: &TrainConfig, data: &DataManifest) -> Result<()> {
    let own = Setup { version: env!("CARGO_PKG_VERSION").into(), settings: config.to_toml()?, data: data.clone() };
    let all: Vec<Setup> = group
        .all_gather(&serde_json::to_vec(&own)?)
        .iter()
        .map(|setup| serde_json::from_slice(setup))
        .collect::<Result<_, _>>()
        .context("the processes are of different versions of this program")?;
    let mut differences = Vec::new();
    for (rank, setup) in all.iter().enumerate().skip(1) {
        let mut found = Vec::new();
        if setup.version != all[0].version {
            found.push(format!("is version {} and not {}", setup.version, all[0].version));
        }
        let [first, settings] = [&all[0], setup].map(|setup| TrainConfig::of_run(&setup.settings));
        found.extend(
            resume::differences(&first?, &settings?)?
                .into_iter()
                .map(|(path, [first, own])| format!("has {} {own} and not {first}", resume::setting_name(&path))),
        );
        if setup.data != all[0].data {
            found.push(format!("has other images ({})", all[0].data.differences(&setup.data).join(", ")));
        }
        if !found.is_empty() {
            differences.push(format!("rank {rank} {}", found.join(", ")));
        }
    }
    match differences.is_empty() {
        true => Ok(()),
        false => bail!("all processes of a run must have what rank 0 has: {}", differences.join("; ")),
    }
}

/// Checks that all processes have come to the same weights.
///
/// # Errors
/// In every process; names the ranks that have others.
pub(super) fn check_weights(group: &dyn ProcessGroup, net: &Net, step: u64) -> Result<()> {
    let mut weights = Flatten::default();
    net.visit(&mut weights);
    let bytes: Vec<u8> = weights.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let digests = group.all_gather(sha256(&bytes).as_bytes());
    let others: Vec<String> =
        (1..digests.len()).filter(|&rank| digests[rank] != digests[0]).map(|rank| rank.to_string()).collect();
    match others.is_empty() {
        true => Ok(()),
        false => bail!("at step {step} rank {} has other weights than rank 0", others.join(", ")),
    }
}
