//! Variance-reduction explanations: which property of a word says most about a neuron's activation there.
//!
//! ## Computes
//! For each feature f (a word, a label, either of them on the row before): the share of the neuron's variance that is
//! gone when the rows with f and those without it are looked at apart,
//! `VR(f) = [Var(a) - (1 - p) Var(a | not f) - p Var(a | f)] / Var(a)`, p the share of rows with f. It is the squared
//! correlation of the neuron with f.
//! ## Input
//! Activations `[n_tokens, n_neurons]`, the word of each row, and labels if there are any.
//! ## Output
//! For every neuron the features of highest VR, best first, of equal ones in order of their names. A constant neuron
//! has none.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `scope` | token | token, previous | whether the features of the row before count too |
//! | `words` | 2000 | ≥ 0 | the most frequent words that are features |
//! | `min_count` | 2 | ≥ 1 | features that fewer rows have, or fewer rows lack, are passed over |
//! | `num` | 3 | ≥ 1 | features a neuron |
//! ## Cost
//! O(n_tokens · n_neurons) sums over the distinct sets of features, whatever their number.
//! ## Errors
//! `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The reference takes sample variances, so that the VR of a useless feature can fall below 0; population variances
//! keep it from 0 to 1. Directions of the vocabulary are features in `nissl lens`.
//! ## Source
//! Gurnee et al. 2024, Universal Neurons in GPT2 Language Models, arXiv:2401.12181; reference: wesg52/universal-neurons.

use nissl_core::{Context, Describe, Explanation, MethodCard, MethodError, Profile, Profiler, TextActivations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::class_sums::{ClassSums, Grouped, Sums};
use crate::columns::ColumnPass;
use crate::features::{FeatureOptions, Features};

/// Finds the property of a word that says most about a neuron's activation there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VarianceReduction {
    /// Whether the features of the row before count too.
    pub scope: Scope,
    /// The most frequent words that are features.
    pub words: usize,
    /// Features that fewer rows have, or fewer rows lack, are passed over.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Features a neuron.
    #[schemars(range(min = 1))]
    pub num: usize,
}

/// Which rows' features count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Scope {
    /// The row's own.
    #[default]
    Token,
    /// Those of the row before, too.
    Previous,
}

impl Default for VarianceReduction {
    fn default() -> Self {
        Self { scope: Scope::Token, words: 2000, min_count: 2, num: 3 }
    }
}

impl Describe for VarianceReduction {
    const NAME: &'static str = "variance-reduction";
    const SUMMARY: &'static str = "Finds the property of a word that says most about a neuron's activation there.";
    const SOURCE: &'static str = "Gurnee et al. 2024, arXiv:2401.12181; reference: wesg52/universal-neurons";
    const CARD: MethodCard = MethodCard { human_in_the_loop: false, supervision: true, ..MethodCard::PROFILE };
}

impl VarianceReduction {
    fn check(&self) -> Result<(), MethodError> {
        for (name, value) in [("min_count", self.min_count), ("num", self.num)] {
            if value == 0 {
                let (value, expected) = ("0".to_owned(), "at least 1");
                return Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
            }
        }
        Ok(())
    }

    /// The best features, by the sums over each set of features.
    fn best(&self, features: &Features, n_rows: &[u32], sums: &Sums) -> Vec<Explanation> {
        let n_tokens = features.set_of.len() as f64;
        let variance = sums.all.deviation().powi(2);
        if sums.all.is_constant() {
            return Vec::new();
        }
        // Sums of differences from the mean, so that a large mean costs no precision.
        let mut of_feature = vec![0.0; features.names.len()];
        for (set, (sum, &count)) in sums.of_group.iter().zip(n_rows).enumerate() {
            for &feature in features.of_set(set as u32) {
                of_feature[feature as usize] += sum - f64::from(count) * sums.all.mean;
            }
        }
        let reduction = |(feature, &count): (usize, &u32)| {
            let count = f64::from(count);
            let least = self.min_count as f64;
            if count < least || n_tokens - count < least {
                return None;
            }
            let distance = of_feature[feature] / count;
            let reduction = count / (n_tokens - count) * distance * distance / variance;
            Some((reduction.clamp(0.0, 1.0), feature))
        };
        let mut found: Vec<(f64, usize)> = features.counts.iter().enumerate().filter_map(reduction).collect();
        let better = |a: &(f64, usize), b: &(f64, usize)| {
            b.0.total_cmp(&a.0).then_with(|| features.names[a.1].cmp(&features.names[b.1]))
        };
        if found.len() > self.num {
            found.select_nth_unstable_by(self.num - 1, better);
            found.truncate(self.num);
        }
        found.sort_by(better);
        let explanation = |(score, feature): (f64, usize)| Explanation {
            text: features.names[feature].clone(),
            score: score as f32,
            length: 1,
        };
        found.into_iter().map(explanation).collect()
    }
}

impl Profiler for VarianceReduction {
    fn profile(&self, data: TextActivations<'_>, ctx: Context<'_>) -> Result<Vec<Profile>, MethodError> {
        self.check()?;
        let previous = self.scope == Scope::Previous;
        let options = FeatureOptions { words: self.words, min_count: self.min_count, previous };
        let features = Features::new(&data, options, Self::NAME, ctx)?;
        let mut n_rows = vec![0_u32; features.n_sets()];
        features.set_of.iter().for_each(|&set| n_rows[set as usize] += 1);
        let sets: Vec<Option<u32>> = features.set_of.iter().map(|&set| Some(set)).collect();
        let best = |sums: Sums| self.best(&features, &n_rows, &sums);
        let sums = ClassSums::new(Grouped::new(features.n_sets(), &sets), f64::from, best);
        let stage = "variance that features take away";
        let scratch_per_row = 0;
        let found = ColumnPass { x: data.x, ctx, method: Self::NAME, stage, scratch_per_row }.accumulate(&sums)?;
        let profile = |(explanations, &neuron)| Profile { explanations, ..Profile::new(neuron) };
        Ok(found.into_iter().zip(data.x.neurons()).map(profile).collect())
    }
}

#[cfg(test)]
mod tests;
