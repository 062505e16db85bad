//! A corpus as a stream of sentences.

use std::io::BufRead;
use std::ops::AddAssign;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::formats::{self, Format, Input, SentenceSource};
use crate::options::ReadOptions;
use crate::sentence::Sentence;

/// Opens a corpus. Nothing but its first lines is read before the first sentence is asked for.
///
/// # Errors
/// If the file cannot be opened, its format is unknown, or a column that was asked for is not there.
pub fn open(path: impl AsRef<Path>, options: &ReadOptions) -> Result<CorpusReader, DataError> {
    let path = path.as_ref();
    let format = formats::choose(path, options)?;
    CorpusReader::new(format, Input::File(path), options)
}

/// The sentences of a corpus, one at a time. After an error it ends.
pub struct CorpusReader {
    format: &'static Format,
    source: Box<dyn SentenceSource>,
    counts: CorpusCounts,
    limit: usize,
}

impl CorpusReader {
    /// A corpus that is not a file, such as one in memory. `name` is what errors call it; its suffix tells the format.
    ///
    /// # Errors
    /// As [`open`].
    pub fn from_reader(name: &str, reader: Box<dyn BufRead + Send>, options: &ReadOptions) -> Result<Self, DataError> {
        let name = Path::new(name);
        Self::new(formats::choose(name, options)?, Input::Reader(name, reader), options)
    }

    fn new(format: &'static Format, input: Input<'_>, options: &ReadOptions) -> Result<Self, DataError> {
        let source = (format.open)(input, options)?;
        let limit = options.limit.unwrap_or(usize::MAX);
        Ok(Self { format, source, counts: CorpusCounts::default(), limit })
    }

    /// The format it is read as.
    pub fn format(&self) -> &'static Format {
        self.format
    }

    /// What has been read so far.
    pub fn counts(&self) -> &CorpusCounts {
        &self.counts
    }
}

impl Iterator for CorpusReader {
    type Item = Result<Sentence, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.counts.sentences >= self.limit {
            return None;
        }
        let mut sentence = match self.source.next_sentence(&mut self.counts) {
            Ok(Some(sentence)) => sentence,
            Ok(None) => {
                self.limit = 0;
                return None;
            }
            Err(error) => {
                self.limit = 0;
                return Some(Err(error));
            }
        };
        self.counts.sentences += 1;
        self.counts.words += sentence.words.len();
        if sentence.id.is_empty() {
            sentence.id = self.counts.sentences.to_string();
        }
        Some(Ok(sentence))
    }
}

/// What was read, and what had to be decided on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorpusCounts {
    /// Sentences.
    pub sentences: usize,
    /// Words.
    pub words: usize,
    /// Sentences, lines or records without a word; they are left out.
    pub empty: usize,
    /// Multiword tokens.
    pub multiword_tokens: usize,
    /// Those among them whose words do not spell them and so share one span.
    pub multiword_shared: usize,
    /// Words that share their span with another.
    pub words_sharing_span: usize,
    /// Empty nodes, which stand for words that are not in the text; they are left out.
    pub empty_nodes: usize,
    /// Sentences whose text is not given and was put together from the words.
    pub texts_rebuilt: usize,
    /// Sentences whose given text does not consist of their words, so that it was put together anew.
    pub texts_mismatched: usize,
    /// Values that are left out: lists and objects, and those of a column that has a label already.
    pub values_ignored: usize,
}

impl AddAssign<&Self> for CorpusCounts {
    fn add_assign(&mut self, other: &Self) {
        self.sentences += other.sentences;
        self.words += other.words;
        self.empty += other.empty;
        self.multiword_tokens += other.multiword_tokens;
        self.multiword_shared += other.multiword_shared;
        self.words_sharing_span += other.words_sharing_span;
        self.empty_nodes += other.empty_nodes;
        self.texts_rebuilt += other.texts_rebuilt;
        self.texts_mismatched += other.texts_mismatched;
        self.values_ignored += other.values_ignored;
    }
}
