//! Sensitivity: which neurons tell the rows of a concept from all others by their value, and whether of one concept
//! alone.
//!
//! ## Computes
//! Average precision of every neuron for every concept, of whichever of its ends is better (`average-precision` with
//! `signed`). A neuron above `exclusive` for one concept alone is exclusive to it, one above it for several is
//! polysemous.
//! ## Input
//! Activations `[n_tokens, n_neurons]`; any number of labels a row.
//! ## Output
//! Scores from 0 to 1 with the end that finds the concept as sign; the numbers of exclusive and of polysemous neurons
//! as a note, the neurons themselves by [`Sensitivity::sensitive`].
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `signed` | true | | also look at the low end of a neuron |
//! | `exclusive` | 0.9 | 0 to 1 | average precision above which a neuron is sensitive to a concept |
//! | `min_count` | 1 | ≥ 1 | concepts with fewer rows are left out, and named |
//! ## Cost
//! As `average-precision`.
//! ## Errors
//! `TooFewConcepts`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The paper goes on from sensitive neurons to the gates of an LSTM behind them: `nissl lens` shows what drives a
//! neuron.
//! ## Source
//! Xin, Lin and Yu 2019, What Part of the Neural Network Does This? Understanding LSTMs by Measuring and Dissecting
//! Neurons, EMNLP.

use nissl_core::{
    Context, Describe, LabeledActivations, MethodCard, MethodError, NeuronId, Provenance, Ranker, Scores,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AveragePrecision;
use crate::catalog::params_of;

/// Ranks neurons by how well either of their ends finds a concept, and counts those that find one alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sensitivity {
    /// Also look at the low end of a neuron.
    pub signed: bool,
    /// Average precision above which a neuron is sensitive to a concept.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub exclusive: f64,
    /// Concepts with fewer rows are left out, and named.
    #[schemars(range(min = 1))]
    pub min_count: usize,
}

impl Default for Sensitivity {
    fn default() -> Self {
        Self { signed: true, exclusive: 0.9, min_count: 1 }
    }
}

impl Describe for Sensitivity {
    const NAME: &'static str = "sensitivity";
    const SUMMARY: &'static str =
        "Ranks neurons by how well either of their ends finds a concept, and counts those that find one alone.";
    const SOURCE: &'static str = "Xin, Lin and Yu 2019, EMNLP";
    const CARD: MethodCard = MethodCard::CORPUS;
}

/// A neuron that is sensitive to some concept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensitive {
    /// The neuron.
    pub neuron: NeuronId,
    /// The concepts, as indices into those of the scores: one if it is exclusive, several if it is polysemous.
    pub concepts: Vec<usize>,
}

impl Sensitivity {
    /// The neurons that are sensitive to a concept, in order of the scores' neurons.
    pub fn sensitive(&self, scores: &Scores) -> Vec<Sensitive> {
        let of_neuron = |(idx, &neuron): (usize, &NeuronId)| {
            let above = |concept: &usize| f64::from(scores.values()[[*concept, idx]]) > self.exclusive;
            let concepts: Vec<usize> = (0..scores.concepts().len()).filter(above).collect();
            (!concepts.is_empty() && !scores.constant()[idx]).then_some(Sensitive { neuron, concepts })
        };
        scores.neurons().iter().enumerate().filter_map(of_neuron).collect()
    }
}

impl Ranker for Sensitivity {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        if !(0.0..=1.0).contains(&self.exclusive) {
            let (value, expected) = (self.exclusive.to_string(), "a number from 0 to 1");
            return Err(MethodError::Parameter { method: Self::NAME, name: "exclusive", value, expected });
        }
        let precision =
            AveragePrecision { signed: self.signed, min_count: self.min_count, ..AveragePrecision::default() };
        let mut scores = precision.score(data, ctx)?;
        scores.provenance = Provenance::of_method(Self::NAME, params_of(self));
        let sensitive = self.sensitive(&scores);
        let (exclusive, polysemous): (Vec<_>, Vec<_>) = sensitive.iter().partition(|one| one.concepts.len() == 1);
        if !sensitive.is_empty() {
            let (n_exclusive, n_polysemous) = (exclusive.len(), polysemous.len());
            ctx.progress.note(&format!(
                "sensitivity: {n_exclusive} neurons find one concept alone, {n_polysemous} several, with average \
                 precision above {}",
                self.exclusive
            ));
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests;
