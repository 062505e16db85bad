//! The tokenizer that a model holds: one that is missing, or cannot be read, is an error only where texts are.

use std::path::{Path, PathBuf};

use super::Tokenizer;
use crate::error::LoadError;

/// What there is not.
const NONE: &str = "none: no tokenizer.json, vocab.txt, vocab.json, rwkv_vocab_*.txt or sentencepiece model";

/// A model's tokenizer, or why it has none.
#[derive(Debug)]
pub(crate) struct Held {
    path: PathBuf,
    tokenizer: Result<Tokenizer, String>,
}

impl Held {
    /// What became of opening the tokenizer of the folder or file `path`.
    pub(crate) fn new(path: &Path, opened: Result<Option<Tokenizer>, LoadError>) -> Self {
        let tokenizer = opened.map_err(|err| err.to_string()).and_then(|found| found.ok_or_else(|| NONE.to_owned()));
        Self { path: path.to_owned(), tokenizer }
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`LoadError::NoTokenizer`] if there is none.
    pub(crate) fn get(&self) -> Result<&Tokenizer, LoadError> {
        let none = |got: &String| LoadError::NoTokenizer { path: self.path.clone(), got: got.clone() };
        self.tokenizer.as_ref().map_err(none)
    }
}
