//! Several sentences of tokens, laid one behind the other.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A packed batch: the tokens of all sentences in a row, with offsets. There is no padding.
///
/// For a model of an encoder and a decoder a sentence is a source and, behind it, a target, which begins with the token
/// that starts the decoder; or a source alone.
///
/// ```
/// let batch = nissl_core::Batch::from_sentences([[1, 2, 3].as_slice(), &[4, 5]]);
/// assert_eq!((batch.n_sentences(), batch.n_tokens(), batch.sentence(1)), (2, 5, &[4, 5][..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Batch {
    tokens: Vec<u32>,
    offsets: Vec<usize>,
    /// Of each sentence the number of tokens of its source; nothing if no sentence has a target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<usize>,
}

/// A batch as it is read, before its offsets are known to fit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    tokens: Vec<u32>,
    offsets: Vec<usize>,
    #[serde(default)]
    sources: Vec<usize>,
}

impl TryFrom<Unchecked> for Batch {
    type Error = String;

    fn try_from(Unchecked { tokens, offsets, sources }: Unchecked) -> Result<Self, String> {
        let ends = (offsets.first().copied(), offsets.last().copied());
        if ends != (Some(0), Some(tokens.len())) || !offsets.is_sorted() {
            return Err(format!("offsets of a batch: expected to ascend from 0 to {}", tokens.len()));
        }
        let lengths = || offsets.windows(2).map(|pair| pair[1] - pair[0]);
        let fit = sources.len() == lengths().len() && sources.iter().zip(lengths()).all(|(source, len)| *source <= len);
        if !sources.is_empty() && !fit {
            return Err("sources of a batch: expected one length a sentence, none longer than it".to_owned());
        }
        Ok(Self { tokens, offsets, sources })
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self { tokens: Vec::new(), offsets: vec![0], sources: Vec::new() }
    }
}

impl Batch {
    /// An empty batch, to be filled by [`Batch::push`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A batch of the given sentences.
    pub fn from_sentences<S: AsRef<[u32]>>(sentences: impl IntoIterator<Item = S>) -> Self {
        let mut batch = Self::new();
        for sentence in sentences {
            batch.push(sentence.as_ref());
        }
        batch
    }

    /// Adds a sentence at the end.
    pub fn push(&mut self, sentence: &[u32]) {
        self.tokens.extend_from_slice(sentence);
        self.offsets.push(self.tokens.len());
        if self.has_targets() {
            self.sources.push(sentence.len());
        }
    }

    /// Adds a source and its target at the end, as one sentence.
    ///
    /// ```
    /// let mut batch = nissl_core::Batch::new();
    /// batch.push_pair(&[8, 9, 1], &[0, 4]);
    /// assert_eq!((batch.sentence(0), batch.n_source(0)), (&[8, 9, 1, 0, 4][..], 3));
    /// ```
    pub fn push_pair(&mut self, source: &[u32], target: &[u32]) {
        if !self.has_targets() {
            self.sources = self.offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
        }
        self.tokens.extend_from_slice(source);
        self.tokens.extend_from_slice(target);
        self.offsets.push(self.tokens.len());
        self.sources.push(source.len());
    }

    /// Whether sentences have targets.
    pub fn has_targets(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Tokens of a sentence that are its source, where sentences have targets: those before its target.
    ///
    /// # Panics
    /// If there is no such sentence.
    pub fn n_source(&self, sentence_idx: usize) -> usize {
        self.sources.get(sentence_idx).copied().unwrap_or_else(|| self.rows(sentence_idx).len())
    }

    /// Number of sentences.
    pub fn n_sentences(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of tokens of all sentences.
    pub fn n_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// All tokens, `[n_tokens]`.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Where each sentence starts, and at the end where the last one ends, `[n_sentences + 1]`.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The rows of a sentence.
    ///
    /// # Panics
    /// If there is no such sentence.
    pub fn rows(&self, sentence_idx: usize) -> Range<usize> {
        self.offsets[sentence_idx]..self.offsets[sentence_idx + 1]
    }

    /// The tokens of a sentence.
    ///
    /// # Panics
    /// If there is no such sentence.
    pub fn sentence(&self, sentence_idx: usize) -> &[u32] {
        &self.tokens[self.rows(sentence_idx)]
    }
}
