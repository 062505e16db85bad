//! Reading a hostile file piece by piece: nothing is taken that is not there.

use std::fmt::Display;
use std::path::Path;

use crate::error::LoadError;

/// A file, or a part of one, and where reading has come.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    path: &'a Path,
    /// What is being read, for errors.
    part: &'static str,
    bytes: &'a [u8],
    at: usize,
}

/// The error for a part of a file that breaks its format.
pub(crate) fn malformed(path: &Path, part: impl Into<String>, expected: impl Display, got: impl Display) -> LoadError {
    LoadError::Malformed {
        path: path.to_owned(),
        part: part.into(),
        expected: expected.to_string(),
        got: got.to_string(),
    }
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(path: &'a Path, part: &'static str, bytes: &'a [u8]) -> Self {
        Self { path, part, bytes, at: 0 }
    }

    /// The same file, read on from `at`, which may lie behind its end: then nothing is left.
    pub(crate) fn seek(&self, part: &'static str, at: usize) -> Self {
        Self { part, at: at.min(self.bytes.len()), ..self.clone() }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The error for what was just read.
    pub(crate) fn wrong(&self, expected: impl Display, got: impl Display) -> LoadError {
        malformed(self.path, self.part, expected, got)
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], LoadError> {
        if n > self.left() {
            let expected = format!("{n} bytes from byte {} on", self.at);
            return Err(self.wrong(expected, self.left()));
        }
        let taken = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        Ok(self.take(N)?.try_into().expect("as many as were asked for"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, LoadError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, LoadError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, LoadError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, LoadError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A text of `n` bytes.
    pub(crate) fn text(&mut self, n: usize) -> Result<&'a str, LoadError> {
        let at = self.at;
        let bytes = self.take(n)?;
        std::str::from_utf8(bytes).map_err(|_| self.wrong("text in UTF-8", format!("other bytes at byte {at}")))
    }
}
