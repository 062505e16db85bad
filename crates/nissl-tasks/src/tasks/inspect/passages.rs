//! A sentence with a neuron's activation at each word.

use nissl_core::TextRows;
use nissl_store::{RowTable, SentenceTable, Store};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;

/// A sentence with the activation at each word, shown for one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passage {
    /// The sentence's name in the corpus, or its number, from 1, if it has none.
    pub name: String,
    /// Number of the sentence, from 0.
    pub sentence: u32,
    /// Row of the store.
    pub row: usize,
    /// The word that the passage is shown for.
    pub word: String,
    /// The activation there.
    pub activation: f32,
    /// Place of that word in `words`.
    pub at: usize,
    /// The words that have a row, with what stands before each.
    pub words: Vec<PassageWord>,
}

/// A word of a passage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassageWord {
    /// The word.
    pub name: String,
    /// What stands between the word before and this one.
    pub before: String,
    /// The activation.
    pub activation: f32,
}

/// The text of a store.
pub(crate) struct Text {
    rows: RowTable,
    sentences: SentenceTable,
}

impl Text {
    pub(crate) fn read(store: &Store) -> Result<Self, TaskError> {
        Ok(Self { rows: store.rows()?, sentences: store.sentences()? })
    }

    /// The sentence of a row, with the activations of `column`, `[n_rows]`.
    pub(crate) fn passage(&self, row: usize, text: &TextRows, column: &[f32]) -> Passage {
        let sentence = self.rows.sentence[row];
        let whole = self.sentences.text.get(sentence as usize).map_or("", String::as_str);
        let rows = text.sentence_rows(row);
        let mut end = 0;
        let word = |row: usize| {
            let span = self.rows.start[row] as usize..self.rows.end[row] as usize;
            // Words that share their letters with the one before (`del` is `de` and `el`) have only their form.
            let (before, word) = match (whole.get(end..span.start), whole.get(span.clone())) {
                (Some(before), Some(word)) if span.end > end => {
                    end = span.end;
                    (before, word)
                }
                _ => (" ", self.rows.word[row].as_str()),
            };
            PassageWord { name: word.to_owned(), before: before.to_owned(), activation: column[row] }
        };
        Passage {
            name: self.rows.sentence_id[row].clone().unwrap_or_else(|| (sentence + 1).to_string()),
            sentence,
            row,
            word: self.rows.word[row].clone(),
            activation: column[row],
            at: row - rows.start,
            words: rows.map(word).collect(),
        }
    }
}
