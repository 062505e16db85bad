//! Neuron search: methods that score neurons for concepts from recorded activations alone.

mod average_precision;
mod iou;
mod mean_select;
mod probeless;
mod sensitivity;

pub use crate::label_sets::Unlabeled;
pub use average_precision::AveragePrecision;
pub use iou::{Iou, Measure, Threshold};
pub use mean_select::MeanSelect;
pub use probeless::Probeless;
pub use sensitivity::{Sensitive, Sensitivity};
