//! What is added to scores by distance, made as longer sentences come.

use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::DistanceBias;

/// What a head adds to a score, by key - query.
pub(crate) type OfDistance = Box<dyn Fn(usize, i64) -> f32 + Send + Sync>;

/// The biases of a model, kept from run to run.
pub(crate) struct Biases {
    /// Heads, or 1 if all are alike.
    n_heads: usize,
    of: OfDistance,
    kept: Mutex<Option<Arc<DistanceBias>>>,
}

impl Biases {
    /// Of so many heads what `of` says.
    pub(crate) fn new(n_heads: usize, of: OfDistance) -> Self {
        Self { n_heads, of, kept: Mutex::new(None) }
    }

    /// Those of sentences of up to `n` tokens, or more.
    pub(crate) fn up_to(&self, n: usize) -> Arc<DistanceBias> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(bias) if bias.n() >= n => Arc::clone(bias),
            _ => {
                let made = Arc::new(DistanceBias::new(self.n_heads, n.next_power_of_two(), &self.of));
                *kept = Some(Arc::clone(&made));
                made
            }
        }
    }
}
