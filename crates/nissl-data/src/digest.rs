//! A digest of what a corpus says.

use crate::sentence::{Label, Sentence};

/// Digest of the sentences of a corpus, for provenance: two corpora have the same digest when their sentences have the
/// same names, texts, words and labels, in whatever format they are kept.
#[derive(Clone, Debug)]
pub struct CorpusDigest(blake3::Hasher);

impl Default for CorpusDigest {
    fn default() -> Self {
        Self(blake3::Hasher::new_derive_key("nissl corpus 1"))
    }
}

impl CorpusDigest {
    /// The digest of no sentence.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next sentence.
    pub fn add(&mut self, sentence: &Sentence) {
        self.text(&sentence.id);
        self.text(&sentence.text);
        self.labels(&sentence.labels);
        self.number(sentence.words.len());
        for word in &sentence.words {
            self.number(word.span.start);
            self.number(word.span.end);
            self.text(&word.form);
            self.labels(&word.labels);
        }
    }

    /// The digest, 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }

    fn labels(&mut self, labels: &[Label]) {
        self.number(labels.len());
        for label in labels {
            self.text(&label.column);
            self.text(&label.value);
        }
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.update(text.as_bytes());
    }

    fn number(&mut self, number: usize) {
        self.0.update(&(number as u64).to_le_bytes());
    }
}
