//! Which model a result is of, and which models are runs of the same settings.

use std::path::Path;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use crate::error::Error;
use crate::model::weights::{self, ModelInfo};

/// What tells the model of a weights file from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelId {
    /// The weights file, as it was given.
    pub file: String,
    /// XXH64 of the file, 16 hexadecimal digits.
    pub hash: String,
    /// The same of all that the file says about the model but for the training seed, what it makes of a known seed, and
    /// the numbers themselves: equal for runs that differ in the seed alone.
    pub run: String,
}

impl ModelId {
    /// Of a weights file and its bytes.
    ///
    /// # Errors
    /// As [`weights::read_info`].
    pub fn of(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let mut info: ModelInfo = weights::read_info(bytes)?;
        info.training.seed = 0;
        info.check = None;
        // A file of an older version does not say its settings: whether another differs from it in the seed alone is
        // not known.
        let unknown = if info.training.settings.is_none() { xxh64(bytes) } else { String::new() };
        let wrong = |error: &dyn std::fmt::Display| Error::Weights(error.to_string());
        let mut text = serde_json::to_string(&info).map_err(|e| wrong(&e))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(&e))?;
        let mut tensors: Vec<String> = header
            .tensors()
            .iter()
            .map(|(name, tensor)| format!("{name} {:?} {:?}", tensor.dtype, tensor.shape))
            .collect();
        tensors.sort_unstable();
        text += &tensors.join("\n");
        text += &unknown;
        Ok(Self { file: path.display().to_string(), hash: xxh64(bytes), run: xxh64(text.as_bytes()) })
    }
}

/// XXH64 with the seed 0, as `xxhsum -H64` prints it.
pub(crate) fn xxh64(bytes: &[u8]) -> String {
    format!("{:016x}", XxHash64::oneshot(0, bytes))
}
