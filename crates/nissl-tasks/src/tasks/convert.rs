//! Between a store and NeuroX's HDF5 and JSON files.

use std::fs;
use std::path::{Path, PathBuf};

use nissl_core::{Context, HookPoint, Progress};
use nissl_data::{LabelLevel, ReadOptions, open, survey};
use nissl_store::neurox::{self, ExportOptions, ImportOptions, ImportText};
use nissl_store::{CorpusRef, Dtype, Row, SentenceRows, Store, StoreError, WriteOptions};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::report::{Head, head};
use crate::select::select;
use crate::tasks::extract::StoreSummary;
use crate::tasks::rank::open_store;

/// One sentence about the task.
pub const SUMMARY: &str = "Convert between a store and NeuroX's HDF5 and JSON files";

/// What to convert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A store, or a NeuroX file (`.hdf5`, `.h5`, `.json`, `.jsonl`).
    pub from: PathBuf,
    /// The other: a NeuroX file, or the folder of a new store.
    pub to: PathBuf,
    /// To a store: the text with its words and labels; what the file knows of it if `None`.
    pub text: Option<PathBuf>,
    /// How that text is read.
    pub read: ReadOptions,
    /// To a store: how values are kept.
    pub dtype: Dtype,
    /// To NeuroX: the sites that become layers, all of one width; the residual stream if empty.
    pub sites: Vec<String>,
    /// To NeuroX: a file a layer.
    pub decompose: bool,
    /// To NeuroX: the label column that is written beside the words.
    pub labels: Option<String>,
    /// Bytes for activations on their way to the disk.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            from: PathBuf::new(),
            to: PathBuf::new(),
            text: None,
            read: ReadOptions::default(),
            dtype: Dtype::Float32,
            sites: Vec::new(),
            decompose: false,
            labels: None,
            memory: Context::MEMORY,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// What was written: the store's folder, or the files.
    pub written: Vec<Written>,
}

/// A file or folder that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Its path.
    pub name: PathBuf,
}

/// Converts in the direction that the paths say.
///
/// # Errors
/// If `from` is neither, cannot be read or is damaged, `to` cannot be written, or the user stops it; nothing is left
/// at `to` then that was not there before.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    for (field, path) in [("from", &config.from), ("to", &config.to)] {
        if path.as_os_str().is_empty() {
            return Err(TaskError::config(field, "a store or a NeuroX file", "nothing"));
        }
    }
    let (store, folder, written) = if config.from.is_dir() {
        let (store, written) = to_neurox(config, progress)?;
        (store, &config.from, written)
    } else {
        (to_store(config, progress)?, &config.to, vec![config.to.clone()])
    };
    Ok(Report {
        head: head("convert", config),
        store: StoreSummary::of(folder, &store),
        written: written.into_iter().map(|name| Written { name }).collect(),
    })
}

fn to_neurox(config: &Config, progress: &dyn Progress) -> Result<(Store, Vec<PathBuf>), TaskError> {
    let store = open_store(&config.from)?;
    let points = if config.sites.is_empty() {
        Vec::new()
    } else {
        let all: Vec<HookPoint> = store.points().map(|(point, _)| point).collect();
        select(&config.from.display().to_string(), &all, &config.sites)?
    };
    let options = ExportOptions { points, decompose: config.decompose, labels: config.labels.clone() };
    let written = neurox::export(&store, &config.to, &options, progress)?;
    Ok((store, written))
}

fn to_store(config: &Config, progress: &dyn Progress) -> Result<Store, TaskError> {
    let to = &config.to;
    if to.is_dir() && fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(StoreError::Exists { path: to.clone() }.into());
    }
    let is_new = !to.exists();
    let text = config.text.as_deref().map(|path| import_text(path, &config.read)).transpose()?;
    let write = WriteOptions { memory_budget: config.memory / 4, ..WriteOptions::default() };
    let options = ImportOptions { dtype: config.dtype, text, write };
    let imported = neurox::import(&config.from, to, &options, progress);
    if imported.is_err() && is_new {
        // An import is not resumed, so what there is of it is of no use; the first error is the one to tell.
        let _ = fs::remove_dir_all(to);
    }
    Ok(imported?)
}

/// The sentences of a corpus, each word a row.
fn import_text(path: &Path, options: &ReadOptions) -> Result<ImportText, TaskError> {
    let summary = survey(path, options)?;
    let of_level = |level: LabelLevel| {
        summary.columns.iter().filter(|column| column.level == level).map(|column| column.name.clone()).collect()
    };
    let word_columns: Vec<String> = of_level(LabelLevel::Word);
    let sentence_columns: Vec<String> = of_level(LabelLevel::Sentence);
    let mut sentences = Vec::new();
    for sentence in open(path, options)? {
        let sentence = sentence?;
        let row = |(position, word): (usize, &nissl_data::Word)| Row {
            position: position as u32,
            word: word.form.clone(),
            start: word.span.start as u32,
            end: word.span.end as u32,
            n_tokens: 1,
            labels: word_columns.iter().map(|column| word.label(column).map(ToOwned::to_owned)).collect(),
        };
        let rows = sentence.words.iter().enumerate().map(row).collect();
        let labels = sentence_columns.iter();
        let labels = labels.map(|column| sentence.label(column).map(ToOwned::to_owned)).collect();
        sentences.push(SentenceRows { id: Some(sentence.id), text: sentence.text, labels, rows });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let corpus = CorpusRef { name, digest: summary.digest };
    Ok(ImportText { corpus, word_columns, sentence_columns, sentences })
}

#[cfg(test)]
mod tests;
