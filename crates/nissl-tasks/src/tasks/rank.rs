//! From a store and concepts to rankings: which neurons carry what.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis, concatenate};
use nissl_core::{
    Activations, Concept, Context, LabeledActivations, Labels, MethodError, Progress, Provenance, Ranker, Scores,
    TextRows,
};
use nissl_methods::find;
use nissl_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chosen::{Chosen, chosen_rankers};
use crate::error::TaskError;
use crate::labels::{digest, labels};
use crate::output::write_json;
use crate::progress::Quiet;
pub(crate) use crate::ranked::best;
pub use crate::ranked::{Best, ConceptReport, FOUND, Failure, MethodReport};
use crate::report::{Head, head};
use crate::select::recorded;
use crate::tasks::extract::{self, StoreSummary};

mod chance;
mod stream;

use chance::{permutations_for, with_chances};

/// One sentence about the task.
pub const SUMMARY: &str = "Rank the neurons of a store by how much they carry each concept";

/// Name of the report in the rankings' folder.
const REPORT: &str = "rank.json";

/// What to rank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store.
    pub store: PathBuf,
    /// A model and a text instead of a store: the methods read the activations while the model runs, and nothing of
    /// them is written. The scores are those over a store of the same config, recorded with the same `dtype`.
    pub stream: Option<extract::Config>,
    /// The concepts, see [`nissl_data::ConceptSource`]: `upos`, `plural := upos=NOUN & Number=Plur`.
    pub concepts: Vec<String>,
    /// A file of concepts.
    pub concepts_file: Option<PathBuf>,
    /// The methods.
    pub methods: Vec<String>,
    /// Parameters by name: `min_count` for every method that has it, or `probeless.min_count`.
    pub set: Map<String, Value>,
    /// Only these sites; all that are recorded if empty.
    pub sites: Vec<String>,
    /// Methods that compare each concept by itself with the rows that have it not, for concepts that overlap; `all`
    /// means all of them.
    pub one_vs_rest: Vec<String>,
    /// Folder for the rankings, a Parquet table a method, and for the report; nothing is written if `None`.
    pub out: Option<PathBuf>,
    /// Best neurons a concept in the report.
    pub top: usize,
    /// Runs with shuffled labels, from which the chance of every score is told; as many as give 10,000 scores a concept
    /// if `None`, 2 to 20; 0 tells none.
    pub permutations: Option<usize>,
    /// Another seed shuffles labels in another way.
    pub seed: u64,
    /// Bytes for blocks of activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: PathBuf::new(),
            stream: None,
            concepts: Vec::new(),
            concepts_file: None,
            methods: vec!["probeless".to_owned(), "average-precision".to_owned()],
            set: Map::new(),
            sites: Vec::new(),
            one_vs_rest: Vec::new(),
            out: None,
            top: 10,
            permutations: None,
            seed: 0,
            memory: Context::MEMORY,
        }
    }
}

/// The rankings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// One entry a method that went well.
    pub methods: Vec<MethodReport>,
    /// The methods, or concepts of a method, that did not.
    pub failed: Vec<Failure>,
}

/// Ranks the neurons of a store by each method.
///
/// # Errors
/// If the store cannot be read, a concept or method is unknown, every method fails, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    let (report, _) = scores(config, progress)?;
    Ok(report)
}

/// As [`run`], with the scores themselves, in the order of the report's methods.
pub(crate) fn scores(config: &Config, progress: &dyn Progress) -> Result<(Report, Vec<Scores>), TaskError> {
    let methods = methods(config)?;
    let ctx = Context { memory: config.memory, progress };
    let mut failed = Vec::new();
    if let Some(source) = &config.stream {
        if !config.store.as_os_str().is_empty() {
            let got = format!("{}, beside a model to stream from", config.store.display());
            return Err(TaskError::config("store", "none", got));
        }
        let stream::Streamed { labels, stamp, summary, scores } =
            stream::run(config, source, &methods, (ctx, &mut failed))?;
        let mut scores = scores.into_iter();
        let next = |_: &Chosen, _: &mut Vec<Failure>| scores.next().expect("a result a method");
        return report(config, &methods, (&labels, &stamp, summary), failed, next);
    }
    let store = open_store(&config.store)?;
    let labels = labels(&store, &config.concepts, config.concepts_file.as_deref())?;
    if labels.concepts().is_empty() {
        return Err(no_concepts("label columns of this store", &store.label_columns().collect::<Vec<_>>()));
    }
    let x = recorded(&store, &config.sites)?;
    let text = store.text()?;
    let stamp = Stamp::of(&store, &labels);
    let n_permutations = config.permutations.unwrap_or_else(|| permutations_for(x.neurons().len()));
    let score = |(entry, ranker): &Chosen, failed: &mut Vec<Failure>| {
        let run =
            Run { method: entry.name, ranker: ranker.as_ref(), x: &x, text: &text, alone: config.is_alone(entry.name) };
        let scores = run.score(&labels, ctx, failed)?;
        with_chances(&run, scores, &labels, (n_permutations, config.seed), ctx)
    };
    let summary = StoreSummary::of(&config.store, &store);
    report(config, &methods, (&labels, &stamp, summary), failed, score)
}

/// Asks for the scores of each method, saves and reports them.
fn report(
    config: &Config,
    methods: &[Chosen],
    (labels, stamp, store): (&Labels, &Stamp, StoreSummary),
    mut failed: Vec<Failure>,
    mut score: impl FnMut(&Chosen, &mut Vec<Failure>) -> Result<Scores, MethodError>,
) -> Result<(Report, Vec<Scores>), TaskError> {
    let (mut reports, mut all, mut first) = (Vec::new(), Vec::new(), None);
    let counts = labels.counts();
    for method in methods {
        let name = method.0.name;
        let mut scores = match score(method, &mut failed) {
            Ok(scores) => scores,
            Err(MethodError::Cancelled) => return Err(cancelled(config, &reports)),
            Err(err) => {
                failed.push(Failure { name: name.to_owned(), error: err.to_string() });
                first = first.or(Some(err));
                continue;
            }
        };
        stamp.put(&mut scores.provenance);
        tracing::info!(concepts = scores.concepts().len(), neurons = scores.neurons().len(), "{name}");
        let rows = |concept: &Concept| {
            labels.concepts().iter().position(|other| other == concept).map_or(0, |idx| counts[idx])
        };
        reports.push(MethodReport::save(&scores, (config.out.as_deref(), config.top), rows)?);
        all.push(scores);
    }
    if let Some(err) = first
        && reports.is_empty()
    {
        return Err(err.into());
    }
    let report = Report { head: head("rank", config), store, methods: reports, failed };
    if let Some(out) = &config.out {
        write_json(&out.join(REPORT), &report)?;
    }
    Ok((report, all))
}

/// No concept was asked for.
pub(crate) fn no_concepts(what: &str, columns: &[&str]) -> TaskError {
    let columns = if columns.is_empty() { "none".to_owned() } else { columns.join(", ") };
    TaskError::config("concepts", format!("at least one; {what}: {columns}"), "none")
}

impl Config {
    /// Whether a method compares each concept by itself with the rows that have it not.
    fn is_alone(&self, method: &str) -> bool {
        self.one_vs_rest.iter().any(|name| name == "all" || name == method)
    }
}

/// The rankers with their parameters.
fn methods(config: &Config) -> Result<Vec<Chosen>, TaskError> {
    for name in config.one_vs_rest.iter().filter(|name| *name != "all") {
        find(name)?;
    }
    chosen_rankers(&config.methods, &config.set)
}

/// Opens a store that a config names.
pub(crate) fn open_store(path: &Path) -> Result<Store, TaskError> {
    let expected = "the folder of a store, which nissl extract makes";
    if path.as_os_str().is_empty() {
        return Err(TaskError::config("store", expected, "nothing"));
    }
    match Store::open(path) {
        Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            let got = if path.exists() { "which is none" } else { "which is not there" };
            Err(TaskError::config("store", expected, format!("{}, {got}", path.display())))
        }
        opened => Ok(opened?),
    }
}

/// A ranker and what it is run on.
pub(crate) struct Run<'a> {
    pub(crate) method: &'static str,
    pub(crate) ranker: &'a dyn Ranker,
    pub(crate) x: &'a dyn Activations,
    pub(crate) text: &'a TextRows,
    /// Whether each concept is compared by itself with the rows that have it not.
    pub(crate) alone: bool,
}

impl Run<'_> {
    pub(crate) fn score(
        &self,
        labels: &Labels,
        ctx: Context<'_>,
        failed: &mut Vec<Failure>,
    ) -> Result<Scores, MethodError> {
        if self.alone { one_vs_rest(self, labels, ctx, failed) } else { self.score_once(labels, ctx) }
    }

    fn score_once(&self, labels: &Labels, ctx: Context<'_>) -> Result<Scores, MethodError> {
        self.ranker.score(LabeledActivations::new(self.x, labels)?.with_text(self.text)?, ctx)
    }
}

/// Whether a method scores all of several concepts alike, so that there is one ranking for all of them.
pub(crate) fn scores_alike(scores: &Scores) -> bool {
    let mut rows = scores.values().outer_iter();
    let first = rows.next();
    scores.concepts().len() > 1 && rows.all(|row| Some(row) == first)
}

/// Scores each concept by itself against the rows that have it not, and puts the results together.
fn one_vs_rest(
    run: &Run<'_>,
    labels: &Labels,
    ctx: Context<'_>,
    failed: &mut Vec<Failure>,
) -> Result<Scores, MethodError> {
    let method = run.method;
    ctx.progress.stage(method, Some(labels.concepts().len() as u64), "concepts");
    let quiet = Quiet(ctx.progress);
    let score = |(idx, alone): (usize, Labels)| {
        ctx.progress.step(idx as u64 + 1);
        let ctx = Context { progress: &quiet, ..ctx };
        run.score_once(&alone, ctx)
    };
    let mut parts = Vec::new();
    for alone in one_vs_rest_labels(labels).into_iter().enumerate() {
        let part = score(alone);
        let stop = matches!(part, Err(MethodError::Cancelled));
        parts.push(part);
        if stop {
            break;
        }
    }
    join_parts(method, labels, parts, failed)
}

/// For each concept labels that know it alone.
fn one_vs_rest_labels(labels: &Labels) -> Vec<Labels> {
    let alone = |(idx, concept): (usize, &Concept)| {
        let rows = labels.mask(idx).into_iter().map(|has| has.then_some(0));
        Labels::single(vec![concept.clone()], rows)
    };
    labels.concepts().iter().enumerate().map(alone).collect()
}

/// The scores of all concepts, from those of each; concepts that failed are told in `failed`.
fn join_parts(
    method: &'static str,
    labels: &Labels,
    scored: Vec<Result<Scores, MethodError>>,
    failed: &mut Vec<Failure>,
) -> Result<Scores, MethodError> {
    let mut parts: Vec<Scores> = Vec::new();
    let (mut first, mut alone_failed) = (None, Vec::new());
    for (scored, concept) in scored.into_iter().zip(labels.concepts()) {
        match scored {
            Ok(scores) => parts.push(scores),
            Err(MethodError::Cancelled) => return Err(MethodError::Cancelled),
            Err(err) => {
                alone_failed.push(Failure { name: format!("{method}: {}", concept.name), error: err.to_string() });
                first = first.or(Some(err));
            }
        }
    }
    let Some(one) = parts.first() else {
        // Told once for the method, not once a concept.
        return Err(first.unwrap_or(MethodError::TooFewConcepts {
            method,
            expected: 1,
            got: 0,
            dropped: String::new(),
        }));
    };
    failed.extend(alone_failed);
    let values: Vec<_> = parts.iter().map(|scores| scores.values().view()).collect();
    let values = concatenate(Axis(0), &values).expect("all parts have the same neurons");
    let signs: Option<Vec<_>> = parts.iter().map(|scores| Some(scores.sign()?.view())).collect();
    let signs: Option<Array2<i8>> =
        signs.map(|signs| concatenate(Axis(0), &signs).expect("all parts have the same neurons"));
    let concepts = parts.iter().flat_map(|scores| scores.concepts().to_vec()).collect();
    let mut provenance = one.provenance.clone();
    if let Value::Object(params) = &mut provenance.params {
        params.insert("one_vs_rest".to_owned(), true.into());
    }
    let scores = Scores::new(values, concepts, one.neurons().to_vec(), provenance)?;
    let scores = scores.with_constant(one.constant().to_vec())?;
    match signs {
        Some(signs) => scores.with_sign(signs),
        None => Ok(scores),
    }
}

/// The fingerprints of what went in.
pub(crate) struct Stamp {
    model: String,
    data: String,
    labels: String,
}

impl Stamp {
    /// Those of a store and labels of its rows.
    pub(crate) fn of(store: &Store, labels: &Labels) -> Self {
        let manifest = store.manifest();
        Self { model: manifest.run.model.fingerprint.clone(), data: manifest.fingerprint(), labels: digest(labels) }
    }

    pub(crate) fn put(&self, provenance: &mut Provenance) {
        provenance.model.clone_from(&self.model);
        provenance.data.clone_from(&self.data);
        provenance.labels.clone_from(&self.labels);
    }
}

fn cancelled(config: &Config, done: &[MethodReport]) -> TaskError {
    let resume = match (&config.out, done.len()) {
        (Some(out), n) if n > 0 => format!("the rankings of {n} methods are in {}", out.display()),
        _ => "nothing was written".to_owned(),
    };
    TaskError::Cancelled { resume }
}

#[cfg(test)]
mod tests;
