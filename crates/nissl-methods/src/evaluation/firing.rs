//! The observational test of a claim "this neuron fires on all and only these words": precision, recall and F1 on text
//! that the claim was not made from (Huang et al. 2023, "Rigorously Assessing Natural Language Explanations of Neurons",
//! arXiv:2309.10312).

use std::collections::BTreeMap;
use std::ops::Range;

use nissl_core::TextRows;
use serde::{Deserialize, Serialize};

use super::explanation::Judgement;
use crate::probes::inference::{Interval, bootstrap};
use crate::quantile::quantile;

/// How often a claim is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firing {
    /// Rows of each kind.
    pub judgement: Judgement,
    /// Share of the rows it fired on that were claimed; none where it never fired.
    pub precision: Option<Interval>,
    /// Share of the claimed rows it fired on; none where nothing was claimed.
    pub recall: Option<Interval>,
    /// Their harmonic mean; none where it never fired and nothing was claimed.
    pub f1: Option<Interval>,
}

/// Compares where the neuron should fire with where it is above `theta`; intervals come from drawing sentences anew, a
/// draw without the rows that a number is a share of counting as 0.
///
/// # Panics
/// If there is not one claim and one value a row.
pub fn firing(text: &TextRows, claimed: &[bool], (values, theta): (&[f32], f32), draws: usize, seed: u64) -> Firing {
    assert_eq!(text.n_tokens(), claimed.len(), "a claim a row");
    let judgement = Judgement::of(claimed, values, theta);
    let counts = |rows: Range<usize>| {
        let of = Judgement::of(&claimed[rows.clone()], &values[rows], theta);
        [of.hits, of.missed, of.spurious, of.rejected].map(|n| n as f64).to_vec()
    };
    let sentences: Vec<Vec<f64>> = text.sentences().map(counts).collect();
    let interval = |of: fn(&Judgement) -> Option<f64>| {
        let statistic = |sums: &[f64]| {
            let [hits, missed, spurious, rejected] = [0, 1, 2, 3].map(|kind| sums[kind] as usize);
            of(&Judgement { hits, missed, spurious, rejected }).unwrap_or(0.0)
        };
        of(&judgement).map(|_| bootstrap(&sentences, statistic, draws, seed))
    };
    Firing {
        judgement,
        precision: interval(Judgement::precision),
        recall: interval(Judgement::recall),
        f1: interval(Judgement::f1),
    }
}

/// The value that a neuron must be above to fire: `theta`, or its own quantile.
///
/// # Panics
/// If there are no values.
pub fn threshold(values: &[f32], theta: f32, quantile_of: Option<f64>) -> f32 {
    quantile_of.map_or(theta, |q| quantile(values, q, &mut Vec::new()))
}

/// The mean activation of each word, as a claim of what the neuron does there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordTable {
    /// The mean on each word.
    pub words: BTreeMap<String, f32>,
    /// What stands for words that are not in it.
    pub others: f32,
}

impl WordTable {
    /// The table of a text: words with at least `min_count` rows, the mean of all rows for others.
    ///
    /// # Panics
    /// If there is not one value a row.
    pub fn learn(text: &TextRows, values: &[f32], min_count: usize) -> Self {
        assert_eq!(text.n_tokens(), values.len(), "a value a row");
        let mut sums = vec![(0.0_f64, 0_usize); text.types().len()];
        for (&word, &value) in text.type_of().iter().zip(values) {
            let (sum, count) = &mut sums[word as usize];
            (*sum, *count) = (*sum + f64::from(value), *count + 1);
        }
        let (sum, count) = sums.iter().fold((0.0, 0), |(sum, count), own| (sum + own.0, count + own.1));
        let often = text.types().iter().zip(sums).filter(|(_, (_, count))| *count >= min_count.max(1));
        let words = often.map(|(word, (sum, count))| (word.clone(), (sum / count as f64) as f32)).collect();
        Self { words, others: (sum / (count.max(1)) as f64) as f32 }
    }

    /// What it foretells for each row, `[n_tokens]`.
    pub fn foretell(&self, text: &TextRows) -> Vec<f32> {
        let of_type: Vec<f32> =
            text.types().iter().map(|word| self.words.get(word).copied().unwrap_or(self.others)).collect();
        text.type_of().iter().map(|&word| of_type[word as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use nissl_testing::{Tol, assert_close};

    use super::*;

    fn text(sentences: &[&[&'static str]]) -> TextRows {
        let rows = sentences.iter().enumerate().flat_map(|(idx, words)| words.iter().map(move |w| (idx as u32, *w)));
        TextRows::from_words(rows)
    }

    #[test]
    fn claims_are_counted_and_intervals_hold_the_value() {
        // 8 hits, 2 missed, 1 spurious, 9 rejected, two rows a sentence.
        let sentences = [["a", "b"]; 10];
        let rows = text(&sentences.each_ref().map(|words| &words[..]));
        let mut claimed = vec![false; 20];
        let mut values = vec![-1.0; 20];
        (0..10).for_each(|row| claimed[row] = true);
        (2..11).for_each(|row| values[row] = 1.0);
        let found = firing(&rows, &claimed, (&values, 0.0), 500, 3);
        assert_eq!(found.judgement, Judgement { hits: 8, missed: 2, spurious: 1, rejected: 9 });
        for (interval, want) in [(found.precision, 8.0 / 9.0), (found.recall, 0.8), (found.f1, 16.0 / 19.0)] {
            let Interval { value, low, high } = interval.unwrap();
            assert_close("value", &value, &want, Tol::abs(1e-12));
            assert!(low < value && value < high, "{low} {value} {high}");
        }
        let silent = firing(&rows, &claimed, (&[-1.0; 20], 0.0), 10, 3);
        assert_eq!((silent.precision, silent.recall.unwrap().value), (None, 0.0));
        assert_eq!((threshold(&values, 0.25, None), threshold(&values, 0.25, Some(0.9))), (0.25, 1.0));
    }

    #[test]
    fn an_indicator_of_words_is_foretold_by_its_table_on_other_text() {
        let (first, second) = (text(&[&["x", "a", "x"], &["b", "a"]]), text(&[&["a", "c", "x", "b"]]));
        let table = WordTable::learn(&first, &[1.0, 0.0, 1.0, 0.0, 0.0], 1);
        assert_eq!(table.foretell(&second), [0.0, 0.4, 1.0, 0.0]);
        let rare = WordTable::learn(&first, &[1.0, 0.0, 1.0, 0.0, 0.0], 2).foretell(&second);
        assert_eq!(rare, [0.0, 0.4, 1.0, 0.4], "b is too rare");
    }
}
