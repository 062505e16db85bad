//! Rotary positions, made as longer sentences come.

use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::{Rotary, Rotation};

/// The rotary angles of a model, kept from run to run.
pub(crate) struct Angles {
    rotation: Rotation,
    n_ctx: usize,
    kept: Mutex<Option<Arc<Rotary>>>,
}

impl Angles {
    /// Angles for sentences of up to `n_ctx` tokens.
    pub(crate) fn new(rotation: Rotation, n_ctx: usize) -> Self {
        Self { rotation, n_ctx, kept: Mutex::new(None) }
    }

    /// What they are angles of.
    pub(crate) fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    /// The angles of the first positions, at least `len`.
    pub(crate) fn up_to(&self, len: usize) -> Arc<Rotary> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(rotary) if rotary.cos.nrows() >= len => Arc::clone(rotary),
            _ => {
                let made = Arc::new(Rotary::new(len.next_power_of_two().min(self.n_ctx), &self.rotation));
                *kept = Some(Arc::clone(&made));
                made
            }
        }
    }
}
