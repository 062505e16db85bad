//! Concept search: methods that say what each neuron fires on, from recorded activations and their words.

mod top_contexts;
mod top_words;

pub use top_contexts::{Dedup, TopContexts};
pub use top_words::TopWords;
