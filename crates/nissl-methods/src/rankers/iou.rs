//! Intersection over union: how well the rows where a neuron is above a threshold are the rows of a concept.
//!
//! ## Computes
//! `|M ∧ C| / |M ∨ C|`, M the rows whose activation is above the threshold, C those of the concept; with `measure` the
//! precision `|M ∧ C| / |M|` or the recall `|M ∧ C| / |C|` instead. The threshold is 0 (`relu`), a number (`value`), or
//! the neuron's own quantile above which a share `alpha` of the rows lies (`quantile`). Above is strict: of a tie at the
//! threshold no row counts, so less than the share may.
//! ## Input
//! Activations `[n_tokens, n_neurons]`; any number of labels a row. A row is negative for every concept it has not.
//! ## Output
//! Scores from 0 to 1; 0 where nothing is above the threshold. By quantile it is invariant to increasing maps.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `threshold` | quantile | relu, quantile, value | what an activation must be above |
//! | `alpha` | 0.005 | 0 to 1, exclusive | the share of rows, for `quantile` |
//! | `value` | 0 | finite | the number, for `value` |
//! | `measure` | iou | iou, precision, recall | what is scored |
//! | `min_count` | 1 | ≥ 1 | concepts with fewer rows are left out, and named |
//! | `unlabeled` | negative | negative, skip | whether rows without any label are negatives or left out |
//! ## Cost
//! O(n_tokens · n_neurons), one look at each row where the threshold is known beforehand, also while the model runs.
//! ## Errors
//! `TooFewConcepts`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The references threshold language units at 0, vision units at the quantile; the quantile is the default here since
//! it serves every site. What NeuroX calls IoU is average precision with small values set to 0: `average-precision`
//! with `zero_below = 0.05`.
//! ## Source
//! Mu and Andreas 2020, Compositional Explanations of Neurons, arXiv:2006.14032; reference: jayelm/compexp.

use nissl_core::{
    Concept, Context, Describe, LabeledActivations, Labels, MethodCard, MethodError, NeuronId, Provenance, Ranker,
    RowSink, Scores,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::accumulate::Stream;
use crate::catalog::params_of;
use crate::class_sums::{ClassSums, Grouped, Sums};
use crate::column_scores::{ColumnScores, to_scores};
use crate::columns::ColumnPass;
use crate::groups::is_constant;
use crate::label_sets::{LabelSets, Unlabeled};
use crate::quantile::quantile;

/// Ranks neurons by how well the rows where they are above a threshold are the rows of a concept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Iou {
    /// What an activation must be above.
    pub threshold: Threshold,
    /// The share of rows, for `quantile`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
    /// The number, for `value`.
    pub value: f64,
    /// What is scored.
    pub measure: Measure,
    /// Concepts with fewer rows are left out, and named.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Whether rows without any label are negatives or left out.
    pub unlabeled: Unlabeled,
}

/// What an activation must be above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Threshold {
    /// 0.
    Relu,
    /// The neuron's own quantile.
    #[default]
    Quantile,
    /// A number.
    Value,
}

/// What of two sets of rows is scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Measure {
    /// Intersection over union.
    #[default]
    Iou,
    /// The share of the neuron's rows that the concept has.
    Precision,
    /// The share of the concept's rows that the neuron has.
    Recall,
}

impl Measure {
    /// The score of two sets of rows; 0 where it would be 0 divided by 0.
    pub(crate) fn of(self, in_both: f64, in_neuron: f64, in_concept: f64) -> f64 {
        let of = match self {
            Self::Iou => in_neuron + in_concept - in_both,
            Self::Precision => in_neuron,
            Self::Recall => in_concept,
        };
        if of > 0.0 { in_both / of } else { 0.0 }
    }
}

impl Default for Iou {
    fn default() -> Self {
        Self {
            threshold: Threshold::Quantile,
            alpha: 0.005,
            value: 0.0,
            measure: Measure::Iou,
            min_count: 1,
            unlabeled: Unlabeled::Negative,
        }
    }
}

impl Describe for Iou {
    const NAME: &'static str = "iou";
    const SUMMARY: &'static str =
        "Ranks neurons by how well the rows where they are above a threshold are the rows of a concept.";
    const SOURCE: &'static str = "Mu and Andreas 2020, arXiv:2006.14032; reference: jayelm/compexp";
    const CARD: MethodCard = MethodCard::CORPUS;
}

impl Iou {
    fn check(&self) -> Result<(), MethodError> {
        let refuse = |name, value: f64, expected| {
            Err(MethodError::Parameter { method: Self::NAME, name, value: value.to_string(), expected })
        };
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return refuse("alpha", self.alpha, "a number between 0 and 1");
        }
        if !self.value.is_finite() {
            return refuse("value", self.value, "a finite number");
        }
        Ok(())
    }

    /// The threshold that is the same for all neurons.
    fn fixed(&self) -> Option<f32> {
        match self.threshold {
            Threshold::Relu => Some(0.0),
            Threshold::Value => Some(self.value as f32),
            Threshold::Quantile => None,
        }
    }

    /// The scores of a neuron, by its number of rows above the threshold in each set.
    fn scores(measure: Measure, sets: &LabelSets, in_set: &[f64]) -> Vec<(f32, i8)> {
        let in_neuron: f64 = in_set.iter().sum();
        let score = |(in_both, &count): (f64, &u32)| (measure.of(in_both, in_neuron, f64::from(count)) as f32, 1);
        sets.by_concept(in_set).into_iter().zip(sets.n_positives()).map(score).collect()
    }

    fn sets(&self, labels: &Labels, ctx: Context<'_>) -> Result<(Vec<Concept>, LabelSets), MethodError> {
        self.check()?;
        LabelSets::against_rest(labels, (Self::NAME, self.min_count, self.unlabeled), ctx)
    }
}

impl Ranker for Iou {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        let (concepts, sets) = self.sets(data.labels, ctx)?;
        let scratch_per_row = if self.fixed().is_some() { 0 } else { size_of::<f32>() };
        let pass =
            ColumnPass { x: data.x, ctx, method: Self::NAME, stage: "rows above the threshold", scratch_per_row };
        let columns = pass.map(Vec::new, |scratch, _, column| {
            let threshold = self.fixed().unwrap_or_else(|| quantile(column, 1.0 - self.alpha, scratch));
            let mut in_set = vec![0.0; sets.len()];
            for (&value, code) in column.iter().zip(sets.codes()) {
                if value > threshold
                    && let Some(code) = code
                {
                    in_set[*code as usize] += 1.0;
                }
            }
            let scores = Self::scores(self.measure, &sets, &in_set);
            Ok(ColumnScores { is_constant: is_constant(column), scores })
        })?;
        let provenance = Provenance::of_method(Self::NAME, params_of(self));
        Ok(to_scores(concepts, data.x.neurons(), provenance, &columns)?.without_sign())
    }

    fn stream<'a>(
        &'a self,
        labels: &'a Labels,
        neurons: &'a [NeuronId],
        ctx: Context<'a>,
    ) -> Result<Option<Box<dyn RowSink<Scores> + 'a>>, MethodError> {
        let Some(threshold) = self.fixed() else { return Ok(None) };
        let (concepts, sets) = self.sets(labels, ctx)?;
        let groups = Grouped::new(sets.len(), sets.codes());
        let (measure, above) = (self.measure, move |value| f64::from(u8::from(value > threshold)));
        let of_sums = move |sums: Sums| ColumnScores {
            is_constant: sums.all.is_constant(),
            scores: Self::scores(measure, &sets, &sums.of_group),
        };
        let counts = ClassSums::new(groups, above, of_sums);
        let provenance = Provenance::of_method(Self::NAME, params_of(self));
        let scores =
            move |columns: Vec<ColumnScores>| Ok(to_scores(concepts, neurons, provenance, &columns)?.without_sign());
        Ok(Some(Box::new(Stream::new(Self::NAME, counts, (labels.n_tokens(), neurons), ctx, scores)?)))
    }
}

#[cfg(test)]
mod tests;
