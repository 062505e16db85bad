//! Neuron search by running the model: methods that differentiate it, edit it, or move activations between two texts.

mod ablation;
mod attribution_patching;
mod conductance;
mod diff_mask;
mod gradient_activation;
mod integrated_gradients;
mod knowledge_neurons;
mod mediation;
mod shapley;

pub use ablation::{Ablation, Replacement};
pub use attribution_patching::AttributionPatching;
pub use conductance::{Baseline, Conductance};
pub use diff_mask::DiffMask;
pub use gradient_activation::GradientActivation;
pub use integrated_gradients::{IntegratedGradients, Rule};
pub use knowledge_neurons::KnowledgeNeurons;
pub use mediation::{Effect, Mediation};
pub use shapley::{Away, Shapley};

pub use crate::study::{Metric, Places};
