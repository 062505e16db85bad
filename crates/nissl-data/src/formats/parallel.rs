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
use crate::lines::{Line, Lines};
use crate::options::{LabelLevel, ReadOptions};
use crate::sentence::{Label, Sentence, Word};

pub(super) const FORMAT: Format = Format {
    name: "parallel",
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
}

impl SentenceSource for Parallel {
    fn next_sentence(&mut self, counts: &mut CorpusCounts) -> Result<Option<Sentence>, DataError> {
        loop {
            let Some(line) = self.words.next()? else { return self.end().map(|()| None) };
            let mut sentence = Sentence { line: line.number, ..Sentence::default() };
            for form in line.text.split_whitespace() {
                let span = push_word(&mut sentence.text, form);
                sentence.words.push(Word { span, form: form.to_owned(), labels: Vec::new() });
            }
            if let Some(labels) = &mut self.labels {
                let n_lines = labels.n_lines();
                let Some(labels) = labels.next()? else {
                    let expected = format!("a line of labels for {}:{}", line.path.display(), line.number);
                    return Err(DataError::malformed(labels.path(), n_lines + 1, expected, "the end of the file"));
                };
                label(&mut sentence, labels, line.path, self.level, &self.column)?;
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
    /// The words have ended: so must the labels, but for blank lines.
    fn end(&mut self) -> Result<(), DataError> {
        let Some(labels) = &mut self.labels else { return Ok(()) };
        while let Some(line) = labels.next()? {
            if !line.text.trim().is_empty() {
                let expected = format!("the end of the file, as in {}", self.words.path().display());
                return Err(line.malformed(expected, shown(line.text.trim())));
            }
        }
        Ok(())
    }
}

/// Gives the labels of a line to its sentence.
fn label(
    sentence: &mut Sentence,
    line: Line<'_>,
    words: &Path,
    level: LabelLevel,
    column: &Arc<str>,
) -> Result<(), DataError> {
    let label = |value: &str| Label { column: column.clone(), value: value.to_owned() };
    let value = line.text.trim();
    match level {
        LabelLevel::Word => {
            let (expected, got) = (sentence.words.len(), value.split_whitespace().count());
            if got != expected {
                let (path, words) = (line.path.to_owned(), words.to_owned());
                let (words_line, line) = (sentence.line, line.number);
                return Err(DataError::LabelCount { path, line, words, words_line, expected, got });
            }
            for (word, value) in sentence.words.iter_mut().zip(value.split_whitespace()) {
                word.labels.push(label(value));
            }
        }
        LabelLevel::Sentence if value.is_empty() => {}
        LabelLevel::Sentence if sentence.words.is_empty() => {
            let expected = format!("a blank line, as in {}:{}", words.display(), sentence.line);
            return Err(line.malformed(expected, shown(value)));
        }
        LabelLevel::Sentence => sentence.labels.push(label(value)),
    }
    Ok(())
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

#[cfg(test)]
mod tests;
