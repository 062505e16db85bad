//! What the writer is handed: sentences with their rows, and each site's values of those rows.

use crate::error::StoreError;
use crate::manifest::Run;

/// A sentence, the words of it that have a row, and what is known about both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentenceRows {
    /// The corpus's own name of the sentence.
    pub id: Option<String>,
    /// The text.
    pub text: String,
    /// A label a sentence column of the run, `[n_sentence_columns]`.
    pub labels: Vec<Option<String>>,
    /// The words that have a row, in order. There may be none.
    pub rows: Vec<Row>,
}

/// One row: a word of a sentence (or a token, where rows are tokens).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Place of the word in its sentence, from 0; words without a row are counted.
    pub position: u32,
    /// The word as the corpus has it.
    pub word: String,
    /// Where the word starts in the sentence's text, in bytes.
    pub start: u32,
    /// Where the word ends in the sentence's text, in bytes.
    pub end: u32,
    /// Number of tokens that were aggregated.
    pub n_tokens: u32,
    /// A label a word column of the run, `[n_word_columns]`.
    pub labels: Vec<Option<String>>,
}

/// The values of one site, row-major `[n_rows, width]`.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// As the model computed them; converted where the store keeps 16 bits.
    F32(&'a [f32]),
    /// The bits of the store's own 16-bit type, already converted.
    Bits16(&'a [u16]),
}

impl Values<'_> {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bits16(bits) => bits.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl SentenceRows {
    /// Checks the sentence against the columns of the run; `sentence` is its number, for the error.
    pub(crate) fn check(&self, run: &Run, sentence: u64) -> Result<(), StoreError> {
        let count = |what: String, expected: usize, got: usize| {
            if got == expected { Ok(()) } else { Err(StoreError::input(what, format!("{expected} labels"), got)) }
        };
        count(format!("sentence {sentence}"), run.sentence_columns.len(), self.labels.len())?;
        for (idx, row) in self.rows.iter().enumerate() {
            count(format!("row {idx} of sentence {sentence}"), run.word_columns.len(), row.labels.len())?;
            let (start, end) = (row.start as usize, row.end as usize);
            if !(start <= end && end <= self.text.len() && self.text.get(start..end).is_some()) {
                return Err(StoreError::input(
                    format!("row {idx} of sentence {sentence}"),
                    format!("a place in the {} bytes of its text", self.text.len()),
                    format!("{start}..{end}"),
                ));
            }
        }
        Ok(())
    }
}
