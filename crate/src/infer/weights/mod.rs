//! Weights files as the page reads them: by the rules of [`crate::model::weights`], and without the readers that serde
//! derives, which would be a third of what a browser downloads of an engine. The CPU's engine reads tensors while they
//! are downloaded, the GPU's once all are there.

mod header;
mod json;
mod metadata;

pub(crate) use header::Header;

use crate::error::Error;
use crate::model::weights::ModelInfo;

/// What a weights file says about itself, whether or not its tensors are those of the network.
///
/// # Errors
/// When it is no weights file, or one of another version.
pub(crate) fn read_info(bytes: &[u8]) -> Result<ModelInfo, Error> {
    Header::of(bytes)?.info()
}
