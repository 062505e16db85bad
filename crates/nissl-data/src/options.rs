//! How a corpus is to be read.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a corpus is to be read. The default fits every format.
///
/// | name | default | for | meaning |
/// |---|---|---|---|
/// | `format` | by suffix | all | a name of [`crate::FORMATS`] |
/// | `limit` | none | all | stop after so many sentences |
/// | `multiword` | `syntactic` | conllu | what a multiword token becomes |
/// | `label_file` | beside the words | parallel | the parallel file of labels |
/// | `label_level` | `word` | parallel | one label a word, or one a line |
/// | `label_column` | `label` | parallel | what the labels' column is called |
/// | `text_column` | `text` or `sentence` | csv, tsv, jsonl | the column of the text |
/// | `label_columns` | all others | csv, tsv, jsonl | the columns of the labels |
/// | `header` | true | csv, tsv | whether the first line names the columns; else they are `column1`, ... |
/// | `prose` | `lines` | text | what the unit of the file is |
/// | `split_sentences` | false | text | cut each unit into sentences |
/// | `word_split` | `unicode` | csv, tsv, jsonl, text | where words begin and end |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// A name of [`crate::FORMATS`]; `None`: by the file's suffix.
    pub format: Option<String>,
    /// Stop after so many sentences.
    pub limit: Option<usize>,
    /// CoNLL-U: what a multiword token becomes.
    pub multiword: Multiword,
    /// Parallel text: the file of labels; `None`: the file with suffix `.label` beside the words, if there is one.
    pub label_file: Option<PathBuf>,
    /// Parallel text: whether a line holds a label for each word or one for the sentence.
    pub label_level: LabelLevel,
    /// Parallel text: what the labels' column is called.
    pub label_column: String,
    /// Tables: the column of the text; `None`: `text` or `sentence`.
    pub text_column: Option<String>,
    /// Tables: the columns of the labels; `None`: all others.
    pub label_columns: Option<Vec<String>>,
    /// CSV and TSV: whether the first line names the columns; otherwise they are `column1`, `column2`, ...
    pub header: bool,
    /// Plain text: what the unit of the file is.
    pub prose: Prose,
    /// Plain text: whether each unit is cut into sentences.
    pub split_sentences: bool,
    /// Tables and plain text: where words begin and end.
    pub word_split: WordSplit,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            format: None,
            limit: None,
            multiword: Multiword::default(),
            label_file: None,
            label_level: LabelLevel::default(),
            label_column: "label".to_owned(),
            text_column: None,
            label_columns: None,
            header: true,
            prose: Prose::default(),
            split_sentences: false,
            word_split: WordSplit::default(),
        }
    }
}

/// What a multiword token of CoNLL-U (`3-4 don't`) becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Multiword {
    /// Its syntactic words. When they spell it (`do` + `n't`), each has its own part of the text; when they do not
    /// (`del` = `de` + `el`), all have the whole. Both are counted.
    #[default]
    Syntactic,
    /// One word, as written, whose labels are those of its parts joined by `+`: `ADP+DET`. No two rows then have the
    /// same activations and different labels.
    Surface,
}

/// What a line of a label file belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelLevel {
    /// One label for each word.
    #[default]
    Word,
    /// One label for the sentence, which is the whole line.
    Sentence,
}

/// The unit of a plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prose {
    /// Each line, as it is.
    #[default]
    Lines,
    /// The lines between two blank ones, joined by spaces; runs of white space become one space.
    Paragraphs,
}

/// Where words begin and end in a text without annotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordSplit {
    /// By the Unicode word boundaries (UAX 29): punctuation stands apart, `don't` and `3.14` stay whole; a run of one
    /// punctuation mark (`...`, `--`) is one word.
    #[default]
    Unicode,
    /// At white space only.
    Whitespace,
}
