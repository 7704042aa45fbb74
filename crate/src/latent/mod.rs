//! The autoencoder of Stable Diffusion, which the ImageNet models of the paper are trained on: [`Vae`] turns pictures
//! into latents and back. Its weights are its users' to supply. [`crate::data::latents`] caches a whole set. Native
//! only.

mod vae;

pub use vae::{Moments, Vae};
