//! Concepts: which rows bear which property.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::sentence::{Sentence, Word};

mod builder;
mod expression;
mod text;

pub use builder::LabelsBuilder;
pub use expression::Expression;

/// What a concept can ask of a row. Implemented for words and sentences here, and by whoever keeps rows elsewhere.
pub trait Row {
    /// The word as written.
    fn form(&self) -> &str;

    /// The row's label in a column.
    fn label(&self, column: &str) -> Option<&str>;
}

/// A word as a row: its own labels, then those of its sentence.
#[derive(Clone, Copy, Debug)]
pub struct WordRow<'a> {
    /// The sentence that the word is in.
    pub sentence: &'a Sentence,
    /// The word.
    pub word: &'a Word,
}

impl Row for WordRow<'_> {
    fn form(&self) -> &str {
        &self.word.form
    }

    fn label(&self, column: &str) -> Option<&str> {
        self.word.label(column).or_else(|| self.sentence.label(column))
    }
}

/// A sentence as a row; its form is its text.
#[derive(Clone, Copy, Debug)]
pub struct SentenceRow<'a>(pub &'a Sentence);

impl Row for SentenceRow<'_> {
    fn form(&self) -> &str {
        &self.0.text
    }

    fn label(&self, column: &str) -> Option<&str> {
        self.0.label(column)
    }
}

/// Where concepts come from. Plain data: saved in configs and reports, and read from a line of text.
///
/// | text | concepts |
/// |---|---|
/// | `upos` | each label of the column |
/// | `upos: NOUN, VERB` | these labels of the column |
/// | `{paris, london}` | one: the words of the list, as written; `{paris, london}i` without regard to case |
/// | `/ing$/` | one: words in which the regular expression is found; `/^the/i` without regard to case |
/// | `upos=NOUN & Number=Plur` | one: the rows for which it holds, see [`Expression`] |
/// | `plural nouns := upos=NOUN & Number=Plur` | the same with a name of its own; any of the last three |
///
/// ```
/// use nissl_data::ConceptSource;
/// let source: ConceptSource = "city := {Paris, London}".parse()?;
/// let words = vec!["Paris".to_owned(), "London".to_owned()];
/// assert_eq!(source, ConceptSource::Words { name: "city".into(), words, fold_case: false });
/// # Ok::<(), nissl_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ConceptSource {
    /// Each label of a column is a concept. Its name is the label; with several columns, `column=label`.
    Column {
        /// The column.
        column: String,
        /// Only these labels; all if empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<String>,
    },
    /// The words of a list.
    Words {
        /// The concept's name.
        name: String,
        /// The words.
        words: Vec<String>,
        /// Whether case makes no difference.
        #[serde(default)]
        fold_case: bool,
    },
    /// The words in which a regular expression is found.
    Regex {
        /// The concept's name.
        name: String,
        /// The expression; it may match a part of the word unless it says `^` and `$`.
        pattern: String,
    },
    /// The rows whose labels fulfil a condition.
    Predicate {
        /// The concept's name.
        name: String,
        /// The condition, see [`Expression`].
        expression: String,
    },
}

impl FromStr for ConceptSource {
    type Err = DataError;

    /// Reads the forms of the table above. Columns are not checked before [`LabelsBuilder::new`].
    fn from_str(text: &str) -> Result<Self, DataError> {
        text::parse(text)
    }
}

#[cfg(test)]
mod tests;
