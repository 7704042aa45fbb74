//! What can go wrong, in words for the person who reads the message.

/// Errors of the library. Wrong shapes are programmer errors and panic instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration that cannot work.
    #[error("{0}")]
    Config(String),
    /// A weights file that is damaged, foreign, or of another version.
    #[error("not usable as MeanFlow weights: {0}")]
    Weights(String),
    /// A request that the model cannot serve, such as a class it does not have.
    #[error("{0}")]
    Request(String),
    /// No device, or the device failed.
    #[error("compute device: {0}")]
    Device(String),
}
