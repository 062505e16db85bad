//! Neuron search: methods that score neurons for concepts from recorded activations alone.

mod average_precision;
mod gaussian_probe;
mod greedy_regression;
mod iou;
mod latent_probe;
mod lca;
mod linear_probe;
mod mean_select;
mod probeless;
mod sensitivity;
mod skill_neurons;
mod sparse_probe;

pub use crate::label_sets::Unlabeled;
pub use average_precision::{AveragePrecision, SentencePool};
pub use gaussian_probe::GaussianProbe;
pub use greedy_regression::GreedyRegression;
pub use iou::{Iou, Measure, Threshold};
pub use latent_probe::LatentProbe;
pub use lca::Lca;
pub use linear_probe::LinearProbe;
pub use mean_select::MeanSelect;
pub use probeless::Probeless;
pub use sensitivity::{Sensitive, Sensitivity};
pub use skill_neurons::SkillNeurons;
pub use sparse_probe::{SparseProbe, SparseScore};
