//! `sentences/`: the text.

use std::path::Path;

use arrow::array::{Int64Array, StringArray};

use super::{Batches, Columns};
use crate::error::StoreError;
use crate::manifest::FileDigest;
use crate::sentence::SentenceRows;

/// The sentences of which a row is stored, and those without any row between them; column by column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentenceTable {
    /// The corpus's own name of each sentence.
    pub id: Vec<Option<String>>,
    /// The text.
    pub text: Vec<String>,
    /// Number of rows, those included that are not committed yet.
    pub n_rows: Vec<u32>,
    /// The sentence columns of the run, `[n_sentence_columns]`.
    pub labels: Vec<Vec<Option<String>>>,
}

impl SentenceTable {
    pub(crate) fn new(n_columns: usize) -> Self {
        Self { labels: vec![Vec::new(); n_columns], ..Self::default() }
    }

    /// Number of sentences.
    pub fn n_sentences(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn push(&mut self, sentence: &SentenceRows) {
        self.id.push(sentence.id.clone());
        self.text.push(sentence.text.clone());
        self.n_rows.push(sentence.rows.len() as u32);
        for (column, label) in self.labels.iter_mut().zip(&sentence.labels) {
            column.push(label.clone());
        }
    }

    pub(crate) fn write(&self, path: &Path, first: u64, names: &[String]) -> Result<FileDigest, StoreError> {
        let mut columns = Columns::default();
        let numbers = first..first + self.n_sentences() as u64;
        columns.required("sentence", Int64Array::from_iter_values(numbers.map(|number| number as i64)));
        columns.optional("id", &self.id);
        columns.required("text", StringArray::from_iter_values(&self.text));
        columns.integers("n_rows", &self.n_rows);
        columns.labels(names, &self.labels);
        columns.write(path)
    }

    /// Appends a part to the table.
    pub(crate) fn read(
        &mut self,
        path: &Path,
        digest: FileDigest,
        n_sentences: u64,
        names: &[String],
    ) -> Result<(), StoreError> {
        let batches = Batches::read(path, digest, n_sentences, None)?;
        batches.optional("id", &mut self.id)?;
        batches.strings("text", &mut self.text)?;
        batches.integers("n_rows", &mut self.n_rows)?;
        batches.labels(names, &mut self.labels)
    }
}
