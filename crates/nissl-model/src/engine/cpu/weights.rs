//! The weights of a product, and their transpose where gradients are taken.

use std::sync::OnceLock;

use super::pack::Packed;
use crate::engine::LinearPart;
use crate::options::WeightFormat;

/// What a matrix and its bias are in the checkpoint.
pub(crate) struct Origin {
    /// Its name; nothing, if the checkpoint does not hold it as it is.
    pub(crate) weight: String,
    /// Whether it is stored `[n_in, n_out]`.
    pub(crate) transposed: bool,
    /// The name of the bias, where there is one.
    pub(crate) bias: Option<String>,
    pub(crate) n_out: usize,
    /// See [`LinearPart::order`].
    pub(crate) order: Option<Vec<usize>>,
}

/// Matrices that share an input, packed.
pub(crate) struct Weights {
    /// What they are in the checkpoint, side by side.
    pub(crate) origins: Vec<Origin>,
    packed: Packed,
    /// Made when a gradient first passes, kept for all runs.
    transposed: OnceLock<Packed>,
}

impl Weights {
    /// Packs the parts one beside the other.
    pub(crate) fn new(parts: &[LinearPart<'_>], format: WeightFormat) -> Self {
        let origin = |part: &LinearPart<'_>| Origin {
            weight: part.weight.name().to_owned(),
            transposed: part.transposed,
            bias: part.bias.as_ref().map(|bias| bias.name.clone()),
            n_out: part.n_out(),
            order: part.order.clone(),
        };
        Self {
            origins: parts.iter().map(origin).collect(),
            packed: Packed::new(parts, format),
            transposed: OnceLock::new(),
        }
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
