//! All methods on planted neurons: how much of what is known to be there each finds, and what it takes for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use nissl_core::{Activations, Context, Labels, MethodError, Progress, Ranker, Scores, TextRows};
use nissl_methods::probes::inference::Interval;
use nissl_methods::truth::{Difficulty, Kind, Planted, Recovery};
use nissl_methods::{METHODS, MethodKind};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::chosen::{Chosen, chosen, chosen_rankers};
use crate::error::TaskError;
use crate::html::truth;
use crate::output::{write_json, write_whole};
use crate::progress::Quiet;
use crate::report::{Head, head};
use crate::tasks::rank::{Failure, Run, scores_alike};

mod axes;
mod causal;
mod page;

pub use axes::{AXES, Axis};
pub use causal::{CausalMethod, CausalReport, Mechanism};

/// One sentence about the task.
pub const SUMMARY: &str = "Run all methods where the answer is known, and say how much of it each finds";

/// Name of the report in the output's folder; the pages have the same with another ending.
const REPORT: &str = "truth";

/// What is known of the neurons that methods are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Planted activations: which neurons carry a concept.
    Planted,
    /// Compiled models: which neurons hold a fact, and which only look as if they did.
    Causal,
}

/// What to plant and whom to ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Fewer rows, neurons, seeds and steps of difficulty: about a minute on two cores.
    pub quick: bool,
    /// The levels; both if empty.
    pub levels: Vec<Level>,
    /// The rankers and, for compiled models, attributors; all of the catalogue if empty.
    pub methods: Vec<String>,
    /// Parameters by name, as of `rank`; `min_count` is 1, or the least that a method takes, if it is not set.
    pub set: Map<String, Value>,
    /// Kinds of difficulty, see [`AXES`]; all if empty.
    pub axes: Vec<String>,
    /// What is planted where nothing else is said; as `quick` says if `None`.
    pub base: Option<Difficulty>,
    /// Draws of the planted neurons; as `quick` says if `None`.
    pub seeds: Option<usize>,
    /// First of the seeds.
    pub seed: u64,
    /// Folder for the report and its pages (JSON, HTML, Markdown, SVG); nothing is written if `None`.
    pub out: Option<PathBuf>,
    /// Bytes for blocks of activations.
    pub memory: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            quick: false,
            levels: Vec::new(),
            methods: Vec::new(),
            set: Map::new(),
            axes: Vec::new(),
            base: None,
            seeds: None,
            seed: 0,
            out: None,
            memory: Context::MEMORY,
        }
    }
}

/// What each method found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// What was planted where nothing else is said.
    pub base: Difficulty,
    /// Draws of the planted neurons.
    pub seeds: usize,
    /// The rankers, in the order of the catalogue; none without planted activations.
    pub methods: Vec<String>,
    /// What each method takes for a concept's neurons, where nothing else is said.
    pub kinds: Vec<KindReport>,
    /// One entry a kind of difficulty.
    pub axes: Vec<AxisReport>,
    /// Methods that failed somewhere, with the first reason.
    pub failed: Vec<Failure>,
    /// What was found in compiled models; none without that level.
    pub causal: Option<CausalReport>,
}

/// What became of the planted neurons of a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindReport {
    /// The kind.
    pub kind: Kind,
    /// Number of neurons of it that there are for a concept.
    pub neurons: f64,
    /// Share of them that each method has among the first k.
    pub found: Vec<Option<f64>>,
    /// Share of the first k of each method that they are.
    pub taken: Vec<Option<f64>>,
}

/// Recovery over one kind of difficulty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisReport {
    /// Its name.
    pub name: String,
    /// What it is.
    pub what: String,
    /// From easy to hard or the other way, in the order of the values.
    pub points: Vec<PointReport>,
}

/// Recovery at one difficulty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointReport {
    /// The value.
    pub value: f64,
    /// Precision of neurons in random order.
    pub chance: f64,
    /// Mean precision of each method over concepts and seeds, with the interval of the mean over seeds; none if it failed.
    pub precision: Vec<Option<Interval>>,
}

/// Runs the methods.
///
/// # Errors
/// If a method or a kind of difficulty is unknown, nothing can be planted, a file cannot be written, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    config.check()?;
    let methods = if config.asks(Level::Planted) { rankers(config)? } else { Vec::new() };
    let base = config.base.unwrap_or_else(|| axes::base(config.quick));
    let n_seeds = config.seeds.unwrap_or(if config.quick { 3 } else { 10 });
    if n_seeds == 0 {
        return Err(TaskError::config("seeds", "at least one", "0"));
    }
    let axes = if methods.is_empty() { Vec::new() } else { axes::chosen(&config.axes)? };
    // The first is where nothing else is said.
    let mut difficulties = vec![base];
    for axis in &axes {
        difficulties.extend(axis.values(config.quick).iter().map(|&value| axis.at(base, value)));
    }
    // The same difficulty is planted once.
    let mut distinct: Vec<Difficulty> = Vec::new();
    for difficulty in &difficulties {
        difficulty.check()?;
        if !distinct.contains(difficulty) {
            distinct.push(*difficulty);
        }
    }
    if methods.is_empty() {
        distinct.clear();
    }
    let runs: Vec<(usize, u64)> =
        (0..distinct.len()).flat_map(|idx| (0..n_seeds as u64).map(move |seed| (idx, config.seed + seed))).collect();
    let causal = config.asks(Level::Causal).then(|| causal::run(config, n_seeds, progress)).transpose()?;
    progress.stage("ranking planted neurons", Some(runs.len() as u64), "draws");
    let done = AtomicU64::new(0);
    let draw = |&(idx, seed): &(usize, u64)| {
        let drawn = Drawn::new(&distinct[idx], seed, &methods, (config.memory, progress));
        progress.step(done.fetch_add(1, Ordering::Relaxed) + 1);
        drawn
    };
    // The longest last, so that none is waited for in the end.
    let drawn: Vec<Drawn> = runs.par_iter().map(draw).collect::<Result<_, TaskError>>()?;
    let of = |difficulty: &Difficulty| -> Vec<&Drawn> {
        let same = runs.iter().zip(&drawn).filter(|((idx, _), _)| distinct[*idx] == *difficulty);
        same.map(|(_, drawn)| drawn).collect()
    };
    let mut points = difficulties[1..].iter().map(|difficulty| point(&of(difficulty), methods.len()));
    let axes = axes.iter().map(|axis| AxisReport {
        name: axis.name.to_owned(),
        what: axis.what.to_owned(),
        points: axis
            .values(config.quick)
            .iter()
            .map(|&value| PointReport { value, ..points.next().expect("a difficulty a value") })
            .collect(),
    });
    let mut failed = BTreeMap::new();
    for (method, error) in drawn.iter().flat_map(|drawn| &drawn.failed) {
        failed.entry(*method).or_insert_with(|| error.clone());
    }
    let report = Report {
        head: head("bench", config),
        base,
        seeds: n_seeds,
        methods: methods.iter().map(|(entry, _)| entry.name.to_owned()).collect(),
        kinds: if methods.is_empty() { Vec::new() } else { kinds(&of(&base), methods.len()) },
        axes: axes.collect(),
        failed: failed
            .into_iter()
            .map(|(idx, error)| Failure { name: methods[idx].0.name.to_owned(), error })
            .collect(),
        causal,
    };
    if let Some(out) = &config.out {
        let write = |ending: &str, text: String| {
            write_whole(&out.join(format!("{REPORT}.{ending}")), |file| {
                std::io::Write::write_all(file, text.as_bytes())
            })
        };
        write_json(&out.join(format!("{REPORT}.json")), &report)?;
        let drawing = drawing(&report);
        write("md", page::markdown(&report))?;
        if report.planted() {
            write("svg", truth::svg(&drawing))?;
        }
        write("html", truth::page(&drawing, &page::tables(&report)))?;
    }
    Ok(report)
}

impl Report {
    /// Whether neurons were planted, so that there is something to draw.
    fn planted(&self) -> bool {
        !self.methods.is_empty()
    }
}

impl Config {
    fn asks(&self, level: Level) -> bool {
        self.levels.is_empty() || self.levels.contains(&level)
    }

    /// Checks that every method can be asked on one of the levels, and has its parameters.
    fn check(&self) -> Result<(), TaskError> {
        let (rankers, attributors) = (self.names(MethodKind::Ranker), self.names(MethodKind::Attributor));
        for name in &self.methods {
            // An unknown one and one that scores nothing say so themselves.
            let takes = rankers.contains(name) || (attributors.contains(name) && self.asks(Level::Causal));
            if !takes {
                chosen(std::slice::from_ref(name), &Map::new(), MethodKind::Ranker)?;
            }
        }
        let known = [self.set_of(&rankers), self.set_of(&attributors)];
        match self.set.keys().find(|key| !known.iter().any(|set| set.contains_key(*key))) {
            Some(key) => Err(TaskError::config("set", "a parameter of a chosen method", key)),
            None => Ok(()),
        }
    }

    /// The methods of a kind that are asked.
    fn names(&self, kind: MethodKind) -> Vec<String> {
        let asked = |name: &str| self.methods.is_empty() || self.methods.iter().any(|method| method == name);
        let all = METHODS.iter().filter(|entry| entry.kind == kind && asked(entry.name));
        all.map(|entry| entry.name.to_owned()).collect()
    }

    /// The parameters that one of these methods has. Rare concepts are part of the question: where nothing is said of it, as
    /// few rows of a concept are enough as the method can take.
    fn set_of(&self, names: &[String]) -> Map<String, Value> {
        let mut set = Map::new();
        for entry in METHODS.iter().filter(|entry| names.iter().any(|name| name == entry.name)) {
            let own = format!("{}.min_count", entry.name);
            let least = entry.schema()["properties"]["min_count"]["minimum"].as_f64();
            if let (Some(least), false) = (least, self.set.contains_key("min_count")) {
                set.insert(own, json!(least as u64));
            }
            let defaults = entry.defaults();
            let has = |key: &str| key.starts_with(&format!("{}.", entry.name)) || defaults.get(key).is_some();
            let given = self.set.iter().filter(|(key, _)| has(key));
            set.extend(given.map(|(key, value)| (key.clone(), value.clone())));
        }
        set
    }
}

/// The rankers with their parameters; none if only attributors are asked.
fn rankers(config: &Config) -> Result<Vec<Chosen>, TaskError> {
    let names = config.names(MethodKind::Ranker);
    if names.is_empty() {
        return Ok(Vec::new());
    }
    chosen_rankers(&names, &config.set_of(&names))
}

/// What the methods found in one draw.
struct Drawn {
    chance: f64,
    /// Of each method the recovery of each concept; `None` if it failed.
    recovered: Vec<Option<Vec<Recovery>>>,
    /// Methods that failed, and why.
    failed: Vec<(usize, String)>,
}

impl Drawn {
    fn new(
        difficulty: &Difficulty,
        seed: u64,
        methods: &[Chosen],
        (memory, progress): (usize, &dyn Progress),
    ) -> Result<Self, TaskError> {
        if progress.cancelled() {
            return Err(stopped());
        }
        let planted = Planted::new(difficulty, seed)?;
        let quiet = Quiet(progress);
        let ctx = Context { memory, progress: &quiet };
        let mut drawn = Self { chance: planted.chance(), recovered: Vec::new(), failed: Vec::new() };
        for (idx, method) in methods.iter().enumerate() {
            let (entry, ranker) = method;
            let rows = (&planted.x as &dyn Activations, &planted.text, &planted.labels);
            drawn.recovered.push(match scores(rows, (entry.name, ranker.as_ref()), ctx) {
                Ok(scores) => {
                    let of = |concept| planted.recovery(&scores, concept);
                    (0..difficulty.concepts).map(of).collect::<Option<Vec<Recovery>>>()
                }
                Err(MethodError::Cancelled) => return Err(stopped()),
                Err(error) => {
                    drawn.failed.push((idx, error.to_string()));
                    None
                }
            });
        }
        Ok(drawn)
    }
}

fn stopped() -> TaskError {
    TaskError::Cancelled { resume: "nothing was written".to_owned() }
}

/// The scores of a method for concepts of which the last is the rest. Where all concepts are scored alike, each of them is
/// scored by itself.
fn scores(
    (x, text, labels): (&dyn Activations, &TextRows, &Labels),
    (method, ranker): (&'static str, &dyn Ranker),
    ctx: Context<'_>,
) -> Result<Scores, MethodError> {
    let run = Run { method, ranker, x, text, alone: false };
    let scores = run.score(labels, ctx, &mut Vec::new())?;
    if scores_alike(&scores) {
        let (_, concepts) = labels.concepts().split_last().expect("there is the rest");
        let n = concepts.len() as u32;
        let of = (0..labels.n_tokens()).map(|row| labels.of(row).first().copied().filter(|&id| id < n));
        return Run { alone: true, ..run }.score(&Labels::single(concepts.to_vec(), of), ctx, &mut Vec::new());
    }
    Ok(scores)
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, n) = values.into_iter().fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    sum / f64::max(n, 1.0)
}

fn point(drawn: &[&Drawn], n_methods: usize) -> PointReport {
    let precision = |method: usize| {
        let of_seed = |drawn: &&Drawn| Some(mean(drawn.recovered[method].as_ref()?.iter().map(|of| of.precision)));
        drawn.iter().map(of_seed).collect::<Option<Vec<f64>>>().and_then(|of| Interval::of_mean(&of, (0.0, 1.0)))
    };
    PointReport {
        value: 0.0,
        chance: mean(drawn.iter().map(|drawn| drawn.chance)),
        precision: (0..n_methods).map(precision).collect(),
    }
}

fn kinds(drawn: &[&Drawn], n_methods: usize) -> Vec<KindReport> {
    let of_kind = |(idx, &kind): (usize, &Kind)| {
        let of_method = |method: usize| -> Option<(f64, f64, f64)> {
            let all: Option<Vec<&Vec<Recovery>>> = drawn.iter().map(|drawn| drawn.recovered[method].as_ref()).collect();
            let all: Vec<&Recovery> = all?.into_iter().flatten().collect();
            let sum = |of: fn(&Recovery, usize) -> usize| all.iter().map(|one| of(one, idx)).sum::<usize>() as f64;
            let (found, there) = (sum(|one, idx| one.kinds[idx].0), sum(|one, idx| one.kinds[idx].1));
            let places = sum(|one, _| one.k);
            Some((found / f64::max(there, 1.0), found / f64::max(places, 1.0), there / all.len().max(1) as f64))
        };
        let of: Vec<Option<(f64, f64, f64)>> = (0..n_methods).map(of_method).collect();
        KindReport {
            kind,
            neurons: of.iter().flatten().map(|of| of.2).next().unwrap_or(0.0),
            found: of.iter().map(|of| of.map(|of| of.0)).collect(),
            taken: of.iter().map(|of| of.map(|of| of.1)).collect(),
        }
    };
    Kind::ALL.iter().enumerate().map(of_kind).collect()
}

/// The curves of a report, as they are drawn.
fn drawing(report: &Report) -> truth::Panels {
    let panel = |axis: &AxisReport| truth::Panel {
        title: format!("by {}", axis.what),
        ticks: axis.points.iter().map(|point| axes::shown(&axis.name, point.value)).collect(),
        chance: axis.points.iter().map(|point| point.chance).collect(),
        lines: (0..report.methods.len())
            .map(|m| axis.points.iter().map(|point| point.precision[m]).collect())
            .collect(),
    };
    truth::Panels {
        title: "Which methods find planted neurons".to_owned(),
        y: "precision at k".to_owned(),
        names: report.methods.clone(),
        panels: report.axes.iter().map(panel).collect(),
    }
}

#[cfg(test)]
mod tests;
