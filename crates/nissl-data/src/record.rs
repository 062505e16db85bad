//! What tables and JSON lines share: a record of named values becomes a sentence with labels.

use std::path::Path;

use crate::error::DataError;
use crate::formats::ColumnNames;
use crate::options::{ReadOptions, WordSplit};
use crate::sentence::{Label, Sentence, Word};
use crate::words::split_words;

/// The columns that hold the text when none is named.
const TEXT_COLUMNS: [&str; 2] = ["text", "sentence"];

/// The column of the text: the one that was asked for, else the first that is called like one.
pub(crate) fn text_column(path: &Path, options: &ReadOptions, columns: &[String]) -> Result<String, DataError> {
    let unknown = |name: &str| DataError::unknown(path.display().to_string(), "column", name, columns);
    match &options.text_column {
        Some(name) if columns.contains(name) => Ok(name.clone()),
        Some(name) => Err(unknown(name)),
        None => TEXT_COLUMNS
            .iter()
            .find(|name| columns.iter().any(|column| column == *name))
            .map(|name| (*name).to_owned())
            .ok_or_else(|| unknown(TEXT_COLUMNS[0])),
    }
}

/// A sentence of this text and these labels; `None` if the text has no word.
pub(crate) fn sentence(text: &str, labels: Vec<Label>, line: usize, word_split: WordSplit) -> Option<Sentence> {
    let words: Vec<Word> = split_words(text, word_split)
        .into_iter()
        .map(|span| Word { form: text[span.clone()].to_owned(), span, labels: Vec::new() })
        .collect();
    (!words.is_empty()).then(|| Sentence { id: String::new(), line, text: text.to_owned(), words, labels })
}

/// Adds a label unless the value is blank.
pub(crate) fn push_label(labels: &mut Vec<Label>, columns: &mut ColumnNames, column: &str, value: &str) {
    let value = value.trim();
    if !value.is_empty() {
        labels.push(Label { column: columns.get(column), value: value.to_owned() });
    }
}
