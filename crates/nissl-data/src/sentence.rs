//! A sentence: its text, its words, and what is known about them.

use std::ops::Range;
use std::sync::Arc;

/// What a column says about a word or a sentence: `upos` is `NOUN`, `Number` is `Plur`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The column; shared by all labels of a corpus that bear it.
    pub column: Arc<str>,
    /// The label.
    pub value: String,
}

/// A word and its place in the text of its sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Bytes of [`Sentence::text`], on character boundaries. Words may share a span (Spanish `del` is `de` and `el`)
    /// but never go backwards.
    pub span: Range<usize>,
    /// The word as annotated; differs from the text of the span for words that share one.
    pub form: String,
    /// At most one label a column.
    pub labels: Vec<Label>,
}

/// A sentence, the unit that is given to a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    /// Its name in the corpus: the file's own (`sent_id`), else its number, from 1.
    pub id: String,
    /// The line of the file where it starts, from 1.
    pub line: usize,
    /// The text, as a reader would write it.
    pub text: String,
    /// The words, in order of the text; never empty when it comes from a reader.
    pub words: Vec<Word>,
    /// What is known about the sentence as a whole; at most one label a column.
    pub labels: Vec<Label>,
}

impl Word {
    /// The word's label in a column.
    pub fn label(&self, column: &str) -> Option<&str> {
        find(&self.labels, column)
    }
}

impl Sentence {
    /// The sentence's label in a column.
    pub fn label(&self, column: &str) -> Option<&str> {
        find(&self.labels, column)
    }

    /// The spans of the words, `[n_words]`, as [`crate::align`] takes them.
    pub fn spans(&self) -> Vec<Range<usize>> {
        self.words.iter().map(|word| word.span.clone()).collect()
    }
}

fn find<'a>(labels: &'a [Label], column: &str) -> Option<&'a str> {
    labels.iter().find(|label| &*label.column == column).map(|label| label.value.as_str())
}
