//! Who judges what an explanation of a neuron foretells: the explanation's own rule, a language model behind an
//! endpoint, or whoever answers an exported file.
//!
//! A judge is one file and one line in [`JUDGES`].

use std::ops::Range;

use nissl_core::{NeuronId, Progress};
use serde::{Deserialize, Serialize};

use crate::claims::Foretold;
use crate::error::TaskError;
use crate::tasks::judge::Config;

mod answers;
mod endpoint;
mod rule;

pub use endpoint::Endpoint;

/// What a judge is asked of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// How active the neuron is on each word, as a share of its highest activation.
    Simulation,
    /// The chance that it fires somewhere.
    Detection,
    /// The chance that the marked words are those on which it fires.
    Fuzzing,
}

/// A text that is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What it is called: another text has another name.
    pub id: String,
    /// What is asked.
    pub question: Question,
    /// What the neuron should fire on.
    pub explanation: String,
    /// The words.
    pub words: Vec<String>,
    /// Whether each is marked; empty unless marks are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<bool>,
    /// Rows of the store.
    #[serde(skip)]
    pub(crate) rows: Range<usize>,
}

impl Item {
    /// How many numbers answer it.
    pub(crate) fn n_answers(&self) -> usize {
        if self.question == Question::Simulation { self.words.len() } else { 1 }
    }

    /// An answer of as many numbers as it should have, from 0 to 1; else what is wrong.
    ///
    /// # Errors
    /// If there are more or fewer, or one is out of its range.
    pub(crate) fn checked(&self, answer: Vec<f64>) -> Answer {
        if answer.len() != self.n_answers() {
            return Err(format!("a wrong number of answers: expected {}, got {}", self.n_answers(), answer.len()));
        }
        match answer.iter().find(|value| !(0.0..=1.0).contains(*value)) {
            Some(value) => Err(format!("a number out of its range: {value}")),
            None => Ok(answer),
        }
    }
}

/// The numbers that a judge gives, or why it gives none.
pub(crate) type Answer = Result<Vec<f64>, String>;

/// An excerpt that an explainer reads: words with activations from 0 to 10.
pub(crate) type Excerpt = Vec<(String, u8)>;

/// Answers questions about a neuron.
pub(crate) trait Judge {
    /// What it is called in reports.
    fn name(&self) -> String;

    /// An answer an item; one that fails is told, and the others go on.
    ///
    /// # Errors
    /// If none of them can be answered.
    fn judge(&self, neuron: NeuronId, items: &[Item], progress: &dyn Progress) -> Result<Vec<Answer>, TaskError>;

    /// An explanation of a neuron by its strongest excerpts; none if it makes none.
    ///
    /// # Errors
    /// If it should and cannot.
    fn explain(&self, _excerpts: &[Excerpt]) -> Result<Option<String>, TaskError> {
        Ok(None)
    }
}

/// What a judge may know.
pub(crate) struct Known<'a> {
    /// What the claim foretells, if a rule is claimed.
    pub(crate) foretold: Option<&'a Foretold>,
    /// Of each neuron what it must be above to fire, and its highest activation.
    pub(crate) heights: &'a [(NeuronId, f32, f32)],
}

/// A kind of judges: one, if it is asked for.
type Kind = for<'a> fn(&'a Config, &'a Known<'a>) -> Option<Result<Box<dyn Judge + 'a>, TaskError>>;

/// Every kind of judges, one file each.
const JUDGES: &[Kind] = &[rule::judge, endpoint::judge, answers::judge];

/// The judge that is asked for.
///
/// # Errors
/// If there is none, or several, or it is not as it should be.
pub(crate) fn judge<'a>(config: &'a Config, known: &'a Known<'a>) -> Result<Box<dyn Judge + 'a>, TaskError> {
    let mut all = JUDGES.iter().filter_map(|judge| judge(config, known));
    match (all.next(), all.next()) {
        (Some(judge), None) => judge,
        (None, _) => Err(TaskError::config("judge", "a rule, an endpoint or a file of answers", "none of them")),
        _ => Err(TaskError::config("judge", "one of a rule, an endpoint and a file of answers", "several of them")),
    }
}
