//! A sentence with a neuron's activation at each word.

use nissl_core::TextRows;
use nissl_store::{RowTable, SentenceTable, Store};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::html::PassageWord;

/// A sentence with the activation at each word, shown for one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passage {
    /// Number of the sentence, from 0.
    pub sentence: u32,
    /// The sentence's name in the corpus.
    pub id: Option<String>,
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

/// The text of a store.
pub(super) struct Text {
    rows: RowTable,
    sentences: SentenceTable,
}

impl Text {
    pub(super) fn read(store: &Store) -> Result<Self, TaskError> {
        Ok(Self { rows: store.rows()?, sentences: store.sentences()? })
    }

    /// The sentence of a row, with the activations of `column`, `[n_rows]`.
    pub(super) fn passage(&self, row: usize, text: &TextRows, column: &[f32]) -> Passage {
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
            PassageWord { before: before.to_owned(), text: word.to_owned(), activation: Some(column[row]) }
        };
        Passage {
            sentence,
            id: self.rows.sentence_id[row].clone(),
            row,
            word: self.rows.word[row].clone(),
            activation: column[row],
            at: row - rows.start,
            words: rows.map(word).collect(),
        }
    }
}
