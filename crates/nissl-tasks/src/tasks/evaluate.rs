//! Rankings side by side: what few of their neurons tell of a concept, how much they have in common, where they lie.

use std::path::{Path, PathBuf};

use nissl_core::{Context, Progress, Scores};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::html::Figure;
use crate::labels::labels;
use crate::output::{write_json, write_whole};
use crate::ranking_file::load_ranking;
use crate::report::{Head, head};
use crate::tasks::extract::StoreSummary;
use crate::tasks::rank::open_store;

pub(crate) mod figures;
mod inside;
mod side_by_side;

pub use inside::Inside;
use inside::Recorded;
pub(crate) use side_by_side::Judge;
pub use side_by_side::{ConceptReport, InsideReport, Judging, LeftOut, Pair, RankingReport, SideBySide, Spread};

/// One sentence about the task.
pub const SUMMARY: &str = "Judge rankings side by side: what few of their neurons tell, what they have in common";

/// Names of the files in the folder of the results.
const REPORT: &str = "evaluate.json";
const PAGE: &str = "evaluate.html";
const PLOTS: &str = "plots";

/// What makes a report of its file again.
const COMMAND: &str = "nissl evaluate --config evaluate.json";

/// What to judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store to judge on; best one of other text than the rankings were made on.
    pub store: PathBuf,
    /// The rankings, Parquet tables.
    pub rankings: Vec<PathBuf>,
    /// The concepts, see [`nissl_data::ConceptSource`]; those that every ranking has are judged.
    pub concepts: Vec<String>,
    /// A file of concepts.
    pub concepts_file: Option<PathBuf>,
    /// How they are judged.
    pub judging: Judging,
    /// What is removed inside the model.
    pub inside: Inside,
    /// Folder for the report and its page; nothing is written if `None`.
    pub out: Option<PathBuf>,
    /// Whether the figures of the page are written too, each as SVG and as PNG.
    pub plots: bool,
    /// Bytes for activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: PathBuf::new(),
            rankings: Vec::new(),
            concepts: Vec::new(),
            concepts_file: None,
            judging: Judging::default(),
            inside: Inside::default(),
            out: None,
            plots: false,
            memory: Context::MEMORY,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// The rankings, in the order given, and what was found of them.
    #[serde(flatten)]
    pub judged: SideBySide,
    /// What was written.
    pub files: Vec<PathBuf>,
}

/// Judges.
///
/// # Errors
/// If the store or a ranking cannot be read, a ranked neuron is not in the store, the model is another than was recorded or
/// predicts no words, no concept is left, a file cannot be written, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.rankings.is_empty() {
        return Err(TaskError::config("rankings", "at least one", "none"));
    }
    if config.plots && config.out.is_none() {
        return Err(TaskError::config("out", "a folder, for the plots", "none"));
    }
    let store = open_store(&config.store)?;
    let rankings = config.rankings.iter().map(|path| load_ranking(path)).collect::<Result<Vec<Scores>, _>>()?;
    let points = rankings.iter().flat_map(Scores::neurons).map(|neuron| neuron.point);
    let points: std::collections::BTreeSet<_> = points.collect();
    let recorded: std::collections::BTreeSet<_> = store.points().map(|(point, _)| point).collect();
    if let Some(point) = points.difference(&recorded).next() {
        let got = format!("{point}, which {} has not", config.store.display());
        return Err(TaskError::config("rankings", "neurons of recorded sites", got));
    }
    let x = store.select(&points.into_iter().collect::<Vec<_>>())?;
    let text = store.text()?;
    let labels = labels(&store, &config.concepts, config.concepts_file.as_deref())?;
    let model = Recorded::open(&config.inside, &store, progress)?;
    let ctx = Context { memory: config.memory, progress };
    let judge = Judge { judging: &config.judging, x: &x, text: &text, labels: &labels, model: model.as_ref(), ctx };
    let mut judged = judge.all(&rankings, names(&config.rankings, &rankings))?;
    let store_digest = store.manifest().fingerprint();
    for ((report, path), scores) in judged.rankings.iter_mut().zip(&config.rankings).zip(&rankings) {
        report.path.clone_from(path);
        report.same_text = scores.provenance.data == store_digest;
    }
    let store = StoreSummary::of(&config.store, &store);
    let mut report = Report { head: head("evaluate", config), store, judged, files: Vec::new() };
    if let Some(out) = &config.out {
        report.files = files(out, [REPORT, PAGE], config.plots);
        write_json(&report.files[0], &report)?;
        let figures = figures::figures(&report.judged, &figures::note(&report.head, COMMAND));
        write_figures(out, PAGE, &figures::page(&report, &figures), figures.iter().filter(|_| config.plots))?;
    }
    Ok(report)
}

/// What is written into a folder: the report, its page, and with `plots` the folder of the figures.
pub(crate) fn files(out: &Path, [report, page]: [&str; 2], plots: bool) -> Vec<PathBuf> {
    let names = [report, page].into_iter().chain(plots.then_some(PLOTS));
    names.map(|name| out.join(name)).collect()
}

/// Writes a page into a folder, and figures with their names beside it, each as SVG and as PNG.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write_figures<'a>(
    out: &Path,
    page_name: &str,
    page: &str,
    figures: impl Iterator<Item = &'a (String, Figure)>,
) -> Result<(), TaskError> {
    let write = |path: PathBuf, bytes: &[u8]| write_whole(&path, |file| std::io::Write::write_all(file, bytes));
    write(out.join(page_name), page.as_bytes())?;
    for (name, figure) in figures {
        let path = out.join(PLOTS).join(name);
        write(path.with_extension("svg"), figure.svg().as_bytes())?;
        write(path.with_extension("png"), &figure.png())?;
    }
    Ok(())
}

/// The method of each ranking, with its file where several have that.
fn names(paths: &[PathBuf], rankings: &[Scores]) -> Vec<String> {
    let method = |idx: usize| rankings[idx].provenance.method.clone();
    let name = |idx: usize| {
        let alone = (0..rankings.len()).filter(|&other| method(other) == method(idx)).count() == 1;
        let file = || paths[idx].file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        if alone { method(idx) } else { format!("{} ({})", method(idx), file()) }
    };
    (0..rankings.len()).map(name).collect()
}

#[cfg(test)]
mod tests;
