//! The formats of corpora: one file each, and a line of [`FORMATS`].

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use crate::corpus::CorpusCounts;
use crate::error::DataError;
use crate::lines::Lines;
use crate::options::ReadOptions;
use crate::sentence::Sentence;

mod conllu;
mod csv;
mod jsonl;
mod parallel;
mod text;

/// The formats, in the order in which they are listed.
pub const FORMATS: &[Format] = &[conllu::FORMAT, parallel::FORMAT, csv::CSV, csv::TSV, jsonl::FORMAT, text::FORMAT];

/// A format of corpora.
pub struct Format {
    /// What it is called: `conllu`.
    pub name: &'static str,
    /// What it holds, in a line.
    pub summary: &'static str,
    /// The suffixes of its files, without the dot.
    pub suffixes: &'static [&'static str],
    pub(crate) open: fn(Input<'_>, &ReadOptions) -> Opened,
}

/// The format of this name.
///
/// # Errors
/// [`DataError::UnknownName`] if there is none.
pub fn format_by_name(name: &str) -> Result<&'static Format, DataError> {
    let names = FORMATS.iter().map(|format| format.name);
    FORMATS.iter().find(|f| f.name == name).ok_or_else(|| DataError::unknown("corpus", "format", name, names))
}

/// The format that the options name, else the one of the file's suffix.
pub(crate) fn choose(path: &Path, options: &ReadOptions) -> Result<&'static Format, DataError> {
    if let Some(name) = &options.format {
        return format_by_name(name);
    }
    let suffix = path.extension().map(|suffix| suffix.to_string_lossy().to_lowercase()).unwrap_or_default();
    FORMATS.iter().find(|format| format.suffixes.contains(&suffix.as_str())).ok_or_else(|| DataError::UnknownSuffix {
        path: path.to_owned(),
        known: FORMATS.iter().map(|format| format.name.to_owned()).collect(),
    })
}

/// Where the bytes come from.
pub(crate) enum Input<'a> {
    File(&'a Path),
    /// What errors call it, and the bytes.
    Reader(&'a Path, Box<dyn BufRead + Send>),
}

impl Input<'_> {
    fn lines(self) -> Result<Lines, DataError> {
        match self {
            Self::File(path) => Lines::open(path),
            Self::Reader(path, reader) => Ok(Lines::new(path, reader)),
        }
    }
}

type Opened = Result<Box<dyn SentenceSource>, DataError>;

/// A reader of one format.
pub(crate) trait SentenceSource: Send {
    /// The next sentence that has words; an empty `id` stands for its number. Counts what it left out or rebuilt;
    /// sentences and words are counted by the caller.
    fn next_sentence(&mut self, counts: &mut CorpusCounts) -> Result<Option<Sentence>, DataError>;
}

/// Column names, each kept once, so that a label costs no copy of its column's name.
#[derive(Default)]
pub(crate) struct ColumnNames(HashMap<Box<str>, Arc<str>>);

impl ColumnNames {
    /// No file has that many columns; one that pretends to is not remembered.
    const MOST: usize = 4096;

    pub(crate) fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let new: Arc<str> = name.into();
        if self.0.len() < Self::MOST {
            self.0.insert(name.into(), new.clone());
        }
        new
    }
}

#[cfg(test)]
mod tests;
