//! What a neuron is claimed to fire on: a concept, a formula, a table of words.

use std::path::PathBuf;

use nissl_core::{NeuronId, TextRows};
use nissl_store::Store;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;

mod concept;
mod formula;
mod table;

/// A claim "the neuron fires on all and only these words". One of the first three says which.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Claim {
    /// A concept, see [`nissl_data::ConceptSource`]: `upos: NOUN`, `{Paris, London}`, `/ing$/`, `upos=NOUN & Number=Plur`.
    pub concept: Option<String>,
    /// A formula as `nissl explain` writes it: `(ADJ OR ADV) AND NOT 'very'`.
    pub formula: Option<String>,
    /// A table of mean activations by word, a JSON object, or a store of other text to learn it from.
    pub table: Option<PathBuf>,
    /// The concepts whose labels the formula names; the labels of all columns with few enough of them if none is given,
    /// here or in `labels_file`.
    pub labels: Vec<String>,
    /// A file of concepts.
    pub labels_file: Option<PathBuf>,
}

/// A kind of claims: whether one is of it, and what it foretells.
type Kind = fn(&Claim, &Told<'_>) -> Option<Result<Foretold, TaskError>>;

/// Every kind of claims, one file each.
const CLAIMS: &[Kind] = &[concept::foretell, formula::foretell, table::foretell];

/// Where a claim is told.
pub(crate) struct Told<'a> {
    pub(crate) store: &'a Store,
    pub(crate) text: &'a TextRows,
}

/// What a claim foretells.
pub(crate) enum Foretold {
    /// Whether neurons fire in each row, `[n_rows]`.
    Fires(Vec<bool>),
    /// How high each neuron is in each row, `[n_rows]`.
    Values(Box<dyn Fn(NeuronId) -> Result<Vec<f32>, TaskError>>),
}

impl Claim {
    /// What it foretells of the rows of a store.
    ///
    /// # Errors
    /// If not one thing is claimed, it cannot be understood, or a file cannot be read.
    pub(crate) fn foretell(&self, told: &Told<'_>) -> Result<Foretold, TaskError> {
        let mut all = CLAIMS.iter().filter_map(|foretell| foretell(self, told));
        match (all.next(), all.next()) {
            (Some(foretold), None) => foretold,
            (None, _) => Err(TaskError::config("claim", "a concept, a formula or a table", "none of them")),
            _ => Err(TaskError::config("claim", "one of concept, formula and table", "several of them")),
        }
    }

    /// The claim in words.
    pub(crate) fn text(&self) -> String {
        let table = self.table.as_ref().map(|path| format!("the words of {}", path.display()));
        self.concept.clone().or_else(|| self.formula.clone()).or(table).unwrap_or_default()
    }
}

impl Foretold {
    /// Whether a neuron that fires above `theta` does so in each row, `[n_rows]`.
    ///
    /// # Errors
    /// If a table cannot be learned.
    pub(crate) fn fires(&self, neuron: NeuronId, theta: f32) -> Result<Vec<bool>, TaskError> {
        match self {
            Self::Fires(rows) => Ok(rows.clone()),
            Self::Values(of) => Ok(of(neuron)?.into_iter().map(|value| value > theta).collect()),
        }
    }
}
