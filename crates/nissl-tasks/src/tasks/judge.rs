//! How well an explanation of a neuron foretells what it does: simulated activations, texts in which it fires, words on
//! which it fires.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use nissl_core::{NeuronId, Progress, TextRows};
use nissl_methods::evaluation::calibration::Calibration;
use nissl_methods::evaluation::explanation::{Detection, Simulation};
use nissl_methods::evaluation::firing::threshold;
use nissl_methods::evaluation::sampling::{Halves, Sequences, highest};
use serde::{Deserialize, Serialize};

use crate::claims::{Claim, Told};
use crate::error::TaskError;
use crate::judges::{Answer, Excerpt, Judge, Known, judge};
pub use crate::judges::{Endpoint, Item, Question};
use crate::output::{write_json, write_whole};
use crate::report::{Head, head};
use crate::tasks::extract::StoreSummary;
use crate::tasks::inspect::columns;
use crate::tasks::rank::open_store;

mod items;

use items::{Drawn, draw};

/// One sentence about the task.
pub const SUMMARY: &str = "Score explanations of neurons: simulation, detection, fuzzing";

/// Whose explanations are judged, by whom, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the store.
    pub store: PathBuf,
    /// The neurons.
    pub neurons: Vec<NeuronId>,
    /// The explanation as a rule, which then is the judge too.
    pub claim: Claim,
    /// The explanation as a text, for an endpoint or whoever answers a file; an endpoint makes one itself if `None`.
    pub explanation: Option<String>,
    /// A language model that judges.
    pub endpoint: Endpoint,
    /// A file of answers to exported items, JSONL.
    pub answers: Option<PathBuf>,
    /// A file to which the items are written without what the neuron does there, JSONL; nothing is judged then.
    pub export: Option<PathBuf>,
    /// What is asked; everything if empty.
    pub questions: Vec<Question>,
    /// What a neuron must be above to fire.
    pub theta: f32,
    /// Its own quantile, instead.
    pub quantile: Option<f64>,
    /// Texts on which activations are foretold.
    pub sequences: usize,
    /// Which they are.
    pub kind: Sequences,
    /// How what is foretold becomes activations, beside as it is.
    pub calibration: Calibration,
    /// Texts of each kind, where it fires and where it does not, that are told apart.
    pub each: usize,
    /// Texts with the highest activations that an explainer reads.
    pub excerpts: usize,
    /// Words of the longest text.
    pub longest: usize,
    /// Seed of the texts.
    pub seed: u64,
    /// A file for the report, JSON.
    pub out: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: PathBuf::new(),
            neurons: Vec::new(),
            claim: Claim::default(),
            explanation: None,
            endpoint: Endpoint::default(),
            answers: None,
            export: None,
            questions: Vec::new(),
            theta: 0.0,
            quantile: None,
            sequences: 20,
            kind: Sequences::default(),
            calibration: Calibration::None,
            each: 50,
            excerpts: 10,
            longest: 64,
            seed: 0,
            out: None,
        }
    }
}

/// How well they foretell it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Task, version and config.
    #[serde(flatten)]
    pub head: Head<Config>,
    /// The store.
    pub store: StoreSummary,
    /// The judge; none where items were exported.
    pub judge: Option<String>,
    /// Number of items.
    pub items: usize,
    /// One entry a neuron; nothing where items were exported.
    pub neurons: Vec<NeuronReport>,
}

/// How well an explanation foretells what a neuron does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuronReport {
    /// The neuron.
    pub name: NeuronId,
    /// The explanation.
    pub explanation: String,
    /// What it must be above to fire.
    pub theta: f32,
    /// Its highest activation where the explanation may come from, which foretold shares are of.
    pub highest: f32,
    /// Activations foretold; none if that was not asked, or nothing was answered.
    pub simulation: Option<Simulated>,
    /// Texts told apart in which it fires.
    pub detection: Option<Detection>,
    /// Right marks told from wrong ones.
    pub fuzzing: Option<Detection>,
    /// Answers that were dropped, by reason.
    pub dropped: Vec<Dropped>,
}

/// Activations foretold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulated {
    /// Texts.
    pub sequences: usize,
    /// Words of all of them.
    pub rows: usize,
    /// As shares of the highest activation.
    pub plain: Simulation,
    /// After the calibration, if one was asked for.
    pub calibrated: Option<Simulation>,
}

/// Answers that were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// Why.
    pub why: String,
    /// How many.
    pub items: usize,
}

/// Judges.
///
/// # Errors
/// If the store cannot be read or has not two sentences as short as `longest`, no neuron is named, one is not recorded or
/// never above 0, there is no judge or no explanation, the judge cannot be asked or answers nothing, a file cannot be read or written, or the user stops it.
pub fn run(config: &Config, progress: &dyn Progress) -> Result<Report, TaskError> {
    if config.neurons.is_empty() {
        return Err(TaskError::config("neurons", "a neuron such as 3.mlp_post[1207]", "none"));
    }
    let store = open_store(&config.store)?;
    let text = store.text()?;
    let claimed = config.claim != Claim::default();
    let foretold = if claimed { Some(config.claim.foretell(&Told { store: &store, text: &text })?) } else { None };
    let halves = halves(config, &text)?;
    let mut neurons = Vec::with_capacity(config.neurons.len());
    for &name in &config.neurons {
        let values = columns(&store, &[name])?.values().column(0).to_vec();
        let known = halves.known.iter().flat_map(|rows| values[rows.clone()].iter().copied());
        let highest = known.fold(f32::NEG_INFINITY, f32::max);
        if highest <= 0.0 {
            let got = format!("{name}, whose highest activation in the sentences to explain it by is {highest}");
            return Err(TaskError::config(
                "neurons",
                "neurons that are above 0 somewhere, as shares are of the highest",
                got,
            ));
        }
        let theta = threshold(&values, config.theta, config.quantile);
        neurons.push(Neuron { name, values, theta, highest });
    }
    let heights: Vec<_> = neurons.iter().map(|neuron| (neuron.name, neuron.theta, neuron.highest)).collect();
    let known = Known { foretold: foretold.as_ref(), heights: &heights };
    let judge = if config.export.is_some() { None } else { Some(judge(config, &known)?) };
    let mut report = Report {
        head: head("judge", config),
        store: StoreSummary::of(&config.store, &store),
        judge: judge.as_ref().map(|judge| judge.name()),
        items: 0,
        neurons: Vec::new(),
    };
    let mut exported = Vec::new();
    for neuron in &neurons {
        let explanation = explanation(config, judge.as_deref(), &halves, (neuron, &text))?;
        let drawn = draw(config, &halves, (neuron, &text), &explanation);
        report.items += drawn.items.len();
        match &judge {
            Some(judge) => {
                progress.stage("ask the judge", Some(drawn.items.len() as u64), "texts");
                let answers = judge.judge(neuron.name, &drawn.items, progress)?;
                report.neurons.push(scored(config, neuron, explanation, (&drawn, answers))?);
            }
            None => exported.extend(drawn.items),
        }
    }
    if let Some(path) = &config.export {
        write_whole(path, |file| {
            exported.iter().try_for_each(|item| {
                serde_json::to_writer(&mut *file, item)?;
                file.write_all(b"\n")
            })
        })?;
    }
    if let Some(out) = &config.out {
        write_json(out, &report)?;
    }
    Ok(report)
}

/// The sentences to explain by and to judge on.
fn halves(config: &Config, text: &TextRows) -> Result<Halves, TaskError> {
    let halves = Halves::draw(text, config.longest, config.seed);
    if !halves.known.is_empty() {
        return Ok(halves);
    }
    // The second shortest is the least with which there is a sentence for each half.
    let mut lengths: Vec<usize> = text.sentences().map(|rows| rows.len()).collect();
    lengths.sort_unstable();
    let expected = lengths.get(1).map_or_else(
        || "a store of at least two sentences".to_owned(),
        |least| format!("at least {least}, with which two sentences of the store can be judged"),
    );
    Err(TaskError::config("longest", expected, config.longest.to_string()))
}

/// A neuron and what it does.
struct Neuron {
    name: NeuronId,
    /// `[n_rows]`.
    values: Vec<f32>,
    theta: f32,
    highest: f32,
}

/// What is said of a neuron: the rule, the text, or what the judge makes of the strongest excerpts.
fn explanation(
    config: &Config,
    judge: Option<&dyn Judge>,
    halves: &Halves,
    (neuron, text): (&Neuron, &TextRows),
) -> Result<String, TaskError> {
    if config.claim != Claim::default() {
        return Ok(config.claim.text());
    }
    if let Some(explanation) = &config.explanation {
        return Ok(explanation.clone());
    }
    let level = |row: usize| (10.0 * neuron.values[row] / neuron.highest).round().clamp(0.0, 10.0) as u8;
    let words = |rows: std::ops::Range<usize>| rows.map(|row| (text.word(row).to_owned(), level(row))).collect();
    let excerpts: Vec<Excerpt> =
        highest(&halves.known, &neuron.values, config.excerpts).into_iter().map(words).collect();
    let explained = judge.map(|judge| judge.explain(&excerpts)).transpose()?.flatten();
    explained.ok_or_else(|| TaskError::config("explanation", "a text, a rule, or an endpoint that makes one", "none"))
}

fn scored(
    config: &Config,
    neuron: &Neuron,
    explanation: String,
    (drawn, answers): (&Drawn, Vec<Answer>),
) -> Result<NeuronReport, TaskError> {
    let mut dropped: BTreeMap<&str, usize> = BTreeMap::new();
    for why in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        *dropped.entry(why).or_default() += 1;
    }
    let dropped = dropped.into_iter().map(|(why, items)| Dropped { why: why.to_owned(), items }).collect::<Vec<_>>();
    if let (Some(first), true) = (dropped.first(), answers.iter().all(Result::is_err)) {
        let expected = format!("at least one answer for {}", neuron.name);
        return Err(TaskError::config("judge", expected, format!("none: {}", first.why)));
    }
    let detection = |question: Question| {
        let told = drawn.items.iter().zip(&drawn.is).zip(&answers);
        let told = told.filter(|((item, _), _)| item.question == question);
        let (is, chances): (Vec<bool>, Vec<f64>) =
            told.filter_map(|((_, &is), answer)| Some((is, *answer.as_ref().ok()?.first()?))).unzip();
        (!is.is_empty()).then(|| Detection::of(&is, &chances))
    };
    Ok(NeuronReport {
        name: neuron.name,
        explanation,
        theta: neuron.theta,
        highest: neuron.highest,
        simulation: simulated(config, neuron, drawn, &answers),
        detection: detection(Question::Detection),
        fuzzing: detection(Question::Fuzzing),
        dropped,
    })
}

/// Foretold against true activations over all words of all texts together.
fn simulated(config: &Config, neuron: &Neuron, drawn: &Drawn, answers: &[Answer]) -> Option<Simulated> {
    let of = |known: bool| {
        let (mut values, mut foretold, mut n) = (Vec::new(), Vec::new(), 0);
        for ((item, &is), answer) in drawn.items.iter().zip(&drawn.is).zip(answers) {
            let Ok(shares) = answer else { continue };
            // Of a simulation `is` says that it belongs to the calibration.
            if item.question == Question::Simulation && is == known {
                values.extend_from_slice(&neuron.values[item.rows.clone()]);
                foretold.extend(shares.iter().map(|&share| share as f32 * neuron.highest));
                n += 1;
            }
        }
        (values, foretold, n)
    };
    let (values, foretold, sequences) = of(false);
    if sequences == 0 {
        return None;
    }
    let (known_values, known_foretold, _) = of(true);
    let calibrated = config.calibration.apply((&known_foretold, &known_values), &foretold);
    Some(Simulated {
        sequences,
        rows: values.len(),
        plain: Simulation::of(&values, &foretold),
        calibrated: (config.calibration != Calibration::None).then(|| Simulation::of(&values, &calibrated)),
    })
}

#[cfg(test)]
mod tests;
