//! How good the images of a model are, by the features that a network sees in them: distance to real images, precision
//! and recall, and how all of it depends on the number of network calls. Native only.
//!
//! A distance is worth what its features are. With the weights of Inception-v3 it is the FID and KID of the literature
//! ([`Inception`]); with a small classifier trained on the data set itself ([`Classifier`]) it is called FD, ranks
//! models of that set, and compares with nothing else. What is printed always says which.

mod classifier;
mod draw;
mod features;
mod frechet;
mod identity;
mod inception;
mod kernel_distance;
mod manifold;
mod neighbours;
mod plot;
mod record;
mod resize;
mod rows;
mod table;

pub use classifier::{ClassColumn, Classifier, ClassifierInfo, train_classifier};
pub use draw::random_order;
pub use features::{Extractor, Features};
pub use frechet::{Moments, frechet_distance};
pub use identity::ModelId;
pub(crate) use identity::xxh64;
pub use inception::Inception;
pub use kernel_distance::{KernelDistance, kernel_distance};
pub use manifold::{MIN_IMAGES, PrecisionRecall, precision_recall};
pub use neighbours::{NearestDistance, Neighbours, distance_to_nearest, nearest, quantiles};
pub use plot::plot;
pub use record::{Draw, Evaluation, Manifold, read_records};
pub use resize::InceptionResize;
pub use table::tables;
