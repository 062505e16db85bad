//! Corpora, annotations and concepts.
//!
//! A corpus is read as a stream of [`Sentence`]s ([`open`]): a text, its words with their places in the text, and the
//! labels of words and sentence. [`ConceptSource`] says which rows bear which concept. [`align`] finds the tokens of
//! each word, [`windows`] cuts a sentence that is longer than the model's context, [`aggregate`] makes one row a word.
//! Whatever is left out, rebuilt or ambiguous on the way is counted in [`CorpusCounts`] and [`AlignmentCounts`].
//!
//! ```
//! use nissl_data::{AlignmentCounts, CorpusReader, LabelsBuilder, ReadOptions, TokenSpans, WordRow, align};
//!
//! let table = "sentence,label\nSo undone.,sad\n";
//! let mut corpus = CorpusReader::from_reader("t.csv", Box::new(table.as_bytes()), &ReadOptions::default())?;
//! let mut builder = LabelsBuilder::new(&["un := /^un/".parse()?, "label".parse()?], &["label"])?;
//! let mut counts = AlignmentCounts::default();
//! for sentence in corpus.by_ref() {
//!     let sentence = sentence?;
//!     // "So", " un", "done" and "." as a tokenizer might give them.
//!     let tokens = TokenSpans { spans: &[0..2, 2..5, 5..9, 9..10], special: &[false; 4], truncated: false };
//!     assert_eq!(align(&sentence.spans(), tokens, &mut counts), [0..1, 1..3, 3..4]);
//!     sentence.words.iter().for_each(|word| builder.push(&WordRow { sentence: &sentence, word }));
//! }
//! let labels = builder.finish();
//! assert_eq!((labels.of(0), labels.of(1)), (&[1][..], &[0, 1][..]));
//! assert_eq!((corpus.counts().words, counts.words_without_token), (3, 0));
//! # Ok::<(), nissl_data::DataError>(())
//! ```
//!
//! **Boundary:** no model and no tokenizer is known here; tokens come as byte offsets.

mod sentence;

mod corpus;
mod digest;
mod error;
mod formats;
mod lines;
mod options;
mod record;
mod survey;

mod splitter;
mod words;

mod concept;
mod prompts;

mod aggregate;
mod align;
mod window;

pub use aggregate::{Aggregation, aggregate};
pub use align::{AlignmentCounts, TokenSpans, align};
pub use concept::{ConceptSource, Expression, LabelsBuilder, Row, SentenceRow, WordRow};
pub use corpus::{CorpusCounts, CorpusReader, open};
pub use digest::CorpusDigest;
pub use error::DataError;
pub use formats::{FORMATS, Format, format_by_name};
pub use options::{LabelLevel, Multiword, Prose, ReadOptions, WordSplit};
pub use prompts::{BLANK, PROMPT_FORMATS, PromptFormat, PromptOptions, Prompts, TextPrompt, read_prompts};
pub use sentence::{Label, Sentence, Word};
pub use splitter::split_sentences;
pub use survey::{ColumnSummary, CorpusSummary, survey};
pub use window::{Window, WindowOptions, WindowWord, windows};
pub use words::{find_words, split_words};
