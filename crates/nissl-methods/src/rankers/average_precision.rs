//! Average precision: how well a neuron's value alone tells the rows of a concept from all others.
//!
//! ## Computes
//! `AP[c, n] = Σ_i (R_i - R_{i-1}) · P_i` over the distinct values of the neuron from high to low, R and P recall and
//! precision of "value at least this high". Equal values share one threshold, so a constant neuron gets the
//! concept's prevalence. Invariant to every increasing map of the activations.
//! ## Input
//! Activations `[n_tokens, n_neurons]`; any number of labels a row. A row is negative for every concept it has not.
//! ## Output
//! Scores from 0 to 1. With `signed`, the sign is 1 or -1: which end of the neuron finds the concept.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `signed` | false | | also take AP of the negated activations and keep the larger |
//! | `min_count` | 1 | ≥ 1 | concepts with fewer rows are left out, and named |
//! | `unlabeled` | negative | negative, skip | whether rows without any label are negatives or left out |
//! | `zero_below` | 0 | ≥ 0 | activations of smaller size count as 0 |
//! | `pool` | none | none, max, mean, sum | sentences instead of rows: what stands for the rows of one |
//! ## Cost
//! O(n_tokens · n_neurons): one radix sort a neuron serves all concepts; 16 bytes of scratch a row and thread.
//! ## Errors
//! `TooFewConcepts`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! NeuroX calls this IoU and sets activations of size below 0.05 to 0, in place: `zero_below = 0.05` gives its
//! order. The experts paper asks which sentences have the concept: `pool = max`; its code pools padding too.
//! ## Source
//! Suau, Zappella and Apostoloff 2020, Finding Experts in Transformer Models, arXiv:2005.07647; reference:
//! apple/ml-selfcond.

use nissl_core::{Context, Describe, LabeledActivations, MethodCard, MethodError, Provenance, Ranker, Scores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::params_of;
use crate::column_scores::{ColumnScores, to_scores};
use crate::columns::ColumnPass;
use crate::groups::is_constant;
use crate::label_sets::{LabelSets, Unlabeled};

mod curve;
mod pool;
mod sort;

use curve::{End, average_precisions};
pub use pool::SentencePool;
use pool::Sentences;
use sort::Sorter;

/// Ranks neurons by how well their value alone tells the rows of a concept from all others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AveragePrecision {
    /// Also take the average precision of the negated activations and keep the larger.
    pub signed: bool,
    /// Concepts with fewer rows are left out, and named.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Whether rows without any label are negatives or left out.
    pub unlabeled: Unlabeled,
    /// Activations of smaller size count as 0.
    #[schemars(range(min = 0.0))]
    pub zero_below: f64,
    /// Sentences instead of rows: what stands for the rows of one.
    pub pool: SentencePool,
}

impl Default for AveragePrecision {
    fn default() -> Self {
        Self { signed: false, min_count: 1, unlabeled: Unlabeled::Negative, zero_below: 0.0, pool: SentencePool::None }
    }
}

impl Describe for AveragePrecision {
    const NAME: &'static str = "average-precision";
    const SUMMARY: &'static str =
        "Ranks neurons by how well their value alone tells the rows of a concept from all others.";
    const SOURCE: &'static str = "Suau, Zappella and Apostoloff 2020, arXiv:2005.07647; reference: apple/ml-selfcond";
    const CARD: MethodCard = MethodCard::CORPUS;
}

impl AveragePrecision {
    fn check(&self) -> Result<(), MethodError> {
        let refuse = |name, value, expected| Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        if !(self.zero_below >= 0.0 && self.zero_below.is_finite()) {
            return refuse("zero_below", self.zero_below.to_string(), "a finite number, 0 or more");
        }
        Ok(())
    }
}

impl Ranker for AveragePrecision {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        self.check()?;
        let sentences = Sentences::new(data, self.pool, Self::NAME)?;
        let labels = sentences.as_ref().map_or(data.labels, |sentences| &sentences.labels);
        let (concepts, sets) = LabelSets::against_rest(labels, (Self::NAME, self.min_count, self.unlabeled), ctx)?;
        let pass = ColumnPass {
            x: data.x,
            ctx,
            method: Self::NAME,
            stage: "average precision",
            scratch_per_row: Sorter::BYTES_PER_ROW,
        };
        let zero_below = self.zero_below as f32;
        let scratch = || (Sorter::default(), Vec::new());
        let columns = pass.map(scratch, |(sorter, pooled), _, column| {
            let column = match &sentences {
                Some(sentences) => {
                    sentences.fill(column, pooled);
                    &pooled[..]
                }
                None => column,
            };
            let order = sorter.descending(column, zero_below, sets.codes());
            let high = average_precisions(order, &sets, End::High);
            let low = if self.signed { Some(average_precisions(order, &sets, End::Low)) } else { None };
            let best = |concept: usize, high: f32| match &low {
                Some(low) if low[concept] > high => (low[concept], -1),
                _ => (high, 1),
            };
            let scores = high.into_iter().enumerate().map(|(concept, high)| best(concept, high)).collect();
            Ok(ColumnScores { is_constant: is_constant(column), scores })
        })?;
        let provenance = Provenance::of_method(Self::NAME, params_of(self));
        let scores = to_scores(concepts, data.x.neurons(), provenance, &columns)?;
        Ok(if self.signed { scores } else { scores.without_sign() })
    }
}

#[cfg(test)]
mod tests;
