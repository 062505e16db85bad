//! From a model and a text to a store: what every chosen neuron does on every word.

use std::fs;
use std::path::{Path, PathBuf};

use nissl_core::{Context, HookPoint, Model, Progress};
use nissl_data::{Aggregation, AlignmentCounts, CorpusCounts, LabelLevel, ReadOptions, open};
use nissl_model::{LoadOptions, Tokenizer};
use nissl_store::{Dtype, Run, Store, StoreError, WriteOptions, Writer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::TaskError;
use crate::output::write_json;
use crate::report::{Head, head};
use crate::tasks::sites::ModelSummary;

mod pipeline;
mod prepare;
mod recording;
mod sink;

pub(crate) use pipeline::{Counted, Done, Taker};
pub(crate) use recording::{Recording, check_source, load};

use recording::given;

/// One sentence about the task.
pub const SUMMARY: &str = "Record what every neuron does on a text";

/// Name of the report in the store's folder.
const REPORT: &str = "extract.json";

/// What to record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of a model, or its Hub name.
    pub model: String,
    /// How it is loaded.
    pub load: LoadOptions,
    /// The corpus.
    pub text: PathBuf,
    /// Folder of the store. If it holds an unfinished store of the same config, the run goes on where that stopped.
    pub out: PathBuf,
    /// Which sites, see [`crate::select`].
    pub sites: Vec<String>,
    /// How the tokens of a word become one row.
    pub aggregate: Aggregate,
    /// How values are kept.
    pub dtype: Dtype,
    /// How the corpus is read.
    pub read: ReadOptions,
    /// Concepts that become label columns of their own, see [`nissl_data::ConceptSource`].
    pub concepts: Vec<String>,
    /// A file of such concepts.
    pub concepts_file: Option<PathBuf>,
    /// Tokens that neighboring windows of an over-long sentence share; a quarter of the context if `None`.
    pub overlap: Option<usize>,
    /// Tokens of a batch; the numbers do not depend on it.
    pub batch_tokens: usize,
    /// Bytes for activations on their way to the disk.
    pub memory: usize,
    /// Begin anew where a store of another config is.
    pub force: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: String::new(),
            load: LoadOptions::default(),
            text: PathBuf::new(),
            out: PathBuf::new(),
            sites: vec!["resid".to_owned(), "mlp".to_owned()],
            aggregate: Aggregate::default(),
            dtype: Dtype::default(),
            read: ReadOptions::default(),
            concepts: Vec::new(),
            concepts_file: None,
            overlap: None,
            batch_tokens: 4096,
            memory: Context::MEMORY,
            force: false,
        }
    }
}

/// How the tokens of a word become one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The first token's activation.
    First,
    /// The last token's.
    Last,
    /// Their mean.
    #[default]
    Mean,
    /// Their largest, neuron by neuron.
    Max,
    /// Not at all: each token that the text spells is a row, with the labels of its word.
    None,
}

impl Aggregate {
    fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
            Self::Mean => "mean",
            Self::Max => "max",
            Self::None => "token",
        }
    }

    fn aggregation(self) -> Aggregation {
        match self {
            Self::First | Self::None => Aggregation::First,
            Self::Last => Aggregation::Last,
            Self::Mean => Aggregation::Mean,
            Self::Max => Aggregation::Max,
        }
    }
}

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The model.
    pub model: ModelSummary,
    /// The store.
    pub store: StoreSummary,
    /// The recorded hook points, in order of the forward pass.
    pub sites: Vec<SiteSummary>,
    /// The label columns.
    pub columns: Vec<Column>,
    /// What was read.
    pub corpus: CorpusCounts,
    /// What came of words and tokens.
    pub alignment: AlignmentCounts,
    /// The sentence from which the run went on where an earlier one stopped.
    pub resumed_at: Option<u64>,
    /// Values that are infinite or not a number, as they are kept.
    pub not_finite: u64,
    /// Sentences that could not be run; they have no rows.
    pub failed: Vec<Failure>,
}

/// A store, in a few numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSummary {
    /// Its folder.
    pub path: PathBuf,
    /// Fingerprint of what is recorded.
    pub fingerprint: String,
    /// Number of rows.
    pub rows: u64,
    /// Number of sentences.
    pub sentences: u64,
    /// Number of neurons.
    pub neurons: usize,
    /// Bytes of the activations.
    pub bytes: u64,
}

impl StoreSummary {
    /// The numbers of a store.
    pub(crate) fn of(path: &Path, store: &Store) -> Self {
        let manifest = store.manifest();
        Self {
            path: path.to_owned(),
            fingerprint: manifest.fingerprint(),
            rows: manifest.n_rows,
            sentences: manifest.n_sentences,
            neurons: manifest.run.n_neurons(),
            bytes: manifest.n_rows * manifest.run.bytes_per_row() as u64,
        }
    }
}

/// A recorded hook point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteSummary {
    /// The hook point.
    pub name: HookPoint,
    /// Its number of units.
    pub width: usize,
}

/// A label column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it labels.
    pub level: LabelLevel,
    /// Words or sentences of the corpus that have a label; unknown for a concept's column.
    pub labeled: Option<usize>,
    /// Number of different labels.
    pub labels: usize,
}

/// A sentence that could not be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The sentence's name in the corpus.
    pub name: String,
    /// The line where it starts.
    pub line: usize,
    /// What is wrong with it.
    pub error: String,
}

/// Records the chosen sites on the whole corpus.
///
/// The rows are in the order of the corpus, and their values depend on neither threads nor batches.
///
/// # Errors
/// If the model cannot be loaded, the corpus not be read, the store not be written, or the user stops it; what is
/// committed then stays, and the same config goes on from there.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    check(config)?;
    let model = load(config, progress)?;
    record(config, &model, model.tokenizer()?, progress)
}

/// Records with a model that is loaded.
fn record(
    config: &Config,
    model: &dyn Model,
    tokenizer: &Tokenizer,
    progress: &dyn Progress,
) -> Result<Report, TaskError> {
    let recording = Recording::new(config, model, tokenizer, progress)?;
    let writer = open_store(config, &recording.run)?;
    tracing::info!(
        sites = recording.run.sites.len(),
        neurons = recording.run.n_neurons(),
        words = recording.corpus.counts.words,
        "recording {} with {}",
        config.text.display(),
        model.info().name
    );
    let resume = writer.resume_point();
    let begun = resume.sentence > 0 || resume.rows_stored > 0;
    let resumed_at = (begun && !writer.is_complete()).then_some(resume.sentence);
    if writer.is_complete() {
        progress.note("the store is complete already; --force would record it anew");
    }
    let Done { made: store, counted } = recording.pipeline(progress).run(open(&config.text, &config.read)?, writer)?;
    let store = store.ok_or_else(|| cancelled(&config.out))?;
    let Counted { corpus, alignment, failed } = counted;
    let not_finite = store.manifest().n_not_finite();
    if not_finite > 0 {
        let dtype = config.dtype;
        progress
            .note(&format!("{not_finite} values do not fit {dtype} and are infinite: record with bfloat16 or float32"));
    }
    let sites = recording.run.sites.iter();
    let report = Report {
        head: head("extract", config),
        model: ModelSummary::of(model.info()),
        store: StoreSummary::of(&config.out, &store),
        sites: sites.map(|site| SiteSummary { name: site.point, width: site.width as usize }).collect(),
        columns: recording.columns,
        corpus,
        alignment,
        resumed_at,
        not_finite,
        failed,
    };
    write_json(&config.out.join(REPORT), &report)?;
    Ok(report)
}

fn check(config: &Config) -> Result<(), TaskError> {
    check_source(config)?;
    given("out", "a folder for the store", !config.out.as_os_str().is_empty())
}

fn open_store(config: &Config, run: &Run) -> Result<Writer, TaskError> {
    let out = &config.out;
    let is_store = out.join("nissl.json").exists();
    if config.force && is_store {
        fs::remove_dir_all(out).map_err(|source| TaskError::io("remove", out, source))?;
    }
    let options = WriteOptions { memory_budget: config.memory / 4, ..WriteOptions::default() };
    Writer::create_or_resume(out, run, &options).map_err(|err| match err {
        StoreError::OtherRun { what: "extra", expected, got, .. } => {
            let (what, expected, got) = difference(&expected, &got);
            TaskError::OtherConfig { path: out.clone(), what, expected, got }
        }
        StoreError::OtherRun { what, expected, got, .. } => {
            TaskError::OtherConfig { path: out.clone(), what: what.to_owned(), expected, got }
        }
        err => err.into(),
    })
}

/// The first field in which two JSON objects differ, with both values.
fn difference(expected: &str, got: &str) -> (String, String, String) {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (old, new) = (parse(expected), parse(got));
    let fields = old.as_object().into_iter().chain(new.as_object()).flatten().map(|(field, _)| field);
    for field in fields {
        if old[field] != new[field] {
            let (old, new) = (old[field].to_string(), new[field].to_string());
            let (inner, old, new) = if old.starts_with('{') && new.starts_with('{') {
                difference(&old, &new)
            } else {
                (String::new(), old, new)
            };
            let name = if inner.is_empty() { field.clone() } else { format!("{field}.{inner}") };
            return (name, old, new);
        }
    }
    (String::new(), expected.to_owned(), got.to_owned())
}

fn cancelled(out: &Path) -> TaskError {
    let resume = format!("what is recorded stays in {}; the same command goes on from there", out.display());
    TaskError::Cancelled { resume }
}

#[cfg(test)]
mod tests;
