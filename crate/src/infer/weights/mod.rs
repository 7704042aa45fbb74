//! Weights files as the page reads them: by the rules of [`crate::model::weights`], while they are downloaded, and
//! without the readers that serde derives, which would be a third of what a browser downloads of an engine.

mod header;
mod json;
mod metadata;
#[allow(dead_code, reason = "the CPU's engine reads while it loads")]
mod streaming;
#[allow(dead_code, reason = "each engine takes what it needs")]
mod tensors;

pub(crate) use streaming::StreamingReader;
pub(crate) use tensors::{Source, Tensors, open, read_info};
