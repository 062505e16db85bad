//! `rows/`: what each row of the activations stands for.

use std::path::Path;

use arrow::array::Int64Array;

use super::{Batches, Columns, LABEL};
use crate::error::StoreError;
use crate::manifest::FileDigest;
use crate::sentence::{Row, SentenceRows};

/// What each row stands for, column by column; all columns have `n_rows` entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowTable {
    /// Number of the sentence, in order of the corpus.
    pub sentence: Vec<u32>,
    /// The corpus's own name of the sentence.
    pub sentence_id: Vec<Option<String>>,
    /// Place of the word in its sentence; words without a row are counted.
    pub position: Vec<u32>,
    /// The word.
    pub word: Vec<String>,
    /// Where the word starts in the sentence's text, in bytes.
    pub start: Vec<u32>,
    /// Where the word ends in the sentence's text, in bytes.
    pub end: Vec<u32>,
    /// Number of tokens that were aggregated.
    pub n_tokens: Vec<u32>,
    /// The word columns of the run, `[n_word_columns]`.
    pub labels: Vec<Vec<Option<String>>>,
}

impl RowTable {
    pub(crate) fn new(n_columns: usize) -> Self {
        Self { labels: vec![Vec::new(); n_columns], ..Self::default() }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.sentence.len()
    }

    pub(crate) fn push(&mut self, number: u32, sentence: &SentenceRows, row: &Row) {
        self.sentence.push(number);
        self.sentence_id.push(sentence.id.clone());
        self.position.push(row.position);
        self.word.push(row.word.clone());
        self.start.push(row.start);
        self.end.push(row.end);
        self.n_tokens.push(row.n_tokens);
        for (column, label) in self.labels.iter_mut().zip(&row.labels) {
            column.push(label.clone());
        }
    }

    pub(crate) fn write(&self, path: &Path, first_row: u64, names: &[String]) -> Result<FileDigest, StoreError> {
        let mut columns = Columns::default();
        let rows = first_row..first_row + self.n_rows() as u64;
        columns.required("row", Int64Array::from_iter_values(rows.map(|row| row as i64)));
        columns.integers("sentence", &self.sentence);
        columns.optional("sentence_id", &self.sentence_id);
        columns.integers("position", &self.position);
        columns.required("word", arrow::array::StringArray::from_iter_values(&self.word));
        columns.integers("start", &self.start);
        columns.integers("end", &self.end);
        columns.integers("n_tokens", &self.n_tokens);
        columns.labels(names, &self.labels);
        columns.write(path)
    }

    /// Appends a part to the table.
    pub(crate) fn read(
        &mut self,
        path: &Path,
        digest: FileDigest,
        n_rows: u64,
        names: &[String],
    ) -> Result<(), StoreError> {
        let batches = Batches::read(path, digest, n_rows, None)?;
        let first = self.sentence.last().copied().unwrap_or(0);
        let before = self.n_rows();
        batches.integers("sentence", &mut self.sentence)?;
        let new = &self.sentence[before..];
        if new.first().is_some_and(|&sentence| sentence < first) || !new.is_sorted() {
            return Err(StoreError::format(path, "column sentence", "numbers that never fall", "one that falls"));
        }
        batches.optional("sentence_id", &mut self.sentence_id)?;
        batches.integers("position", &mut self.position)?;
        batches.strings("word", &mut self.word)?;
        batches.integers("start", &mut self.start)?;
        batches.integers("end", &mut self.end)?;
        batches.integers("n_tokens", &mut self.n_tokens)?;
        batches.labels(names, &mut self.labels)
    }
}

/// Reads one label column of a part.
pub(crate) fn read_labels(
    path: &Path,
    digest: FileDigest,
    n_rows: u64,
    name: &str,
    out: &mut Vec<Option<String>>,
) -> Result<(), StoreError> {
    let column = format!("{LABEL}{name}");
    Batches::read(path, digest, n_rows, Some(std::slice::from_ref(&column)))?.optional(&column, out)
}
