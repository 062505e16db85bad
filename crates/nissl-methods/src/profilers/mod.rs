//! Concept search: methods that say what each neuron fires on, from recorded activations and their words.

mod compositional;
mod gate_saturation;
mod lookup;
mod top_contexts;
mod top_words;
mod tx_ray;
mod variance_reduction;

pub use compositional::Compositional;
pub use gate_saturation::GateSaturation;
pub use lookup::Lookup;
pub use top_contexts::{Dedup, TopContexts};
pub use top_words::TopWords;
pub use tx_ray::{TxRay, hellinger};
pub use variance_reduction::{Scope, VarianceReduction};
