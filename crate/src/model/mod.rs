//! What training, sampling and the page agree on: the network's configuration and parameters, classes, requests and the
//! weights file. Nothing in here needs burn.

mod condition;
pub(crate) mod config;
mod image;
pub(crate) mod params;
mod presets;
mod request;
mod solver;
pub(crate) mod tables;
pub mod text;
pub mod weights;

pub use condition::{Blend, Condition, MAX_BLENDED};
pub use config::{
    AUGMENT_DIM, Architecture, GuidanceInputs, InContextConfig, NetConfig, Output, Positions, TimeInputs, UnetConfig,
};
pub use image::{from_byte, rgba_of};
pub use params::{Initializer, ParamRole, ParamSpec};
pub(crate) use request::whole_pictures;
pub use request::{MAX_COUNT, MAX_NFE, NO_PAUSE, Pause, Request};
pub use solver::Solver;
