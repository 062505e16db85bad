//! What can be wrong with a corpus or a concept: what, where, expected, got.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a corpus could not be read or a concept not be built.
#[derive(Debug, Error)]
pub enum DataError {
    /// The file is missing or the disk failed.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Bytes that are not text.
    #[error("{}:{line}: byte {byte} of the line (0x{value:02x}) is not valid UTF-8", .path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The byte of the line, from 1.
        byte: usize,
        /// The offending byte.
        value: u8,
    },
    /// A line that is not of the format.
    #[error("{}:{line}: expected {expected}, got {got}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the format asks for.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A label file whose line does not have as many labels as its sentence has words.
    #[error("{}:{line}: expected {expected} labels, one for each word of {}:{words_line}, got {got}{}",
        .path.display(), .words.display(), label_hint(*.expected, *.got))]
    LabelCount {
        /// The label file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The file of the words.
        words: PathBuf,
        /// The line of the words, from 1.
        words_line: usize,
        /// Number of words.
        expected: usize,
        /// Number of labels.
        got: usize,
    },
    /// A column or format that does not exist.
    #[error("{place}: no {kind} is called '{name}'{}{}", hint(.nearest.as_ref()), list(.known))]
    UnknownName {
        /// Where it was looked for: a file, or `concepts`.
        place: String,
        /// What was looked for: `column`, `format`.
        kind: &'static str,
        /// The name that was given.
        name: String,
        /// The names there are.
        known: Vec<String>,
        /// The nearest of them.
        nearest: Option<String>,
    },
    /// A file whose suffix does not say how to read it.
    #[error("{}: cannot tell the format from the suffix; give one of {}", .path.display(), .known.join(", "))]
    UnknownSuffix {
        /// The file.
        path: PathBuf,
        /// The formats there are.
        known: Vec<String>,
    },
    /// A concept that cannot be understood.
    #[error("concept '{text}', character {at}: expected {expected}, got {got}")]
    Expression {
        /// The whole text.
        text: String,
        /// The offending character, from 1.
        at: usize,
        /// What could stand there.
        expected: String,
        /// What does.
        got: String,
    },
    /// A regular expression that cannot be understood.
    #[error("pattern '{pattern}' is not a regular expression")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Where and why.
        #[source]
        source: Box<regex::Error>,
    },
    /// Windows that cannot advance.
    #[error(
        "windows of {n_ctx} tokens: expected room for {n_special} special tokens, {overlap} that overlap and one new one"
    )]
    Window {
        /// Longest input of the model.
        n_ctx: usize,
        /// Special tokens of each window.
        n_special: usize,
        /// Tokens that neighbors share.
        overlap: usize,
    },
}

impl DataError {
    /// A name that is not among the known ones, with the nearest of them.
    pub(crate) fn unknown<N: Into<String>>(
        place: impl Into<String>,
        kind: &'static str,
        name: &str,
        known: impl IntoIterator<Item = N>,
    ) -> Self {
        let known: Vec<String> = known.into_iter().map(Into::into).collect();
        let nearest = nissl_core::nearest(name, &known);
        Self::UnknownName { place: place.into(), kind, name: name.to_owned(), known, nearest }
    }

    pub(crate) fn malformed(path: &Path, line: usize, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), line, expected: expected.into(), got: got.into() }
    }
}

fn hint(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// The first names of a list, so that the message stays a line.
fn list(known: &[String]) -> String {
    const SHOWN: usize = 24;
    match known.len() {
        0 => String::new(),
        n if n <= SHOWN => format!(" (there are: {})", known.join(", ")),
        n => format!(" (there are: {} and {} more)", known[..SHOWN].join(", "), n - SHOWN),
    }
}

fn label_hint(expected: usize, got: usize) -> &'static str {
    if got == 1 && expected > 1 {
        "; if each line holds the label of its sentence, read it with label level 'sentence'"
    } else {
        ""
    }
}

/// A text as shown in an error: quoted, and shortened when long.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{text}'"),
    }
}
