//! Latents: images through the autoencoder of Stable Diffusion, which the ImageNet models of the paper are trained on.
//!
//! [`Vae`] turns pictures into latents and back; [`encode`] caches a whole set in a file, from which training draws.
//! The weights of the autoencoder are its users' to supply. Native only.

mod file;
mod vae;

pub use file::{LatentInfo, Latents, encode};
pub use vae::Vae;
