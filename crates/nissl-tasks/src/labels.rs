//! The labels of a store's rows, by the concepts that a user asks for.

use std::path::Path;

use nissl_core::{Concept, Labels};
use nissl_data::{LabelsBuilder, Row};
use nissl_store::{RowTable, SentenceTable, Store};

use crate::concepts;
use crate::error::TaskError;

/// Digest of labels: the same for the same concepts on the same rows, 16 hexadecimal digits.
pub(crate) fn digest(labels: &Labels) -> String {
    let text = serde_json::to_vec(labels).expect("labels are plain fields");
    blake3::hash(&text).to_hex()[..16].to_owned()
}

/// A row of a store, as a concept sees it: its own labels, then those of its sentence.
struct StoreRow<'a> {
    store: &'a Store,
    rows: &'a RowTable,
    sentences: &'a SentenceTable,
    row: usize,
}

impl Row for StoreRow<'_> {
    fn form(&self) -> &str {
        &self.rows.word[self.row]
    }

    fn label(&self, column: &str) -> Option<&str> {
        let run = &self.store.manifest().run;
        let place = |names: &[String]| names.iter().position(|name| name == column);
        if let Some(idx) = place(&run.word_columns) {
            return self.rows.labels[idx][self.row].as_deref();
        }
        let sentence = self.rows.sentence[self.row] as usize;
        self.sentences.labels[place(&run.sentence_columns)?].get(sentence)?.as_deref()
    }
}

/// The labels of all rows by the concepts of the lines and the file.
///
/// # Errors
/// If a concept cannot be understood or asks for a column that is not there, or the tables cannot be read.
pub(crate) fn labels(store: &Store, lines: &[String], file: Option<&Path>) -> Result<Labels, TaskError> {
    let sources = concepts::read(lines, file)?;
    let columns: Vec<&str> = store.label_columns().collect();
    let mut builder = LabelsBuilder::new(&sources, &columns)?;
    let (rows, sentences) = (store.rows()?, store.sentences()?);
    for row in 0..store.n_rows() {
        builder.push(&StoreRow { store, rows: &rows, sentences: &sentences, row });
    }
    Ok(builder.finish())
}

/// A column with more labels than this is one of names or lemmas, not of concepts.
pub(crate) const MOST_LABELS: usize = 100;

/// The labels of all label columns that have few enough of them, each called `column=label`; the label alone where the
/// column bears its name.
///
/// # Errors
/// If a table cannot be read.
pub(crate) fn of_all_columns(store: &Store) -> Result<Labels, TaskError> {
    let mut concepts = Vec::new();
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); store.n_rows()];
    for column in store.label_columns() {
        let labels = store.labels(column)?;
        if labels.concepts().len() > MOST_LABELS {
            continue;
        }
        let first = concepts.len() as u32;
        let name = |label: &Concept| {
            Concept::new(if label.name == column { column.to_owned() } else { format!("{column}={}", label.name) })
        };
        concepts.extend(labels.concepts().iter().map(name));
        for (row, ids) in rows.iter_mut().enumerate() {
            ids.extend(labels.of(row).iter().map(|id| first + id));
        }
    }
    Ok(Labels::several(concepts, rows))
}
