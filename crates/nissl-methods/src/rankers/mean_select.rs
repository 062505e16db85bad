//! MeanSelect: ranks neurons by the distance of a concept's mean from that of all other rows, in units of the
//! neuron's range.
//!
//! ## Computes
//! `|μ₊ - μ₋| / (max - min)`: μ₊ the mean over the concept's rows, μ₋ over all others, the range over all rows. With
//! `quantile = q` the range goes from the q-th to the (1 - q)-th quantile, so that single outliers do not set it.
//! ## Input
//! Activations `[n_tokens, n_neurons]` of any scale; any number of labels a row. A row is negative for every concept
//! it has not.
//! ## Output
//! Scores from 0 to 1 (above 1 only with `quantile`); 0 for a neuron without range. Sign: whether the concept's mean
//! lies above or below. Invariant to shifts and scales of a neuron.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `quantile` | 0 | 0 to 0.5, without 0.5 | share of the rows at either end that the range leaves out |
//! | `min_count` | 1 | ≥ 1 | concepts with fewer rows are left out, and named |
//! | `unlabeled` | negative | negative, skip | whether rows without any label are negatives or left out of the means |
//! ## Cost
//! O(n_tokens · n_neurons), one look at each row, also while the model runs; with `quantile` the whole column is needed.
//! ## Errors
//! `TooFewConcepts`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The reference takes μ₋ from the development split and all else from the training split; here all comes from the same
//! rows.
//! ## Source
//! Na, Choe, Lee and Kim 2019, Discovery of Natural Language Concepts in Individual Units of CNNs, arXiv:1902.07249;
//! reference: fdalvi/neuron-comparative-analysis.

use nissl_core::{
    Concept, Context, Describe, LabeledActivations, Labels, MethodCard, MethodError, NeuronId, Provenance, Ranker,
    RowSink, Scores,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::accumulate::{Accumulator, Stream, of_column};
use crate::catalog::params_of;
use crate::class_sums::{ClassSums, Grouped, Sums};
use crate::column_scores::{ColumnScores, direction, to_scores};
use crate::columns::ColumnPass;
use crate::label_sets::{LabelSets, Unlabeled};
use crate::quantile::quantile;

/// Ranks neurons by the distance of a concept's mean from that of all other rows, in units of their range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MeanSelect {
    /// Share of the rows at either end that the range leaves out.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub quantile: f64,
    /// Concepts with fewer rows are left out, and named.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Whether rows without any label are negatives or left out of the means.
    pub unlabeled: Unlabeled,
}

impl Default for MeanSelect {
    fn default() -> Self {
        Self { quantile: 0.0, min_count: 1, unlabeled: Unlabeled::Negative }
    }
}

impl Describe for MeanSelect {
    const NAME: &'static str = "mean-select";
    const SUMMARY: &'static str =
        "Ranks neurons by the distance of a concept's mean from that of all other rows, in units of their range.";
    const SOURCE: &'static str =
        "Na, Choe, Lee and Kim 2019, arXiv:1902.07249; reference: fdalvi/neuron-comparative-analysis";
    const CARD: MethodCard = MethodCard::CORPUS;
}

impl MeanSelect {
    fn check(&self) -> Result<(), MethodError> {
        if (0.0..0.5).contains(&self.quantile) {
            return Ok(());
        }
        let (value, expected) = (self.quantile.to_string(), "a number from 0 to 0.5, without 0.5");
        Err(MethodError::Parameter { method: Self::NAME, name: "quantile", value, expected })
    }

    /// The concepts, and how far their rows are from all others.
    fn prepare(
        &self,
        labels: &Labels,
        ctx: Context<'_>,
    ) -> Result<(Vec<Concept>, impl Accumulator<Answer = Difference> + 'static), MethodError> {
        self.check()?;
        let (concepts, sets) = LabelSets::against_rest(labels, (Self::NAME, self.min_count, self.unlabeled), ctx)?;
        let groups = Grouped::new(sets.len(), sets.codes());
        let difference = move |sums: Sums| {
            let total: f64 = sums.of_group.iter().sum();
            let n_rows = f64::from(sets.n_rows());
            let of_concept = |(sum, &count): (f64, &u32)| {
                let count = f64::from(count);
                sum / count - (total - sum) / (n_rows - count)
            };
            let differences = sets.by_concept(&sums.of_group).into_iter().zip(sets.n_positives());
            let (is_constant, range) = (sums.all.is_constant(), sums.all.range());
            Difference { of_concept: differences.map(of_concept).collect(), is_constant, range }
        };
        Ok((concepts, ClassSums::new(groups, f64::from, difference)))
    }
}

/// How far the means of one neuron are apart.
struct Difference {
    /// Of the rows of each concept from all others, `[n_concepts]`.
    of_concept: Vec<f64>,
    is_constant: bool,
    range: f64,
}

impl Difference {
    fn scores(self) -> ColumnScores {
        let Self { of_concept, is_constant, range } = self;
        let score = |difference: f64| {
            if range > 0.0 { ((difference.abs() / range) as f32, direction(difference)) } else { (0.0, 0) }
        };
        ColumnScores { is_constant, scores: of_concept.into_iter().map(score).collect() }
    }
}

impl Ranker for MeanSelect {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        let (concepts, sums) = self.prepare(data.labels, ctx)?;
        let scratch_per_row = if self.quantile > 0.0 { size_of::<f32>() } else { 0 };
        let pass =
            ColumnPass { x: data.x, ctx, method: Self::NAME, stage: "mean activations of concepts", scratch_per_row };
        let columns = pass.map(Vec::new, |scratch, column_idx, column| {
            let mut difference = of_column(&sums, column_idx, column);
            if self.quantile > 0.0 {
                let [low, high] = [self.quantile, 1.0 - self.quantile].map(|q| f64::from(quantile(column, q, scratch)));
                difference.range = high - low;
            }
            Ok(difference.scores())
        })?;
        to_scores(concepts, data.x.neurons(), Provenance::of_method(Self::NAME, params_of(self)), &columns)
    }

    fn stream<'a>(
        &'a self,
        labels: &'a Labels,
        neurons: &'a [NeuronId],
        ctx: Context<'a>,
    ) -> Result<Option<Box<dyn RowSink<Scores> + 'a>>, MethodError> {
        if self.quantile > 0.0 {
            return Ok(None);
        }
        let (concepts, sums) = self.prepare(labels, ctx)?;
        let provenance = Provenance::of_method(Self::NAME, params_of(self));
        let scores = move |differences: Vec<Difference>| {
            let columns: Vec<ColumnScores> = differences.into_iter().map(Difference::scores).collect();
            to_scores(concepts, neurons, provenance, &columns)
        };
        Ok(Some(Box::new(Stream::new(Self::NAME, sums, (labels.n_tokens(), neurons), ctx, scores)?)))
    }
}

#[cfg(test)]
mod tests;
