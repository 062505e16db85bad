//! Parallel text, NeuroX's form: a file of words, one sentence a line, and beside it a file of labels, line for line.
//!
//! Words are separated by white space; the text is the words joined by single spaces. The labels are one a word, or
//! one a line for the sentence ([`LabelLevel`]); without a label file there are only words. A line that is blank in
//! both files is left out and counted.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Format, Input, SentenceSource};
use crate::corpus::CorpusCounts;
use crate::error::{DataError, shown};
use crate::lines::Lines;
use crate::options::{LabelLevel, ReadOptions};
use crate::sentence::{Label, Sentence, Word};

pub(super) const FORMAT: Format = Format {
    name: "words",
    summary: "one sentence a line, words separated by spaces; labels line for line in a second file",
    suffixes: &["word", "words", "in"],
    open: |input, options| Ok(Box::new(Parallel::open(input, options)?)),
};

struct Parallel {
    words: Lines,
    labels: Option<Lines>,
    level: LabelLevel,
    column: Arc<str>,
}

impl Parallel {
    fn open(input: Input<'_>, options: &ReadOptions) -> Result<Self, DataError> {
        let beside = match &input {
            Input::File(path) => Some(path.with_extension("label")).filter(|beside| beside.is_file()),
            Input::Reader(..) => None,
        };
        let label_file: Option<PathBuf> = options.label_file.clone().or(beside);
        Ok(Self {
            words: input.lines()?,
            labels: label_file.as_deref().map(Lines::open).transpose()?,
            level: options.label_level,
            column: options.label_column.as_str().into(),
        })
    }

    /// The next line of labels, which must be there exactly when there is a line of words.
    fn label_line(labels: &mut Lines, words: &Path, words_line: Option<usize>) -> Result<Option<String>, DataError> {
        let line = labels.next()?.map(str::to_owned);
        let mismatch =
            |number, expected: String, got: &str| Err(DataError::malformed(labels.path(), number, expected, got));
        match (&line, words_line) {
            (None, Some(number)) => {
                let expected = format!("a line of labels for {}:{number}", words.display());
                mismatch(labels.line() + 1, expected, "the end of the file")
            }
            (Some(line), None) if !line.trim().is_empty() => {
                mismatch(labels.line(), format!("the end of the file, as in {}", words.display()), "more labels")
            }
            _ => Ok(line),
        }
    }
}

impl SentenceSource for Parallel {
    fn next_sentence(&mut self, counts: &mut CorpusCounts) -> Result<Option<Sentence>, DataError> {
        loop {
            let line = self.words.next()?.map(str::to_owned);
            let path = self.words.path().to_owned();
            let Some(line) = line else {
                // Blank lines at the end of the labels do no harm, anything else means that the files do not match.
                if let Some(labels) = &mut self.labels {
                    while Self::label_line(labels, &path, None)?.is_some() {}
                }
                return Ok(None);
            };
            let number = self.words.line();
            let labels = match &mut self.labels {
                Some(labels) => Self::label_line(labels, &path, Some(number))?,
                None => None,
            };
            let mut sentence = Sentence { line: number, ..Sentence::default() };
            for form in line.split_whitespace() {
                let span = push_word(&mut sentence.text, form);
                sentence.words.push(Word { span, form: form.to_owned(), labels: Vec::new() });
            }
            if let (Some(labels), Some(file)) = (labels, &self.labels) {
                self.label(&mut sentence, &labels, file, &path)?;
            }
            if sentence.words.is_empty() {
                counts.empty += 1;
            } else {
                return Ok(Some(sentence));
            }
        }
    }
}

impl Parallel {
    /// Gives the labels of a line to the sentence.
    fn label(&self, sentence: &mut Sentence, line: &str, file: &Lines, words: &Path) -> Result<(), DataError> {
        let label = |value: &str| Label { column: self.column.clone(), value: value.to_owned() };
        let value = line.trim();
        match self.level {
            LabelLevel::Word => {
                let (expected, got) = (sentence.words.len(), line.split_whitespace().count());
                if got != expected {
                    let (path, words) = (file.path().to_owned(), words.to_owned());
                    let words_line = sentence.line;
                    return Err(DataError::LabelCount { path, line: file.line(), words, words_line, expected, got });
                }
                for (word, value) in sentence.words.iter_mut().zip(line.split_whitespace()) {
                    word.labels.push(label(value));
                }
            }
            LabelLevel::Sentence if value.is_empty() => {}
            LabelLevel::Sentence if sentence.words.is_empty() => {
                let expected = format!("a blank line, as in {}:{}", words.display(), sentence.line);
                return Err(DataError::malformed(file.path(), file.line(), expected, shown(value)));
            }
            LabelLevel::Sentence => sentence.labels.push(label(value)),
        }
        Ok(())
    }
}

/// Adds a word to a text, with a space before it unless it is the first; returns where it is.
fn push_word(text: &mut String, form: &str) -> Range<usize> {
    if !text.is_empty() {
        text.push(' ');
    }
    let start = text.len();
    text.push_str(form);
    start..text.len()
}
