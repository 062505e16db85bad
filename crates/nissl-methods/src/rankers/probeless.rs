//! Probeless: ranks neurons by how far apart the mean activations of the concepts are.
//!
//! ## Computes
//! `r[c, n] = Σ_c' |μ[c, n] - μ[c', n]| / σ[n]`, μ the mean over a concept's rows, σ the population deviation over all
//! rows; σ = 1 without `zscore`. The published overall ranking is that of the mean over concepts
//! ([`nissl_core::Pool::Mean`]).
//! ## Input
//! Activations `[n_tokens, n_neurons]` of any scale; at most one label a row. Rows without a label count for σ alone,
//! except with a single concept: it is compared with the rows that have it not.
//! ## Output
//! Scores ≥ 0, in standard deviations (in activation units without `zscore`). Sign: whether the concept's mean lies
//! above or below the mean of the others' means.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `zscore` | true | | divide by each neuron's standard deviation, so that large neurons do not win by size |
//! | `min_count` | 100 | ≥ 1 | concepts with fewer rows are left out, and named |
//! ## Cost
//! O(n_tokens · n_neurons + n_concepts² · n_neurons), one look at each row, also while the model runs.
//! ## Errors
//! `NotExclusive`, `TooFewConcepts`, `TooFewRows`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The reference neither z-scores nor counts rows: `zscore = false, min_count = 1` gives its numbers.
//! ## Source
//! Antverg and Belinkov 2022, On the Pitfalls of Analyzing Individual Neurons in Language Models, arXiv:2110.07483;
//! reference: NeuroX.

use nissl_core::{
    Concept, Context, Describe, LabeledActivations, Labels, MethodCard, MethodError, NeuronId, Provenance, Ranker,
    RowSink, Scores,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::accumulate::{Accumulator, Stream};
use crate::catalog::params_of;
use crate::class_sums::{ClassSums, Grouped, Sums};
use crate::column_scores::{ColumnScores, direction, to_scores};
use crate::columns::ColumnPass;
use crate::concepts::{Kept, keep};

/// Ranks neurons by how far apart the mean activations of the concepts are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Probeless {
    /// Divide by each neuron's standard deviation, so that large neurons do not win by size.
    pub zscore: bool,
    /// Concepts with fewer rows are left out, and named.
    #[schemars(range(min = 1))]
    pub min_count: usize,
}

impl Default for Probeless {
    fn default() -> Self {
        Self { zscore: true, min_count: 100 }
    }
}

impl Describe for Probeless {
    const NAME: &'static str = "probeless";
    const SUMMARY: &'static str = "Ranks neurons by how far apart the mean activations of the concepts are.";
    const SOURCE: &'static str = "Antverg and Belinkov 2022, arXiv:2110.07483; reference: NeuroX";
    const CARD: MethodCard = MethodCard::CORPUS;
}

impl Probeless {
    fn check(&self) -> Result<(), MethodError> {
        if self.min_count == 0 {
            return Err(MethodError::Parameter {
                method: Self::NAME,
                name: "min_count",
                value: "0".to_owned(),
                expected: "at least 1",
            });
        }
        Ok(())
    }

    /// The concepts that are compared, and what is summed for them: a group of rows each; a single concept gets the
    /// rows without it as second group.
    fn prepare(
        &self,
        labels: &Labels,
        ctx: Context<'_>,
    ) -> Result<(Vec<Concept>, impl Accumulator<Answer = ColumnScores> + 'static), MethodError> {
        self.check()?;
        let of_row = labels.exclusive(Self::NAME)?;
        let is_single = labels.concepts().len() == 1;
        let why_not = |count| (count < self.min_count).then(|| format!("{count} rows, min_count {}", self.min_count));
        let n_needed = if is_single { 1 } else { 2 };
        let Kept { concepts, new_idx } = keep(labels, Self::NAME, n_needed, ctx, why_not)?;
        let n_groups = if is_single { 2 } else { concepts.len() };
        let group = |label: Option<u32>| match label {
            _ if is_single => Some(u32::from(label.is_none())),
            Some(old) => new_idx[old as usize],
            None => None,
        };
        let group_of: Vec<Option<u32>> = of_row.into_iter().map(group).collect();
        let mut counts = vec![0_usize; n_groups];
        group_of.iter().flatten().for_each(|&group| counts[group as usize] += 1);
        if is_single && counts[1] < self.min_count {
            return Err(MethodError::TooFewRows {
                method: Self::NAME,
                concept: format!("not {}", concepts[0].name),
                expected: self.min_count,
                got: counts[1],
            });
        }
        let (n_concepts, zscore) = (concepts.len(), self.zscore);
        let scores = move |sums: Sums| {
            let mean = |(sum, &count): (&f64, &usize)| sum / count.max(1) as f64;
            let means: Vec<f64> = sums.of_group.iter().zip(&counts).map(mean).collect();
            let is_constant = sums.all.is_constant();
            let scale = if zscore || is_constant { sums.all.deviation() } else { 1.0 };
            let mut scores = distances(&means, scale);
            scores.truncate(n_concepts);
            ColumnScores { is_constant, scores }
        };
        Ok((concepts, ClassSums::new(Grouped::new(n_groups, &group_of), f64::from, scores)))
    }
}

impl Ranker for Probeless {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        let (concepts, sums) = self.prepare(data.labels, ctx)?;
        let pass = ColumnPass {
            x: data.x,
            ctx,
            method: Self::NAME,
            stage: "mean activations of concepts",
            scratch_per_row: 0,
        };
        let provenance = Provenance::of_method(Self::NAME, params_of(self));
        to_scores(concepts, data.x.neurons(), provenance, &pass.accumulate(&sums)?)
    }

    fn stream<'a>(
        &'a self,
        labels: &'a Labels,
        neurons: &'a [NeuronId],
        ctx: Context<'a>,
    ) -> Result<Option<Box<dyn RowSink<Scores> + 'a>>, MethodError> {
        let (concepts, sums) = self.prepare(labels, ctx)?;
        let provenance = Provenance::of_method(Self::NAME, params_of(self));
        let scores = move |columns: Vec<ColumnScores>| to_scores(concepts, neurons, provenance, &columns);
        Ok(Some(Box::new(Stream::new(Self::NAME, sums, (labels.n_tokens(), neurons), ctx, scores)?)))
    }
}

/// Summed distance of each mean from the others, and on which side of them it is, `[n_concepts]`.
fn distances(means: &[f64], scale: f64) -> Vec<(f32, i8)> {
    let of_one = |&mean: &f64| {
        let (mut distance, mut side) = (0.0, 0.0);
        for other in means {
            distance += (mean - other).abs();
            side += mean - other;
        }
        // A neuron of one value has no distances: 0, whatever rounding left over.
        if scale > 0.0 { ((distance / scale) as f32, direction(side)) } else { (0.0, 0) }
    };
    means.iter().map(of_one).collect()
}

#[cfg(test)]
mod tests;
