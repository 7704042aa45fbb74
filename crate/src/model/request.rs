//! What is asked of a loaded model, whichever engine answers.

use std::pin::Pin;

use super::{Condition, NetConfig};
use crate::error::{Error, name_of};

/// Most pictures of one call; a larger number is a typing error or an attack.
pub const MAX_COUNT: usize = 4096;
/// Most network calls per picture.
pub const MAX_NFE: usize = 1024;

/// What a caller does between two network calls; its error ends the request. A pointer, as a function of each caller's
/// own type would have the engines compiled once for each.
pub type Pause<'a> = &'a dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

/// For callers who wait for the end.
pub const NO_PAUSE: Pause<'static> = &|| Box::pin(std::future::ready(Ok(())));

/// What to generate. Picture `i` has the seed `seed + i`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Seed of the first picture.
    pub seed: u64,
    /// How many pictures.
    pub count: usize,
    /// What they are of.
    pub class: Condition,
    /// Number of network calls (function evaluations) per picture; 1 is what MeanFlow is for.
    pub nfe: usize,
}

impl Request {
    /// The class of each picture, for a network that is told any.
    ///
    /// # Errors
    /// A count, class or NFE that is out of range.
    pub(crate) fn labels(&self, net: &NetConfig) -> Result<Option<Vec<Condition>>, Error> {
        self.check()?;
        self.class.clone().of_pictures(self.seed, self.count, net)
    }

    /// # Errors
    /// A count or NFE that is out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self { count, nfe, .. } = *self;
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(Error::Request(format!("{count} pictures were asked for; 1 to {MAX_COUNT} are possible")));
        }
        if !(1..=MAX_NFE).contains(&nfe) {
            return Err(Error::Request(format!("{nfe} network calls were asked for; 1 to {MAX_NFE} are possible")));
        }
        Ok(())
    }
}

/// How many pictures of a network so many values are.
///
/// # Errors
/// When it is no whole number above 0, or a value is not finite.
pub(crate) fn whole_pictures(values: &[f32], net: &NetConfig) -> Result<usize, Error> {
    let each = net.channels * net.image_size * net.image_size;
    let count = values.len() / each;
    if count == 0 || values.len() != count * each {
        return Err(Error::Request(format!("{} values are no whole pictures; each takes {each}", values.len())));
    }
    match values.iter().find(|x| !x.is_finite()) {
        Some(&bad) => Err(Error::Request(format!("pictures cannot hold {}", name_of(bad)))),
        None => Ok(count),
    }
}
