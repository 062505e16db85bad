//! Scores of every neuron by itself, put together.

use ndarray::Array2;
use nissl_core::{Concept, MethodError, NeuronId, Provenance, Scores};

/// What a method says of one neuron.
pub(crate) struct ColumnScores {
    /// Whether it had one value in every row.
    pub(crate) is_constant: bool,
    /// The score for each concept and its direction, `[n_concepts]`.
    pub(crate) scores: Vec<(f32, i8)>,
}

/// The scores of all neurons, with their signs.
pub(crate) fn to_scores(
    concepts: Vec<Concept>,
    neurons: &[NeuronId],
    provenance: Provenance,
    columns: &[ColumnScores],
) -> Result<Scores, MethodError> {
    let mut values = Array2::zeros((concepts.len(), neurons.len()));
    let mut sign = Array2::zeros(values.dim());
    for (neuron, column) in columns.iter().enumerate() {
        for (concept, &(score, direction)) in column.scores.iter().enumerate() {
            values[[concept, neuron]] = score;
            sign[[concept, neuron]] = direction;
        }
    }
    let constant = columns.iter().map(|column| column.is_constant).collect();
    Scores::new(values, concepts, neurons.to_vec(), provenance)?.with_sign(sign)?.with_constant(constant)
}

/// 1 above 0, -1 below it.
pub(crate) fn direction(side: f64) -> i8 {
    if side > 0.0 {
        1
    } else if side < 0.0 {
        -1
    } else {
        0
    }
}
