//! Lines of a file as text, with their numbers: the one place that knows bytes, line ends and byte order marks.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::DataError;

/// The longest line or paragraph that is read, in bytes: a limit for files that are not text at all.
pub(crate) const LONGEST: usize = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file read line by line. Line ends (LF or CRLF) and a byte order mark at the start are taken away.
pub(crate) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    line: usize,
}

/// A line and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) text: &'a str,
    /// From 1.
    pub(crate) number: usize,
    pub(crate) path: &'a Path,
}

impl Line<'_> {
    /// The error that the line is not of the format.
    pub(crate) fn malformed(&self, expected: impl Into<String>, got: impl Into<String>) -> DataError {
        DataError::malformed(self.path, self.number, expected, got)
    }
}

impl Lines {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let fail = |source| DataError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.is_dir() {
            return Err(fail(io::Error::new(io::ErrorKind::IsADirectory, "is a directory")));
        }
        Ok(Self::new(path, Box::new(BufReader::with_capacity(1 << 16, file))))
    }

    /// Lines of any reader; `path` is what errors call it.
    pub(crate) fn new(path: &Path, reader: Box<dyn BufRead + Send>) -> Self {
        Self { path: path.to_owned(), reader, buffer: Vec::new(), line: 0 }
    }

    /// What errors call the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many lines have been read.
    pub(crate) fn n_lines(&self) -> usize {
        self.line
    }

    /// The next line, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>, DataError> {
        self.buffer.clear();
        let mut limited = (&mut self.reader).take(LONGEST as u64 + 1);
        let n_bytes = limited
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| DataError::Read { path: self.path.clone(), source })?;
        if n_bytes == 0 {
            return Ok(None);
        }
        self.line += 1;
        if n_bytes > LONGEST {
            let expected = format!("a line of at most {LONGEST} bytes");
            return Err(DataError::malformed(&self.path, self.line, expected, "a longer one"));
        }
        let mut bytes = self.buffer.as_slice();
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if self.line == 1 {
            bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(Line { text, number: self.line, path: &self.path })),
            Err(error) => {
                let at = error.valid_up_to();
                let (path, line) = (self.path.clone(), self.line);
                Err(DataError::Utf8 { path, line, byte: at + 1, value: bytes[at] })
            }
        }
    }
}
