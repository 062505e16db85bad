//! Sparse probing: a cheap score of each neuron by itself, by which the neurons of a small probe are chosen.
//!
//! ## Computes
//! For each concept against all other rows, by `by`: `mean_dif` the distance of the class means in standard deviations;
//! `f_stat` the F statistic of one way; `mi` the mutual information with the neuron cut into 16 bins of equally many
//! rows, in bits; `lr` the weight in a logistic regression with balanced classes and penalized sizes of weights (C = 0.1);
//! `svm` the weight in a linear support vector machine with squared hinge (C = 1); `random` a number drawn for each
//! neuron. C is that of neurons in tens of deviations, as published: a hundred times less than of standardized ones.
//! ## Input
//! Activations `[n_tokens, n_neurons]`, standardized here with the statistics of the rows that are used: six tenths of
//! the sentences, drawn by their content. Any number of labels a row; a row is negative for every concept it has not.
//! ## Output
//! Scores ≥ 0; the sign of the class difference with `mean_dif`, of the weight with `lr` and `svm`.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `by` | mean_dif | mean_dif, f_stat, mi, lr, svm, random | the score |
//! | `min_count` | 2 | ≥ 1 | concepts with fewer rows are left out, and named |
//! | `seed` | 0 | | another seed is another split, and other random scores |
//! ## Cost
//! O(n_tokens · n_neurons · n_concepts), one pass; `lr` and `svm` fit a linear probe for each concept.
//! ## Errors
//! `TooFewConcepts`, `TooFewRows`, `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The reference estimates mutual information by nearest neighbors and its support vector machine has the plain hinge.
//! With `lr` and `svm` fits stop at a duality gap of a hundred-thousandth of the objective, not after 200 steps.
//! Probes of the best k neurons against random ones are what `nissl probe train --k` fits.
//! ## Source
//! Gurnee et al. 2023, Finding Neurons in a Haystack, TMLR, arXiv:2305.01610; reference: wesg52/sparse-probing-paper.

use ndarray::Array2;
use nissl_core::{Context, Describe, LabeledActivations, MethodCard, MethodError, Provenance, Ranker, Scores};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::params_of;
use crate::probes::classes::ConceptSets;
use crate::probes::design::Design;
use crate::probes::linear::solver::{Penalty, Solver, Stop};
use crate::probes::parts::{Parts, split};
use crate::probes::targets::Targets;
use crate::probes::{CARD, Loss, Part, SplitOptions, at_least_1};
use crate::random::{Random, mix};

/// Ranks neurons by a cheap score of each by itself, as for a probe of few neurons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SparseProbe {
    /// The score.
    pub by: SparseScore,
    /// Concepts with fewer rows are left out, and named.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Another seed is another split, and other random scores.
    pub seed: u64,
}

/// By what neurons are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum SparseScore {
    /// Distance of the class means in standard deviations.
    #[default]
    MeanDif,
    /// F statistic of one way.
    FStat,
    /// Mutual information with the neuron in bins, in bits.
    Mi,
    /// Weight in a logistic regression with balanced classes and penalized sizes of weights.
    Lr,
    /// Weight in a linear support vector machine.
    Svm,
    /// A number drawn for each neuron.
    Random,
}

impl Default for SparseProbe {
    fn default() -> Self {
        Self { by: SparseScore::MeanDif, min_count: 2, seed: 0 }
    }
}

impl Describe for SparseProbe {
    const NAME: &'static str = "sparse-probe";
    const SUMMARY: &'static str = "Ranks neurons by a cheap score of each by itself, as for a probe of few neurons.";
    const SOURCE: &'static str = "Gurnee et al. 2023, TMLR, arXiv:2305.01610; reference: wesg52/sparse-probing-paper";
    const CARD: MethodCard = CARD;
}

/// Bins of a neuron for mutual information.
const BINS: usize = 16;

impl Ranker for SparseProbe {
    fn score(&self, data: LabeledActivations<'_>, ctx: Context<'_>) -> Result<Scores, MethodError> {
        at_least_1(Self::NAME, "min_count", self.min_count)?;
        let sets = ConceptSets::new(data.labels, Self::NAME, self.min_count, ctx)?;
        let options = SplitOptions { seed: self.seed, ..SplitOptions::default() };
        let split = split(data, options, ctx, Self::NAME)?;
        let parts = Parts::new(&split, |_| true, &[Part::Train], Self::NAME)?;
        let rows = parts.of(Part::Train).to_vec();
        let masks = sets.masks(data.labels, &rows);
        let n_fit = rows.len();
        let design = Design::new(data.x, ctx, Self::NAME, rows, n_fit)?;
        let signed = match self.by {
            SparseScore::Lr | SparseScore::Svm => self.weights(&design, &masks)?,
            SparseScore::Random => {
                let mut random = Random::new(mix(self.seed));
                let one: Vec<f64> = (0..design.n_columns()).map(|_| random.uniform()).collect();
                masks.iter().map(|_| one.clone()).collect()
            }
            _ => self.by_column(&design, &masks)?,
        };
        let mut provenance = Provenance::of_method(Self::NAME, params_of(self));
        provenance.seed = Some(self.seed);
        let neurons = data.x.neurons().to_vec();
        let at = |(concept, neuron): (usize, usize)| signed[concept][neuron];
        let values = Array2::from_shape_fn((masks.len(), neurons.len()), |place| at(place).abs() as f32);
        let sign = Array2::from_shape_fn(values.dim(), |place| i8::from(at(place) > 0.0) - i8::from(at(place) < 0.0));
        let scores = Scores::new(values, sets.concepts, neurons, provenance)?.with_constant(design.constant())?;
        match self.by {
            SparseScore::MeanDif | SparseScore::Lr | SparseScore::Svm => scores.with_sign(sign),
            _ => Ok(scores),
        }
    }
}

impl SparseProbe {
    /// Scores that need nothing but one column, `[n_concepts][n_neurons]`.
    fn by_column(&self, design: &Design<'_>, masks: &[Vec<bool>]) -> Result<Vec<Vec<f64>>, MethodError> {
        let n = design.n_rows();
        let pieces = design.map_pieces(|_, piece| {
            let of_column = |column: &[f32]| -> Vec<f64> {
                if self.by == SparseScore::Mi {
                    return information(column, masks);
                }
                masks.iter().map(|mask| self.of_means(column, mask)).collect()
            };
            piece.chunks(n.max(1)).map(of_column).collect::<Vec<_>>()
        })?;
        let columns: Vec<Vec<f64>> = pieces.into_iter().flatten().collect();
        Ok((0..masks.len()).map(|concept| columns.iter().map(|of| of[concept]).collect()).collect())
    }

    /// Distance of means, or F, of a standardized column; 0 where a class has no rows.
    fn of_means(&self, column: &[f32], mask: &[bool]) -> f64 {
        let (mut with, mut all, mut n_with) = (0.0, 0.0, 0.0);
        for (&value, &has) in column.iter().zip(mask) {
            all += value as f64;
            if has {
                with += value as f64;
                n_with += 1.0;
            }
        }
        let n = column.len() as f64;
        let n_without = n - n_with;
        if n_with == 0.0 || n_without == 0.0 {
            return 0.0;
        }
        let distance = with / n_with - (all - with) / n_without;
        if self.by == SparseScore::MeanDif {
            return distance;
        }
        // Standardized: the squares sum up to n, those between the classes to n₊ n₋ / n times the distance squared.
        let between = n_with * n_without / n * distance * distance;
        let total: f64 = column.iter().map(|&value| value as f64 * value as f64).sum();
        let within = (total - all * all / n - between).max(1e-12 * n);
        between / (within / (n - 2.0).max(1.0))
    }

    /// Weights of a linear probe for each concept, `[n_concepts][n_neurons]`.
    fn weights(&self, design: &Design<'_>, masks: &[Vec<bool>]) -> Result<Vec<Vec<f64>>, MethodError> {
        let n = design.n_fit() as f64;
        // In the units of libraries that sum up losses: C times the sum, with C = 0.1 for sizes, 1 for half the squares.
        // The published inputs are a tenth of the standardized ones, so that their weights are ten times these.
        let (loss, penalty) = if self.by == SparseScore::Lr {
            (Loss::Sigmoid, Penalty { l1: 100.0 / n, l2: 0.0 })
        } else {
            (Loss::SquaredHinge, Penalty { l1: 0.0, l2: 50.0 / n })
        };
        design.ctx().progress.stage("fitting a probe for each concept", Some(masks.len() as u64), "concepts");
        let mut all = Vec::new();
        for (done, mask) in masks.iter().enumerate() {
            let of = mask.iter().map(|&has| u32::from(!has)).collect();
            let weights = Targets::Classes { of, n: 2 }.balanced();
            let targets = Targets::Sets { has: mask.clone(), n: 1 };
            let solver = Solver::new(design, loss, &targets, weights.as_deref());
            all.push(solver.fit(penalty, Stop { gap: 1e-5, steps: 1000 }, None)?.weights);
            design.ctx().progress.step(done as u64 + 1);
        }
        Ok(all)
    }
}

/// Mutual information of the bins of a column with having each concept, in bits.
fn information(column: &[f32], masks: &[Vec<bool>]) -> Vec<f64> {
    let n = column.len();
    let mut sorted = column.to_vec();
    sorted.sort_by(f32::total_cmp);
    // Equal values are in one bin.
    let bounds: Vec<f32> = (1..BINS).filter_map(|bin| sorted.get(bin * n / BINS).copied()).collect();
    let bins: Vec<usize> = column.iter().map(|value| bounds.partition_point(|bound| bound <= value)).collect();
    let of_concept = |mask: &Vec<bool>| {
        let mut counts = [[0.0_f64; 2]; BINS];
        for (&bin, &has) in bins.iter().zip(mask) {
            counts[bin][usize::from(has)] += 1.0;
        }
        let of_class = [0, 1].map(|class| counts.iter().map(|of| of[class]).sum::<f64>());
        let mut bits = 0.0;
        for of_bin in counts {
            let in_bin = of_bin[0] + of_bin[1];
            for class in [0, 1] {
                if of_bin[class] > 0.0 {
                    bits += of_bin[class] / n as f64 * (of_bin[class] * n as f64 / (in_bin * of_class[class])).log2();
                }
            }
        }
        bits.max(0.0)
    };
    masks.iter().map(of_concept).collect()
}

#[cfg(test)]
mod tests {
    use nissl_testing::{Tol, assert_close};

    use super::*;

    #[test]
    fn scores_of_a_column_are_those_by_hand() {
        // Class means 1 and -1, deviation 1: within the classes nothing is left but what is floored.
        let mask = [true, true, false, false];
        let f = SparseProbe { by: SparseScore::FStat, ..SparseProbe::default() };
        assert_close("distance", &SparseProbe::default().of_means(&[1.0, 1.0, -1.0, -1.0], &mask), &2.0, Tol::EXACT);
        // Means 0.5 and -0.5; between 1, within 2.5 - 1 over 2 degrees of freedom.
        assert_close("F", &f.of_means(&[1.0, 0.0, 0.0, -1.0], &mask), &2.0, Tol::rel(1e-9));
        assert_close("one class", &f.of_means(&[1.0, 0.0], &[true, true]), &0.0, Tol::EXACT);
        let told = information(&[1.0, 1.0, -1.0, -1.0], &[mask.to_vec(), vec![true, false, true, false]]);
        assert_close("bits", &told, &[1.0, 0.0][..], Tol::abs(1e-12));
    }
}
