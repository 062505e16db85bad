//! Neuron search: methods that score neurons for concepts from recorded activations alone.

mod average_precision;
mod probeless;

pub use average_precision::{AveragePrecision, Unlabeled};
pub use probeless::Probeless;
