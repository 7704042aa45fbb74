//! From noise to pictures: the loop of the page's engines over batches and times, whichever makes the network calls.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::error::Error;
use crate::model::{Condition, GuidanceInputs, NetConfig, Pause, Request, Solver, whole_pictures};
use crate::rng;

/// How the page's engines draw a request.
#[derive(Clone, Copy, Debug)]
pub struct DrawOptions {
    /// The solver; they have those of the average velocity and of Euler.
    pub solver: Solver,
    /// Scale of guidance, 1 to 100, of a network that has it as an input; 1 is none.
    pub guidance: f32,
}

impl From<Solver> for DrawOptions {
    /// Without guidance.
    fn from(solver: Solver) -> Self {
        Self { solver, guidance: 1.0 }
    }
}

/// One network call: pictures move from the time `t` to `r` by `u(z, asked, t)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    /// Where the velocity that is asked for lands: `r`, or `t` for the instantaneous one.
    pub asked: f64,
    /// Where the step lands.
    pub r: f64,
    /// Where it begins.
    pub t: f64,
    /// Scale of guidance.
    pub guidance: f32,
    /// Calls of the batch that are made with this one.
    pub calls: usize,
    /// Whether it is the batch's last.
    pub is_last: bool,
}

/// What makes the network calls of a batch.
pub(crate) trait Engine {
    /// Most pictures of one call.
    fn most_pictures(&self) -> usize;

    /// Takes the noise of a batch, `[pictures, channels, size, size]`, of so many pictures.
    ///
    /// # Errors
    /// When there is no room for it.
    async fn begin(&mut self, noise: impl Iterator<Item = Vec<f32>>, pictures: usize) -> Result<(), Error>;

    /// One network call on all pictures of the batch, and its step.
    fn call(&mut self, classes: &[Condition], step: Step);

    /// Between two calls: whether the caller may be asked now if it is to go on, after the work before this.
    ///
    /// # Errors
    /// When the device is lost.
    async fn may_pause(&mut self, pictures: usize, step: Step) -> Result<bool, Error>;

    /// The batch is done.
    ///
    /// # Errors
    /// When the device is lost.
    async fn end(&mut self, pictures: usize) -> Result<(), Error>;
}

/// Draws the pictures of a request, from the noise of its seeds or from noise that is given. `pause` is awaited between
/// network calls; its error ends the request.
///
/// # Shapes
/// `noise`: `count · channels · size · size` standard normals.
///
/// # Errors
/// A count, class, NFE or guidance that is out of range, noise that is no whole number of pictures or not finite, a
/// solver that the page's engines do not have, guidance that is no input of the network, and the errors of the engine
/// and of `pause`.
pub(crate) async fn sample(
    engine: &mut impl Engine,
    net: &NetConfig,
    request: Request,
    noise: Option<&[f32]>,
    options: DrawOptions,
    pause: Pause<'_>,
) -> Result<(), Error> {
    let DrawOptions { solver, guidance } = options;
    if !matches!(solver, Solver::MeanFlow | Solver::Euler) {
        return Err(Error::Request(format!("the page's engines have mean-flow and euler, not {solver}")));
    }
    if guidance != 1.0 && net.guidance == GuidanceInputs::None {
        return Err(Error::Request("guidance is no input of the model".into()));
    }
    if !(1.0..=100.0).contains(&guidance) {
        return Err(Error::Request("guidance must be 1 to 100".into()));
    }
    let values = net.channels * net.image_size * net.image_size;
    let classes = classes_of(&request, noise.is_some(), net)?;
    let noise_of = |picture: usize| {
        let mut noise = match noise {
            Some(noise) => noise[picture * values..][..values].to_vec(),
            None => rng::noise(request.seed.wrapping_add(picture as u64), values),
        };
        net.scale_noise(&mut noise);
        noise
    };
    let most = engine.most_pictures();
    for (batch, classes) in classes.chunks(most).enumerate() {
        let (first, count) = (batch * most, classes.len());
        engine.begin((first..first + count).map(noise_of), count).await?;
        for step in steps(options, request.nfe) {
            engine.call(classes, step);
            let is_end = step.is_last && first + count == request.count;
            if !is_end && engine.may_pause(count, step).await? {
                pause().await?;
            }
        }
        engine.end(count).await?;
    }
    Ok(())
}

/// The class of each picture: `Any` where one is of no named class, as given noise without a class is.
///
/// # Errors
/// As [`Request::labels`].
pub(crate) fn classes_of(request: &Request, noise_is_given: bool, net: &NetConfig) -> Result<Vec<Condition>, Error> {
    match request.labels(net)? {
        Some(labels) if !(noise_is_given && request.class == Condition::Any) => Ok(labels),
        _ => Ok(vec![Condition::Any; request.count]),
    }
}

/// The request of as many pictures as noise is given for.
///
/// # Errors
/// Noise that is no whole number of pictures or not finite.
pub(crate) fn request_of(noise: &[f32], net: &NetConfig, class: Condition, nfe: usize) -> Result<Request, Error> {
    Ok(Request { seed: 0, count: whole_pictures(noise, net)?, class, nfe })
}

/// The network calls of a batch, over a uniform grid of times from noise (1) to data (0).
fn steps(DrawOptions { solver, guidance }: DrawOptions, nfe: usize) -> impl Iterator<Item = Step> {
    let time = move |i: usize| i as f64 / nfe as f64;
    (1..=nfe).rev().map(move |i| {
        let (r, t) = (time(i - 1), time(i));
        // Euler's method takes the velocity where it stands, u(z, t, t).
        let asked = if solver == Solver::Euler { t } else { r };
        Step { asked, r, t, guidance, calls: nfe - i + 1, is_last: i == 1 }
    })
}

/// The result of work that waits for nobody.
///
/// # Errors
/// When it waits after all.
#[allow(dead_code, reason = "the GPU is always waited for")]
pub(crate) fn at_once<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Error::Request("the caller is waited for".into())),
    }
}
