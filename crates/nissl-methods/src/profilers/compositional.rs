//! Compositional explanations: the formula of concepts whose rows are most like those where a neuron fires.
//!
//! ## Computes
//! Among formulas of features (a word, a label, either of them on the row before) joined by OR, AND and AND NOT, the one
//! with the highest `IoU(M, F) · penalty^(length - 1)`, M the rows where the neuron is above its threshold, F those
//! where the formula holds; by beam search. Length is the number of features and of NOTs.
//! ## Input
//! Activations `[n_tokens, n_neurons]`, the word of each row, and labels if there are any.
//! ## Output
//! For every neuron the best formula, then the best of each smaller number of features down to the best single one, each
//! with its score. A constant neuron and one that fires in fewer than `min_acts` rows have none.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `threshold` | quantile | relu, quantile, value | what an activation must be above |
//! | `alpha` | 0.005 | 0 to 1, exclusive | the share of rows, for `quantile` |
//! | `value` | 0 | finite | the number, for `value` |
//! | `measure` | iou | iou, precision, recall | what is scored |
//! | `beam` | 10 | ≥ 1 | formulas that are gone on with |
//! | `rounds` | 5 | ≥ 1 | features of the longest formula |
//! | `penalty` | 1 | 0 to 1, without 0 | factor of the score for each step of length; 1 is none |
//! | `min_acts` | 10 | ≥ 1 | a neuron that fires in fewer rows is passed over |
//! | `words` | 2000 | ≥ 0 | the most frequent words that are features |
//! | `min_count` | 5 | ≥ 1 | features with fewer rows are passed over |
//! | `previous` | false | | whether the features of the row before count too |
//! ## Cost
//! For each neuron and each formula of the beam one look at the rows where the formula holds, which counts all features
//! at once, and O(n_features): no feature is compared with a formula row by row.
//! ## Errors
//! `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The reference joins by AND NOT only features that meet the neuron somewhere, so that "and not C" is never found where
//! it is exact; here every feature that takes away a row where the neuron is silent counts. Its NEIGHBORS (a word or
//! those of the nearest vectors) need word vectors and are not here: a word list as a concept says the same. It passes
//! over neurons with fewer than 500 rows.
//! ## Source
//! Mu and Andreas 2020, Compositional Explanations of Neurons, arXiv:2006.14032; reference: jayelm/compexp.

use nissl_core::{Context, Describe, Explanation, MethodCard, MethodError, Profile, Profiler, TextActivations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::ColumnPass;
use crate::features::{FeatureOptions, Features};
use crate::groups::is_constant;
use crate::quantile::quantile;
use crate::rankers::{Measure, Threshold};

mod bits;
mod formula;
mod search;

use bits::Bits;
use search::Search;

/// Finds the formula of concepts whose rows are most like those where a neuron fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compositional {
    /// What an activation must be above.
    pub threshold: Threshold,
    /// The share of rows, for `quantile`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
    /// The number, for `value`.
    pub value: f64,
    /// What is scored.
    pub measure: Measure,
    /// Formulas that are gone on with.
    #[schemars(range(min = 1))]
    pub beam: usize,
    /// Features of the longest formula.
    #[schemars(range(min = 1))]
    pub rounds: usize,
    /// Factor of the score for each step of length; 1 is none.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub penalty: f64,
    /// A neuron that fires in fewer rows is passed over.
    #[schemars(range(min = 1))]
    pub min_acts: usize,
    /// The most frequent words that are features.
    pub words: usize,
    /// Features with fewer rows are passed over.
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Whether the features of the row before count too.
    pub previous: bool,
}

impl Default for Compositional {
    fn default() -> Self {
        Self {
            threshold: Threshold::Quantile,
            alpha: 0.005,
            value: 0.0,
            measure: Measure::Iou,
            beam: 10,
            rounds: 5,
            penalty: 1.0,
            min_acts: 10,
            words: 2000,
            min_count: 5,
            previous: false,
        }
    }
}

impl Describe for Compositional {
    const NAME: &'static str = "compositional";
    const SUMMARY: &'static str = "Finds the formula of concepts whose rows are most like those where a neuron fires.";
    const SOURCE: &'static str = "Mu and Andreas 2020, arXiv:2006.14032; reference: jayelm/compexp";
    const CARD: MethodCard = MethodCard {
        input: "concept",
        output: "neurons",
        scalability: "low",
        human_in_the_loop: false,
        supervision: true,
        ..MethodCard::PROFILE
    };
}

impl Compositional {
    fn check(&self) -> Result<(), MethodError> {
        let refuse =
            |name, value: String, expected| Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return refuse("alpha", self.alpha.to_string(), "a number between 0 and 1");
        }
        if !self.value.is_finite() {
            return refuse("value", self.value.to_string(), "a finite number");
        }
        if !(self.penalty > 0.0 && self.penalty <= 1.0) {
            return refuse("penalty", self.penalty.to_string(), "a number above 0, at most 1");
        }
        let counts =
            [("beam", self.beam), ("rounds", self.rounds), ("min_acts", self.min_acts), ("min_count", self.min_count)];
        match counts.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => refuse(name, "0".to_owned(), "at least 1"),
            None => Ok(()),
        }
    }
}

impl Profiler for Compositional {
    fn profile(&self, data: TextActivations<'_>, ctx: Context<'_>) -> Result<Vec<Profile>, MethodError> {
        self.check()?;
        let options = FeatureOptions { words: self.words, min_count: self.min_count, previous: self.previous };
        let features = Features::new(&data, options, Self::NAME, ctx)?;
        let rows = features.rows();
        let search = Search { method: self, features: &features, rows: &rows };
        let pass = ColumnPass {
            x: data.x,
            ctx,
            method: Self::NAME,
            stage: "formulas",
            scratch_per_row: size_of::<f32>() + self.beam.div_ceil(4),
        };
        pass.map(Vec::new, |scratch, column_idx, column| {
            let mut profile = Profile::new(data.x.neurons()[column_idx]);
            if is_constant(column) {
                return Ok(profile);
            }
            let threshold = match self.threshold {
                Threshold::Relu => 0.0,
                Threshold::Value => self.value as f32,
                Threshold::Quantile => quantile(column, 1.0 - self.alpha, scratch),
            };
            let fires = Bits::new(column.iter().map(|&value| value > threshold));
            if fires.count() as usize >= self.min_acts {
                let explanation = |found: search::Found| Explanation {
                    text: found.formula.text(&features.names),
                    score: found.score as f32,
                    length: found.formula.length(),
                };
                profile.explanations = search.best(&fires).into_iter().map(explanation).collect();
            }
            Ok(profile)
        })
    }
}

#[cfg(test)]
mod tests;
