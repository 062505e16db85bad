//! Tables of labeled sentences: CSV (quoted as in RFC 4180) and TSV (never quoted, as GLUE writes it).
//!
//! One column is the text, the others are labels of the sentence. A record without a word in its text is left out and
//! counted; an empty label is no label.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ::csv::{Error, ErrorKind, Reader, ReaderBuilder, StringRecord};

use super::{ColumnNames, Format, Input, SentenceSource};
use crate::corpus::CorpusCounts;
use crate::error::DataError;
use crate::lines::Lines;
use crate::options::{ReadOptions, WordSplit};
use crate::record::{push_label, sentence, text_column};
use crate::sentence::Sentence;

pub(super) const CSV: Format = Format {
    name: "csv",
    summary: "table with commas: a column of sentences, the others their labels",
    suffixes: &["csv"],
    open: |input, options| Ok(Box::new(Table::open(input, options, b',', true)?)),
};

pub(super) const TSV: Format = Format {
    name: "tsv",
    summary: "table with tabs, without quotes: a column of sentences, the others their labels",
    suffixes: &["tsv"],
    open: |input, options| Ok(Box::new(Table::open(input, options, b'\t', false)?)),
};

struct Table {
    path: PathBuf,
    reader: Reader<Utf8Lines>,
    /// What went wrong below the table's own format.
    failure: Failure,
    record: StringRecord,
    /// Whether the first record has been read already and is a sentence.
    pending: bool,
    text: usize,
    labels: Vec<(usize, String)>,
    columns: ColumnNames,
    word_split: WordSplit,
}

impl Table {
    fn open(input: Input<'_>, options: &ReadOptions, delimiter: u8, quoting: bool) -> Result<Self, DataError> {
        let lines = input.lines()?;
        let path = lines.path().to_owned();
        let failure = Failure::default();
        let bytes = Utf8Lines { lines, line: Vec::new(), at: 0, failure: failure.clone() };
        let mut reader =
            ReaderBuilder::new().delimiter(delimiter).quoting(quoting).has_headers(false).from_reader(bytes);
        let mut record = StringRecord::new();
        let any = reader.read_record(&mut record).map_err(|error| describe(&path, &failure, &error))?;
        let header: Vec<String> = if options.header {
            record.iter().map(|name| name.trim().to_owned()).collect()
        } else {
            (1..=record.len()).map(|number| format!("column{number}")).collect()
        };
        if !any && options.header {
            return Err(DataError::malformed(&path, 1, "a line that names the columns", "an empty file"));
        }
        let mut table = Self {
            path,
            reader,
            failure,
            record,
            pending: any && !options.header,
            text: 0,
            labels: Vec::new(),
            columns: ColumnNames::default(),
            word_split: options.word_split,
        };
        if any {
            table.choose_columns(options, header)?;
        }
        Ok(table)
    }

    fn choose_columns(&mut self, options: &ReadOptions, header: Vec<String>) -> Result<(), DataError> {
        let text = text_column(&self.path, options, &header)?;
        let position = |name: &String| header.iter().position(|column| column == name);
        self.text = position(&text).unwrap_or(0);
        self.labels = match &options.label_columns {
            None => header.into_iter().enumerate().filter(|(idx, _)| *idx != self.text).collect(),
            Some(wanted) => wanted
                .iter()
                .map(|name| match position(name) {
                    Some(idx) => Ok((idx, name.clone())),
                    None => Err(DataError::unknown(self.path.display().to_string(), "column", name, &header)),
                })
                .collect::<Result<_, _>>()?,
        };
        Ok(())
    }
}

impl SentenceSource for Table {
    fn next_sentence(&mut self, counts: &mut CorpusCounts) -> Result<Option<Sentence>, DataError> {
        loop {
            let any = std::mem::take(&mut self.pending)
                || self
                    .reader
                    .read_record(&mut self.record)
                    .map_err(|error| describe(&self.path, &self.failure, &error))?;
            if !any {
                return Ok(None);
            }
            let line = self.record.position().map_or(0, |position| position.line() as usize);
            let mut labels = Vec::with_capacity(self.labels.len());
            for (idx, column) in &self.labels {
                push_label(&mut labels, &mut self.columns, column, self.record.get(*idx).unwrap_or(""));
            }
            match sentence(self.record.get(self.text).unwrap_or(""), labels, line, self.word_split) {
                Some(sentence) => return Ok(Some(sentence)),
                None => counts.empty += 1,
            }
        }
    }
}

/// What a reader below the table's format could not say through an I/O error.
type Failure = Arc<Mutex<Option<DataError>>>;

/// The lines of a file as bytes that are valid UTF-8.
struct Utf8Lines {
    lines: Lines,
    line: Vec<u8>,
    at: usize,
    failure: Failure,
}

impl Read for Utf8Lines {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len() {
            self.line.clear();
            self.at = 0;
            match self.lines.next() {
                Ok(Some(line)) => {
                    self.line.extend_from_slice(line.text.as_bytes());
                    self.line.push(b'\n');
                }
                Ok(None) => return Ok(0),
                Err(error) => {
                    *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return Err(io::Error::other("the lines could not be read"));
                }
            }
        }
        let n_bytes = out.len().min(self.line.len() - self.at);
        out[..n_bytes].copy_from_slice(&self.line[self.at..self.at + n_bytes]);
        self.at += n_bytes;
        Ok(n_bytes)
    }
}

/// The error of a table in our words.
fn describe(path: &std::path::Path, failure: &Failure, error: &Error) -> DataError {
    if let Some(failure) = failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return failure;
    }
    let line = error.position().map_or(0, |position| position.line() as usize);
    match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            DataError::malformed(path, line, format!("{expected_len} columns as in the first line"), len.to_string())
        }
        _ => DataError::malformed(path, line, "a record of a table", error.to_string()),
    }
}

#[cfg(test)]
mod tests;
