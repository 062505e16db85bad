//! The words that the rows of a matrix stand for.

use std::ops::Range;

/// Which word of which sentence each row is. Words are kept once a type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextRows {
    types: Vec<String>,
    type_of: Vec<u32>,
    sentence_of: Vec<u32>,
}

impl TextRows {
    /// Rows from `(sentence, word)` pairs; sentences must not go backwards.
    ///
    /// # Panics
    /// If a sentence number is smaller than the one before it.
    pub fn from_words<W: AsRef<str>>(rows: impl IntoIterator<Item = (u32, W)>) -> Self {
        let mut seen = std::collections::HashMap::new();
        let mut text = Self::default();
        for (sentence, word) in rows {
            let word = word.as_ref();
            let type_idx = *seen.entry(word.to_owned()).or_insert_with(|| {
                text.types.push(word.to_owned());
                text.types.len() as u32 - 1
            });
            assert!(text.sentence_of.last().is_none_or(|&last| last <= sentence), "sentences in order");
            text.type_of.push(type_idx);
            text.sentence_of.push(sentence);
        }
        text
    }

    /// Number of rows.
    pub fn n_tokens(&self) -> usize {
        self.type_of.len()
    }

    /// The distinct words, in order of first appearance.
    pub fn types(&self) -> &[String] {
        &self.types
    }

    /// The type of each row, `[n_tokens]`, an index into [`TextRows::types`].
    pub fn type_of(&self) -> &[u32] {
        &self.type_of
    }

    /// The sentence of each row, `[n_tokens]`, never decreasing.
    pub fn sentence_of(&self) -> &[u32] {
        &self.sentence_of
    }

    /// The word of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn word(&self, row: usize) -> &str {
        &self.types[self.type_of[row] as usize]
    }

    /// The rows of the sentence that `row` belongs to.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn sentence_rows(&self, row: usize) -> Range<usize> {
        let sentence = self.sentence_of[row];
        let start = self.sentence_of.partition_point(|&s| s < sentence);
        let end = self.sentence_of.partition_point(|&s| s <= sentence);
        start..end
    }

    /// The rows of every sentence that has some, in their order.
    pub fn sentences(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.sentence_of.chunk_by(|a, b| a == b).scan(0, |start, sentence| {
            let rows = *start..*start + sentence.len();
            *start = rows.end;
            Some(rows)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_walked_in_order_though_numbers_are_left_out() {
        let text = TextRows::from_words([(1, "a"), (1, "b"), (4, "c"), (5, "a"), (5, "d")]);
        assert_eq!(text.sentences().collect::<Vec<_>>(), [0..2, 2..3, 3..5]);
        assert!(text.sentences().all(|rows| rows.clone().all(|row| text.sentence_rows(row) == rows)));
        assert_eq!(TextRows::default().sentences().count(), 0);
    }
}
