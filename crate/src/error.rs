//! What can go wrong, in words for the person who reads the message.

/// The first rule that does not hold, as an error in the words of `wrong`.
pub(crate) fn check<'a>(
    rules: impl IntoIterator<Item = (bool, &'a str)>,
    wrong: impl FnOnce(&str) -> String,
) -> Result<(), Error> {
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, rule)) => Err(Error::Config(wrong(rule))),
        None => Ok(()),
    }
}

/// What a value that is not finite is called: in a browser, writing any number with a point takes as much code as a
/// kernel.
pub(crate) fn name_of(not_finite: f32) -> &'static str {
    match not_finite.is_infinite() {
        true => "infinity",
        false => "NaN",
    }
}

/// Errors of the library. Wrong shapes are programmer errors and panic instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration that cannot work.
    #[error("{0}")]
    Config(String),
    /// A weights file that is damaged, foreign, or of another version.
    #[error("not usable as MeanFlow weights: {0}")]
    Weights(String),
    /// A checkpoint of another program that cannot be read or does not fit.
    #[error("not usable as a checkpoint: {0}")]
    Checkpoint(String),
    /// A request that the model cannot serve, such as a class it does not have.
    #[error("{0}")]
    Request(String),
    /// No device, or the device failed.
    #[error("compute device: {0}")]
    Device(String),
}
