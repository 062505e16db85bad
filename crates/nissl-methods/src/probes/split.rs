//! Which rows a probe is fitted on, chosen by, and reported on: by sentence, never by row.
//!
//! A part is drawn by the content of a sentence, not by its place: the same sentence twice is in one part, and neither
//! the order of the corpus nor what else is in it moves a sentence from one part to another by more than the shares
//! demand.

use std::collections::BTreeMap;

use nissl_core::{Labels, MethodError, TextRows};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::{hash, mix};

/// How rows are split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SplitOptions {
    /// Share of the rows to fit on.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub train: f64,
    /// Share of the rows to choose by; the rest is to report on.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dev: f64,
    /// Another seed is another split.
    pub seed: u64,
    /// No word type in two parts: a row is kept where the part of its sentence is also that of its word.
    pub disjoint_words: bool,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self { train: 0.6, dev: 0.2, seed: 0, disjoint_words: false }
    }
}

/// A part of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// To fit on.
    Train,
    /// To choose by.
    Dev,
    /// To report on.
    Test,
}

/// The part of every row; rows without one are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    parts: Vec<Option<Part>>,
}

impl SplitOptions {
    /// Checks the shares.
    ///
    /// # Errors
    /// [`MethodError::Parameter`] if there is nothing to fit on or they are more than the whole.
    pub fn check(&self, method: &'static str) -> Result<(), MethodError> {
        let refuse = |name, value: f64, expected| {
            Err(MethodError::Parameter { method, name, value: value.to_string(), expected })
        };
        if !(self.train > 0.0 && self.train <= 1.0) {
            return refuse("train", self.train, "a share above 0, at most 1");
        }
        if !(self.dev >= 0.0 && self.train + self.dev <= 1.0 + 1e-12) {
            return refuse("dev", self.dev, "a share, with train at most 1");
        }
        Ok(())
    }
}

impl Split {
    /// Splits by sentence. Sentences of the same words are in the same part.
    pub fn by_sentence(text: &TextRows, options: SplitOptions) -> Self {
        let word_keys: Vec<u64> = text.types().iter().map(|word| hash(word.as_bytes())).collect();
        let mut keys = vec![0; text.n_tokens()];
        for rows in text.sentences() {
            let of_word = |row: usize| word_keys[text.type_of()[row] as usize];
            let key = rows.clone().fold(0, |key: u64, row| mix(key ^ of_word(row)));
            keys[rows].fill(key);
        }
        let mut split = Self::by_keys(&keys, options);
        if options.disjoint_words {
            let of_words: Vec<u64> = text.type_of().iter().map(|&word| word_keys[word as usize]).collect();
            let words = Self::by_keys(&of_words, options);
            for (part, of_word) in split.parts.iter_mut().zip(words.parts) {
                *part = part.filter(|_| *part == of_word);
            }
        }
        split
    }

    /// Splits by a number a row: rows of one number are in one part, whatever their places.
    pub(crate) fn by_keys(keys: &[u64], options: SplitOptions) -> Self {
        let mut counts: BTreeMap<(u64, u64), usize> = BTreeMap::new();
        for &key in keys {
            *counts.entry((mix(key ^ mix(options.seed)), key)).or_default() += 1;
        }
        let (n, mut before) = (keys.len() as f64, 0);
        let mut part_of: BTreeMap<u64, Part> = BTreeMap::new();
        for (&(_, key), &count) in &counts {
            // A group belongs where its middle row lies.
            let middle = (before as f64 + 0.5 * count as f64) / n;
            before += count;
            let part = if middle < options.train {
                Part::Train
            } else if middle < options.train + options.dev {
                Part::Dev
            } else {
                Part::Test
            };
            part_of.insert(key, part);
        }
        Self { parts: keys.iter().map(|key| part_of.get(key).copied()).collect() }
    }

    /// The part of each row, `[n_tokens]`.
    pub fn parts(&self) -> &[Option<Part>] {
        &self.parts
    }

    /// The rows of a part, ascending.
    pub fn rows(&self, part: Part) -> Vec<usize> {
        (0..self.parts.len()).filter(|&row| self.parts[row] == Some(part)).collect()
    }

    /// How much of a part is known from the rows that are fitted on, by the word alone.
    ///
    /// # Panics
    /// If text, labels and split have not the same number of rows.
    pub fn leakage(&self, text: &TextRows, labels: &Labels, part: Part) -> Leakage {
        assert!(text.n_tokens() == self.parts.len() && labels.n_tokens() == self.parts.len(), "one row each");
        let n_types = text.types().len();
        let mut seen: Vec<BTreeMap<&[u32], usize>> = vec![BTreeMap::new(); n_types];
        let mut all: BTreeMap<&[u32], usize> = BTreeMap::new();
        let labeled = |row: &usize| !labels.of(*row).is_empty();
        for row in self.rows(Part::Train).into_iter().filter(labeled) {
            *seen[text.type_of()[row] as usize].entry(labels.of(row)).or_default() += 1;
            *all.entry(labels.of(row)).or_default() += 1;
        }
        // The most frequent labels; of equally frequent ones the first.
        let most = |counts: &BTreeMap<&[u32], usize>| {
            counts.iter().fold((0, None), |best, (&of, &n)| if n > best.0 { (n, Some(of.to_vec())) } else { best }).1
        };
        let usual: Vec<Option<Vec<u32>>> = seen.iter().map(most).collect();
        let overall = most(&all);
        let rows: Vec<usize> = self.rows(part).into_iter().filter(labeled).collect();
        let (mut n_known, mut n_right) = (0, 0);
        for &row in &rows {
            let of_word = &usual[text.type_of()[row] as usize];
            n_known += usize::from(of_word.is_some());
            let guess = of_word.as_ref().or(overall.as_ref());
            n_right += usize::from(guess.is_some_and(|guess| guess == labels.of(row)));
        }
        let share = |n: usize| if rows.is_empty() { 0.0 } else { n as f64 / rows.len() as f64 };
        Leakage { rows: rows.len(), known_words: share(n_known), lookup_accuracy: share(n_right) }
    }
}

/// What word types alone tell about a part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leakage {
    /// Labeled rows of the part.
    pub rows: usize,
    /// Share of them whose word type is also in the rows that are fitted on.
    pub known_words: f64,
    /// Accuracy of the most frequent label of each word type in the rows that are fitted on, or of the most frequent
    /// label where the type is new: what a probe reaches that knows words and nothing else.
    pub lookup_accuracy: f64,
}

#[cfg(test)]
mod tests;
