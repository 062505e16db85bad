//! Methods side by side on a user's own data: what they cost, what few of their neurons tell on sentences that they were
//! not ranked on, what they have in common, and whether they say the same of other sentences and with other seeds.

use std::path::PathBuf;

use nissl_core::{Activations, Context, Labels, MethodError, NeuronId, Progress, Ranking, Scores, TextRows};
use nissl_methods::evaluation::agreement::stability;
use nissl_methods::evaluation::few::RankingCurve;
use nissl_methods::evaluation::sampling::in_random_order;
use nissl_methods::probes::inference::Interval;
use nissl_methods::probes::{ChosenRows, Part, Split, SplitOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chosen::{Chosen, chosen_rankers, or_all_rankers};
use crate::cost::{Cost, costing};
use crate::error::TaskError;
use crate::labels::labels;
use crate::output::write_json;
use crate::progress::Quiet;
use crate::ranking_file::save_ranking;
use crate::report::{Head, head};
use crate::select::recorded;
use crate::tasks::evaluate::{Judge, Judging, SideBySide, figures::note, files, write_figures};
use crate::tasks::extract::StoreSummary;
use crate::tasks::rank::{Failure, Run, Stamp, no_concepts, open_store, scores_alike};

mod figures;

/// One sentence about the task.
pub const SUMMARY: &str = "Run methods on a store side by side: cost, accuracy, agreement, consistency";

/// Names of the files in the folder of the results.
const REPORT: &str = "methods.json";
const PAGE: &str = "methods.html";
const RANKINGS: &str = "rankings";

/// What makes a report of its file again.
const COMMAND: &str = "nissl bench methods --config methods.json";

/// What to run, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store.
    pub store: PathBuf,
    /// The concepts, see [`nissl_data::ConceptSource`].
    pub concepts: Vec<String>,
    /// A file of concepts.
    pub concepts_file: Option<PathBuf>,
    /// The rankers; all of the catalogue if empty.
    pub methods: Vec<String>,
    /// Parameters by name, as of `rank`.
    pub set: Map<String, Value>,
    /// Only these sites; all that are recorded if empty.
    pub sites: Vec<String>,
    /// Share of the rows, whole sentences, to rank on; the others are to judge on.
    pub share: f64,
    /// Samples of the rows to rank on, no sentence in two of them, that each method ranks by themselves.
    pub samples: usize,
    /// Seeds with which each method that has one ranks all of these rows; the first is the method's own.
    pub seeds: usize,
    /// How rankings are judged; its seed draws the rows and samples too.
    pub judging: Judging,
    /// Whether they are judged once more with no word type both in rows to fit on and in rows to report on.
    pub disjoint_words: bool,
    /// Folder for the report, its page and the rankings; nothing is written if `None`.
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
            concepts: Vec::new(),
            concepts_file: None,
            methods: Vec::new(),
            set: Map::new(),
            sites: Vec::new(),
            share: 0.5,
            samples: 3,
            seeds: 3,
            judging: Judging::default(),
            disjoint_words: false,
            out: None,
            plots: false,
            memory: Context::MEMORY,
        }
    }
}

/// The methods side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// Rows to rank on, and to judge on.
    pub rows: [usize; 2],
    /// One entry a method that went well, in the order of the catalogue or of the config.
    pub methods: Vec<MethodReport>,
    /// Rank-biased overlap of random orders of the neurons; none with fewer than two samples.
    pub random_samples: Option<f64>,
    /// Their rankings judged.
    pub judged: SideBySide,
    /// The same without a word type on both sides; none if that was not asked for.
    pub disjoint: Option<SideBySide>,
    /// What did not go well.
    pub failed: Vec<Failure>,
    /// What was written.
    pub files: Vec<PathBuf>,
}

/// A method. Intervals of means over concepts are 95% by Student's t.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodReport {
    /// Its name.
    pub name: String,
    /// All its parameters.
    pub params: Value,
    /// What ranking once cost.
    pub cost: Cost,
    /// Balanced accuracy with its best neurons, for each number of them, mean over concepts.
    pub best: Vec<Interval>,
    /// Accuracy less that of the control task; none without one.
    pub selectivity: Option<Vec<Interval>>,
    /// Accuracy above that of random neurons, mean over numbers of neurons and concepts.
    pub area: Interval,
    /// Rank-biased overlap (p = 0.98) of its rankings of different samples, mean over pairs and concepts; none with fewer
    /// than two.
    pub samples: Option<Interval>,
    /// The same of rankings with different seeds; none of a method without a seed.
    pub seeds: Option<Interval>,
}

/// Runs the methods and judges what they found.
///
/// # Errors
/// If the store cannot be read, a concept or method is unknown, every method fails, no concept can be judged, a file cannot
/// be written, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.plots && config.out.is_none() {
        return Err(TaskError::config("out", "a folder, for the plots", "none"));
    }
    if !(config.share > 0.0 && config.share < 1.0) {
        return Err(TaskError::config("share", "a share of the rows between 0 and 1", config.share.to_string()));
    }
    let methods = chosen_rankers(&or_all_rankers(&config.methods), &config.set)?;
    let store = open_store(&config.store)?;
    let labels = labels(&store, &config.concepts, config.concepts_file.as_deref())?;
    if labels.concepts().is_empty() {
        return Err(no_concepts("label columns of this store", &store.label_columns().collect::<Vec<_>>()));
    }
    let (x, text) = (recorded(&store, &config.sites)?, store.text()?);
    let all = Rows { x: &x, text: &text, labels: &labels };
    let split = SplitOptions { train: config.share, dev: 0.0, seed: config.judging.seed, disjoint_words: false };
    let split = Split::by_sentence(&text, split);
    let [to_rank, to_judge] = [Part::Train, Part::Test].map(|part| Sample::of(&all, &split.rows(part)));
    let bench = Bench { config, samples: samples(config, &to_rank.rows()), to_rank: &to_rank.rows(), progress };
    let (mut ranked, mut failed) = (Vec::new(), Vec::new());
    for method in &methods {
        match bench.method(method, &mut failed) {
            Ok(one) => ranked.push(one),
            Err(MethodError::Cancelled) => {
                return Err(TaskError::Cancelled { resume: "nothing was written".to_owned() });
            }
            Err(err) => failed.push(Failure { name: method.0.name.to_owned(), error: err.to_string() }),
        }
    }
    if let (true, Some(first)) = (ranked.is_empty(), failed.first()) {
        let got = format!("none: {}: {}", first.name, first.error);
        return Err(TaskError::config("methods", "at least one that can rank these neurons", got));
    }
    let (ranked, mut scores): (Vec<Ranked>, Vec<Scores>) = ranked.into_iter().unzip();
    let stamp = Stamp::of(&store, &labels);
    for scores in &mut scores {
        stamp.put(&mut scores.provenance);
    }
    let names: Vec<String> = ranked.iter().map(|ranked| ranked.name.to_owned()).collect();
    let judge = |judging: &Judging| {
        let Rows { x, text, labels } = to_judge.rows();
        let ctx = Context { memory: config.memory, progress };
        Judge { judging, x, text, labels, model: None, ctx }.all(&scores, names.clone())
    };
    let mut judged = judge(&config.judging)?;
    let apart = SplitOptions { disjoint_words: true, ..config.judging.split };
    let disjoint =
        config.disjoint_words.then(|| judge(&Judging { split: apart, ..config.judging.clone() })).transpose()?;
    if let Some(out) = &config.out {
        for ((report, name), scores) in judged.rankings.iter_mut().zip(&names).zip(&scores) {
            report.path = out.join(RANKINGS).join(format!("{name}.parquet"));
            save_ranking(&report.path, scores)?;
        }
    }
    let methods = ranked.into_iter().zip(&scores).enumerate();
    let mut report = Report {
        head: head("bench-methods", config),
        store: StoreSummary::of(&config.store, &store),
        rows: [to_rank.labels.n_tokens(), to_judge.labels.n_tokens()],
        methods: methods.map(|(idx, (ranked, scores))| ranked.report(scores, (idx, &judged))).collect(),
        random_samples: of_random_orders(x.neurons(), config),
        judged,
        disjoint,
        failed,
        files: Vec::new(),
    };
    if let Some(out) = &config.out {
        report.files = files(out, [REPORT, PAGE], config.plots);
        report.files.push(out.join(RANKINGS));
        write_json(&report.files[0], &report)?;
        let figures = figures::figures(&report, &note(&report.head, COMMAND));
        write_figures(out, PAGE, &figures::page(&report, &figures), figures.iter().filter(|_| config.plots))?;
    }
    Ok(report)
}

/// Rows of a store: activations, words and labels.
#[derive(Clone, Copy)]
struct Rows<'a> {
    x: &'a dyn Activations,
    text: &'a TextRows,
    labels: &'a Labels,
}

/// Some rows of a store.
struct Sample<'a> {
    x: ChosenRows<'a>,
    text: TextRows,
    labels: Labels,
}

impl<'a> Sample<'a> {
    /// These rows, in ascending order.
    fn of(all: &Rows<'a>, rows: &[usize]) -> Self {
        let words = rows.iter().map(|&row| (all.text.sentence_of()[row], all.text.word(row)));
        Self { x: ChosenRows::new(all.x, rows), text: TextRows::from_words(words), labels: all.labels.select(rows) }
    }

    fn rows(&self) -> Rows<'_> {
        Rows { x: &self.x, text: &self.text, labels: &self.labels }
    }
}

/// The rows to rank on, dealt into samples by sentence.
fn samples<'a>(config: &Config, to_rank: &Rows<'a>) -> Vec<Sample<'a>> {
    let sentences = in_random_order(to_rank.text.sentences().collect(), config.judging.seed);
    let of = |first: usize| {
        let mut rows: Vec<usize> = sentences.iter().skip(first).step_by(config.samples).cloned().flatten().collect();
        rows.sort_unstable();
        Sample::of(to_rank, &rows)
    };
    if config.samples < 2 { Vec::new() } else { (0..config.samples).map(of).collect() }
}

/// What all methods are run on.
struct Bench<'a> {
    config: &'a Config,
    to_rank: &'a Rows<'a>,
    samples: Vec<Sample<'a>>,
    progress: &'a dyn Progress,
}

/// What is known of a method but for its ranking.
struct Ranked {
    name: &'static str,
    cost: Cost,
    samples: Option<Interval>,
    seeds: Option<Interval>,
}

impl Bench<'_> {
    /// Runs a method on all rows to rank on, on each sample, and with other seeds. That it cannot be run again is told in
    /// `failed`, and it counts all the same.
    fn method(&self, method: &Chosen, failed: &mut Vec<Failure>) -> Result<(Ranked, Scores), MethodError> {
        let name = method.0.name;
        let others = self.other_seeds(method);
        let n_runs = 1 + self.samples.len() + others.len();
        self.progress.stage(&format!("rank by {name}"), Some(n_runs as u64), "rankings");
        let mut done = 0;
        let mut once = |method: &Chosen, rows: &Rows<'_>, failed: &mut Vec<Failure>| {
            let scores = self.score(method, rows, failed);
            done += 1;
            self.progress.step(done);
            scores
        };
        let (cost, scores) = costing(|| once(method, self.to_rank, failed));
        let scores = scores?;
        let mut again = |what: &str, runs: Vec<(&Chosen, Rows<'_>)>| {
            let run = |(method, rows): (&Chosen, Rows<'_>)| once(method, &rows, &mut Vec::new());
            match runs.into_iter().map(run).collect::<Result<Vec<Scores>, MethodError>>() {
                Err(MethodError::Cancelled) => Err(MethodError::Cancelled),
                Err(err) => {
                    failed.push(Failure { name: format!("{name}, {what}"), error: err.to_string() });
                    Ok(Vec::new())
                }
                Ok(scores) => Ok(scores),
            }
        };
        let of_samples = again("of a sample", self.samples.iter().map(|sample| (method, sample.rows())).collect())?;
        let of_seeds = again("with another seed", others.iter().map(|other| (other, *self.to_rank)).collect())?;
        let samples = consistency(&of_samples.iter().collect::<Vec<_>>());
        let seeds = consistency(&of_seeds.iter().chain([&scores]).collect::<Vec<_>>());
        Ok((Ranked { name, cost, samples, seeds }, scores))
    }

    /// The method with seeds behind its own; none if it has no seed.
    fn other_seeds(&self, (entry, _): &Chosen) -> Vec<Chosen> {
        let own = format!("{}.seed", entry.name);
        let set = |set: &Map<String, Value>| set.get(&own).or_else(|| set.get("seed")).and_then(Value::as_u64);
        let Some(default) = entry.defaults()["seed"].as_u64() else { return Vec::new() };
        let first = set(&self.config.set).unwrap_or(default);
        let other = |more: usize| {
            let mut params: Map<String, Value> = self.config.set.clone();
            params.retain(|name, _| name.split_once('.').is_none_or(|(method, _)| method == entry.name));
            params.retain(|name, _| name.contains('.') || entry.defaults().get(name).is_some());
            params.insert(own.clone(), (first + more as u64).into());
            chosen_rankers(&[entry.name.to_owned()], &params).ok()?.pop()
        };
        (1..self.config.seeds).filter_map(other).collect()
    }

    /// The scores of a method; of one that scores all concepts alike those of each concept by itself.
    fn score(
        &self,
        (entry, ranker): &Chosen,
        rows: &Rows<'_>,
        failed: &mut Vec<Failure>,
    ) -> Result<Scores, MethodError> {
        let quiet = Quiet(self.progress);
        let ctx = Context { memory: self.config.memory, progress: &quiet };
        let Rows { x, text, labels } = *rows;
        let run = Run { method: entry.name, ranker: ranker.as_ref(), x, text, alone: false };
        let scores = run.score(labels, ctx, failed)?;
        if scores_alike(&scores) { Run { alone: true, ..run }.score(labels, ctx, failed) } else { Ok(scores) }
    }
}

/// How alike rankings are, over the concepts that all have; none of fewer than two.
fn consistency(scores: &[&Scores]) -> Option<Interval> {
    let of_concept = |concept: &nissl_core::Concept| {
        let of = |scores: &&Scores| Some(scores.ranking(scores.concept(&concept.name)?));
        Some(stability(&scores.iter().map(of).collect::<Option<Vec<Ranking>>>()?)?.rank_biased_overlap)
    };
    let values: Vec<f64> = scores.first()?.concepts().iter().filter_map(of_concept).collect();
    Interval::of_mean(&values, (0.0, 1.0))
}

/// How alike as many random orders of the neurons as there are samples are.
fn of_random_orders(neurons: &[NeuronId], config: &Config) -> Option<f64> {
    let order = |seed: usize| {
        let neurons = in_random_order(neurons.to_vec(), config.judging.seed + seed as u64);
        Ranking { scores: (0..neurons.len()).rev().map(|score| score as f32).collect(), neurons }
    };
    Some(stability(&(0..config.samples).map(order).collect::<Vec<_>>())?.rank_biased_overlap)
}

impl Ranked {
    /// Its report, with what was judged of it in its place.
    fn report(self, scores: &Scores, (idx, judged): (usize, &SideBySide)) -> MethodReport {
        let curves: Vec<&RankingCurve> = judged.concepts.iter().map(|concept| &concept.curves.rankings[idx]).collect();
        let mean = |values: Vec<f64>, range| Interval::of_mean(&values, range).expect("a concept was judged");
        let places = 0..judged.k.len();
        let selectivity = |place: usize| {
            let of: Option<Vec<f64>> = curves.iter().map(|curve| Some(curve.selectivity.as_ref()?[place])).collect();
            of.map(|of| mean(of, (-1.0, 1.0)))
        };
        MethodReport {
            name: self.name.to_owned(),
            params: scores.provenance.params.clone(),
            cost: self.cost,
            best: places
                .clone()
                .map(|place| mean(curves.iter().map(|curve| curve.best[place].value).collect(), (0.0, 1.0)))
                .collect(),
            selectivity: places.map(selectivity).collect(),
            area: mean(curves.iter().map(|curve| curve.area).collect(), (-1.0, 1.0)),
            samples: self.samples,
            seeds: self.seeds,
        }
    }
}

#[cfg(test)]
mod tests;
