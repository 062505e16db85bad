//! The weights of a product, and their transpose where gradients are taken.

use std::sync::OnceLock;

use super::pack::Packed;
use crate::engine::LinearPart;
use crate::options::WeightFormat;

/// Matrices that share an input, packed.
pub(crate) struct Weights {
    packed: Packed,
    /// Made when a gradient first passes, kept for all runs.
    transposed: OnceLock<Packed>,
}

impl Weights {
    /// Packs the parts one beside the other.
    pub(crate) fn new(parts: &[LinearPart<'_>], format: WeightFormat) -> Self {
        Self { packed: Packed::new(parts, format), transposed: OnceLock::new() }
    }

    /// `[n_in, n_out]`, with the biases.
    pub(crate) fn packed(&self) -> &Packed {
        &self.packed
    }

    /// `[n_out, n_in]`, without biases.
    pub(crate) fn transposed(&self) -> &Packed {
        self.transposed.get_or_init(|| self.packed.transpose())
    }
}
