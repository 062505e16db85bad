//! A sentence becomes what the model reads and what the store keeps: token windows, rows, labels.

use std::ops::Range;

use nissl_data::{
    AlignmentCounts, ConceptSource, DataError, Label, LabelsBuilder, Sentence, TokenSpans, WindowOptions, WordRow,
    align, windows,
};
use nissl_model::{Encoding, Tokenizer};
use nissl_store::{Row, SentenceRows};
use rayon::prelude::*;

use super::{Aggregate, Failure};
use crate::error::TaskError;

/// What sentences are prepared with.
pub(crate) struct Preparer<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) window: WindowOptions,
    pub(crate) d_vocab: usize,
    pub(crate) aggregate: Aggregate,
    pub(crate) word_columns: &'a [String],
    pub(crate) sentence_columns: &'a [String],
    /// Concepts that become columns of their own, with the columns they may ask for.
    pub(crate) concepts: &'a [ConceptSource],
    pub(crate) corpus_columns: &'a [String],
}

/// A sentence, ready to run and to store.
pub(crate) struct Prepared {
    /// What the store keeps beside the activations.
    pub(crate) rows: SentenceRows,
    /// Words of the sentence, with and without a row.
    pub(crate) n_words: u64,
    /// What the model reads.
    pub(crate) inputs: Vec<Input>,
}

/// A window of a sentence: one input of the model.
pub(crate) struct Input {
    /// The tokens.
    pub(crate) ids: Vec<u32>,
    /// The rows that are taken from it: which row of the sentence, and which tokens of the input it is made of.
    pub(crate) rows: Vec<(usize, Range<usize>)>,
}

/// Several sentences, in order of the corpus.
#[derive(Default)]
pub(crate) struct Chunk {
    pub(crate) sentences: Vec<Prepared>,
    pub(crate) counts: AlignmentCounts,
    pub(crate) failed: Vec<Failure>,
}

impl Preparer<'_> {
    /// Prepares sentences in parallel; the result is in their order.
    ///
    /// # Errors
    /// If a concept asks for a column that is not there, or no window fits the model. What goes wrong with one sentence
    /// is in [`Chunk::failed`], and the sentence has no rows.
    pub(crate) fn chunk(&self, sentences: Vec<Sentence>) -> Result<Chunk, TaskError> {
        let concepts = self.concept_labels(&sentences)?;
        let prepare = |sentence: &Sentence| self.sentence(sentence);
        let prepared: Vec<_> = sentences.par_iter().map(prepare).collect();
        let mut chunk = Chunk::default();
        let mut first_word = 0;
        for (sentence, prepared) in sentences.into_iter().zip(prepared) {
            let n_words = sentence.words.len();
            let (inputs, rows) = match prepared {
                Ok((inputs, rows, counts)) => {
                    chunk.counts += &counts;
                    (inputs, rows)
                }
                Err(Unprepared::Sentence(why)) => {
                    chunk.failed.push(Failure { name: sentence.id.clone(), line: sentence.line, error: why });
                    (Vec::new(), Vec::new())
                }
                Err(Unprepared::All(err)) => return Err(err.into()),
            };
            let of_word = |word: usize| concepts.iter().map(move |column| column[first_word + word].clone());
            let rows = rows.into_iter().map(|row| self.row(&sentence, row, of_word)).collect();
            let labels = self.sentence_columns.iter();
            let labels = labels.map(|column| sentence.label(column).map(ToOwned::to_owned)).collect();
            let rows = SentenceRows { id: Some(sentence.id), text: sentence.text, labels, rows };
            chunk.sentences.push(Prepared { rows, n_words: n_words as u64, inputs });
            first_word += n_words;
        }
        Ok(chunk)
    }

    /// For each concept the label of every word of the sentences: the concept's name where it holds.
    fn concept_labels(&self, sentences: &[Sentence]) -> Result<Vec<Vec<Option<String>>>, DataError> {
        let labels = |concept: &ConceptSource| {
            let mut builder = LabelsBuilder::new(std::slice::from_ref(concept), self.corpus_columns)?;
            for sentence in sentences {
                for word in &sentence.words {
                    builder.push(&WordRow { sentence, word });
                }
            }
            let labels = builder.finish();
            let name = |row: usize| labels.of(row).first().map(|&id| labels.concepts()[id as usize].name.clone());
            Ok((0..labels.n_tokens()).map(name).collect())
        };
        self.concepts.iter().map(labels).collect()
    }

    fn row<I: Iterator<Item = Option<String>>>(
        &self,
        sentence: &Sentence,
        row: PlannedRow,
        concepts: impl Fn(usize) -> I,
    ) -> Row {
        let n_corpus = self.word_columns.len() - self.concepts.len();
        let columns = &self.word_columns[..n_corpus];
        let label = |labels: &[Label], column: &str| {
            labels.iter().find(|label| &*label.column == column).map(|label| label.value.clone())
        };
        let labels: Vec<Option<String>> = match row.word {
            None => vec![None; self.word_columns.len()],
            Some(word) => {
                let of_word = columns.iter().map(|column| label(&sentence.words[word].labels, column));
                of_word.chain(concepts(word)).collect()
            }
        };
        Row {
            position: row.position as u32,
            word: row.text.unwrap_or_else(|| sentence.words[row.position].form.clone()),
            start: row.span.start as u32,
            end: row.span.end as u32,
            n_tokens: row.n_tokens as u32,
            labels,
        }
    }

    fn sentence(&self, sentence: &Sentence) -> Result<(Vec<Input>, Vec<PlannedRow>, AlignmentCounts), Unprepared> {
        let encoding = self.tokenizer.encode(&sentence.text).map_err(|err| Unprepared::Sentence(err.to_string()))?;
        if let Some(id) = encoding.ids.iter().find(|&&id| id as usize >= self.d_vocab) {
            let d_vocab = self.d_vocab;
            return Err(Unprepared::Sentence(format!("token {id}: the model's vocabulary has {d_vocab} tokens")));
        }
        let mut counts = AlignmentCounts::default();
        let tokens = TokenSpans { spans: &encoding.offsets, special: &encoding.special, truncated: false };
        let words = align(&sentence.spans(), tokens, &mut counts);
        let windows = windows(&encoding.special, &words, &self.window, &mut counts).map_err(Unprepared::All)?;
        let ids = |tokens: &[usize]| tokens.iter().map(|&token| encoding.ids[token]).collect();
        let mut inputs = Vec::with_capacity(windows.len());
        let rows = if self.aggregate == Aggregate::None {
            let (rows, row_of) = self.token_rows(&encoding, &words);
            for window in &windows {
                let taken = window.owned.clone().filter_map(|at| Some((row_of[window.tokens[at]]?, at..at + 1)));
                inputs.push(Input { ids: ids(&window.tokens), rows: taken.collect() });
            }
            rows
        } else {
            let taken = windows.iter().flat_map(|window| &window.words);
            let mut order: Vec<(usize, usize)> = taken.map(|word| (word.word, word.rows.len())).collect();
            order.sort_unstable();
            let row_of = |word: usize| order.partition_point(|&(other, _)| other < word);
            for window in &windows {
                let taken = window.words.iter().map(|word| (row_of(word.word), word.rows.clone()));
                inputs.push(Input { ids: ids(&window.tokens), rows: taken.collect() });
            }
            let row = |&(word, n_tokens): &(usize, usize)| {
                let span = sentence.words[word].span.clone();
                PlannedRow { position: word, word: Some(word), text: None, span, n_tokens }
            };
            order.iter().map(row).collect()
        };
        inputs.retain(|input| !input.rows.is_empty());
        Ok((inputs, rows, counts))
    }

    /// One row a token that the text spells, with the word it belongs to; and the row of each token.
    fn token_rows(&self, encoding: &Encoding, words: &[Range<usize>]) -> (Vec<PlannedRow>, Vec<Option<usize>>) {
        let mut rows = Vec::new();
        let mut row_of = vec![None; encoding.len()];
        for token in (0..encoding.len()).filter(|&token| !encoding.special[token]) {
            row_of[token] = Some(rows.len());
            rows.push(PlannedRow {
                position: rows.len(),
                word: words.iter().position(|range| range.contains(&token)),
                text: Some(self.tokenizer.token_text(encoding.ids[token]).unwrap_or_default()),
                span: encoding.offsets[token].clone(),
                n_tokens: 1,
            });
        }
        (rows, row_of)
    }
}

/// A row before its labels are known.
struct PlannedRow {
    /// Place in the sentence: of the word, or of the token where rows are tokens.
    position: usize,
    /// The word it is, or is part of.
    word: Option<usize>,
    /// The token's text; `None` for a word, whose form is in the sentence.
    text: Option<String>,
    /// Where it is in the text.
    span: Range<usize>,
    /// Tokens it is made of.
    n_tokens: usize,
}

/// Why there is nothing to run.
enum Unprepared {
    /// For this sentence.
    Sentence(String),
    /// For any.
    All(DataError),
}
