//! Top words: the word types at which a neuron is furthest from its mean.
//!
//! ## Computes
//! Mean over a type's occurrences of `|a - μ| / σ`, divided by the largest such mean of any type; μ and σ mean and
//! population deviation of the neuron over all rows. With `signed`, the mean of `(a - μ) / σ`, divided by the largest
//! size, so that the two ends of a neuron are told apart.
//! ## Input
//! Activations `[n_tokens, n_neurons]` and the word of each row.
//! ## Output
//! For every neuron words with score, signed mean deviation and count; best first, equal ones in order of the word.
//! With `signed` from the most raised to the most lowered word. A constant neuron has none.
//! ## Parameters
//! | name | default | range | meaning |
//! |---|---|---|---|
//! | `threshold` | 0.1 | 0 to 1 | words are listed if the size of their score is above it |
//! | `num` | 0 | ≥ 0 | list so many words instead; 0 goes by the threshold |
//! | `signed` | false | | keep the sign of the mean deviation |
//! | `min_count` | 1 | ≥ 1 | words with fewer occurrences are passed over |
//! ## Cost
//! O(n_tokens · n_neurons); streams blocks of columns. The lists of all neurons must fit into the memory budget.
//! ## Errors
//! `NotFinite`, `Parameter`, `Cancelled`.
//! ## Differs
//! The reference takes absolute deviations alone and divides by zero for a constant neuron. The signed mean is
//! reported beside the score in either mode.
//! ## Source
//! Dalvi et al. 2019, NeuroX: A Toolkit for Analyzing Individual Neurons in Neural Networks, AAAI, arXiv:1812.09359;
//! reference: NeuroX.

use std::sync::atomic::{AtomicUsize, Ordering};

use nissl_core::{Context, Describe, MethodCard, MethodError, Profile, Profiler, TextActivations, TextRows, WordScore};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::ColumnPass;
use crate::groups::{RowGroups, mean_and_deviation};

/// Lists the words at which a neuron is furthest from its mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopWords {
    /// Words are listed if the size of their score is above it.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub threshold: f64,
    /// List so many words instead; 0 goes by the threshold.
    pub num: usize,
    /// Keep the sign of the mean deviation.
    pub signed: bool,
    /// Words with fewer occurrences are passed over.
    #[schemars(range(min = 1))]
    pub min_count: usize,
}

const DEFAULT_THRESHOLD: f64 = 0.1;

impl Default for TopWords {
    fn default() -> Self {
        Self { threshold: DEFAULT_THRESHOLD, num: 0, signed: false, min_count: 1 }
    }
}

impl Describe for TopWords {
    const NAME: &'static str = "top-words";
    const SUMMARY: &'static str = "Lists the words at which a neuron is furthest from its mean.";
    const SOURCE: &'static str = "Dalvi et al. 2019, NeuroX, AAAI, arXiv:1812.09359; reference: NeuroX";
    const CARD: MethodCard = MethodCard::PROFILE;
}

impl TopWords {
    fn check(&self) -> Result<(), MethodError> {
        let refuse = |name, value, expected| Err(MethodError::Parameter { method: Self::NAME, name, value, expected });
        if !(0.0..=1.0).contains(&self.threshold) {
            return refuse("threshold", self.threshold.to_string(), "a number from 0 to 1");
        }
        // Exactly the default means that the user did not choose one.
        if self.num > 0 && self.threshold.to_bits() != DEFAULT_THRESHOLD.to_bits() {
            return refuse("num", self.num.to_string(), "0 where a threshold is chosen: one of the two decides");
        }
        if self.min_count == 0 {
            return refuse("min_count", "0".to_owned(), "at least 1");
        }
        Ok(())
    }

    /// The words of one column, by their type's index, in order.
    fn list(&self, column: &[f32], words: &Words<'_>, scratch: &mut Scratch) -> Vec<WordScore> {
        let (mean, deviation) = mean_and_deviation(column);
        if deviation == 0.0 {
            return Vec::new();
        }
        words.groups.means(column, |value| value as f64 - mean, &mut scratch.signed);
        if !self.signed {
            words.groups.means(column, |value| (value as f64 - mean).abs(), &mut scratch.size);
        }
        let means = if self.signed { &scratch.signed } else { &scratch.size };
        let kept = |&word: &usize| words.groups.rows(word).len() >= self.min_count;
        let largest = (0..means.len()).filter(kept).map(|word| means[word].abs()).fold(0.0, f64::max);
        if largest == 0.0 {
            return Vec::new();
        }
        let score = |word: usize| means[word] / largest;
        let by_word = |&a: &usize, &b: &usize| words.text.types()[a].cmp(&words.text.types()[b]);
        let mut listed: Vec<usize> = (0..means.len()).filter(kept).collect();
        if self.num == 0 {
            listed.retain(|&word| score(word).abs() > self.threshold);
        } else if listed.len() > self.num {
            let furthest = |a: &usize, b: &usize| means[*b].abs().total_cmp(&means[*a].abs());
            listed.select_nth_unstable_by(self.num, |a, b| furthest(a, b).then_with(|| by_word(a, b)));
            listed.truncate(self.num);
        }
        listed.sort_by(|a, b| means[*b].total_cmp(&means[*a]).then_with(|| by_word(a, b)));
        let word_score = |word: usize| WordScore {
            name: words.text.types()[word].clone(),
            score: score(word) as f32,
            deviation: (scratch.signed[word] / deviation) as f32,
            count: words.groups.rows(word).len() as u32,
        };
        listed.into_iter().map(word_score).collect()
    }
}

/// The rows of each word type.
struct Words<'a> {
    text: &'a TextRows,
    groups: RowGroups,
}

/// Mean size and mean of the deviations of each word type, in activation units, `[n_types]`.
#[derive(Default)]
struct Scratch {
    size: Vec<f64>,
    signed: Vec<f64>,
}

impl Profiler for TopWords {
    fn profile(&self, data: TextActivations<'_>, ctx: Context<'_>) -> Result<Vec<Profile>, MethodError> {
        self.check()?;
        let types = data.text.type_of().iter().map(|&word| Some(word));
        let words = Words { text: data.text, groups: RowGroups::new(data.text.types().len(), types) };
        let listed_bytes = AtomicUsize::new(0);
        let pass = ColumnPass { x: data.x, ctx, method: Self::NAME, stage: "top words", scratch_per_row: 0 };
        pass.map(Scratch::default, |scratch, column_idx, column| {
            let list = self.list(column, &words, scratch);
            let bytes: usize = list.iter().map(|word| size_of::<WordScore>() + word.name.len()).sum();
            if listed_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > ctx.memory {
                return Err(MethodError::Parameter {
                    method: Self::NAME,
                    name: "num",
                    value: self.num.to_string(),
                    expected: "few enough words a neuron for the memory: give num, or fewer neurons",
                });
            }
            Ok(Profile { words: list, ..Profile::new(data.x.neurons()[column_idx]) })
        })
    }
}

#[cfg(test)]
mod tests;
