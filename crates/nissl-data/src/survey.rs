//! A corpus at a glance: how much there is, which columns, which labels.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::corpus::{CorpusCounts, open};
use crate::digest::CorpusDigest;
use crate::error::DataError;
use crate::options::{LabelLevel, ReadOptions};
use crate::sentence::Label;

/// What a corpus holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusSummary {
    /// The format it was read as.
    pub format: String,
    /// What was read, and what had to be decided on the way.
    pub counts: CorpusCounts,
    /// The columns, those of words first, each kind in order of the name.
    pub columns: Vec<ColumnSummary>,
    /// Digest of the sentences, see [`CorpusDigest`].
    pub digest: String,
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSummary {
    /// Its name.
    pub name: String,
    /// Whether it labels words or sentences.
    pub level: LabelLevel,
    /// Words or sentences that have a label.
    pub n_labeled: usize,
    /// The labels with their numbers, most frequent first, ties by name.
    pub labels: Vec<(String, usize)>,
    /// Whether there are more labels than the survey keeps; then their numbers are those of the labels met first.
    pub truncated: bool,
}

/// How many labels of a column are kept: enough for any tag set, few enough for a column of names or lemmas.
const MOST_LABELS: usize = 1000;

/// Reads the whole corpus once and says what is in it.
///
/// # Errors
/// As [`open`], and whatever is wrong with any of its lines.
pub fn survey(path: impl AsRef<Path>, options: &ReadOptions) -> Result<CorpusSummary, DataError> {
    let mut reader = open(path, options)?;
    let mut digest = CorpusDigest::new();
    let (mut of_words, mut of_sentences) = (Columns::default(), Columns::default());
    for sentence in reader.by_ref() {
        let sentence = sentence?;
        digest.add(&sentence);
        of_sentences.add(&sentence.labels);
        for word in &sentence.words {
            of_words.add(&word.labels);
        }
    }
    let mut columns = of_words.summaries(LabelLevel::Word);
    columns.extend(of_sentences.summaries(LabelLevel::Sentence));
    Ok(CorpusSummary {
        format: reader.format().name.to_owned(),
        counts: reader.counts().clone(),
        columns,
        digest: digest.hex(),
    })
}

impl CorpusSummary {
    /// The names of all columns.
    pub fn column_names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }
}

#[derive(Default)]
struct Columns(BTreeMap<Arc<str>, Tally>);

#[derive(Default)]
struct Tally {
    n_labeled: usize,
    labels: HashMap<String, usize>,
    truncated: bool,
}

impl Columns {
    fn add(&mut self, labels: &[Label]) {
        for label in labels {
            let tally = match self.0.get_mut(&label.column) {
                Some(tally) => tally,
                None => self.0.entry(label.column.clone()).or_default(),
            };
            tally.n_labeled += 1;
            if let Some(n) = tally.labels.get_mut(&label.value) {
                *n += 1;
            } else if tally.labels.len() < MOST_LABELS {
                tally.labels.insert(label.value.clone(), 1);
            } else {
                tally.truncated = true;
            }
        }
    }

    fn summaries(self, level: LabelLevel) -> Vec<ColumnSummary> {
        let summary = |(name, tally): (Arc<str>, Tally)| {
            let Tally { n_labeled, labels, truncated } = tally;
            let mut labels: Vec<(String, usize)> = labels.into_iter().collect();
            labels.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            ColumnSummary { name: name.to_string(), level, n_labeled, labels, truncated }
        };
        self.0.into_iter().map(summary).collect()
    }
}

#[cfg(test)]
mod tests;
