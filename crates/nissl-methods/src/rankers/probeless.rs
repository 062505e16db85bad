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
//! O(n_tokens · n_neurons + n_concepts² · n_neurons), two looks at each column; streams blocks of columns.
//! ## Errors
//! `NotExclusive`, `TooFewConcepts`, `TooFewRows`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The reference neither z-scores nor counts rows: `zscore = false, min_count = 1` gives its numbers.
//! ## Source
//! Antverg and Belinkov 2022, On the Pitfalls of Analyzing Individual Neurons in Language Models, arXiv:2110.07483;
//! reference: NeuroX.

use ndarray::Array2;
use nissl_core::{
    Concept, Context, Describe, LabeledActivations, MethodCard, MethodError, Provenance, Ranker, Scope, Scores,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::params_of;
use crate::columns::ColumnPass;
use crate::concepts::{Kept, keep};
use crate::groups::{RowGroups, mean_and_deviation};

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
    const CARD: MethodCard = MethodCard {
        family: "corpus",
        scope: Scope::Global,
        input: "concept",
        output: "neurons",
        scalability: "high",
        human_in_the_loop: false,
        supervision: true,
        causal: false,
    };
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

    /// The concepts that are compared and the rows of each; a single concept gets the rows without it as second group.
    fn groups(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<(Vec<Concept>, RowGroups), MethodError> {
        let of_row = data.labels.exclusive(Self::NAME)?;
        let is_single = data.labels.concepts().len() == 1;
        let why_not = |count| (count < self.min_count).then(|| format!("{count} rows, min_count {}", self.min_count));
        let n_needed = if is_single { 1 } else { 2 };
        let Kept { concepts, new_idx } = keep(data.labels, Self::NAME, n_needed, ctx, why_not)?;
        if !is_single {
            let of_row = of_row.iter().map(|label| label.and_then(|old| new_idx[old as usize]));
            return Ok((concepts.clone(), RowGroups::new(concepts.len(), of_row)));
        }
        let groups = RowGroups::new(2, of_row.iter().map(|label| Some(u32::from(label.is_none()))));
        let n_without = groups.rows(1).len();
        if n_without < self.min_count {
            return Err(MethodError::TooFewRows {
                method: Self::NAME,
                concept: format!("not {}", concepts[0].name),
                expected: self.min_count,
                got: n_without,
            });
        }
        Ok((concepts, groups))
    }
}

impl Ranker for Probeless {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        self.check()?;
        let (concepts, groups) = self.groups(data, ctx)?;
        let pass = ColumnPass {
            x: data.x,
            ctx,
            method: Self::NAME,
            stage: "mean activations of concepts",
            scratch_per_row: 0,
        };
        let columns = pass.map(Vec::new, |means, _, column| {
            let (_, deviation) = mean_and_deviation(column);
            groups.means(column, f64::from, means);
            let constant = deviation == 0.0;
            let scale = if self.zscore || constant { deviation } else { 1.0 };
            Ok((constant, distances(means, scale)))
        })?;
        let neurons = data.x.neurons().to_vec();
        let mut values = Array2::zeros((concepts.len(), neurons.len()));
        let mut sign = Array2::zeros(values.dim());
        for (neuron, (_, of_concept)) in columns.iter().enumerate() {
            for (concept, &(distance, direction)) in of_concept.iter().take(concepts.len()).enumerate() {
                values[[concept, neuron]] = distance;
                sign[[concept, neuron]] = direction;
            }
        }
        let constant = columns.iter().map(|(constant, _)| *constant).collect();
        Scores::new(values, concepts, neurons, Provenance::of_method(Self::NAME, params_of(self)))?
            .with_sign(sign)?
            .with_constant(constant)
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

fn direction(side: f64) -> i8 {
    if side > 0.0 {
        1
    } else if side < 0.0 {
        -1
    } else {
        0
    }
}

#[cfg(test)]
mod tests;
