//! Whether what is claimed of a neuron is true: where it fires on new text, and what it carries inside the model.

use std::path::PathBuf;

use nissl_core::{Context, NeuronId, Progress, TextRows};
use nissl_data::{PromptOptions, TextPrompt};
use nissl_methods::ablating::random_of;
use nissl_methods::evaluation::explanation::Judgement;
use nissl_methods::evaluation::firing::{Firing, firing, threshold};
use nissl_methods::evaluation::interchange::{InterchangeOptions, Interchanged};
use nissl_methods::patching::Where;
use nissl_methods::probes::inference::Interval;
use nissl_model::LoadOptions;
use nissl_store::Store;
use serde::{Deserialize, Serialize};

pub use crate::claims::Claim;
use crate::claims::{Foretold, Told};
use crate::error::TaskError;
use crate::output::write_json;
use crate::prompts::PromptSummary;
use crate::report::{Head, head};
use crate::tasks::extract::StoreSummary;
use crate::tasks::inspect::{Passage, Text, columns};
use crate::tasks::rank::open_store;
use crate::tasks::sites::ModelSummary;

mod interchange;

/// One sentence about the task.
pub const SUMMARY: &str = "Test a claim of what neurons fire on, on other text and inside the model";

/// What is claimed, and where it is tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of a store of text that the claim was not made from; the test inside the model alone if empty.
    pub store: PathBuf,
    /// The neurons, of each of which the claim is tested by itself.
    pub neurons: Vec<NeuronId>,
    /// What they should fire on.
    pub claim: Claim,
    /// What a neuron must be above to fire.
    pub theta: f32,
    /// Its own quantile, instead: 0.99 is the value that a hundredth of the rows are above.
    pub quantile: Option<f64>,
    /// Rows of each kind of error in the report, the worst first.
    pub cases: usize,
    /// Draws of the sentences, or pairs, for intervals.
    pub draws: usize,
    /// Random neurons of the same site that a neuron is compared with, and random sets that sets are.
    pub random: usize,
    /// Seed of random neurons and draws.
    pub seed: u64,
    /// What is tested inside the model.
    pub inside: Inside,
    /// A file for the report, JSON.
    pub out: Option<PathBuf>,
    /// Bytes for activations.
    pub memory: usize,
}

/// The test inside the model: values from a source put into a base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inside {
    /// Folder, file or Hub name; nothing is tested if there is none.
    pub model: Option<String>,
    /// How the model is loaded.
    pub load: LoadOptions,
    /// A file or folder of pairs: prompts with another text each, the source.
    pub file: Option<PathBuf>,
    /// What of it is wanted.
    pub read: PromptOptions,
    /// More pairs.
    pub prompts: Vec<TextPrompt>,
    /// Sets of neurons beside the single ones: `3.mlp_post[42,50-59]`, several joined by ` + `.
    pub sets: Vec<String>,
    /// A ranking whose best are sets too.
    pub ranking: Option<PathBuf>,
    /// The concept of the ranking; its first if `None`.
    pub concept: Option<String>,
    /// How many of the best.
    pub top: Vec<usize>,
    /// At which positions values are moved.
    pub places: Where,
}

impl Default for Config {
    fn default() -> Self {
        let InterchangeOptions { random_sets, draws, seed, .. } = InterchangeOptions::default();
        Self {
            store: PathBuf::new(),
            neurons: Vec::new(),
            claim: Claim::default(),
            theta: 0.0,
            quantile: None,
            cases: 5,
            draws,
            random: random_sets,
            seed,
            inside: Inside::default(),
            out: None,
            memory: Context::MEMORY,
        }
    }
}

impl Default for Inside {
    fn default() -> Self {
        Self {
            model: None,
            load: LoadOptions::default(),
            file: None,
            read: PromptOptions::default(),
            prompts: Vec::new(),
            sets: Vec::new(),
            ranking: None,
            concept: None,
            top: vec![1, 10, 100],
            places: Where::All,
        }
    }
}

/// What became of the claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The claim in words.
    pub claim: String,
    /// The store, if there is one.
    pub store: Option<StoreSummary>,
    /// Where the neurons fire, one entry each; nothing without a store.
    pub neurons: Vec<NeuronReport>,
    /// What they carry; nothing without a model.
    pub inside: Option<InsideReport>,
}

/// Where a neuron fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuronReport {
    /// The neuron.
    pub name: NeuronId,
    /// What it must be above.
    pub theta: f32,
    /// How often the claim is right.
    pub firing: Firing,
    /// F1 of the same claim of random neurons of the site: mean, least and most; none without them.
    pub random: Option<Interval>,
    /// Claimed rows where it is silent, the lowest first.
    pub missed: Vec<Passage>,
    /// Rows where it fires that were not claimed, the highest first.
    pub spurious: Vec<Passage>,
}

/// What the neurons carry from source to base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InsideReport {
    /// The model.
    pub model: ModelSummary,
    /// The pairs.
    pub prompts: PromptSummary,
    /// Pairs that the whole model tells apart.
    pub pairs: usize,
    /// Those that it does not, which say nothing of its neurons.
    pub left_out: usize,
    /// The neurons, each by itself, then the other sets.
    pub sets: Vec<SetReport>,
}

/// What a set carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetReport {
    /// What it is called.
    pub name: String,
    /// What it carries.
    pub found: Interchanged,
}

/// Tests the claim.
///
/// # Errors
/// If there is neither a store nor a model, no neuron is named, the claim cannot be understood, a neuron is not recorded or
/// not the model's, the model is not the recorded one or tells no pair apart, a file cannot be read or written, or the
/// user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    check(config)?;
    let store = if config.store.as_os_str().is_empty() { None } else { Some(open_store(&config.store)?) };
    let mut report = Report {
        head: head("claim", config),
        claim: config.claim.text(),
        store: store.as_ref().map(|store| StoreSummary::of(&config.store, store)),
        neurons: Vec::new(),
        inside: None,
    };
    let ctx = Context { memory: config.memory, progress };
    if let Some(store) = &store {
        report.neurons = on_text(config, store, progress)?;
    }
    if let Some(model) = &config.inside.model {
        report.inside = Some(interchange::inside(config, model, store.as_ref(), ctx)?);
    }
    if let Some(out) = &config.out {
        write_json(out, &report)?;
    }
    Ok(report)
}

fn check(config: &Config) -> Result<(), TaskError> {
    let nowhere = config.store.as_os_str().is_empty() && config.inside.model.is_none();
    if nowhere {
        return Err(TaskError::config("store", "a store, or a model and pairs", "neither"));
    }
    if config.neurons.is_empty() {
        return Err(TaskError::config("neurons", "a neuron such as 3.mlp_post[1207]", "none"));
    }
    match config.quantile {
        Some(q) if !(q > 0.0 && q < 1.0) => {
            Err(TaskError::config("quantile", "a number between 0 and 1", q.to_string()))
        }
        _ if !config.theta.is_finite() => Err(TaskError::config("theta", "a finite number", config.theta.to_string())),
        _ => Ok(()),
    }
}

/// Where each neuron fires.
fn on_text(config: &Config, store: &Store, progress: &dyn Progress) -> Result<Vec<NeuronReport>, TaskError> {
    progress.stage("read what is claimed", None, "rows");
    let (text, passages) = (store.text()?, Text::read(store)?);
    let foretold = config.claim.foretell(&Told { store, text: &text })?;
    let width = |point| store.points().find(|(known, _)| *known == point).map_or(0, |(_, width)| width);
    progress.stage("look where neurons fire", Some(config.neurons.len() as u64), "neurons");
    let mut reports = Vec::with_capacity(config.neurons.len());
    for &name in &config.neurons {
        let random: Vec<NeuronId> = random_of(&width, &[name], config.random, config.seed).concat();
        let judged = Judged { config, text: &text, foretold: &foretold };
        let values = values(store, name)?;
        let (theta, claimed, found) = judged.of(name, &values, config.draws)?;
        let cases = |wanted: bool, sign: f32| {
            let wrong = |&row: &usize| claimed[row] == wanted && (values[row] > theta) != wanted;
            let mut rows: Vec<usize> = (0..values.len()).filter(wrong).collect();
            rows.sort_by(|&a, &b| (sign * values[a]).total_cmp(&(sign * values[b])).then(a.cmp(&b)));
            rows.truncate(config.cases);
            rows.into_iter().map(|row| passages.passage(row, &text, &values)).collect::<Vec<Passage>>()
        };
        let (missed, spurious) = (cases(true, 1.0), cases(false, -1.0));
        let of_random = |&other: &NeuronId| {
            let (_, _, found) = judged.of(name, &self::values(store, other)?, 0)?;
            Ok(found.f1.map_or(0.0, |f1| f1.value))
        };
        let random = random.iter().map(of_random).collect::<Result<Vec<f64>, TaskError>>()?;
        reports.push(NeuronReport { name, theta, firing: found, random: Interval::across(&random), missed, spurious });
        progress.step(reports.len() as u64);
        if progress.cancelled() {
            return Err(TaskError::Cancelled { resume: "nothing was written".to_owned() });
        }
    }
    Ok(reports)
}

/// The activations of a neuron, `[n_rows]`.
fn values(store: &Store, neuron: NeuronId) -> Result<Vec<f32>, TaskError> {
    Ok(columns(store, &[neuron])?.values().column(0).to_vec())
}

struct Judged<'a> {
    config: &'a Config,
    text: &'a TextRows,
    foretold: &'a Foretold,
}

impl Judged<'_> {
    /// What is claimed of a neuron against these values: its threshold, the claimed rows, and how often they are right.
    fn of(&self, claimed_of: NeuronId, values: &[f32], draws: usize) -> Result<(f32, Vec<bool>, Firing), TaskError> {
        let theta = threshold(values, self.config.theta, self.config.quantile);
        let claimed = self.foretold.fires(claimed_of, theta)?;
        let found = firing(self.text, &claimed, (values, theta), draws, self.config.seed);
        Ok((theta, claimed, found))
    }
}

impl NeuronReport {
    /// Rows of each kind.
    pub fn judgement(&self) -> &Judgement {
        &self.firing.judgement
    }
}

#[cfg(test)]
mod tests;
